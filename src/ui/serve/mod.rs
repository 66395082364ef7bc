//! What people see of a server.

mod rows;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::presentation::{Mode, Presentation};
use super::queue::UiEvent;
use super::screen::{EventLine, Screen};
use super::text::{bytes, count};
use super::thread::{UiThread, View};
use super::throughput::Throughput;
use crate::config::Report;
use crate::server::{Meter, ServeEvent, SessionPhase, Sessions};
use rows::{SessionStatus, Summary, rows};
use words::words;

/// How many sessions have a row of their own.
const ROWS: usize = 10;
/// How often the rows are drawn, and the meters are read.
const FRAME: Duration = Duration::from_millis(250);
/// How often there is a line where there are no rows, while something happens.
const LINE: Duration = Duration::from_secs(30);
/// Over how long current rates are measured. Meters show a chunk up to a [`FRAME`] late, which a
/// longer window smooths.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Starts to show a server whose sessions are in `sessions`.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(report: Report, sessions: Arc<Sessions>) -> io::Result<UiThread<ServeEvent>> {
    UiThread::start(Presentation::choose(report, false), ServeView::new(sessions))
}

impl UiEvent for ServeEvent {}

struct ServeView {
    sessions: Arc<Sessions>,
    /// The titles of the sessions that run, by session id.
    titles: BTreeMap<u32, String>,
    /// The rates of the sessions that have a row, by session id.
    rates: BTreeMap<u32, Throughput>,
    total_rate: Throughput,
    /// Nothing has happened since the last frame, and no session ran then.
    idle: bool,
    schedule: LineSchedule,
}

/// When there are lines where there are no rows.
#[derive(Debug, Default)]
struct LineSchedule {
    /// When the next one is due; `None` while nothing happens.
    due: Option<Instant>,
    /// The bytes sent at the last one.
    bytes: u64,
}

impl LineSchedule {
    /// Returns whether a line is due now. After it, or when something begins to happen, [`LINE`]
    /// passes before the next.
    fn is_due(&mut self, now: Instant, summary: &Summary) -> bool {
        let busy = summary.running > 0 || summary.bytes > self.bytes;
        let is_due = busy && self.due.is_some_and(|due| due <= now);
        if is_due {
            self.bytes = summary.bytes;
        }
        if is_due || self.due.is_none_or(|due| due <= now) {
            self.due = (summary.running > 0 || summary.bytes > self.bytes).then(|| now + LINE);
        }
        is_due
    }
}

impl ServeView {
    fn new(sessions: Arc<Sessions>) -> Self {
        Self {
            sessions,
            titles: BTreeMap::new(),
            rates: BTreeMap::new(),
            total_rate: Throughput::over(RATE_WINDOW),
            idle: false,
            schedule: LineSchedule::default(),
        }
    }

    fn summary(&mut self, now: Instant) -> Summary {
        let bytes = self.sessions.bytes();
        let streaming = self.sessions.in_phase(SessionPhase::Streaming) as u64;
        if streaming == 0 {
            self.total_rate.reset();
        }
        self.total_rate.record(now, bytes);
        Summary {
            running: self.sessions.count() as u64,
            streaming,
            closed: self.sessions.closed(),
            bytes,
            rate: self.total_rate.bits_per_second(now),
        }
    }

    /// The state of the sessions that have a row.
    fn statuses(&mut self, now: Instant, newest: &[(u32, Arc<Meter>)]) -> Vec<SessionStatus> {
        self.rates.retain(|known, _| newest.iter().any(|(id, _)| id == known));
        let status = |(id, meter): &(u32, Arc<Meter>)| {
            let rate = self.rates.entry(*id).or_insert_with(|| Throughput::over(RATE_WINDOW));
            let phase = meter.phase();
            if phase != SessionPhase::Streaming {
                rate.reset();
            }
            rate.record(now, meter.bytes());
            SessionStatus {
                id: *id,
                title: self.titles.get(id).cloned().unwrap_or_default(),
                peer: meter.peer,
                phase,
                seq: meter.seq(),
                bytes: meter.bytes(),
                total: meter.total,
                rate: rate.bits_per_second(now),
            }
        };
        newest.iter().map(status).collect()
    }
}

impl View for ServeView {
    type Event = ServeEvent;

    fn show(&mut self, _: Instant, event: &ServeEvent, screen: &mut Screen) {
        self.idle = false;
        match event {
            ServeEvent::Opened { session, title: Some(title), .. } => {
                self.titles.insert(*session, title.clone());
            }
            ServeEvent::Closed { session, .. } => _ = self.titles.remove(session),
            _ => {}
        }
        words(event).iter().for_each(|line| screen.print_event(line));
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        if screen.mode() == Mode::Silent {
            return None;
        }
        let summary = self.summary(now);
        // The meters may show an event a moment after it came, so there is one more frame.
        let no_session = summary.running == 0;
        let rest = std::mem::replace(&mut self.idle, no_session) && no_session;
        if screen.mode() == Mode::Bars {
            // One row each stays for the number of further sessions, the sum, and the cursor.
            let room = screen.height().saturating_sub(3).min(ROWS);
            let newest = self.sessions.newest(room);
            let width = screen.width();
            screen.draw(&rows(&self.statuses(now, &newest), &summary, width), width);
            return (!rest).then_some(now + FRAME);
        }
        if self.schedule.is_due(now, &summary) {
            screen.print(summary.fields().join(", "));
        }
        self.schedule.due.or((!rest).then_some(now + FRAME))
    }

    fn end(&mut self, now: Instant, _: bool, screen: &mut Screen) {
        screen.draw(&[], screen.width());
        let Summary { running, closed, bytes: total, .. } = self.summary(now);
        let text = format!("after {}, {} sent", count(running + closed, "session"), bytes(total));
        screen.print_event(&EventLine::new('■', "cyan", "stopped", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_lines_only_while_something_happens() {
        let start = Instant::now();
        let mut lines = LineSchedule::default();
        let mut is_due = |seconds, running, bytes| {
            let summary = Summary { running, streaming: 0, closed: 0, bytes, rate: None };
            lines.is_due(start + Duration::from_secs(seconds), &summary)
        };
        for (seconds, running, bytes, due) in [
            (0, 0, 0, false),
            (100, 0, 0, false),
            // A session comes, and stays.
            (101, 1, 10, false),
            (130, 1, 20, false),
            (131, 1, 30, true),
            (132, 1, 40, false),
            (161, 1, 40, true),
            // It goes, which the next line is about, and the last.
            (170, 0, 50, false),
            (191, 0, 50, true),
            (192, 0, 50, false),
            (300, 0, 50, false),
            // One that brings nothing and is soon gone is worth none.
            (301, 1, 50, false),
            (302, 0, 50, false),
            (331, 0, 50, false),
            (400, 1, 50, false),
            (430, 1, 50, true),
        ] {
            assert_eq!(is_due(seconds, running, bytes), due, "after {seconds} s");
        }
    }
}
