//! When the next byte of a paced session is due.

use std::time::Duration;

use super::Time;

/// An absolute schedule: byte n is due once n x 8 / bitrate seconds of unpaused streaming have
/// passed. Lateness of one chunk never shifts the ones after it, so there is no drift.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    bits_per_second: u64,
    /// Unpaused time before the current run.
    streamed: Duration,
    /// When the current run began; `None` while paused and before the start.
    running_since: Option<Time>,
}

impl Pacer {
    /// A schedule that has not started. A rate of 0 bit/s is taken as 1.
    pub fn new(bits_per_second: u64) -> Self {
        Self {
            bits_per_second: bits_per_second.max(1),
            streamed: Duration::ZERO,
            running_since: None,
        }
    }

    /// Starts the schedule, or goes on after a pause.
    pub fn run(&mut self, now: Time) {
        self.running_since.get_or_insert(now);
    }

    /// Stops the schedule.
    pub fn pause(&mut self, now: Time) {
        if let Some(since) = self.running_since.take() {
            self.streamed += now.saturating_sub(since);
        }
    }

    /// When the byte after the first `sent` is due; `None` while the schedule does not run.
    pub fn due(&self, sent: u64) -> Option<Time> {
        let nanos = u128::from(sent) * 8 * 1_000_000_000 / u128::from(self.bits_per_second);
        let media_time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.running_since?.saturating_add(media_time.saturating_sub(self.streamed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 65_536;

    #[test]
    fn chunks_are_due_on_an_absolute_schedule() {
        let mut pacer = Pacer::new(500_000);
        assert_eq!(pacer.due(0), None, "not started");
        pacer.run(Duration::from_secs(1));
        assert_eq!(pacer.due(0), Some(Duration::from_secs(1)), "the first at once");
        assert_eq!(pacer.due(7 * CHUNK), Some(Duration::from_nanos(1_000_000_000 + 7_340_032_000)));
    }

    #[test]
    fn a_pause_shifts_the_schedule_by_its_length() {
        let mut pacer = Pacer::new(500_000);
        pacer.run(Duration::ZERO);
        pacer.pause(Duration::from_millis(2_500));
        assert_eq!(pacer.due(3 * CHUNK), None);
        pacer.run(Duration::from_millis(4_500));
        assert_eq!(pacer.due(3 * CHUNK), Some(Duration::from_nanos(3_145_728_000 + 2_000_000_000)));
    }

    #[test]
    fn no_rate_and_no_size_overflows() {
        let mut pacer = Pacer::new(0);
        pacer.run(Duration::MAX);
        assert_eq!(pacer.due(u64::MAX), Some(Duration::MAX));
    }
}
