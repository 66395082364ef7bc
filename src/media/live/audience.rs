//! Who watches a broadcast, and how far each is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What comes from a producer within so long is broadcast as one piece.
pub const PIECE_TIME: Duration = Duration::from_millis(5);

/// How long a viewer's next chunk waits after its last one, for more to come into it: what each chunk
/// costs is paid for each viewer. They have begun at different times, so it is not all of them at once
/// that get one. With the time of a piece no byte is held for more than 20 ms, as the protocol has it.
const HOLD: Duration = Duration::from_millis(15);

/// Up to how many viewers that is enough, and how long it is for twice as many and more: no byte is
/// held for more than 80 ms.
const FEW_VIEWERS: u32 = 500;
const LONGEST_HOLD: Duration = Duration::from_millis(75);

/// The viewers of a broadcast.
#[derive(Debug, Default)]
pub(super) struct Audience(Mutex<Viewers>);

#[derive(Debug, Default)]
struct Viewers {
    positions: BTreeMap<u64, Arc<AtomicU64>>,
    /// The number of the next one.
    next: u64,
}

impl Audience {
    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a viewer. Returns its number, and how far it is, which it says from then on.
    pub(super) fn add(&self) -> (u64, Arc<AtomicU64>) {
        let position = Arc::new(AtomicU64::new(u64::MAX));
        let mut viewers = self.viewers();
        viewers.next += 1;
        let number = viewers.next;
        viewers.positions.insert(number, position.clone());
        (number, position)
    }

    /// Takes a viewer off.
    pub(super) fn remove(&self, number: u64) {
        self.viewers().positions.remove(&number);
    }

    /// How many there are, and where the one is that is furthest behind.
    pub(super) fn count_and_last(&self) -> (usize, Option<u64>) {
        let viewers = self.viewers();
        let positions = viewers.positions.values();
        let last = positions.map(|position| position.load(Ordering::Relaxed)).min();
        (viewers.positions.len(), last)
    }

    /// How long the next chunk of a viewer waits after its last one, with as many as there are.
    pub(super) fn hold(&self) -> Duration {
        let viewers = u32::try_from(self.viewers().positions.len()).unwrap_or(u32::MAX);
        let more = viewers.saturating_sub(FEW_VIEWERS).min(FEW_VIEWERS);
        HOLD + LONGEST_HOLD.saturating_sub(HOLD).saturating_mul(more) / FEW_VIEWERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_held_longer_for_more_viewers() {
        let audience = Audience::default();
        let held_with = |count: usize| {
            let missing = count - audience.count_and_last().0;
            (0..missing).for_each(|_| drop(audience.add()));
            audience.hold().as_millis()
        };
        assert_eq!([0, 500, 750, 1_000, 3_000].map(held_with), [15, 15, 45, 75, 75]);
    }

    #[test]
    fn the_last_of_the_viewers_is_known() {
        let audience = Audience::default();
        assert_eq!(audience.count_and_last(), (0, None));
        let (first, position) = audience.add();
        let (_, other) = audience.add();
        position.store(3, Ordering::Relaxed);
        other.store(5, Ordering::Relaxed);
        assert_eq!(audience.count_and_last(), (2, Some(3)));
        audience.remove(first);
        assert_eq!(audience.count_and_last(), (1, Some(5)));
    }
}
