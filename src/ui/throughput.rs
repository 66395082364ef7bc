//! How fast bytes come at the moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The mean rate over the last seconds.
///
/// Measured from one arrival to another, not over a fixed window: at 500 kbit/s a chunk of 64 KiB
/// comes once a second, and a window of two seconds would hold now one, now two of them.
#[derive(Debug)]
pub(super) struct Throughput {
    window: Duration,
    /// When the total grew, and to what.
    arrivals: VecDeque<(Instant, u64)>,
}

impl Throughput {
    /// Measures over about the last `window`.
    pub(super) fn over(window: Duration) -> Self {
        Self { window, arrivals: VecDeque::new() }
    }

    /// Records how many bytes have come in all.
    pub(super) fn record(&mut self, at: Instant, total: u64) {
        if self.arrivals.back().is_some_and(|(_, last)| *last == total) {
            return;
        }
        self.arrivals.push_back((at, total));
        let outside = |(time, _): &(Instant, u64)| at.duration_since(*time) >= self.window;
        while self.arrivals.get(1).is_some_and(outside) {
            self.arrivals.pop_front();
        }
    }

    /// Forgets what came before, as at a pause.
    pub(super) fn reset(&mut self) {
        self.arrivals.clear();
    }

    /// The rate, bit/s, from the second arrival on. Falls while the next arrival is overdue.
    pub(super) fn bits_per_second(&self, now: Instant) -> Option<f64> {
        let ((first, before), (last, after)) = (self.arrivals.front()?, self.arrivals.back()?);
        let span = last.duration_since(*first);
        let silence = now.saturating_duration_since(*last);
        let bits = after.saturating_sub(*before) as f64 * 8.0;
        (!span.is_zero()).then(|| bits / span.max(silence).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn is_steady_where_one_chunk_comes_in_a_second() {
        let start = Instant::now();
        let mut rate = Throughput::over(2 * SECOND);
        for chunk in 0..10 {
            let now = start + chunk * SECOND;
            rate.record(now, (u64::from(chunk) + 1) * 1000);
            let shown = rate.bits_per_second(now + SECOND / 2);
            assert_eq!(shown, (chunk > 0).then_some(8000.0));
        }
        assert!(rate.arrivals.len() <= 4);
    }

    #[test]
    fn falls_while_nothing_comes_and_forgets_at_a_pause() {
        let start = Instant::now();
        let mut rate = Throughput::over(2 * SECOND);
        rate.record(start, 1000);
        rate.record(start + SECOND, 2000);
        rate.record(start + 2 * SECOND, 2000);
        assert_eq!(rate.bits_per_second(start + 5 * SECOND), Some(2000.0));
        rate.reset();
        assert_eq!(rate.bits_per_second(start + 5 * SECOND), None);
    }
}
