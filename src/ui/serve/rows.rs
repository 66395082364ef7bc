//! The running sessions of a server, as rows that move.

use std::net::SocketAddr;

use console::{Style, measure_text_width, truncate_str};

use crate::server::SessionPhase;
use crate::ui::bar::{Bar, Row};
use crate::ui::text::{bit_rate, bytes, count, escape, fit, percent};

/// The narrowest bar that still shows something.
const MIN_BAR: usize = 10;
/// The fewest columns of a title that still say something.
const MIN_TITLE: usize = 8;

/// All sessions at one time.
pub(super) struct Summary {
    pub(super) running: u64,
    pub(super) streaming: u64,
    pub(super) closed: u64,
    pub(super) bytes: u64,
    /// bit/s, where it is known.
    pub(super) rate: Option<f64>,
}

impl Summary {
    /// The fields of a line, most important first.
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

/// One session at one time.
pub(super) struct SessionStatus {
    pub(super) id: u32,
    /// Empty where it is not known.
    pub(super) title: String,
    pub(super) peer: SocketAddr,
    pub(super) phase: SessionPhase,
    pub(super) seq: u32,
    pub(super) bytes: u64,
    /// Bytes to send in all, where there is an end.
    pub(super) total: Option<u64>,
    /// bit/s, where it is known.
    pub(super) rate: Option<f64>,
}

/// The rows of bars mode: sessions, the number of those that have no row, and the sum.
pub(super) fn rows(sessions: &[SessionStatus], summary: &Summary, width: usize) -> Vec<Row> {
    let digits = sessions.iter().map(|session| session.id.to_string().len()).max().unwrap_or(0);
    let names: Vec<_> = sessions.iter().map(|session| name(session, digits, width)).collect();
    let longest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0);
    let rows = sessions.iter().zip(&names);
    let rows = rows.map(|(session, name)| session_row(session, name, longest, width));
    let more = summary.running.saturating_sub(sessions.len() as u64);
    let more = (more > 0 && !sessions.is_empty()).then(|| {
        Row::text(&Style::new().dim().apply_to(format!("  {more} more")).to_string(), width)
    });
    rows.chain(more).chain([summary_row(summary, width)]).collect()
}

/// The session's number, title and peer, in half of the row at most. A long title is cut first,
/// because many sessions may have the same.
fn name(session: &SessionStatus, digits: usize, width: usize) -> String {
    let limit = (width / 2).max(12);
    let (id, peer) = (session.id, session.peer.to_string());
    let title = escape(&session.title);
    let room = limit.saturating_sub(digits + peer.len() + 2).max(MIN_TITLE);
    let title = truncate_str(&title, room, "…");
    let gap = if title.is_empty() { "" } else { " " };
    truncate_str(&format!("{id:>digits$} {title}{gap}{peer}"), limit, "…").into_owned()
}

/// The row of a session. All of them drop the same fields, so that bars stay below each other.
fn session_row(session: &SessionStatus, name: &str, longest: usize, width: usize) -> Row {
    let (symbol, phase, color) = match session.phase {
        SessionPhase::Streaming => ('▶', "", "green"),
        SessionPhase::Paused => ('⏸', "paused", "yellow"),
        SessionPhase::Closing => ('■', "closing", "cyan"),
    };
    let pace = match session.rate {
        Some(rate) if session.phase == SessionPhase::Streaming => bit_rate(rate),
        _ => phase.to_owned(),
    };
    let symbol = Style::from_dotted_str(color).apply_to(symbol);
    let left = format!("{symbol} {name}{} ", " ".repeat(longest - measure_text_width(name)));
    let taken = 2 + longest + 1 + MIN_BAR + 1;
    let Some(room) = width.checked_sub(taken) else { return Row::text(&left, width) };
    let percent = session.total.map(|total| format!("{}%", percent(session.bytes, total)));
    let fields = [
        format!("{:>4}", percent.unwrap_or_default()),
        format!("{pace:>10}"),
        format!("{:>8}", bytes(session.bytes)),
        format!("chunk {:<6}", session.seq),
    ];
    let right = format!(" {}", fit(&fields, "  ", room));
    match session.total {
        Some(total) => Row { left, bar: Some(Bar { done: session.bytes, total, color }), right },
        None => Row::text(&format!("{left}{right}"), width),
    }
}

