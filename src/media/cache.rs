//! The blocks that all sessions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::sync::Cache as Blocks;

use super::Error;
use super::block::{BLOCK, Buffer, Pool};

/// Blocks that every cache has room for.
const MIN_BLOCKS: usize = 16;

/// Tells the blocks of one source from those of all others: a hash of what the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SourceId(pub(super) [u8; 16]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: SourceId,
    offset: u64,
}

/// A bounded cache of blocks, and the buffers that blocks are read into.
#[derive(Debug)]
pub struct Cache {
    blocks: Blocks<Key, Bytes>,
    pool: Arc<Pool>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Cache {
    /// Makes a cache for about `capacity` bytes, at least 16 blocks. It keeps as much memory again,
    /// at most, for the next blocks.
    pub fn new(capacity: u64) -> Self {
        let blocks = usize::try_from(capacity / BLOCK as u64).unwrap_or(usize::MAX).max(MIN_BLOCKS);
        Self {
            blocks: Blocks::new(blocks),
            pool: Arc::new(Pool::new(blocks)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Returns an uninitialized buffer of `length` bytes.
    pub(super) fn buffer(&self, length: usize) -> Buffer {
        self.pool.take(length)
    }

    pub(super) fn get(&self, source: SourceId, offset: u64) -> Option<Bytes> {
        let block = self.blocks.get(&Key { source, offset });
        let count = if block.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        block
    }

    /// Returns how many blocks were there when they were asked for, how many were not, and how
    /// many are kept.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let kept = self.blocks.len() as u64;
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed), kept)
    }

    /// The same, which does not count as a use of the block.
    pub(super) fn peek(&self, source: SourceId, offset: u64) -> Option<Bytes> {
        self.blocks.peek(&Key { source, offset })
    }

    pub(super) fn insert(&self, source: SourceId, offset: u64, block: Bytes) {
        self.blocks.insert(Key { source, offset }, block);
    }

    /// Returns the block that begins at `offset`. However many ask for it at once, one of them
    /// loads it.
    pub(super) async fn get_or_load(
        &self,
        source: SourceId,
        offset: u64,
        load: impl Future<Output = Result<Bytes, Error>>,
    ) -> Result<Bytes, Error> {
        self.blocks.get_or_insert_async(&Key { source, offset }, load).await
    }
}
