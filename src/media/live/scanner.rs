//! Where viewers of a broadcast can begin, whatever its container is.

use std::collections::VecDeque;

use bytes::Bytes;

use super::mp4::Mp4;
use super::mpegts::MpegTs;
use super::scan::Scan;
use super::webm::WebM;

/// How many places where a decoder can begin are remembered.
const MOST_JOINS: usize = 100_000;

/// Notes where a decoder can begin in a broadcast, whose container is told by its first bytes.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    container: Container,
    joins: VecDeque<Join>,
}

/// A place where a decoder can begin.
#[derive(Debug)]
struct Join {
    offset: u64,
    /// What the decoder needs first.
    header: Bytes,
}

#[derive(Debug)]
enum Container {
    /// The bytes so far do not say which it is.
    NotYet(Vec<u8>),
    Known(Box<dyn Scan>),
    /// One offset is as good as another.
    Other,
}

impl Default for Container {
    fn default() -> Self {
        Self::NotYet(Vec::new())
    }
}

impl Container {
    /// Which container begins like this.
    fn of(first: &[u8]) -> Self {
        match [MpegTs::recognises(first), Mp4::recognises(first), WebM::recognises(first)] {
            [Some(true), ..] => Self::Known(Box::<MpegTs>::default()),
            [_, Some(true), _] => Self::Known(Box::<Mp4>::default()),
            [.., Some(true)] => Self::Known(Box::<WebM>::default()),
            [Some(false), Some(false), Some(false)] => Self::Other,
            _ => Self::NotYet(Vec::new()),
        }
    }
}

impl Scanner {
    /// Takes the next bytes in.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Container::NotYet(first) = &mut self.container else { return self.scan(bytes) };
        first.extend_from_slice(bytes);
        let first = std::mem::take(first);
        self.container = Container::of(&first);
        match &mut self.container {
            Container::NotYet(none) => *none = first,
            _ => self.scan(&first),
        }
    }

    fn scan(&mut self, bytes: &[u8]) {
        let Container::Known(scanner) = &mut self.container else { return };
        let mut found = Vec::new();
        let goes_on = scanner.feed(bytes, &mut |offset| found.push(offset));
        let header = scanner.header().unwrap_or_default();
        let join = |offset| Join { offset, header: header.clone() };
        self.joins.extend(found.into_iter().map(join));
        if !goes_on {
            self.container = Container::Other;
        }
    }

    /// Forgets what is before the oldest byte that is kept.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        let excess = self.joins.len().saturating_sub(MOST_JOINS);
        let gone = self.joins.partition_point(|join| join.offset < oldest);
        self.joins.drain(..gone.max(excess));
    }

    /// Where a decoder can begin that is to see what is at `offset`, or as much of that as is kept.
    /// `oldest` is the first byte that is.
    pub(super) fn join(&self, offset: u64, oldest: u64) -> u64 {
        match (self.before(offset), &self.container) {
            (Some(join), _) => join.offset,
            (None, Container::Other) => offset,
            // Nothing to begin at has come, or all that is there leads up to it.
            (None, _) if oldest == 0 => 0,
            (None, _) => self.joins.front().map_or(oldest, |join| join.offset),
        }
    }

    /// How many places are kept where a decoder can begin.
    pub(super) fn count(&self) -> usize {
        self.joins.len()
    }

    /// What a decoder needs first that begins at `offset`.
    pub(super) fn header_at(&self, offset: u64) -> Option<Bytes> {
        let join = self.before(offset).filter(|_| offset > 0)?;
        Some(join.header.clone()).filter(|header| !header.is_empty())
    }

    /// The last join up to `offset`.
    fn before(&self, offset: u64) -> Option<&Join> {
        let after = self.joins.partition_point(|join| join.offset <= offset);
        after.checked_sub(1).and_then(|index| self.joins.get(index))
    }

    /// Where a decoder can begin.
    #[cfg(test)]
    pub(super) fn joins(&self) -> impl Iterator<Item = u64> {
        self.joins.iter().map(|join| join.offset)
    }
}
