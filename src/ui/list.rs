//! A server's catalogue, for people and for programs.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use console::{Alignment, measure_text_width, pad_str};

use super::text::{bit_rate, bytes, clock, escape};
use crate::client::Title;

/// What stands where the server said nothing.
const UNKNOWN: &str = "–";
const GAP: &str = "  ";

/// A heading, and the cell below it for a title.
type Column = (&'static str, Alignment, fn(&Title, SystemTime) -> Option<String>);

const COLUMNS: [Column; 3] = [
    ("TITLE", Alignment::Left, |entry, _| Some(escape(&entry.title).into_owned())),
    ("SIZE", Alignment::Right, |entry, _| entry.size.map(bytes)),
    ("TYPE", Alignment::Left, |entry, _| Some(escape(entry.media_type.as_deref()?).into_owned())),
];
const BITRATE: Column =
    ("BITRATE", Alignment::Right, |entry, _| entry.bitrate.map(|rate| bit_rate(rate.into())));
const LIVE: Column = ("LIVE", Alignment::Left, |entry, now| {
    Some(match (entry.live, entry.since) {
        (false, _) => String::new(),
        (true, None) => "waiting".to_owned(),
        (true, Some(since)) => {
            let began = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since));
            let on = began.and_then(|began| now.duration_since(began).ok()).unwrap_or_default();
            format!("for {}", clock(on))
        }
    })
});

/// Prints titles in the order given: as an aligned table under a heading, or with `json` as one
/// object a line. Bitrates, and how long what is live has been on the air, have a column only where
/// some title has them.
///
/// # Errors
/// `out` cannot be written.
pub(crate) fn titles(entries: &[Title], json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        return entries.iter().try_for_each(|entry| {
            serde_json::to_writer(&mut *out, entry)?;
            out.write_all(b"\n")
        });
    }
    let bitrate = entries.iter().any(|entry| entry.bitrate.is_some()).then_some(BITRATE);
    let live = entries.iter().any(|entry| entry.live).then_some(LIVE);
    let now = SystemTime::now();
    let mut lines = vec![String::new(); entries.len() + 1];
    for (heading, alignment, cell) in COLUMNS.into_iter().chain(bitrate).chain(live) {
        let below =
            entries.iter().map(|entry| cell(entry, now).unwrap_or_else(|| UNKNOWN.to_owned()));
        let cells: Vec<_> = std::iter::once(heading.to_owned()).chain(below).collect();
        let width = cells.iter().map(|cell| measure_text_width(cell)).max().unwrap_or_default();
        for (line, cell) in lines.iter_mut().zip(cells) {
            *line += &pad_str(&cell, width, alignment, None);
            *line += GAP;
        }
    }
    lines.iter().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(title: &str, size: Option<u64>, media_type: Option<&str>) -> Title {
        let media_type = media_type.map(String::from);
        Title { title: title.into(), size, media_type, ..Title::default() }
    }

    fn printed(entries: &[Title], json: bool) -> String {
        let mut out = Vec::new();
        titles(entries, json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_as_wide_as_its_titles_look() {
        let entries = [
            title("film.mp4", Some(20 << 20), Some("video/mp4")),
            title("春/夏🎬.webm", Some(1_310_720), Some("video/webm")),
            title("\x1b[2Jgone", None, None),
        ];
        assert_eq!(
            printed(&entries, false),
            "TITLE              SIZE  TYPE\n\
             film.mp4         20 MiB  video/mp4\n\
             春/夏🎬.webm   1.25 MiB  video/webm\n\
             \\u{1b}[2Jgone         –  –\n"
        );
    }

    #[test]
    fn bitrate_and_live_have_columns_where_there_are_any() {
        let film = Title { bitrate: Some(500_000), ..title("a", Some(1), Some("video/mp4")) };
        let waiting = Title { live: true, ..title("b", None, Some("video/mp2t")) };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let (title, bitrate, since) = ("c".to_owned(), Some(1_200_000), Some(now - 192_300));
        let live = Title { title, bitrate, since, ..waiting.clone() };
        assert_eq!(
            printed(&[film.clone(), waiting.clone(), live], false),
            "TITLE  SIZE  TYPE            BITRATE  LIVE\n\
             a       1 B  video/mp4    500 kbit/s\n\
             b         –  video/mp2t            –  waiting\n\
             c         –  video/mp2t  1.20 Mbit/s  for 3:12\n"
        );
        let live = Title { since: Some(7), ..waiting.clone() };
        assert_eq!(
            printed(&[film, waiting, live], true),
            "{\"title\":\"a\",\"size\":1,\"type\":\"video/mp4\",\"bitrate\":500000}\n\
             {\"title\":\"b\",\"size\":null,\"type\":\"video/mp2t\",\"live\":true}\n\
             {\"title\":\"b\",\"size\":null,\"type\":\"video/mp2t\",\"live\":true,\"since\":7}\n"
        );
    }

    #[test]
    fn an_empty_catalogue_is_a_heading_and_no_object() {
        assert_eq!(printed(&[], false), "TITLE  SIZE  TYPE\n");
        assert_eq!(printed(&[], true), "");
    }
}
