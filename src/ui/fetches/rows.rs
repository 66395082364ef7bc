//! The running fetches, as rows that move.

use console::{Style, measure_text_width, truncate_str};

use super::Terms;
use crate::client::PlayPhase;
use crate::ui::bar::{Bar, Row};
use crate::ui::text::{bit_rate, bytes, count, escape, fit};

/// The narrowest bar that still shows something.
const MIN_BAR: usize = 10;

/// All fetches at one time.
pub(super) struct Summary {
    pub(super) terms: Terms,
    pub(super) running: u64,
    /// Since the start.
    pub(super) total: u64,
    pub(super) bytes: u64,
    /// bit/s, where it is known.
    pub(super) rate: Option<f64>,
}

/// One fetch at one time.
pub(super) struct FetchStatus {
    pub(super) number: u32,
    pub(super) title: String,
    /// The first byte.
    pub(super) start: u64,
    /// The byte after the last one.
    pub(super) end: Option<u64>,
    pub(super) phase: PlayPhase,
    pub(super) bytes: u64,
    /// bit/s, where it is known.
    pub(super) rate: Option<f64>,
}

/// The rows of bars mode: fetches, the number of those that have no row, and the sum.
pub(super) fn rows(fetches: &[FetchStatus], summary: &Summary, width: usize) -> Vec<Row> {
    let names: Vec<_> = fetches.iter().map(|fetch| name(fetch, width)).collect();
    let longest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0);
    let rows = fetches.iter().zip(&names);
    let rows = rows.map(|(fetch, name)| fetch_row(fetch, name, longest, width));
    let more = summary.running.saturating_sub(fetches.len() as u64);
    let more = (more > 0 && !fetches.is_empty()).then(|| {
        Row::text(&Style::new().dim().apply_to(format!("  {more} more")).to_string(), width)
    });
    rows.chain(more).chain([summary_row(summary, width)]).collect()
}

fn name(fetch: &FetchStatus, width: usize) -> String {
    let name = format!("{} {}", fetch.number, escape(&fetch.title));
    truncate_str(&name, (width / 2).max(12), "…").into_owned()
}

fn fetch_row(fetch: &FetchStatus, name: &str, longest: usize, width: usize) -> Row {
    let (symbol, phase, color) = match fetch.phase {
        PlayPhase::Streaming => ('▶', "", "green"),
        PlayPhase::Paused | PlayPhase::WaitingForSink => ('⏸', "waiting", "yellow"),
        PlayPhase::Connecting => ('◌', "opening", "cyan"),
        PlayPhase::Reconnecting => ('↻', "lost", "yellow"),
        PlayPhase::Closed => ('■', "closing", "cyan"),
    };
    let pace = match fetch.rate {
        Some(rate) if fetch.phase == PlayPhase::Streaming => bit_rate(rate),
        _ => phase.to_owned(),
    };
    let symbol = Style::from_dotted_str(color).apply_to(symbol);
    let left = format!("{symbol} {name}{} ", " ".repeat(longest - measure_text_width(name)));
    let taken = 2 + longest + 1 + MIN_BAR + 1;
    let Some(room) = width.checked_sub(taken) else { return Row::text(&left, width) };
    let fields = [
        format!("{pace:>10}"),
        format!("{:>8}", bytes(fetch.bytes)),
        format!("from {}", bytes(fetch.start)),
    ];
    let right = format!(" {}", fit(&fields, "  ", room));
    match fetch.end {
        Some(end) => {
            let total = end.saturating_sub(fetch.start);
            Row { left, bar: Some(Bar { done: fetch.bytes.min(total), total, color }), right }
        }
        None => Row::text(&format!("{left}{right}"), width),
    }
}

/// The row of the sum of all fetches.
fn summary_row(summary: &Summary, width: usize) -> Row {
    let came = format!("{} in {}", bytes(summary.bytes), count(summary.total, summary.terms.thing));
    let (symbol, color, fields) = match summary.running {
        0 => ('◌', "cyan", vec![summary.terms.idle.to_owned(), came]),
        running => {
            let mut fields = vec![format!("{running} running")];
            fields.extend(summary.rate.map(bit_rate));
            fields.push(came);
            ('●', "green", fields)
        }
    };
    let symbol = Style::from_dotted_str(color).apply_to(symbol);
    let text = fit(&fields, " · ", width.saturating_sub(2));
    Row::text(&format!("{symbol} {text}"), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        let fetch = |number, title: &str, end| FetchStatus {
            number,
            title: title.to_owned(),
            start: 5 << 20,
            end,
            phase: PlayPhase::Streaming,
            bytes: 1 << 20,
            rate: Some(5e6),
        };
        let fetches = [
            fetch(1, "a\x07.mp4", Some(15 << 20)),
            fetch(u32::MAX, "春/夏🎬, and a name that goes on for long.webm", None),
        ];
        let terms = Terms { idle: "waiting", thing: "request" };
        let summary = Summary { terms, running: 5, total: 9, bytes: 1 << 30, rate: Some(5e6) };
        for width in 1..=200 {
            let rows = rows(&fetches, &summary, width);
            assert_eq!(rows.len(), 4);
            for row in rows {
                let bar = if row.bar.is_some() { MIN_BAR } else { 0 };
                let texts = measure_text_width(&row.left) + measure_text_width(&row.right);
                assert!(texts + bar <= width, "{width}: {row:?}");
            }
        }
        let row = &rows(&fetches[..1], &summary, 80)[0];
        assert_eq!(row.left, r"▶ 1 a\u{7}.mp4 ");
        assert_eq!(row.right, "   5 Mbit/s     1 MiB  from 5 MiB");
        let last = rows(&fetches, &summary, 80).pop().unwrap();
        assert_eq!(last.left, "● 5 running · 5 Mbit/s · 1 GiB in 9 requests");
    }
}
