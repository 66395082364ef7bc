//! The memory that files are read into.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Bytes that are read from a file at a time: the usual chunk. Measured: larger blocks are no
/// faster, because they fall out of the processor's caches between the disk and the network, and
/// thousands of sessions with titles of their own would keep much more than they send.
pub(super) const BLOCK: usize = 64 * 1024;

/// Buffers that were used before. A new one would have to be zeroed, and the system would have to
/// find memory for it: together more work than to read a block into it. In a virtual machine it is
/// so much more that thousands of sessions fall behind, and then need even more buffers.
#[derive(Debug)]
pub(super) struct Pool {
    spare: Mutex<Vec<Box<[u8]>>>,
    /// The most buffers to keep for the next blocks.
    most: usize,
}

impl Pool {
    /// A pool that keeps this many buffers at most.
    pub(super) fn new(most: usize) -> Self {
        Self { spare: Mutex::default(), most }
    }

    /// A buffer of `length` bytes; what is in it is of no meaning. Only those for whole blocks are
    /// used again.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let used = if length == BLOCK { self.spare().pop() } else { None };
        let memory = used.unwrap_or_else(|| vec![0; length].into());
        Buffer { memory, pool: self.clone() }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer on loan: when the last slice of its block is dropped, it goes back.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Box<[u8]>,
    pool: Arc<Pool>,
}

impl Buffer {
    /// What it is to be filled with goes here.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// The block, once it is filled.
    pub(super) fn filled(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.pool.spare();
        if self.memory.len() == BLOCK && spare.len() < self.pool.most {
            spare.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_nobody_has_its_block_any_more() {
        let pool = Arc::new(Pool::new(1));
        let mut buffer = pool.take(BLOCK);
        buffer.bytes()[..5].copy_from_slice(b"hello");
        let block = buffer.filled();
        let slice = block.slice(1..3);
        drop(block);
        assert!(pool.spare().is_empty(), "a slice is in use");
        assert_eq!(slice, b"el"[..]);
        drop(slice);
        assert_eq!(pool.spare().len(), 1);
        assert_eq!(pool.take(3).bytes().len(), 3);
        assert_eq!(pool.spare().len(), 1, "a short one neither takes it nor comes back");
        assert_eq!(pool.take(BLOCK).bytes().get(..5), Some(&b"hello"[..]), "the same one again");
        assert_eq!(pool.spare().len(), 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pool = Arc::new(Pool::new(5));
        let buffers: Vec<_> = (0..10).map(|_| pool.take(BLOCK)).collect();
        drop(buffers);
        assert_eq!(pool.spare().len(), 5);
    }
}
