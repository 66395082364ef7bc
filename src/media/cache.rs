//! The blocks of files that all sessions share.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Blocks;

use super::file::{File, Identity};
use super::{Error, blocking};

/// Bytes that are read from a file at a time for a session that goes as fast as it can.
pub(super) const LARGE_BLOCK: u64 = 1024 * 1024;
/// The same for the slowest sessions: the usual chunk. Thousands of them with titles of their own
/// must not read, or keep in memory, much more than they send.
const SMALL_BLOCK: u64 = 64 * 1024;

/// The block size for a session at this rate in bit/s, where 0 is as fast as it goes: about what
/// it sends in a second.
pub(super) fn block_size(rate: u64) -> u64 {
    match rate {
        0 => LARGE_BLOCK,
        rate => {
            let second = (rate / 8).clamp(SMALL_BLOCK, LARGE_BLOCK);
            second.next_power_of_two().min(LARGE_BLOCK)
        }
    }
}

/// A block of a file in one of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    file: Identity,
    offset: u64,
    length: u64,
}

#[derive(Debug, Clone)]
struct ByLength;

impl Weighter<Key, Bytes> for ByLength {
    fn weight(&self, _: &Key, block: &Bytes) -> u64 {
        block.len() as u64
    }
}

/// A bounded cache. However many sessions ask for a block, it is read once. The endpoint's thread
/// never waits for a disk: what the system has in memory is copied at once, which costs less than
/// to ask another thread, and the rest is read on the blocking pool.
#[derive(Debug)]
pub struct Cache {
    blocks: Blocks<Key, Bytes, ByLength>,
}

impl Cache {
    /// A cache that holds about `capacity` bytes, and at least a few blocks.
    pub fn new(capacity: u64) -> Self {
        let capacity = capacity.max(4 * LARGE_BLOCK);
        let items = usize::try_from(capacity / SMALL_BLOCK).unwrap_or(usize::MAX);
        Self { blocks: Blocks::with_weighter(items, capacity, ByLength) }
    }

    /// From `offset` to the end of its block of `block_size` bytes, but at most `max` bytes.
    pub(super) async fn read(
        &self,
        file: &Arc<File>,
        offset: u64,
        max: usize,
        block_size: u64,
    ) -> Result<Bytes, Error> {
        if offset >= file.len() {
            return Ok(Bytes::new());
        }
        let into_block = offset % block_size;
        let block_start = offset - into_block;
        let length = block_size.min(file.len() - block_start);
        let key = Key { file: file.identity(), offset: block_start, length };
        let block = self.blocks.get_or_insert_async(&key, load(file, block_start, length)).await?;
        let start = usize::try_from(into_block).unwrap_or(usize::MAX).min(block.len());
        Ok(block.slice(start..block.len().min(start.saturating_add(max))))
    }
}

async fn load(file: &Arc<File>, offset: u64, length: u64) -> Result<Bytes, Error> {
    if let Some(block) = file.read_from_memory(offset, length)? {
        return Ok(block);
    }
    let file = file.clone();
    blocking(move || file.read(offset, length)).await
}
