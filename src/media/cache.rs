//! The blocks of files that all sessions share.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache as Blocks;

use super::block::{BLOCK, Pool};
use super::file::{File, Identity};
use super::{Error, blocking};

/// A cache has no fewer blocks than this.
const FEWEST: usize = 16;

/// A block of a file in one of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    file: Identity,
    offset: u64,
}

/// A bounded cache. However many sessions ask for a block, it is read once. The endpoint's thread
/// never waits for a disk: what the system has in memory is copied at once, which costs less than
/// to ask another thread, and the rest is read on the blocking pool.
#[derive(Debug)]
pub struct Cache {
    blocks: Blocks<Key, Bytes>,
    pool: Arc<Pool>,
}

impl Cache {
    /// A cache that holds about `capacity` bytes, and at least a few blocks; and that keeps as much
    /// memory for new blocks at most.
    pub fn new(capacity: u64) -> Self {
        let blocks = usize::try_from(capacity / BLOCK as u64).unwrap_or(usize::MAX).max(FEWEST);
        Self { blocks: Blocks::new(blocks), pool: Arc::new(Pool::new(blocks)) }
    }

    /// From `offset` to the end of its block, but at most `max` bytes. Where the block is not in
    /// the system's memory, it is asked to have the `ahead` bytes after it there soon.
    pub(super) async fn read(
        &self,
        file: &Arc<File>,
        offset: u64,
        max: usize,
        ahead: u64,
    ) -> Result<Bytes, Error> {
        if offset >= file.len() {
            return Ok(Bytes::new());
        }
        let into_block = offset % BLOCK as u64;
        let key = Key { file: file.identity(), offset: offset - into_block };
        let load = self.load(file, key.offset, ahead);
        // What only one session has open is not kept: its buffers then come back before they have
        // left the processor's caches.
        let block = match Arc::strong_count(file) {
            1 => load.await?,
            _ => self.blocks.get_or_insert_async(&key, load).await?,
        };
        let start = usize::try_from(into_block).unwrap_or(usize::MAX).min(block.len());
        Ok(block.slice(start..block.len().min(start.saturating_add(max))))
    }

    async fn load(&self, file: &Arc<File>, offset: u64, ahead: u64) -> Result<Bytes, Error> {
        let left = usize::try_from(file.len() - offset).unwrap_or(usize::MAX);
        let mut buffer = self.pool.take(left.min(BLOCK));
        if file.read_from_memory(offset, buffer.bytes())? {
            return Ok(buffer.filled());
        }
        let file = file.clone();
        blocking(move || {
            file.read(offset, buffer.bytes())?;
            file.will_read(offset + BLOCK as u64, ahead);
            Ok(buffer.filled())
        })
        .await
    }
}
