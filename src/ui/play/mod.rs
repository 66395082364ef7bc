//! What people see of a play.

mod rows;
mod status;
mod words;

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::presentation::{Mode, Presentation};
use super::queue::UiEvent;
use super::screen::Screen;
use super::thread::{UiThread, View};
use super::throughput::Throughput;
use crate::client::{PlayEvent, PlayPhase, Snapshot};
use crate::config::Report;
use crate::protocol::Version;
use rows::rows;
use status::Status;
pub(super) use words::verdict_line;
use words::words;

/// How often the bars are drawn while chunks come.
const FRAME: Duration = Duration::from_millis(100);
/// How often while nothing moves but the clock.
const SLOW_FRAME: Duration = Duration::from_millis(500);
/// Where there are no bars: after how many seconds there is a line, then each [`LINE`].
const FIRST_LINES: [u64; 5] = [1, 2, 5, 10, 20];
const LINE: u64 = 30;
/// Over how long the current rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Starts to show a play, whose newest state is in `snapshot`. Where media owns stdout, JSON goes
/// to stderr. `has_keys` says whether a person can steer it.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(
    report: Report,
    media_on_stdout: bool,
    snapshot: watch::Receiver<Snapshot>,
    has_keys: bool,
) -> io::Result<UiThread<PlayEvent>> {
    let view = PlayView::new(snapshot, has_keys);
    UiThread::start(Presentation::choose(report, media_on_stdout), view)
}

impl UiEvent for PlayEvent {
    fn is_frequent(&self) -> bool {
        matches!(self, Self::Chunk { .. })
    }
}

struct PlayView {
    snapshot: watch::Receiver<Snapshot>,
    has_keys: bool,
    throughput: Throughput,
    began: Instant,
    version: Option<Version>,
    /// The number of the next try to get the connection back.
    attempt: u32,
    /// When it was over, and the mean rate in bit/s if it ended as it should.
    ended: Option<(Instant, Option<f64>)>,
    /// After how long the next line is due.
    next_line: Duration,
}

impl PlayView {
    fn new(snapshot: watch::Receiver<Snapshot>, has_keys: bool) -> Self {
        Self {
            snapshot,
            has_keys,
            throughput: Throughput::over(RATE_WINDOW),
            began: Instant::now(),
            version: None,
            attempt: 0,
            ended: None,
            next_line: line_after(Duration::ZERO),
        }
    }

    fn status(&self, now: Instant, failed: bool) -> Status {
        let snapshot = *self.snapshot.borrow();
        let rate = match (self.ended, snapshot.phase) {
            (Some((_, mean)), _) => mean,
            (None, PlayPhase::Streaming) => self.throughput.bits_per_second(now),
            (None, _) => None,
        };
        let until = self.ended.map_or(now, |(at, _)| at);
        Status {
            snapshot,
            failed,
            rate,
            version: self.version,
            attempt: self.attempt,
            elapsed: until.saturating_duration_since(self.began),
            has_keys: self.has_keys && self.ended.is_none(),
        }
    }
}

/// Returns when the next line is due, some time after the start.
fn line_after(elapsed: Duration) -> Duration {
    let seconds = elapsed.as_secs();
    let first = FIRST_LINES.into_iter().find(|line| *line > seconds);
    Duration::from_secs(first.unwrap_or((seconds / LINE + 1) * LINE))
}

impl View for PlayView {
    type Event = PlayEvent;

    fn show(&mut self, at: Instant, event: &PlayEvent, screen: &mut Screen) {
        match event {
            PlayEvent::Chunk { total, .. } => self.throughput.record(at, *total),
            PlayEvent::Paused { .. } | PlayEvent::Resumed { .. } => self.throughput.reset(),
            PlayEvent::Connected { version, .. } => self.version = Some(*version),
            PlayEvent::Reconnecting { attempt, .. } => {
                self.attempt = *attempt;
                self.throughput.reset();
            }
            PlayEvent::Closed { bits_per_second, .. } => {
                self.ended = Some((at, Some(*bits_per_second as f64)));
            }
            PlayEvent::Requested(_) | PlayEvent::Accepted { .. } | PlayEvent::Continuing { .. } => {
            }
        }
        words(event).iter().for_each(|line| screen.print_event(line));
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        let status = self.status(now, false);
        let phase = status.snapshot.phase;
        match screen.mode() {
            Mode::Silent => None,
            Mode::Bars => {
                let width = screen.width();
                screen.draw(&rows(&status, width), width);
                let moving = matches!(phase, PlayPhase::Connecting | PlayPhase::Streaming);
                Some(now + if moving { FRAME } else { SLOW_FRAME })
            }
            Mode::Plain => {
                if self.next_line <= status.elapsed {
                    if phase == PlayPhase::Streaming && status.snapshot.seq > 0 {
                        screen.print(status.line());
                    }
                    self.next_line = line_after(status.elapsed);
                }
                Some(self.began + self.next_line)
            }
        }
    }

    fn end(&mut self, now: Instant, failed: bool, screen: &mut Screen) {
        self.ended.get_or_insert((now, None));
        let status = self.status(now, failed);
        // Rows without media would say no more than the error does.
        let worth_leaving = screen.mode() == Mode::Bars && status.snapshot.bytes > 0;
        let width = screen.width();
        screen.draw(&if worth_leaving { rows(&status, width) } else { Vec::new() }, width);
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
