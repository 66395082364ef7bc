//! The blocks of files that all sessions share.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Blocks;

use super::file::{BLOCK, File, Identity};
use super::{Error, blocking};

/// A block of a file in one of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    file: Identity,
    block: u64,
}

#[derive(Debug, Clone)]
struct ByLength;

impl Weighter<Key, Bytes> for ByLength {
    fn weight(&self, _: &Key, block: &Bytes) -> u64 {
        block.len() as u64
    }
}

/// A bounded cache. However many sessions ask for a block, it is read once, and on the blocking
/// pool: the endpoint's thread never waits for a disk.
#[derive(Debug)]
pub struct Cache {
    blocks: Blocks<Key, Bytes, ByLength>,
}

impl Cache {
    /// A cache that holds about `capacity` bytes, and at least a few blocks.
    pub fn new(capacity: u64) -> Self {
        let capacity = capacity.max(4 * BLOCK);
        let items = usize::try_from(capacity / BLOCK).unwrap_or(usize::MAX);
        Self { blocks: Blocks::with_weighter(items, capacity, ByLength) }
    }

    pub(super) async fn read(
        &self,
        file: &Arc<File>,
        offset: u64,
        max: usize,
    ) -> Result<Bytes, Error> {
        if offset >= file.len() {
            return Ok(Bytes::new());
        }
        let block = self.block(file, offset / BLOCK).await?;
        let start = usize::try_from(offset % BLOCK).unwrap_or(usize::MAX).min(block.len());
        Ok(block.slice(start..block.len().min(start.saturating_add(max))))
    }

    pub(super) fn read_ahead(self: &Arc<Self>, file: &Arc<File>, offset: u64) {
        let block = offset / BLOCK + 1;
        let key = Key { file: file.identity(), block };
        if block * BLOCK < file.len() && self.blocks.peek(&key).is_none() {
            let (cache, file) = (self.clone(), file.clone());
            // Whoever reads the block meets the error that this attempt may have.
            tokio::spawn(async move { cache.block(&file, block).await.map(drop) });
        }
    }

    async fn block(&self, file: &Arc<File>, block: u64) -> Result<Bytes, Error> {
        let key = Key { file: file.identity(), block };
        let file = file.clone();
        let load = blocking(move || file.read_block(block));
        self.blocks.get_or_insert_async(&key, load).await
    }
}
