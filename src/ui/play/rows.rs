//! The state of a session, as rows that move or as a line.

use std::time::Duration;

use console::{Style as Paint, measure_text_width};

use crate::client::{Phase, Snapshot};
use crate::ui::screen::Row;
use crate::ui::text::{bit_rate, bytes, clock, fit, round_trip};

/// The fewest cells that still make a strip.
const MIN_CELLS: usize = 8;

/// The session at one moment.
pub(super) struct Moment {
    pub(super) look: Look,
    pub(super) snapshot: Snapshot,
    pub(super) rate: Option<f64>,
    pub(super) elapsed: Duration,
    pub(super) keys: bool,
}

/// How a state looks.
pub(super) struct Look {
    symbol: char,
    label: &'static str,
    color: &'static str,
}

pub(super) fn look(phase: Phase, failed: bool) -> Look {
    let (symbol, label, color) = match phase {
        _ if failed => ('✗', "failed", "red"),
        Phase::Connecting => ('◌', "connecting", "cyan"),
        Phase::Streaming => ('▶', "streaming", "green"),
        Phase::Paused => ('⏸', "paused", "yellow"),
        Phase::WaitingForSink => ('◷', "waiting for the player", "magenta"),
        Phase::Closed => ('■', "closed", "green"),
    };
    Look { symbol, label, color }
}

/// The two rows of bars mode.
pub(super) fn rows(moment: &Moment, width: usize) -> Vec<Row> {
    vec![Row::text(&strip_row(moment, width), width), Row::text(&figures_row(moment, width), width)]
}

/// The state, the chunks as they arrive, and how fast.
fn strip_row(moment: &Moment, width: usize) -> String {
    let Look { symbol, label, color } = moment.look;
    // Wide enough for the longest of the usual states, so that the strip stays where it is.
    let state = format!("{symbol} {label:<10}");
    let room = width.saturating_sub(measure_text_width(&state) + MIN_CELLS + 4);
    let rate = moment.rate.map(bit_rate).unwrap_or_default();
    let right = fit(&[format!("{rate:>10}"), format!("{:>5}", clock(moment.elapsed))], "  ", room);
    let taken = measure_text_width(&state) + measure_text_width(&right) + 4;
    let cells = strip(moment.snapshot.seq, width.saturating_sub(taken), color);
    let state = Paint::from_dotted_str(color).bold().apply_to(state);
    format!("{state}  {cells}  {right}")
}

/// One cell for each chunk, the newest one bright. At the right end it begins again at the left,
/// over the cells of the round before, from which a gap keeps it apart.
fn strip(seq: u32, width: usize, color: &str) -> String {
    let paint = Paint::from_dotted_str(color);
    let chunks = seq as usize;
    let Some(before) = chunks.checked_sub(1).and_then(|last| last.checked_rem(width)) else {
        return Paint::new().dim().apply_to("▱".repeat(width)).to_string();
    };
    let after = width - before - 1;
    let older = if chunks > width { after.saturating_sub(1) } else { 0 };
    let behind = "▱".repeat(after - older) + &"▰".repeat(older);
    let newest = paint.clone().bright().bold().apply_to("▰");
    let behind = paint.clone().dim().apply_to(behind);
    format!("{}{newest}{behind}", paint.apply_to("▰".repeat(before)))
}

/// The figures, and the keys at the right.
fn figures_row(moment: &Moment, width: usize) -> String {
    let width = width.saturating_sub(2);
    // The keys give way to the figures, and what was agreed gives way to the keys.
    let figures = fit(&figures(moment), " · ", width);
    let room = width.saturating_sub(measure_text_width(&figures));
    let keys = fit(&[keys(moment)], "", room.saturating_sub(2));
    let room = room - measure_text_width(&keys);
    let agreed = match moment.snapshot.bitrate {
        0 => String::new(),
        rate => fit(&[format!(" · agreed {}", bit_rate(rate.into()))], "", room.saturating_sub(2)),
    };
    let gap = " ".repeat(room - measure_text_width(&agreed));
    format!("  {figures}{agreed}{gap}{}", Paint::new().dim().apply_to(keys))
}

