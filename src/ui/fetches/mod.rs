//! What people see of fetches that run beside each other.

mod rows;

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
use crate::client::{Fetches, RunningFetch};
use crate::config::Report;
use rows::{FetchStatus, Summary, rows};

/// How many fetches have a row of their own.
const ROWS: usize = 6;
/// How often the rows are drawn.
const FRAME: Duration = Duration::from_millis(250);
/// Over how long current rates are measured.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// What a command says while no fetch runs, and how it calls them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) idle: &'static str,
    pub(super) thing: &'static str,
}

/// Starts to show fetches, in `words` for people.
///
/// # Errors
/// No thread can be started.
pub(super) fn start<E: UiEvent>(
    report: Report,
    fetches: Arc<Fetches>,
    terms: Terms,
    words: fn(&E) -> Vec<EventLine>,
) -> io::Result<UiThread<E>> {
    let view = FetchesView {
        fetches,
        terms,
        words,
        rates: BTreeMap::new(),
        total_rate: Throughput::over(RATE_WINDOW),
        idle: false,
    };
    UiThread::start(Presentation::choose(report, false), view)
}

struct FetchesView<E> {
    fetches: Arc<Fetches>,
    terms: Terms,
    words: fn(&E) -> Vec<EventLine>,
    /// The rates of the fetches that have a row, by number.
    rates: BTreeMap<u32, Throughput>,
    total_rate: Throughput,
    /// Nothing has happened since the last frame, and no fetch ran then.
    idle: bool,
}

impl<E> FetchesView<E> {
    fn summary(&mut self, now: Instant) -> Summary {
        let (running, bytes) = (self.fetches.count() as u64, self.fetches.bytes());
        if running == 0 {
            self.total_rate.reset();
        }
        self.total_rate.record(now, bytes);
        let rate = self.total_rate.bits_per_second(now);
        Summary { terms: self.terms, running, total: self.fetches.total().into(), bytes, rate }
    }

    /// The state of the fetches that have a row.
    fn statuses(&mut self, now: Instant, most: usize) -> Vec<FetchStatus> {
        let newest = self.fetches.newest(most);
        self.rates.retain(|known, _| newest.iter().any(|(number, _)| number == known));
        let status = |(number, running): (u32, RunningFetch)| {
            let snapshot = running.snapshot();
            let rate = self.rates.entry(number).or_insert_with(|| Throughput::over(RATE_WINDOW));
            rate.record(now, snapshot.bytes);
            FetchStatus {
                number,
                title: running.title,
                start: running.start,
                end: running.end,
                phase: snapshot.phase,
                bytes: snapshot.bytes,
                rate: rate.bits_per_second(now),
            }
        };
        newest.into_iter().map(status).collect()
    }
}

impl<E: UiEvent> View for FetchesView<E> {
    type Event = E;

    fn show(&mut self, _: Instant, event: &E, screen: &mut Screen) {
        self.idle = false;
        (self.words)(event).iter().for_each(|line| screen.print_event(line));
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        if screen.mode() != Mode::Bars {
            return None;
        }
        let summary = self.summary(now);
        // A fetch may show a moment after its event, so there is one more frame.
        let none = summary.running == 0;
        let rest = std::mem::replace(&mut self.idle, none) && none;
        // One row each stays for the number of further fetches, the sum, and the cursor.
        let room = screen.height().saturating_sub(3).min(ROWS);
        let width = screen.width();
        let statuses = self.statuses(now, room);
        screen.draw(&rows(&statuses, &summary, width), width);
        (!rest).then_some(now + FRAME)
    }

    fn end(&mut self, now: Instant, _: bool, screen: &mut Screen) {
        screen.draw(&[], screen.width());
        let Summary { total, bytes: sent, .. } = self.summary(now);
        let text = format!("after {}, {}", count(total, self.terms.thing), bytes(sent));
        screen.print_event(&EventLine::new('■', "cyan", "ended", text));
    }
}
