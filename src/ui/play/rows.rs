//! The state of a play, as rows that move.

use console::{Style, measure_text_width};

use super::status::Status;
use crate::client::{PlayPhase, Snapshot};
use crate::ui::bar::{Bar, Row};
use crate::ui::text::{clock, fit, percent};

/// The fewest cells that still make a strip or a bar.
const MIN_CELLS: usize = 8;

/// The two rows of bars mode.
pub(super) fn rows(status: &Status, width: usize) -> Vec<Row> {
    let first = match status.snapshot.size {
        Some(size) => bar_row(status, size, width),
        None => Row::text(&strip_row(status, width), width),
    };
    vec![first, Row::text(&figures_row(status, width), width)]
}

/// The phase and its colour. Wide enough for the longest of the usual ones, so that the cells behind
/// it stay where they are.
fn state(status: &Status) -> (String, &'static str) {
    let (symbol, phase, color) = status.phase();
    (format!("{symbol} {phase:<10}"), color)
}

/// The state, how much of the whole is there, how fast the rest comes and when it will be there.
fn bar_row(status: &Status, size: u64, width: usize) -> Row {
    let (state, color) = state(status);
    let left = format!("{}  ", Style::from_dotted_str(color).bold().apply_to(&state));
    let Some(room) = width.checked_sub(measure_text_width(&left) + MIN_CELLS + 2) else {
        return Row::text(&left, width);
    };
    let done = status.snapshot.position;
    let mut fields = vec![
        format!("{:>4}", format!("{}%", percent(done, size))),
        format!("{:>10}", status.pace()),
        format!("{:>5}", clock(status.elapsed)),
    ];
    // While it lasts the place is kept, so that the bar's end stays where it is.
    if status.snapshot.phase != PlayPhase::Closed {
        fields.push(format!("{:<9}", status.eta().unwrap_or_default()));
    }
    let bar = Bar { done: done.min(size), total: size, color };
    Row { left, bar: Some(bar), right: format!("  {}", fit(&fields, "  ", room)) }
}

/// The state, the chunks as they arrive, and how fast.
fn strip_row(status: &Status, width: usize) -> String {
    let (state, color) = state(status);
    let room = width.saturating_sub(measure_text_width(&state) + MIN_CELLS + 4);
    let pace = format!("{:>10}", status.pace());
    let right = fit(&[pace, format!("{:>5}", clock(status.elapsed))], "  ", room);
    let taken = measure_text_width(&state) + measure_text_width(&right) + 4;
    let cells = strip(status.snapshot.seq, width.saturating_sub(taken), color);
    let state = Style::from_dotted_str(color).bold().apply_to(state);
    format!("{state}  {cells}  {right}")
}

/// One cell for each chunk, the newest one bright. At the right end it begins again at the left,
/// over the cells of the round before, from which a gap keeps it apart.
fn strip(seq: u32, width: usize, color: &str) -> String {
    let paint = Style::from_dotted_str(color);
    let chunks = seq as usize;
    let Some(before) = chunks.checked_sub(1).and_then(|last| last.checked_rem(width)) else {
        return Style::new().dim().apply_to("▱".repeat(width)).to_string();
    };
    let after = width - before - 1;
    let older = if chunks > width { after.saturating_sub(1) } else { 0 };
    let behind = "▱".repeat(after - older) + &"▰".repeat(older);
    let newest = paint.clone().bright().bold().apply_to("▰");
    let behind = paint.clone().dim().apply_to(behind);
    format!("{}{newest}{behind}", paint.apply_to("▰".repeat(before)))
}

/// A field of the second row, and its rank: the highest are left out first.
type Ranked = (u8, String);

/// The rank of the keys among the figures.
const KEYS: u8 = 4;