/// What the keys do, where there are any.
fn keys(moment: &Moment) -> String {
    let keys = match moment.snapshot.phase {
        _ if !moment.keys => "",
        Phase::Paused => "space resumes · q quits",
        _ => "space pauses · q quits",
    };
    keys.to_owned()
}

/// Chunks, bytes, and how the path is; most important first.
fn figures(moment: &Moment) -> [String; 4] {
    let Snapshot { seq, bytes: total, rtt, lost_packets, .. } = moment.snapshot;
    let rtt = rtt.map_or_else(|| "–".to_owned(), round_trip);
    [format!("chunk {seq}"), bytes(total), format!("rtt {rtt}"), format!("lost {lost_packets}")]
}

/// The line that plain mode prints once a second.
pub(super) fn line(moment: &Moment) -> String {
    let [chunk, bytes, rtt, lost] = figures(moment);
    let rate = moment.rate.map(|rate| format!(", {}", bit_rate(rate))).unwrap_or_default();
    format!("{} {chunk}, {bytes}{rate}, {rtt}, {lost}", moment.look.label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(phase: Phase, seq: u32, figure: u64, rate: Option<f64>) -> Moment {
        let snapshot = Snapshot {
            phase,
            seq,
            bytes: figure,
            bitrate: 500_000,
            rtt: Some(Duration::from_micros(312)),
            lost_packets: figure,
        };
        let elapsed = Duration::from_secs(figure);
        Moment { look: look(phase, false), snapshot, rate, elapsed, keys: true }
    }

    fn drawn(moment: &Moment, width: usize) -> Vec<String> {
        rows(moment, width).into_iter().map(|row| row.left).collect()
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        let phases = [
            Phase::Connecting,
            Phase::Streaming,
            Phase::Paused,
            Phase::WaitingForSink,
            Phase::Closed,
        ];
        for (phase, width) in phases.iter().flat_map(|phase| (1..=200).map(move |w| (*phase, w))) {
            for (seq, figure) in [(0, 0), (1, 1), (8, 524_288), (u32::MAX, u64::MAX)] {
                for row in drawn(&moment(phase, seq, figure, Some(13.4e9)), width) {
                    assert!(measure_text_width(&row) <= width, "{width}: {row}");
                }
            }
        }
    }

    #[test]
    fn the_least_important_figures_go_first() {
        let mut moment = moment(Phase::Streaming, 5, 3, Some(498e3));
        moment.snapshot.bytes = 327_680;
        let figures = |width| drawn(&moment, width).remove(1).trim().to_owned();
        assert_eq!(figures(30), "chunk 5 · 320 KiB");
        assert_eq!(figures(60), "chunk 5 · 320 KiB · rtt 0.31 ms · lost 3");
        assert!(figures(80).starts_with("chunk 5 · 320 KiB · rtt 0.31 ms · lost 3   "));
        assert!(figures(80).ends_with("   space pauses · q quits"));
        assert!(figures(160).contains(" · lost 3 · agreed 500 kbit/s   "));

        let strip = |width| drawn(&moment, width).remove(0);
        assert_eq!(strip(40), "▶ streaming   ▰▰▰▰▰▱▱▱▱▱▱▱▱▱  498 kbit/s");
        assert!(strip(80).ends_with("▱  498 kbit/s   0:03"));
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

    #[test]
    fn off_a_terminal_there_is_a_line() {
        let mut moment = moment(Phase::Streaming, 5, 0, Some(498e3));
        moment.snapshot.bytes = 327_680;
        let text = "streaming chunk 5, 320 KiB, 498 kbit/s, rtt 0.31 ms, lost 0";
        assert_eq!(line(&moment), text);
    }
}
