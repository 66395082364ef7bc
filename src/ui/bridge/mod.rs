//! What people see of a bridge.

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
use crate::bridge::{BridgeEvent, Requests};
use crate::config::Report;
use rows::{RequestStatus, Summary, rows};
use words::words;

/// How many requests have a row of their own.
const ROWS: usize = 6;
/// How often the rows are drawn.
const FRAME: Duration = Duration::from_millis(250);
/// Over how long current rates are measured.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Starts to show a bridge whose requests are in `requests`.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(report: Report, requests: Arc<Requests>) -> io::Result<UiThread<BridgeEvent>> {
    let view = BridgeView {
        requests,
        rates: BTreeMap::new(),
        total_rate: Throughput::over(RATE_WINDOW),
        idle: false,
    };
    UiThread::start(Presentation::choose(report, false), view)
}

impl UiEvent for BridgeEvent {}

struct BridgeView {
    requests: Arc<Requests>,
    /// The rates of the requests that have a row, by number.
    rates: BTreeMap<u32, Throughput>,
    total_rate: Throughput,
    /// Nothing has happened since the last frame, and no request ran then.
    idle: bool,
}

impl BridgeView {
    fn summary(&mut self, now: Instant) -> Summary {
        let (running, bytes) = (self.requests.count() as u64, self.requests.bytes());
        if running == 0 {
            self.total_rate.reset();
        }
        self.total_rate.record(now, bytes);
        let rate = self.total_rate.bits_per_second(now);
        Summary { running, total: self.requests.total().into(), bytes, rate }
    }

    /// The state of the requests that have a row.
    fn statuses(&mut self, now: Instant, most: usize) -> Vec<RequestStatus> {
        let newest = self.requests.newest(most);
        self.rates.retain(|known, _| newest.iter().any(|(number, _)| number == known));
        let status = |(number, running): (u32, crate::bridge::Running)| {
            let snapshot = running.snapshot();
            let rate = self.rates.entry(number).or_insert_with(|| Throughput::over(RATE_WINDOW));
            rate.record(now, snapshot.bytes);
            RequestStatus {
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

impl View for BridgeView {
    type Event = BridgeEvent;

    fn show(&mut self, _: Instant, event: &BridgeEvent, screen: &mut Screen) {
        self.idle = false;
        words(event).iter().for_each(|line| screen.print_event(line));
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        if screen.mode() != Mode::Bars {
            return None;
        }
        let summary = self.summary(now);
        // A request may show a moment after its event, so there is one more frame.
        let none = summary.running == 0;
        let rest = std::mem::replace(&mut self.idle, none) && none;
        // One row each stays for the number of further requests, the sum, and the cursor.
        let room = screen.height().saturating_sub(3).min(ROWS);
        let width = screen.width();
        let statuses = self.statuses(now, room);
        screen.draw(&rows(&statuses, &summary, width), width);
        (!rest).then_some(now + FRAME)
    }

    fn end(&mut self, now: Instant, _: bool, screen: &mut Screen) {
        screen.draw(&[], screen.width());
        let Summary { total, bytes: sent, .. } = self.summary(now);
        let text = format!("after {}, {}", count(total, "request"), bytes(sent));
        screen.print_event(&EventLine::new('■', "cyan", "stopped", text));
    }
}