/// The figures, and the keys at the right.
fn figures_row(status: &Status, width: usize) -> String {
    let width = width.saturating_sub(2);
    let figures = figures(status);
    let room = width.saturating_sub(measure_text_width(&fit_ranked(&figures, KEYS, width)) + 2);
    let keys = keys(status).into_iter().find(|keys| measure_text_width(keys) <= room);
    let keys = keys.unwrap_or_default();
    let taken = if keys.is_empty() { 0 } else { measure_text_width(keys) + 2 };
    let figures = fit_ranked(&figures, u8::MAX, width - taken);
    let gap = width - measure_text_width(&figures) - measure_text_width(keys);
    format!("  {figures}{}{}", " ".repeat(gap), Style::new().dim().apply_to(keys))
}

/// Joins as many of the fields below a rank as fit the width.
fn fit_ranked(all: &[Ranked], below: u8, width: usize) -> String {
    let fields = all.iter().filter(|(rank, _)| *rank < below);
    let texts: Vec<_> = fields.clone().map(|(_, text)| text.as_str()).collect();
    let line = texts.join(" · ");
    match fields.map(|(rank, _)| *rank).max() {
        Some(highest) if measure_text_width(&line) > width => fit_ranked(all, highest, width),
        _ => line,
    }
}

/// What the keys do, where there are any: at length, and in short.
fn keys(status: &Status) -> [&'static str; 2] {
    match status.snapshot.phase {
        _ if !status.has_keys => [""; 2],
        PlayPhase::Paused => ["space resumes · q quits", "␣ resume · q quit"],
        _ => ["space pauses · q quits", "␣ pause · q quit"],
    }
}

