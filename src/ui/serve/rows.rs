//! The running sessions, as rows that move.

use std::net::SocketAddr;

use console::{Style as Paint, measure_text_width, truncate_str};

use crate::server::Phase;
use crate::ui::screen::{Bar, Row};
use crate::ui::text::{bit_rate, bytes, count, fit, percent};

/// The narrowest bar that still shows something.
const MIN_BAR: usize = 10;

/// All sessions at one moment.
pub(super) struct Summary {
    pub(super) running: u64,
    pub(super) streaming: u64,
    pub(super) closed: u64,
    pub(super) bytes: u64,
    pub(super) rate: Option<f64>,
}

impl Summary {
    /// Most important first.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields =
            vec![count(self.running, "session"), format!("{} streaming", self.streaming)];
        fields.extend(self.rate.map(bit_rate));
        fields.push(self.past());
        fields
    }

    /// What has been done since the start.
    fn past(&self) -> String {
        format!("{} sent, {} closed", bytes(self.bytes), count(self.closed, "session"))
    }
}

/// One session at one moment.
pub(super) struct Lane {
    pub(super) session: u32,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    pub(super) seq: u32,
    pub(super) bytes: u64,
    pub(super) total: u64,
    pub(super) rate: Option<f64>,
}

/// The rows of bars mode: the sessions, then the sum.
pub(super) fn rows(lanes: &[Lane], summary: &Summary, width: usize) -> Vec<Row> {
    let digits = lanes.iter().map(|lane| lane.session.to_string().len()).max().unwrap_or_default();
    let names: Vec<_> = lanes.iter().map(|lane| name(lane, digits, width)).collect();
    let longest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or_default();
    let lanes = lanes.iter().zip(names).map(|(lane, name)| lane_row(lane, &name, longest, width));
    lanes.chain([summary_row(summary, width)]).collect()
}

/// The session's number and peer; an address too long for a third of the row is cut.
fn name(lane: &Lane, digits: usize, width: usize) -> String {
    let name = format!("{:>digits$} {}", lane.session, lane.peer);
    truncate_str(&name, (width / 3).max(12), "…").into_owned()
}

/// A row that is a session. All of them drop the same fields, so that bars stay below each other.
fn lane_row(lane: &Lane, name: &str, longest: usize, width: usize) -> Row {
    let (symbol, word, color) = match lane.phase {
        Phase::Streaming => ('▶', "", "green"),
        Phase::Paused => ('⏸', "paused", "yellow"),
        Phase::Closing => ('■', "closing", "cyan"),
    };
    let pace = match lane.rate {
        Some(rate) if lane.phase == Phase::Streaming => bit_rate(rate),
        _ => word.to_owned(),
    };
    let taken = 2 + longest + 1 + MIN_BAR + 1;
    let symbol = Paint::from_dotted_str(color).apply_to(symbol);
    let left = format!("{symbol} {name}{} ", " ".repeat(longest - measure_text_width(name)));
    let Some(room) = width.checked_sub(taken) else { return Row::text(&left, width) };
    let fields = [
        format!("{:>4}", format!("{}%", percent(lane.bytes, lane.total))),
        format!("{pace:>10}"),
        format!("{:>8}", bytes(lane.bytes)),
        format!("chunk {:<6}", lane.seq),
    ];
    let bar = Bar { done: lane.bytes, total: lane.total, color };
    Row { left, bar: Some(bar), right: format!(" {}", fit(&fields, "  ", room)) }
}

/// The row that is the sum of all sessions.
fn summary_row(summary: &Summary, width: usize) -> Row {
    let (symbol, color, fields) = match summary.running {
        0 => ('◌', "cyan", vec!["waiting for clients".to_owned(), summary.past()]),
        _ => ('●', "green", summary.fields()),
    };
    let symbol = Paint::from_dotted_str(color).apply_to(symbol);
    let text = fit(&fields, " · ", width.saturating_sub(2));
    Row::text(&format!("{symbol} {text}"), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(session: u32, peer: &str, phase: Phase, bytes: u64) -> Lane {
        let (peer, seq, total) = (peer.parse().unwrap(), session, 524_288);
        Lane { session, peer, phase, seq, bytes, total, rate: Some(498e3) }
    }

    fn lanes() -> Vec<Lane> {
        let long = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:50000";
        vec![
            lane(u32::MAX, long, Phase::Streaming, u64::MAX),
            lane(12, "127.0.0.1:50001", Phase::Paused, 327_680),
            lane(9, "127.0.0.1:50002", Phase::Closing, 524_288),
        ]
    }

    fn summary() -> Summary {
        Summary { running: 12, streaming: 11, closed: 3, bytes: 1 << 30, rate: Some(5.49e6) }
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        for width in 1..=200 {
            for row in rows(&lanes(), &summary(), width) {
                let bar = if row.bar.is_some() { MIN_BAR } else { 0 };
                let texts = measure_text_width(&row.left) + measure_text_width(&row.right);
                assert!(texts + bar <= width, "{width}: {row:?}");
            }
        }
    }

    #[test]
    fn all_sessions_show_the_same_fields() {
        let right = |width| {
            let rows = rows(&lanes()[1..], &summary(), width).into_iter();
            rows.filter(|row| row.bar.is_some()).map(|row| row.right).collect::<Vec<_>>()
        };
        assert_eq!(right(40), ["  62%", " 100%"]);
        assert_eq!(right(60), ["  62%      paused   320 KiB", " 100%     closing   512 KiB"]);
        assert_eq!(
            right(80),
            [
                "  62%      paused   320 KiB  chunk 12    ",
                " 100%     closing   512 KiB  chunk 9     "
            ]
        );
    }

    #[test]
    fn the_sum_of_all_sessions() {
        let text = |width| rows(&[], &summary(), width).remove(0).left;
        assert_eq!(
            text(80),
            "● 12 sessions · 11 streaming · 5.49 Mbit/s · 1 GiB sent, 3 sessions closed"
        );
        assert_eq!(text(40), "● 12 sessions · 11 streaming");
        let idle = Summary { running: 0, streaming: 0, rate: None, ..summary() };
        let idle = rows(&[], &idle, 80).remove(0).left;
        assert_eq!(idle, "◌ waiting for clients · 1 GiB sent, 3 sessions closed");
    }
}
