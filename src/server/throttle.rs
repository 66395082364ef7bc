//! Keeps what one peer can cause from drowning what others have to say.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long after something was said the same is not said again.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many things are told apart: from many addresses at once they are one.
const MAX_KEYS: usize = 1024;

/// Lets each thing be said once a second, and counts the rest.
#[derive(Debug)]
pub(super) struct Throttle<K, V> {
    recent: HashMap<K, Recent<V>>,
}

#[derive(Debug)]
struct Recent<V> {
    said: Instant,
    /// The last thing that was held back, and how many were.
    held: Option<(V, u64)>,
}

impl<K: Hash + Eq + Clone, V> Throttle<K, V> {
    pub(super) fn new() -> Self {
        Self { recent: HashMap::new() }
    }

    /// Returns `value` if it may be said now, with the number of those like it that were held
    /// back before.
    pub(super) fn admit(&mut self, key: K, value: V, now: Instant) -> Option<(V, u64)> {
        let is_full = self.recent.len() >= MAX_KEYS;
        match self.recent.get_mut(&key) {
            Some(recent) if now < recent.said + INTERVAL => {
                let count = recent.held.take().map_or(0, |(_, count)| count);
                recent.held = Some((value, count + 1));
                None
            }
            Some(recent) => {
                recent.said = now;
                let count = recent.held.take().map_or(0, |(_, count)| count);
                Some((value, count))
            }
            None if is_full => None,
            None => {
                self.recent.insert(key, Recent { said: now, held: None });
                Some((value, 0))
            }
        }
    }

    /// Takes what was held back and may be said now, with the number of those like it that were
    /// held back before, and forgets the rest.
    pub(super) fn release(&mut self, now: Instant) -> Vec<(V, u64)> {
        let mut released = Vec::new();
        self.recent.retain(|_, recent| {
            if now < recent.said + INTERVAL {
                return true;
            }
            let held = recent.held.take();
            recent.said = now;
            let more = held.is_some();
            released.extend(held.map(|(value, count)| (value, count - 1)));
            more
        });
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_second_with_its_count() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut throttle = Throttle::new();
        assert_eq!(throttle.admit("a", 1, at(0)), Some((1, 0)));
        assert_eq!(throttle.admit("b", 1, at(1)), Some((1, 0)), "others are not held back");
        assert!((2..=10).all(|number| throttle.admit("a", number, at(500)).is_none()));
        assert_eq!(throttle.release(at(999)), []);
        assert_eq!(throttle.release(at(1_000)), [(10, 8)]);
        assert_eq!(throttle.admit("a", 11, at(1_500)), None, "it was said just now");
        assert_eq!(throttle.admit("a", 12, at(2_000)), Some((12, 1)));
        assert_eq!(throttle.release(at(9_000)), []);
        assert!(throttle.recent.is_empty(), "nothing is kept of what is quiet");
    }

    #[test]
    fn it_does_not_grow_with_addresses() {
        let now = Instant::now();
        let mut throttle = Throttle::new();
        let said = (0..100_000).filter(|key| throttle.admit(*key, (), now).is_some()).count();
        assert_eq!((said, throttle.recent.len()), (MAX_KEYS, MAX_KEYS));
    }
}
