//! The places of a broadcast where a decoder can begin.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many are remembered at most.
const MOST: usize = 100_000;

/// How far apart they are at first: frames of audio come every few milliseconds.
const APART: u64 = 4096;

/// Those that are remembered.
#[derive(Debug)]
pub(super) struct Joins {
    /// In order.
    joins: VecDeque<Join>,
    /// How far apart they are at least, bytes, but for the newest.
    apart: u64,
}

/// A place where a decoder can begin.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) offset: u64,
    /// What the decoder needs first; empty if nothing.
    pub(super) header: Bytes,
}

impl Default for Joins {
    fn default() -> Self {
        Self { joins: VecDeque::new(), apart: APART }
    }
}

impl Joins {
    /// Remembers another one, behind the others.
    pub(super) fn push(&mut self, offset: u64, header: &Bytes) {
        let Self { joins, apart } = self;
        let before_last = joins.len().checked_sub(2).and_then(|index| joins.get(index));
        let distance = before_last.zip(joins.back()).map(|(one, next)| next.offset - one.offset);
        if distance.is_some_and(|distance| distance < *apart) {
            joins.pop_back();
        }
        while joins.len() >= MOST {
            *apart = apart.saturating_mul(2);
            let mut next = 0;
            joins.retain(|join| {
                let is_far = join.offset >= next;
                next = if is_far { join.offset + *apart } else { next };
                is_far
            });
        }
        joins.push_back(Join { offset, header: header.clone() });
    }

    /// Forgets those before the oldest byte that is kept.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        let gone = self.joins.partition_point(|join| join.offset < oldest);
        self.joins.drain(..gone);
    }

    /// How many are remembered.
    pub(super) fn count(&self) -> usize {
        self.joins.len()
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&Join> {
        self.joins.front()
    }

    /// The last one up to `offset`.
    pub(super) fn before(&self, offset: u64) -> Option<&Join> {
        let after = self.joins.partition_point(|join| join.offset <= offset);
        after.checked_sub(1).and_then(|index| self.joins.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_remembered_and_the_older_ones_not_too_close_to_each_other() {
        let mut joins = Joins::default();
        for offset in (0..100_000).step_by(100) {
            joins.push(offset, &Bytes::new());
            assert_eq!(joins.before(offset).unwrap().offset, offset);
        }
        for offset in (0..100_000).step_by(1_000) {
            assert!(offset - joins.before(offset).unwrap().offset < 2 * APART);
        }
        assert!(joins.joins.len() < 30);
        joins.forget_before(50_000);
        assert!(joins.before(49_999).is_none());
        assert!(joins.before(59_999).is_some());
    }

    #[test]
    fn however_many_come_there_are_some_of_each_time() {
        let mut joins = Joins::default();
        let header = Bytes::from_static(b"header");
        for count in 0..4 * MOST as u64 {
            joins.push(count * APART, &header);
        }
        assert!(joins.joins.len() <= MOST);
        let next = joins.joins.iter().skip(1);
        let apart = joins.joins.iter().zip(next).map(|(join, next)| next.offset - join.offset);
        assert!(apart.max().unwrap() <= 8 * APART);
        assert_eq!(joins.before(u64::MAX).unwrap().header, header);
    }
}
