//! Figures, and text from outside, as people read them.

use std::borrow::Cow;
use std::time::Duration;

use console::measure_text_width;

use crate::protocol::Digest;

/// Makes text from outside, such as a peer's words or a file's name, safe to print: control
/// characters and those that turn the direction of writing become `\u{..}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_the_terminal) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::new();
    for char in text.chars() {
        match acts_on_the_terminal(char) {
            true => safe.extend(char.escape_unicode()),
            false => safe.push(char),
        }
    }
    Cow::Owned(safe)
}

/// Returns whether a character is a control, a line end, or turns the direction of writing.
fn acts_on_the_terminal(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Formats a digest as `b3sum` prints it.
pub(super) fn hex(digest: Digest) -> String {
    blake3::Hash::from_bytes(digest).to_hex().to_string()
}

/// Formats bytes to three digits: `64 KiB`, `1.25 MiB`.
pub(super) fn bytes(count: u64) -> String {
    scaled(count as f64, 1024.0, "B", &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Formats bit/s to three digits: `498 kbit/s`.
pub(super) fn bit_rate(bits: f64) -> String {
    scaled(bits, 1000.0, "bit/s", &["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

fn scaled(mut value: f64, step: f64, mut unit: &'static str, larger: &[&'static str]) -> String {
    for next in larger {
        // What would round to a whole step belongs to the next unit.
        if value.round() < step {
            break;
        }
        value /= step;
        unit = next;
    }
    let decimals = match value {
        _ if value.fract() == 0.0 || value >= 99.95 => 0,
        _ if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

/// Returns a part of a whole in whole percent, which are 100 only where nothing is missing.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let hundredths = u128::from(part.min(whole)) * 100;
    hundredths.checked_div(whole.into()).map_or(100, |percent| percent as u64)
}

/// Formats how long something took: `2.0 s`, from a minute on as [`clock`].
pub(super) fn length(time: Duration) -> String {
    if time.as_secs() < 60 { format!("{:.1} s", time.as_secs_f64()) } else { clock(time) }
}

/// Formats how long something has been going on: `0:07`, `1:02:03`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Formats a round trip: `0.31 ms`, `120 ms`.
pub(super) fn round_trip(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    let decimals = if millis < 10.0 { 2 } else { 0 };
    format!("{millis:.decimals$} ms")
}

/// Formats how many there are of something: `1 session`, `12 sessions`.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Joins as many fields as fit the width, most important first: from the first that does not fit on
/// they are left out.
pub(super) fn fit(fields: &[String], between: &str, width: usize) -> String {
    let joined = |count| Some(fields.get(..count)?.join(between));
    let mut lines = (0..=fields.len()).rev().filter_map(joined);
    lines.find(|line| measure_text_width(line) <= width).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_nothing_else() {
        for harmless in ["", "clip.mp4", "Frühling – 春 🎬", "a\\b"] {
            assert!(matches!(escape(harmless), Cow::Borrowed(same) if same == harmless));
        }
        for (text, safe) in [
            ("\x1b[2Jgone", r"\u{1b}[2Jgone"),
            ("two\nlines\r\t", r"two\u{a}lines\u{d}\u{9}"),
            ("del\x7f", r"del\u{7f}"),
            ("c1\u{9b}31m", r"c1\u{9b}31m"),
            ("evil\u{202e}4pm.exe", r"evil\u{202e}4pm.exe"),
            ("\u{2066}isolated\u{2069}", r"\u{2066}isolated\u{2069}"),
            ("\u{61c}\u{200f}\u{2028}", r"\u{61c}\u{200f}\u{2028}"),
        ] {
            assert_eq!(escape(text), safe);
        }
    }

    #[test]
    fn figures_have_three_digits_and_the_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (65_536, "64 KiB"),
            (1_310_720, "1.25 MiB"),
            (12_900_000, "12.3 MiB"),
            (1_048_575, "1.00 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (part, whole, parts) in
            [(0, 9, 0), (u64::MAX - 1, u64::MAX, 99), (9, 9, 100), (9, 8, 100), (0, 0, 100)]
        {
            assert_eq!(percent(part, whole), parts);
        }
        assert_eq!(bit_rate(498_213.0), "498 kbit/s");
        assert_eq!(bit_rate(999_700.0), "1.00 Mbit/s");
        assert_eq!(bit_rate(13.4e9), "13.4 Gbit/s");
    }

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(length(Duration::from_millis(2049)), "2.0 s");
        assert_eq!(length(Duration::from_secs(61)), "1:01");
        assert_eq!(clock(Duration::from_secs(7)), "0:07");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(round_trip(Duration::from_micros(312)), "0.31 ms");
        assert_eq!(round_trip(Duration::from_millis(120)), "120 ms");
    }

    #[test]
    fn the_least_important_fields_go_first() {
        let fields = ["chunk 5", "64 KiB", "lost 0"].map(String::from);
        assert_eq!(fit(&fields, " · ", 26), "chunk 5 · 64 KiB · lost 0");
        assert_eq!(fit(&fields, " · ", 24), "chunk 5 · 64 KiB");
        assert_eq!(fit(&fields, " · ", 8), "chunk 5");
        assert_eq!(fit(&fields, " · ", 3), "");
    }
}
