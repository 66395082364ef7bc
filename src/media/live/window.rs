//! The newest bytes of a broadcast, in memory.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// How many bytes of small pieces become one block. Each piece would keep a place, and what it was
/// cut from, for as long as its bytes are in the window.
const JOINED: u64 = 64 * 1024;

/// What is kept in memory.
#[derive(Default)]
pub(super) struct Window {
    /// Each block with the byte that it begins at.
    blocks: VecDeque<(u64, Bytes)>,
    /// How many of the last of them are pieces that are still to be joined.
    pieces: usize,
    /// How many bytes there are, kept or not.
    edge: u64,
}

impl Window {
    /// How many bytes have come.
    pub(super) fn edge(&self) -> u64 {
        self.edge
    }

    /// The first byte that is here.
    pub(super) fn oldest(&self) -> u64 {
        self.blocks.front().map_or(self.edge, |(offset, _)| *offset)
    }

    /// Adds bytes at the end, and makes one block of pieces that have become enough for it.
    pub(super) fn push(&mut self, bytes: Bytes) {
        let length = bytes.len() as u64;
        self.blocks.push_back((self.edge, bytes));
        self.edge += length;
        self.pieces = (self.pieces + 1).min(self.blocks.len());
        let whole = self.blocks.len() - self.pieces;
        let first = self.blocks.get(whole).map_or(self.edge, |(first, _)| *first);
        if self.edge - first < JOINED {
            return;
        }
        if self.pieces > 1 {
            let mut joined =
                BytesMut::with_capacity(usize::try_from(self.edge - first).unwrap_or(0));
            self.blocks.drain(whole..).for_each(|(_, piece)| joined.extend_from_slice(&piece));
            self.blocks.push_back((first, joined.freeze()));
        }
        self.pieces = 0;
    }

    /// Forgets what is before `offset`. A block of which a part is behind it stays as a whole, and so
    /// does the last one.
    pub(super) fn forget_before(&mut self, offset: u64) {
        while self.blocks.get(1).is_some_and(|(second, _)| *second <= offset) {
            self.blocks.pop_front();
        }
    }

    /// 1 to `max` of the bytes at `offset`, if they are here.
    pub(super) fn get(&self, offset: u64, max: usize) -> Option<Bytes> {
        let after = self.blocks.partition_point(|(first, _)| *first <= offset);
        let (first, block) = self.blocks.get(after.checked_sub(1)?)?;
        let start = usize::try_from(offset - first).unwrap_or(usize::MAX).min(block.len());
        let end = block.len().min(start.saturating_add(max));
        Some(block.slice(start..end))
    }
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("edge", &self.edge).finish_non_exhaustive()
    }
}
