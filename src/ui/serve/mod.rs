//! What is seen of a server.

mod notes;
mod rows;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::json::Object;
use super::outbox::{self, EventSink, LogWriter};
use super::rate::Rate;
use super::screen::{Mode, Note, Screen};
use super::stage::{Stage, View};
use super::text::{bytes, count};
use super::{Failure, Style};
use crate::config::Report;
use crate::server::{Event, Meter, Phase, Sessions};
use crate::transport::Fingerprint;
use notes::{note, welcome};
use rows::{Lane, Summary, rows};

/// How many sessions have a bar of their own.
const BARS: usize = 10;
/// How often the bars are drawn, and counters are read.
const FRAME: Duration = Duration::from_millis(250);
/// How often there is a line where there are no bars, while something happens.
const LINE: Duration = Duration::from_secs(30);
/// Over how long current rates are taken. Longer than it needs to be for a smooth figure, because
/// chunks are seen only as exactly as counters are read.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Shows a server.
#[derive(Debug)]
pub struct Serve {
    stage: Stage<Told>,
    style: Style,
}

/// What is told of a server.
#[derive(Debug, Clone)]
pub enum Told {
    /// It is bound, and clients may come.
    Listening {
        /// Where.
        addr: SocketAddr,
        /// SHA-256 of its certificate.
        fingerprint: Fingerprint,
        /// What it serves, in words.
        media: String,
        /// What to play it by, ready to be pasted.
        url: String,
    },
    /// Something happened to a session.
    Session(Event),
}

impl outbox::Shown for Told {
    fn is_frequent(&self) -> bool {
        false
    }
}

impl Serve {
    /// Begins to show a server whose sessions are in `sessions`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(report: Report, sessions: Arc<Sessions>) -> io::Result<Self> {
        let style = Style::choose(report, false);
        Ok(Self { stage: Stage::start(style, Server::new(sessions))?, style })
    }

    /// Where the server's events go.
    pub fn events(&self) -> EventSink<Told> {
        self.stage.sink()
    }

    /// Where the lines of the log go, so that they appear above the bars.
    pub fn log_writer(&self) -> LogWriter<Told> {
        LogWriter::new(self.stage.sink())
    }

    /// Whether the lines of the log may have colours.
    pub fn has_colors(&self) -> bool {
        self.style.has_colors()
    }

    /// Shows how it ended. Returns whether programs were told everything; if not, people were told
    /// why.
    pub fn finish(self, failure: Option<Failure>) -> bool {
        self.stage.finish(failure)
    }
}

/// What is known of the server.
struct Server {
    sessions: Arc<Sessions>,
    /// The rates of the sessions that have a bar.
    rates: BTreeMap<u32, Rate>,
    total_rate: Rate,
    /// Nothing has happened since the last frame, and no session ran then.
    at_rest: bool,
    lines: Lines,
}

/// When there are lines where there are no bars.
#[derive(Debug, Default)]
struct Lines {
    /// When the next one is due; `None` while nothing happens.
    due: Option<Instant>,
    /// The bytes that the last one told of.
    bytes: u64,
}

impl Lines {
    /// Whether there is a line now. After it, or when something begins to happen, [`LINE`] passes
    /// before the next.
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

impl Server {
    fn new(sessions: Arc<Sessions>) -> Self {
        Self {
            sessions,
            rates: BTreeMap::new(),
            total_rate: Rate::over(RATE_WINDOW),
            at_rest: false,
            lines: Lines::default(),
        }
    }

    fn summary(&mut self, now: Instant) -> Summary {
        let bytes = self.sessions.bytes();
        let streaming = self.sessions.streaming() as u64;
        if streaming == 0 {
            self.total_rate.reset();
        }
        self.total_rate.note(now, bytes);
        Summary {
            running: self.sessions.count() as u64,
            streaming,
            closed: self.sessions.closed(),
            bytes,
            rate: self.total_rate.bits_per_second(now),
        }
    }

    /// The sessions that get a bar, newest first.
    fn lanes(&mut self, now: Instant, newest: &[(u32, Arc<Meter>)]) -> Vec<Lane> {
        self.rates.retain(|known, _| newest.iter().any(|(session, _)| session == known));
        let lane = |(session, meter): &(u32, Arc<Meter>)| {
            let rate = self.rates.entry(*session).or_insert_with(|| Rate::over(RATE_WINDOW));
            let phase = meter.phase();
            if phase != Phase::Streaming {
                rate.reset();
            }
            rate.note(now, meter.bytes());
            Lane {
                session: *session,
                peer: meter.peer,
                phase,
                seq: meter.seq(),
                bytes: meter.bytes(),
                total: meter.total,
                rate: rate.bits_per_second(now),
            }
        };
        newest.iter().map(lane).collect()
    }
}

impl View for Server {
    type Event = Told;

    fn json(event: &Told) -> Option<Object<'_>> {
        Some(Object::of_server(event))
    }

    fn take(&mut self, _: Instant, told: &Told, screen: &mut Screen) {
        self.at_rest = false;
        match told {
            Told::Listening { addr, fingerprint, media, url } => {
                for line in welcome(*addr, *fingerprint, media, url) {
                    screen.note(&line);
                }
            }
            Told::Session(event) => screen.note(&note(event)),
        }
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        if screen.mode() == Mode::Silent {
            return None;
        }
        let summary = self.summary(now);
        // An event may be told a moment before the counters show it: one more look, then rest.
        let idle = summary.running == 0;
        let rests = std::mem::replace(&mut self.at_rest, idle) && idle;
        if screen.mode() == Mode::Bars {
            let fitting = screen.height().saturating_sub(2).min(BARS);
            let newest = self.sessions.newest(fitting);
            let width = screen.width();
            screen.draw(rows(&self.lanes(now, &newest), &summary, width), width);
            return (!rests).then_some(now + FRAME);
        }
        if self.lines.is_due(now, &summary) {
            screen.print(summary.fields().join(", "));
        }
        self.lines.due.or((!rests).then_some(now + FRAME))
    }

    fn end(&mut self, now: Instant, _: bool, screen: &mut Screen) {
        screen.draw(Vec::new(), screen.width());
        let Summary { running, closed, bytes: total, .. } = self.summary(now);
        let text = format!("after {}, {} sent", count(running + closed, "session"), bytes(total));
        screen.note(&Note { symbol: '■', color: "cyan", name: "stopped".to_owned(), text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_lines_only_while_something_happens() {
        let start = Instant::now();
        let mut lines = Lines::default();
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
