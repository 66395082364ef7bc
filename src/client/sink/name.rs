//! The name that a title gives a file.

use std::path::PathBuf;

/// The longest name, bytes: most file systems take 255, and a provisional name is longer.
const LONGEST: usize = 250;

/// The longest ending that a name keeps when it is cut, bytes.
const LONGEST_EXTENSION: usize = 32;

/// How the names end of what is kept beside a file that is not complete.
const RESERVED: [&str; 3] = [".part", ".part.json", ".part.json~"];

/// The name of a title that leaves nothing to name a file by.
const NAMELESS: &str = "media";

/// The name for a file of this title: the last part of it, in which what a shell, a terminal or a
/// directory listing would take for something else is replaced by `_`. The title may be a hostile
/// server's: whatever it is, the name is one of a plain, visible file.
pub(super) fn file_name(title: &str) -> String {
    let last = title.split('/').map(str::trim).rfind(|part| !part.is_empty()).unwrap_or(NAMELESS);
    let mut name: String =
        last.chars().map(|char| if is_plain(char) { char } else { '_' }).collect();
    // A dot would hide it, and a dash make an option of it.
    if name.starts_with(['.', '-']) {
        name.replace_range(..1, "_");
    }
    let mut name = shortened(&name);
    // As a file system sees it that ignores case.
    let lower = name.to_ascii_lowercase();
    if let Some(suffix) = RESERVED.into_iter().find(|suffix| lower.ends_with(suffix)) {
        let dot = name.len() - suffix.len();
        name.replace_range(dot..=dot, "_");
    }
    name
}

/// The path for a file of this title below a directory: each part of it as [`file_name`] has it.
pub(in crate::client) fn relative_path(title: &str) -> PathBuf {
    let parts: PathBuf = title.split('/').filter(|part| !part.is_empty()).map(file_name).collect();
    if parts.as_os_str().is_empty() { NAMELESS.into() } else { parts }
}

/// Neither acts on a terminal nor changes the direction of what stands beside it.
fn is_plain(char: char) -> bool {
    !char.is_control()
        && !matches!(
            char,
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// A name of at most [`LONGEST`] bytes with the same extension.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if name.len() - dot <= LONGEST_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    };
    let room = stem.floor_char_boundary(LONGEST - extension.len());
    format!("{}{extension}", stem.split_at(room).0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_part_of_a_title_names_the_file() {
        for (title, name) in [
            ("film.mp4", "film.mp4"),
            ("films/2024/a b.mp4", "a b.mp4"),
            ("films/", "films"),
            ("Ünï/日本.webm", "日本.webm"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("a\\b", "a\\b"),
            ("film.renditions", "film.renditions"),
            ("", "media"),
            ("///", "media"),
            (" / ", "media"),
            ("  padded.mp4 ", "padded.mp4"),
            (".", "_"),
            ("..", "_."),
            ("a/..", "_."),
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("--output=x", "_-output=x"),
            ("a\0b\n.mp4", "a_b_.mp4"),
            ("\x1b[2J.mp4", "_[2J.mp4"),
            ("evil\u{202e}4pm.exe", "evil_4pm.exe"),
            ("film.part", "film_part"),
            ("film.mp4.PART", "film.mp4_PART"),
            ("film.part.json", "film_part.json"),
            ("film.part.json~", "film_part.json~"),
            (".part", "_part"),
        ] {
            assert_eq!(file_name(title), name, "{title:?}");
        }
    }

    #[test]
    fn a_long_title_is_cut_before_its_extension() {
        let long = "春".repeat(100);
        assert_eq!(file_name(&format!("{long}.mp4")), format!("{}.mp4", "春".repeat(82)));
        assert_eq!(file_name(&long), "春".repeat(83));
        let no_extension = format!("a.{}", "b".repeat(300));
        assert_eq!(file_name(&no_extension), no_extension.split_at(LONGEST).0);
        // What the cut leaves is looked at, too.
        let reserved = format!("{}.part{}", "a".repeat(LONGEST - 5), "b".repeat(40));
        assert!(file_name(&reserved).ends_with("a_part"));
    }

    fn assert_safe(title: &str) {
        let name = file_name(title);
        assert!((1..=LONGEST).contains(&name.len()), "{name:?}");
        assert!(!name.contains('/') && name.chars().all(is_plain), "{name:?}");
        assert!(!name.starts_with(['.', '-']), "{name:?}");
        let lower = name.to_lowercase();
        assert!(!RESERVED.iter().any(|suffix| lower.ends_with(suffix)), "{name:?}");
    }

    proptest! {
        #[test]
        fn any_title_gives_a_safe_name(title in any::<String>()) {
            assert_safe(&title);
        }

        #[test]
        fn so_does_one_made_of_what_is_dangerous(
            title in prop::collection::vec(
                prop::sample::select(vec![
                    "/", ".", "..", "-", "\0", "\n", "~", " ", ".part", ".PART.json", "a", "春",
                    "\u{202e}", &*"x".repeat(245).leak(),
                ]),
                0..8,
            )
        ) {
            assert_safe(&title.concat());
        }
    }
}
