//! What is seen of a session that plays.

mod moment;
mod notes;
mod rows;

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::json::Object;
use super::keys::{self, Key, Keys};
use super::outbox::{self, EventSink, LogWriter};
use super::rate::Rate;
use super::screen::{Mode, Screen};
use super::stage::{Stage, View};
use super::text::mean_rate;
use super::{Failure, Style};
use crate::client::{Event, Phase, Snapshot};
use crate::config::Report;
use crate::protocol::Version;
use moment::{Moment, line, look};
use notes::notes;
use rows::rows;

/// How often the bars are drawn while chunks come.
const FRAME: Duration = Duration::from_millis(100);
/// How often while nothing moves but the clock.
const SLOW_FRAME: Duration = Duration::from_millis(500);
/// After how long there is a line where there are no bars: at first often, then at each
/// [`LINE`].
const FIRST_LINES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];
/// How often there is a line after that.
const LINE: Duration = Duration::from_secs(30);
/// Over how long the current rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Shows a session that plays, and reads the keys that steer it.
#[derive(Debug)]
pub struct Play {
    stage: Stage<Event>,
    style: Style,
    keys: Option<(Keys, Option<UnboundedReceiver<Key>>)>,
}

impl Play {
    /// Begins to show the session whose newest state is in `snapshot`. Where media owns stdout,
    /// JSON goes to stderr, and the keys are left to the player at the other end of the pipe.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(
        report: Report,
        media_on_stdout: bool,
        snapshot: watch::Receiver<Snapshot>,
    ) -> io::Result<Self> {
        let style = Style::choose(report, media_on_stdout);
        let keys = if media_on_stdout { None } else { keys::listen() };
        let stage = Stage::start(style, Session::new(snapshot, keys.is_some()))?;
        Ok(Self { stage, style, keys: keys.map(|(guard, keys)| (guard, Some(keys))) })
    }

    /// Where the session's events go.
    pub fn events(&self) -> EventSink<Event> {
        self.stage.sink()
    }

    /// Where the lines of the log go, so that they appear above the bars.
    pub fn log_writer(&self) -> LogWriter<Event> {
        LogWriter::new(self.stage.sink())
    }

    /// Whether the lines of the log may have colours.
    pub fn has_colors(&self) -> bool {
        self.style.has_colors()
    }

    /// The keys that are pressed from now on, where a person sits at a terminal. Once.
    pub fn take_keys(&mut self) -> Option<UnboundedReceiver<Key>> {
        self.keys.as_mut().and_then(|(_, keys)| keys.take())
    }

    /// Shows how it ended, and gives the terminal back. Returns whether programs were told
    /// everything; if not, people were told why.
    pub fn finish(self, failure: Option<Failure>) -> bool {
        drop(self.keys);
        self.stage.finish(failure)
    }
}

impl outbox::Shown for Event {
    fn is_frequent(&self) -> bool {
        matches!(self, Self::Chunk { .. })
    }
}

/// What is known of the session.
struct Session {
    snapshot: watch::Receiver<Snapshot>,
    keys: bool,
    rate: Rate,
    began: Instant,
    version: Option<Version>,
    /// Which try to get the connection back comes next.
    attempt: u32,
    /// When it was over, and the mean rate if it ended as it should.
    ended: Option<(Instant, Option<f64>)>,
    /// After how long the next line is due.
    next_line: Duration,
}

impl Session {
    fn new(snapshot: watch::Receiver<Snapshot>, keys: bool) -> Self {
        let now = Instant::now();
        let rate = Rate::over(RATE_WINDOW);
        Self {
            snapshot,
            keys,
            rate,
            began: now,
            version: None,
            attempt: 0,
            ended: None,
            next_line: line_after(Duration::ZERO),
        }
    }

    fn moment(&self, now: Instant, failed: bool) -> Moment {
        let snapshot = *self.snapshot.borrow();
        let rate = match (self.ended, snapshot.phase) {
            (Some((_, mean)), _) => mean,
            (None, Phase::Streaming) => self.rate.bits_per_second(now),
            (None, _) => None,
        };
        let until = self.ended.map_or(now, |(at, _)| at);
        Moment {
            look: look(snapshot.phase, failed),
            snapshot,
            rate,
            version: self.version,
            attempt: self.attempt,
            elapsed: until.saturating_duration_since(self.began),
            keys: self.keys && self.ended.is_none(),
        }
    }
}

/// When the next line is due, some time after the start.
fn line_after(elapsed: Duration) -> Duration {
    let first = FIRST_LINES.into_iter().find(|line| *line > elapsed);
    first.unwrap_or_else(|| LINE * (elapsed.as_secs() / LINE.as_secs() + 1) as u32)
}

impl View for Session {
    type Event = Event;

    fn json(event: &Event) -> Option<Object<'_>> {
        Object::of_client(event)
    }

    fn take(&mut self, at: Instant, event: &Event, screen: &mut Screen) {
        match event {
            Event::Chunk { total, .. } => self.rate.note(at, *total),
            Event::Paused { .. } | Event::Resumed { .. } => self.rate.reset(),
            Event::Connected { version, .. } => self.version = Some(*version),
            Event::Reconnecting { attempt, .. } => {
                self.attempt = *attempt;
                self.rate.reset();
            }
            Event::Closed { bytes, elapsed, .. } => {
                self.ended = Some((at, Some(mean_rate(*bytes, *elapsed))));
            }
            Event::Requested(_) | Event::Accepted { .. } | Event::Continuing { .. } => {}
        }
        notes(event).iter().for_each(|note| screen.note(note));
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        let moment = self.moment(now, false);
        let phase = moment.snapshot.phase;
        match screen.mode() {
            Mode::Silent => None,
            Mode::Bars => {
                let width = screen.width();
                screen.draw(rows(&moment, width), width);
                let moving = matches!(phase, Phase::Connecting | Phase::Streaming);
                Some(now + if moving { FRAME } else { SLOW_FRAME })
            }
            Mode::Plain => {
                if self.next_line <= moment.elapsed {
                    if phase == Phase::Streaming && moment.snapshot.seq > 0 {
                        screen.print(line(&moment));
                    }
                    self.next_line = line_after(moment.elapsed);
                }
                Some(self.began + self.next_line)
            }
        }
    }

    fn end(&mut self, now: Instant, failed: bool, screen: &mut Screen) {
        self.ended.get_or_insert((now, None));
        let moment = self.moment(now, failed);
        // An empty strip would say no more than the error does.
        let worth_leaving = screen.mode() == Mode::Bars && moment.snapshot.bytes > 0;
        let width = screen.width();
        screen.draw(if worth_leaving { rows(&moment, width) } else { Vec::new() }, width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_less_and_less_often() {
        let mut elapsed = Duration::ZERO;
        let lines = std::iter::repeat_with(|| {
            elapsed = line_after(elapsed);
            elapsed.as_secs()
        });
        assert_eq!(lines.take(9).collect::<Vec<_>>(), [1, 2, 5, 10, 20, 30, 60, 90, 120]);
        let late = |millis| line_after(Duration::from_millis(millis)).as_secs();
        assert_eq!((late(5100), late(29_999), late(30_001), late(95_000)), (10, 30, 60, 120));
    }
}
