//! How often a peer may do something.

use std::time::Duration;

use super::Time;

/// So many times within a period, which begins with the first of them.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    most: u32,
    period: Duration,
    began: Time,
    taken: u32,
}

impl Allowance {
    /// Allows `most` times in each `period`.
    pub fn new(most: u32, period: Duration) -> Self {
        Self { most, period, began: Time::ZERO, taken: 0 }
    }

    /// Takes one of them; returns false if there was none left.
    pub fn take(&mut self, now: Time) -> bool {
        if self.taken == 0 || now >= self.began.saturating_add(self.period) {
            self.began = now;
            self.taken = 0;
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_allowed_within_the_period_is_too_much() {
        let at = Duration::from_millis;
        let mut allowance = Allowance::new(3, at(1_000));
        assert!([at(5_000), at(5_001), at(5_999)].into_iter().all(|now| allowance.take(now)));
        assert!(!allowance.take(at(5_999)));
        assert!(allowance.take(at(6_000)), "a new period");
        assert!(allowance.take(at(60_000)), "and one that begins late");
    }
}
