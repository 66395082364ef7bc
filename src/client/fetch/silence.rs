//! When a server is silent for longer than its pace and the path explain.

use std::time::Duration;

use tokio::time::Instant;

/// Silence that counts for nothing, beyond a chunk's time and a round trip: schedulers, bursts.
const MOMENT: Duration = Duration::from_millis(250);
/// How long the answer to a ping may take beyond two round trips.
const ANSWER: Duration = Duration::from_millis(150);
/// The time between two tries to reach a silent server on a new path.
const BETWEEN_DIALS: Duration = Duration::from_secs(1);
/// How much more patience there is at most after connections were taken for dead that were not.
const MAX_PATIENCE: u32 = 8;

/// What to do about a silent server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask for a sign of life. A server that was restarted tells that it knows nothing of the
    /// connection, but only when it hears from it.
    Ping,
    /// Ask for one, and try another path beside the silent one.
    Dial,
}

/// Watches for the silence of a server.
#[derive(Debug)]
pub(super) struct Silence {
    /// The time between two chunks at the agreed rate.
    chunk_time: Duration,
    /// Factor on how long silence may last.
    patience: u32,
    heard: Instant,
    /// When the server was last pinged, since it was heard.
    pinged: Option<Instant>,
    /// When another path was last tried, since the server was heard.
    dialed: Option<Instant>,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self { chunk_time: Duration::ZERO, patience: 1, heard: now, pinged: None, dialed: None }
    }

    /// Begins anew with a connection on which a chunk is due every `chunk_time`.
    pub(super) fn begin(&mut self, chunk_time: Duration, now: Instant) {
        self.chunk_time = chunk_time;
        self.heard(now);
    }

    /// Notes a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
        self.dialed = None;
    }

    /// Notes that a connection was alive beside which another path was tried.
    pub(super) fn was_alive(&mut self) {
        self.patience = (self.patience * 2).min(MAX_PATIENCE);
    }

    /// Notes that another path was right.
    pub(super) fn was_dead(&mut self) {
        self.patience = 1;
    }

    /// Whether a sign of life was asked for, and none came yet.
    pub(super) fn is_asking(&self) -> bool {
        self.pinged.is_some()
    }

    /// How long nothing was heard.
    pub(super) fn length(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// When something is to be done about the silence.
    pub(super) fn due(&self, round_trip: Duration) -> Instant {
        match (self.pinged, self.dialed) {
            (None, _) => self.heard + self.chunk_time + (MOMENT + round_trip) * self.patience,
            (Some(pinged), None) => pinged + (ANSWER + round_trip * 2) * self.patience,
            (Some(_), Some(dialed)) => dialed + BETWEEN_DIALS,
        }
    }

    /// What is to be done, now that it is due.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let step = if self.pinged.is_none() { Step::Ping } else { Step::Dial };
        self.pinged = Some(now);
        if step == Step::Dial {
            self.dialed = Some(now);
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(20);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// When something is done about a silence that lasts, milliseconds after the last chunk.
    fn steps(silence: &mut Silence, start: Instant, count: usize) -> Vec<(u128, Step)> {
        (0..count)
            .map(|_| {
                let due = silence.due(ROUND_TRIP);
                (due.duration_since(start).as_millis(), silence.step(due))
            })
            .collect()
    }

    #[test]
    fn a_silent_server_is_pinged_and_then_dialed_each_second() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        assert_eq!(
            steps(&mut silence, start, 4),
            [(270, Step::Ping), (460, Step::Dial), (1_460, Step::Dial), (2_460, Step::Dial)]
        );
    }

    #[test]
    fn what_the_pace_explains_is_no_silence() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        silence.begin(millis(1_000), start);
        assert_eq!(silence.due(ROUND_TRIP), start + millis(1_270));
        silence.heard(start + millis(1_100));
        assert_eq!(silence.due(ROUND_TRIP), start + millis(2_370));
    }

    #[test]
    fn a_wrong_suspicion_makes_patient_and_a_right_one_ends_that() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        silence.was_alive();
        assert_eq!(steps(&mut silence, start, 2), [(540, Step::Ping), (920, Step::Dial)]);
        (0..10).for_each(|_| silence.was_alive());
        silence.heard(start);
        assert_eq!(silence.due(ROUND_TRIP), start + millis(270 * 8), "but not for ever");
        silence.was_dead();
        silence.heard(start);
        assert_eq!(silence.due(ROUND_TRIP), start + millis(270));
    }
}
