//! The places of a broadcast where a decoder can begin.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many are remembered at most.
const MOST: usize = 100_000;

/// How far apart they are at first: frames of audio come every few milliseconds.
const APART: u64 = 4096;

/// The most bytes of their headers: of a radio whose titles have pictures, one for each title.
const MOST_HEADERS: usize = 32 * 1024 * 1024;

/// Those that are remembered.
#[derive(Debug)]
pub(super) struct Joins {
    /// In order.
    joins: VecDeque<Join>,
    /// How far apart they are at least, bytes, but for the newest.
    apart: u64,
    /// Bytes of their headers; those that share one have it once.
    headers: usize,
    /// Whether some are not remembered whose bytes are kept.
    has_forgotten: bool,
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
        Self { joins: VecDeque::new(), apart: APART, headers: 0, has_forgotten: false }
    }
}

impl Joins {
    /// Remembers another one, behind the others.
    pub(super) fn push(&mut self, offset: u64, header: Bytes) {
        let Self { joins, apart, .. } = self;
        let before_last = joins.len().checked_sub(2).and_then(|index| joins.get(index));
        let distance = before_last.zip(joins.back()).map(|(one, next)| next.offset - one.offset);
        if distance.is_some_and(|distance| distance < *apart) {
            self.headers -= self.last_header();
            self.joins.pop_back();
        }
        self.thin_out();
        self.joins.push_back(Join { offset, header });
        self.headers += self.last_header();
        while self.headers > MOST_HEADERS {
            self.pop_front();
            self.has_forgotten = true;
        }
    }

    /// Makes room for another one.
    fn thin_out(&mut self) {
        let Self { joins, apart, .. } = self;
        if joins.len() < MOST {
            return;
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
        let mut before = None;
        let own = joins.iter().map(|join| own_header(join, before.replace(join)));
        self.headers = own.sum();
    }

    /// Forgets those before the oldest byte that is kept.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        while self.joins.front().is_some_and(|join| join.offset < oldest) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(gone) = self.joins.pop_front() {
            self.headers -= own_header(&gone, self.joins.front());
        }
    }

    /// Bytes of the last one's header that the one before it does not share.
    fn last_header(&self) -> usize {
        let before = self.joins.len().checked_sub(2).and_then(|index| self.joins.get(index));
        self.joins.back().map_or(0, |last| own_header(last, before))
    }

    /// Whether some are not remembered whose bytes may be kept.
    pub(super) fn has_forgotten(&self) -> bool {
        self.has_forgotten
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

/// Bytes of a header that the neighbour does not share.
fn own_header(join: &Join, neighbour: Option<&Join>) -> usize {
    let Join { header, .. } = join;
    match neighbour {
        Some(other) if other.header.as_ptr() == header.as_ptr() => 0,
        _ => header.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_remembered_and_the_older_ones_not_too_close_to_each_other() {
        let mut joins = Joins::default();
        for offset in (0..100_000).step_by(100) {
            joins.push(offset, Bytes::new());
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
            joins.push(count * APART, header.clone());
        }
        assert_eq!(joins.headers, header.len());
        assert!(joins.joins.len() <= MOST);
        let next = joins.joins.iter().skip(1);
        let apart = joins.joins.iter().zip(next).map(|(join, next)| next.offset - join.offset);
        assert!(apart.max().unwrap() <= 8 * APART);
        assert_eq!(joins.before(u64::MAX).unwrap().header, header);
    }

    #[test]
    fn those_with_large_headers_are_forgotten_when_there_are_many() {
        let mut joins = Joins::default();
        let large = || Bytes::from(vec![0; MOST_HEADERS / 4]);
        for offset in (0..10 * APART).step_by(APART as usize) {
            joins.push(offset, large());
            let kept = joins.joins.iter().map(|join| join.header.len()).sum::<usize>();
            assert_eq!(joins.headers, kept);
        }
        assert_eq!((joins.count(), joins.has_forgotten()), (4, true));
        assert_eq!(joins.before(u64::MAX).unwrap().offset, 9 * APART);
        joins.forget_before(u64::MAX);
        assert_eq!(joins.headers, 0);
    }
}
