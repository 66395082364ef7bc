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
        let media_time = self.time_of(sent).saturating_sub(self.streamed);
        Some(self.running_since?.saturating_add(media_time))
    }

    /// Shifts the schedule where the byte after the first `sent` is late at `now` by more than
    /// `credit` bytes take: what a stalled client missed is not sent all at once.
    pub fn limit_credit(&mut self, sent: u64, credit: u64, now: Time) {
        let credit = self.time_of(credit);
        if let (Some(due), Some(since)) = (self.due(sent), &mut self.running_since) {
            let late = now.saturating_sub(due);
            let excess = late.saturating_sub(credit);
            *since = since.saturating_add(excess);
        }
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.bits_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A schedule that all sessions of one connection share.
#[derive(Debug, Clone, Copy)]
pub struct SharedPacer {
    pacer: Pacer,
    sent: u64,
}

impl SharedPacer {
    /// A schedule at this rate, which begins at `now`.
    pub fn new(bits_per_second: u64, now: Time) -> Self {
        let mut pacer = Pacer::new(bits_per_second);
        pacer.run(now);
        Self { pacer, sent: 0 }
    }

    /// Takes the next place in the schedule for so many bytes, and returns when they are due.
    pub fn reserve(&mut self, bytes: u64, now: Time) -> Time {
        self.pacer.limit_credit(self.sent, bytes, now);
        let due = self.pacer.due(self.sent).unwrap_or(now);
        self.sent = self.sent.saturating_add(bytes);
        due
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
    fn a_stalled_session_catches_up_by_one_chunk() {
        let mut pacer = Pacer::new(8 * CHUNK);
        pacer.run(Duration::ZERO);
        let mut sent_at = |chunks: u64, now: f64| {
            let now = Duration::from_secs_f64(now);
            pacer.limit_credit(chunks * CHUNK, CHUNK, now);
            pacer.due((chunks + 1) * CHUNK).unwrap().as_secs_f64()
        };
        assert_eq!(sent_at(1, 1.25), 2.0, "no drift");
        assert_eq!(sent_at(2, 12.0), 12.0, "the next goes at once");
        assert_eq!(sent_at(3, 12.0), 13.0, "and then one a second");
    }

    #[test]
    fn sessions_of_one_connection_share_its_rate() {
        let at = Duration::from_secs;
        let mut shared = SharedPacer::new(8 * CHUNK, at(5));
        let due = [5, 5, 5].map(|now| shared.reserve(CHUNK, at(now)));
        assert_eq!(due, [at(5), at(6), at(7)]);
        let due = [60, 60, 60].map(|now| shared.reserve(CHUNK, at(now)));
        assert_eq!(due, [at(59), at(60), at(61)], "one chunk of credit");
    }

    #[test]
    fn no_rate_and_no_size_overflows() {
        let mut pacer = Pacer::new(0);
        pacer.run(Duration::MAX);
        assert_eq!(pacer.due(u64::MAX), Some(Duration::MAX));
    }
}