/// What has come, the state of the path, and what was agreed.
fn figures(status: &Status) -> Vec<Ranked> {
    let Snapshot { seq, lost_packets, .. } = status.snapshot;
    let version = status.version.map(|version| format!("v{}", version.number()));
    let fields = [
        (0, Some(format!("chunk {seq}"))),
        (1, Some(status.amount())),
        (1, status.behind()),
        (KEYS + 1, status.kept()),
        (KEYS + 2, status.byte_rate()),
        (2, Some(status.rtt())),
        (KEYS + 2, status.echo()),
        (3, Some(format!("lost {lost_packets} own"))),
        (KEYS, version),
        (KEYS + 1, status.terms()),
    ];
    fields.into_iter().filter_map(|(rank, text)| Some((rank, text?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::Version;

    fn status(phase: PlayPhase, seq: u32, figure: u64, rate: Option<f64>) -> Status {
        let snapshot = Snapshot {
            phase,
            seq,
            bytes: figure,
            position: figure,
            bitrate: 500_000,
            rtt: Some(Duration::from_micros(312)),
            lost_packets: figure,
            ..Snapshot::default()
        };
        let (version, attempt, elapsed) = (Some(Version::V1), seq, Duration::from_secs(figure));
        Status { snapshot, failed: false, rate, version, attempt, elapsed, has_keys: true }
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        let phases = [
            PlayPhase::Connecting,
            PlayPhase::Streaming,
            PlayPhase::Paused,
            PlayPhase::WaitingForSink,
            PlayPhase::Reconnecting,
            PlayPhase::Closed,
        ];
        for (phase, width) in phases.iter().flat_map(|phase| (1..=200).map(move |w| (*phase, w))) {
            for (seq, figure) in [(0, 0), (1, 1), (8, 524_288), (u32::MAX, u64::MAX)] {
                for size in [None, Some(0), Some(524_288), Some(u64::MAX)] {
                    let mut status = status(phase, seq, figure, Some(13.4e9));
                    status.snapshot.size = size;
                    status.snapshot.echo = size.map(|_| Duration::from_micros(800));
                    for row in rows(&status, width) {
                        let bar = if row.bar.is_some() { MIN_CELLS } else { 0 };
                        let texts = measure_text_width(&row.left) + measure_text_width(&row.right);
                        assert!(texts + bar <= width, "{width}: {row:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_least_important_figures_go_first() {
        let mut status = status(PlayPhase::Streaming, 5, 3, Some(498e3));
        status.snapshot.bytes = 327_680;
        let figures = |status: &Status, width| figures_row(status, width).trim().to_owned();
        assert_eq!(figures(&status, 30), "chunk 5 · 320 KiB");
        let least = "chunk 5 · 320 KiB · rtt 0.31 ms · lost 3 own";
        assert_eq!(figures(&status, 47), least);
        assert_eq!(figures(&status, 54), format!("{least} · v1"));
        assert_eq!(figures(&status, 65), format!("{least}   ␣ pause · q quit"));
        assert_eq!(figures(&status, 71), format!("{least}   space pauses · q quits"));
        assert_eq!(figures(&status, 75), format!("{least} · v1  space pauses · q quits"));
        assert!(figures(&status, 104).starts_with(&format!("{least} · v1 · paced 500 kbit/s   ")));
        status.snapshot.size = Some(20 << 20);
        status.snapshot.echo = Some(Duration::from_micros(800));
        status.snapshot.position = 1_310_720;
        assert_eq!(
            figures(&status, 80),
            "chunk 5 · 1.25 MiB of 20 MiB · rtt 0.31 ms · lost 3 own · v1  ␣ pause · q quit"
        );
        let all = "chunk 5 · 1.25 MiB of 20 MiB · 60.8 KiB/s · rtt 0.31 ms · echo 0.80 ms · lost 3 own · v1 · paced 500 kbit/s   ";
        assert!(figures(&status, 160).starts_with(all));
        assert!(figures(&status, 160).ends_with("   space pauses · q quits"));
    }

    #[test]
    fn the_first_row_is_a_strip_or_where_the_size_is_known_a_bar() {
        let mut status = status(PlayPhase::Streaming, 5, 3, Some(498e3));
        let strip = |width| strip_row(&status, width);
        assert_eq!(strip(40), "▶ streaming   ▰▰▰▰▰▱▱▱▱▱▱▱▱▱  498 kbit/s");
        assert!(strip(80).ends_with("▱  498 kbit/s   0:03"));

        status.snapshot.position = 1_310_720;
        status.snapshot.size = Some(20 << 20);
        let row = |status: &Status, width| bar_row(status, 20 << 20, width);
        let (at_40, at_80) = (row(&status, 40), row(&status, 80));
        let bar = Bar { done: 1_310_720, total: 20 << 20, color: "green" };
        assert_eq!((at_40.left.as_str(), at_40.bar), ("▶ streaming   ", Some(bar)));
        assert_eq!(at_40.right, "    6%  498 kbit/s");
        assert_eq!(at_80.right, "    6%  498 kbit/s   0:03  ETA 5:16 ");
        let with = |phase| Status {
            snapshot: Snapshot { phase, ..status.snapshot },
            rate: None,
            ..status
        };
        assert_eq!(row(&with(PlayPhase::Paused), 80).right, "    6%               0:03           ");
        assert_eq!(row(&with(PlayPhase::Closed), 80).right, "    6%               0:03");
        let outage = row(&with(PlayPhase::Reconnecting), 80);
        assert_eq!(
            (outage.left.as_str(), outage.right.as_str()),
            ("↻ reconnecting  ", "    6%       try 5   0:03           ")
        );
        assert_eq!(row(&status, 16).bar, None);
    }

    #[test]
    fn every_chunk_moves_the_strip() {
        assert_eq!(strip(0, 4, "green"), "▱▱▱▱");
        assert_eq!(strip(1, 4, "green"), "▰▱▱▱");
        assert_eq!(strip(4, 4, "green"), "▰▰▰▰");
        assert_eq!(strip(5, 4, "green"), "▰▱▰▰");
        assert_eq!(strip(7, 4, "green"), "▰▰▰▱");
        assert_eq!(strip(8, 4, "green"), "▰▰▰▰");
        assert_eq!(strip(9, 0, "green"), "");
    }
}
