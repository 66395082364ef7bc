//! The blocks of files that all sessions share.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache as Blocks;

use super::block::{BLOCK, Pool};
use super::file::File;
use super::identity::FileIdentity;
use super::{Error, blocking};

/// A cache has no fewer blocks than this.
const FEWEST: usize = 16;

/// A block of a file in one of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    file: FileIdentity,
    offset: u64,
}

/// What to read of a file, and what of it is wanted.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    key: Key,
    length: usize,
    wanted: Range<usize>,
    /// It is a whole block, and kept for others.
    shared: bool,
}

impl Piece {
    /// From `offset` on, at most `max` bytes; `None` at the end of the file. What nobody else
    /// has open, for a session or its digest, is not kept: its buffers then come back before they
    /// have left the processor's caches, and nothing is read that is not wanted.
    pub(super) fn new(file: &Arc<File>, offset: u64, max: usize) -> Option<Self> {
        let shared = Arc::strong_count(file) > 1;
        let left =
            |offset| usize::try_from(file.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let start = if shared { offset % BLOCK as u64 } else { 0 };
        let key = Key { file: file.identity(), offset: offset - start };
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let length = left(key.offset).min(if shared { BLOCK } else { max.min(BLOCK) });
        let wanted = start..length.min(start.saturating_add(max));
        (left(offset) > 0).then_some(Self { key, length, wanted, shared })
    }

    /// What is wanted of what was read. That keeps all of it in memory, so that of a large block
    /// a small part is copied.
    fn cut(&self, block: &Bytes) -> Bytes {
        let wanted = block.slice(self.wanted.clone());
        match wanted.len() < block.len() / 4 {
            true => Bytes::copy_from_slice(&wanted),
            false => wanted,
        }
    }
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

    /// Reads what is in memory, here or in the system's; `None` where that means to wait for a
    /// disk.
    pub(super) fn read_at_once(&self, file: &File, piece: &Piece) -> Result<Option<Bytes>, Error> {
        if let Some(block) = self.blocks.get(&piece.key).filter(|_| piece.shared) {
            return Ok(Some(piece.cut(&block)));
        }
        let mut buffer = self.pool.take(piece.length);
        if !file.read_from_memory(piece.key.offset, buffer.bytes())? {
            return Ok(None);
        }
        let block = buffer.filled();
        if piece.shared {
            self.blocks.insert(piece.key, block.clone());
        }
        Ok(Some(piece.cut(&block)))
    }

    /// The block of a file in this state that begins at `offset`, if it is here. That it was asked
    /// for keeps it no longer.
    pub(super) fn peek(&self, file: FileIdentity, offset: u64) -> Option<Bytes> {
        self.blocks.peek(&Key { file, offset })
    }

    /// Reads whatever that means. The system is asked to have the `ahead` bytes after it in memory
    /// soon.
    pub(super) async fn read(
        self: Arc<Self>,
        file: Arc<File>,
        piece: Piece,
        ahead: u64,
    ) -> Result<Bytes, Error> {
        let (pool, key, length) = (self.pool.clone(), piece.key, piece.length);
        let load = blocking(move || {
            let mut buffer = pool.take(length);
            file.read(key.offset, buffer.bytes())?;
            file.will_read(key.offset + length as u64, ahead);
            Ok(buffer.filled())
        });
        let block = match piece.shared {
            true => self.blocks.get_or_insert_async(&key, load).await?,
            false => load.await?,
        };
        Ok(piece.cut(&block))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let metadata = file.metadata().unwrap();
        Arc::new(File::new(file, &metadata, "media.mp4".into()))
    }

    #[tokio::test]
    async fn a_piece_takes_no_more_room_than_it_is_worth() {
        let bytes: Vec<u8> = (0..BLOCK + 1_000).map(|at| (at % 251) as u8).collect();
        let cache = Arc::new(Cache::new(1));
        let alone = file(&bytes);
        let shared = file(&bytes);
        let _other = shared.clone();
        for (file, offset, max, length) in [
            (&alone, 1, 10, 10),
            (&alone, 1, BLOCK, BLOCK),
            (&alone, BLOCK as u64, BLOCK, 1_000),
            (&shared, 1, 10, 10),
            (&shared, 1, BLOCK, BLOCK - 1),
            (&shared, BLOCK as u64 + 1, BLOCK, 999),
        ] {
            let piece = Piece::new(file, offset, max).unwrap();
            let kept = cache.clone().read(file.clone(), piece.clone(), 0).await.unwrap();
            let from = offset as usize;
            assert_eq!(kept, bytes[from..from + length], "{offset}, {max}");
            let at_once = cache.read_at_once(file, &piece).unwrap();
            assert!(at_once.is_none_or(|at_once| at_once == kept), "{offset}, {max}");
            let whole = Bytes::from(vec![0; piece.length]);
            let cut = piece.cut(&whole);
            let is_copied = !whole.as_ptr_range().contains(&cut.as_ptr());
            assert!(is_copied || cut.len() * 4 >= whole.len(), "{offset}, {max}");
        }
        assert!(Piece::new(&alone, bytes.len() as u64, 1).is_none(), "the end");
    }
}
