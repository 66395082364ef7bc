//! Command lines, as a shell reads them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// An argument as a shell takes it. One that is no UTF-8, or would move the cursor where it is
/// printed, is written `$'...'`, which bash, zsh and POSIX.1-2024 know.
pub(crate) fn quote(argument: &OsStr) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,@%+".contains(char);
    match argument.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => format!("$'{}'", argument.as_bytes().iter().map(escape).collect::<String>()),
    }
}

/// A byte between `$'` and `'`. Octal digits end after the third, so what follows is safe.
fn escape(byte: &u8) -> String {
    match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_quoted_as_little_as_it_needs() {
        for (argument, quoted) in [
            ("--start=25%", "--start=25%"),
            ("", "''"),
            ("a b?.mp4", "'a b?.mp4'"),
            ("it's", r"'it'\''s'"),
            ("für", "'für'"),
            ("\x1b[2J'\\1", r"$'\033[2J\'\\1'"),
        ] {
            assert_eq!(quote(OsStr::new(argument)), quoted, "{argument:?}");
        }
        assert_eq!(quote(OsStr::from_bytes(b"\xff 1.mp4")), r"$'\377 1.mp4'");
    }
}