/// The row of the sum of all sessions.
fn summary_row(summary: &Summary, width: usize) -> Row {
    let (symbol, color, fields) = match summary.running {
        0 => ('◌', "cyan", vec!["waiting for clients".to_owned(), summary.past()]),
        _ => ('●', "green", summary.fields()),
    };
    let symbol = Style::from_dotted_str(color).apply_to(symbol);
    let text = fit(&fields, " · ", width.saturating_sub(2));
    Row::text(&format!("{symbol} {text}"), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: u32, peer: &str, phase: SessionPhase, bytes: u64) -> SessionStatus {
        let (title, peer, total) = (String::new(), peer.parse().unwrap(), Some(524_288));
        SessionStatus { id, title, peer, phase, seq: id, bytes, total, rate: Some(498e3) }
    }

    fn sessions() -> Vec<SessionStatus> {
        let long = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:50000";
        vec![
            session(u32::MAX, long, SessionPhase::Streaming, u64::MAX),
            session(12, "127.0.0.1:50001", SessionPhase::Paused, 327_680),
            session(9, "127.0.0.1:50002", SessionPhase::Closing, 524_288),
        ]
    }

    fn summary() -> Summary {
        Summary { running: 12, streaming: 11, closed: 3, bytes: 1 << 30, rate: Some(5.49e6) }
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        for width in 1..=200 {
            let mut sessions = sessions();
            sessions[1].title = "春/夏🎬, and a name that goes on for long.webm".into();
            sessions[2].total = None;
            for row in rows(&sessions, &summary(), width) {
                let bar = if row.bar.is_some() { MIN_BAR } else { 0 };
                let texts = measure_text_width(&row.left) + measure_text_width(&row.right);
                assert!(texts + bar <= width, "{width}: {row:?}");
            }
        }
    }

    #[test]
    fn all_sessions_show_the_same_fields() {
        let right = |width| {
            let rows = rows(&sessions()[1..], &summary(), width).into_iter();
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
    fn a_session_is_named_by_its_title_and_then_its_peer() {
        let mut sessions = sessions();
        sessions[1].title = "a\x07.mp4".into();
        sessions[2].title = "b.mp4".into();
        sessions[2].total = None;
        let plain = |width: usize| -> Vec<_> {
            let rows = rows(&sessions[1..], &summary(), width);
            let text = |row: &Row| format!("{}|{}", row.left, row.right).trim_end().to_owned();
            rows.iter().map(text).collect()
        };
        assert_eq!(
            plain(80)[..2],
            [
                r"⏸ 12 a\u{7}.mp4 127.0.0.1:50001 |  62%      paused   320 KiB",
                r"■  9 b.mp4 127.0.0.1:50002                closing   512 KiB|",
            ]
        );
        assert_eq!(plain(40)[0], r"⏸ 12 a\u{7}.… 127.0.0… |  62%");
        sessions[1].title = "a title that goes on for long.mp4".into();
        let row = &rows(&sessions[1..], &summary(), 76)[0];
        assert_eq!(row.left, "⏸ 12 a title that goes … 127.0.0.1:50001 ");
    }

    #[test]
    fn sessions_without_a_row_are_counted() {
        let text = |sessions: &[SessionStatus]| {
            let rows = rows(sessions, &summary(), 80);
            rows.iter().map(|row| row.left.clone()).collect::<Vec<_>>()
        };
        let rows = text(&sessions());
        assert_eq!(rows.len(), 5);
        assert_eq!(rows[3], "  9 more");
        let all: Vec<_> =
            (1..=12).map(|id| session(id, "[::1]:1", SessionPhase::Paused, 0)).collect();
        assert_eq!(text(&all).len(), 13);
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
