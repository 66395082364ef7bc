//! The blocks of objects that all sessions share, and who fetches them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::failure::Failure;
use crate::media::block::{BLOCK, Buffer, Pool};
use crate::media::cache::SourceId;

/// How long a block waits for its first reader where there is no room for the blocks of others.
/// Whoever it was fetched for has paused, or gone.
const UNREAD_FOR: Duration = Duration::from_secs(30);

/// What whoever waits for a block gets.
type Fetched = Result<Bytes, Failure>;

/// Blocks of 64 KiB, in a bounded amount of memory.
///
/// Each block is fetched once, however many want it: who finds it neither there nor on its way
/// makes a [`Claim`] to it and to those after it. Those that were read give way first, the oldest
/// before the others. What is fetched ahead takes no more than half of the memory: where many read
/// in many places, each has less fetched ahead, and nothing is fetched twice.
#[derive(Debug)]
pub(super) struct Blocks {
    shelf: Mutex<Shelf>,
    pool: Arc<Pool>,
    /// The most blocks to keep.
    most: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    object: SourceId,
    index: u64,
}

/// A block, or the place of one.
#[derive(Debug)]
enum Slot {
    /// It is on its way, and these wait for it.
    Claimed(Vec<oneshot::Sender<Fetched>>),
    /// Nobody has read it yet. With its place among those.
    Unread(Bytes, u64),
    Read(Bytes),
}

#[derive(Debug, Default)]
struct Shelf {
    slots: HashMap<Key, Slot>,
    /// Those that nobody has read, in the order in which they came, with the time of that.
    unread: BTreeMap<u64, (Key, Instant)>,
    /// How many came unread so far.
    came: u64,
    /// Those that were read, in the order of that.
    read: VecDeque<Key>,
    /// Slots of blocks that are here.
    kept: usize,
    /// Slots of blocks that are claimed, or not read.
    ahead: usize,
}

/// A stretch of an object that somebody is about to read. All in blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) wanted: Range<u64>,
    /// What is fetched at once: from the first block that is not here on, also past the end of what
    /// is wanted.
    pub(super) step: u64,
    /// What is fetched even where there is no room.
    pub(super) least: u64,
    /// Where the object ends.
    pub(super) end: u64,
}

/// A block, as far as it can be had.
#[derive(Debug)]
pub(super) enum Lookup {
    Here(Bytes),
    /// It will come.
    Coming(oneshot::Receiver<Fetched>),
    /// Nobody fetches it.
    Nowhere,
}

impl Blocks {
    /// Keeps about `capacity` bytes, and as much memory again, at most, for the next blocks.
    pub(super) fn new(capacity: u64) -> Self {
        let most = usize::try_from(capacity / BLOCK as u64).unwrap_or(usize::MAX).max(2);
        Self {
            shelf: Mutex::default(),
            pool: Arc::new(Pool::new(most)),
            most,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Returns a buffer of `length` bytes for a block.
    pub(super) fn buffer(&self, length: usize) -> Buffer {
        self.pool.take(length)
    }

    /// Returns how many blocks were there when they were wanted, how many were not, and how many
    /// bytes are kept.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let kept = self.shelf().kept as u64 * BLOCK as u64;
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed), kept)
    }

    /// Takes a block that is here.
    pub(super) fn get(&self, object: SourceId, index: u64) -> Option<Bytes> {
        let block = self.shelf().take(Key { object, index })?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(block)
    }

    /// Takes a block, or gets in line for it.
    pub(super) fn find(&self, object: SourceId, index: u64) -> Lookup {
        let key = Key { object, index };
        let mut shelf = self.shelf();
        if let Some(block) = shelf.take(key) {
            return Lookup::Here(block);
        }
        let Some(Slot::Claimed(waiting)) = shelf.slots.get_mut(&key) else {
            return Lookup::Nowhere;
        };
        let (sender, receiver) = oneshot::channel();
        waiting.push(sender);
        drop(shelf);
        self.misses.fetch_add(1, Ordering::Relaxed);
        Lookup::Coming(receiver)
    }

    /// Claims the blocks that are wanted and are neither here nor claimed, as far as there is room.
    ///
    /// Returns the claims, and up to where all blocks are here or claimed now.
    pub(super) fn claim(
        self: &Arc<Self>,
        object: SourceId,
        stretch: Stretch,
        now: Instant,
    ) -> (Vec<Claim>, u64) {
        let Stretch { wanted, step, mut least, end } = stretch;
        let mut shelf = self.shelf();
        let mut claims = Vec::new();
        let mut next = wanted.start;
        loop {
            let absent = |index: &u64| !shelf.slots.contains_key(&Key { object, index: *index });
            let Some(start) = (next..wanted.end).find(absent) else { break };
            if self.room(&shelf) < step {
                shelf.forget_unread(now);
            }
            let most = self.room(&shelf).max(least).min(step);
            least = 0;
            next = start;
            while next < end.min(start.saturating_add(most)) {
                let Entry::Vacant(slot) = shelf.slots.entry(Key { object, index: next }) else {
                    break;
                };
                slot.insert(Slot::Claimed(Vec::new()));
                shelf.ahead += 1;
                next += 1;
            }
            if next == start {
                return (claims, start);
            }
            claims.push(Claim { blocks: self.clone(), object, left: start..next });
        }
        (claims, next.max(wanted.end))
    }

    /// Blocks that may be fetched ahead beside those that are.
    fn room(&self, shelf: &Shelf) -> u64 {
        (self.most / 2).saturating_sub(shelf.ahead) as u64
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn take(&mut self, key: Key) -> Option<Bytes> {
        let slot = self.slots.get_mut(&key)?;
        match slot {
            Slot::Claimed(_) => None,
            Slot::Read(block) => Some(block.clone()),
            Slot::Unread(block, place) => {
                let block = block.clone();
                self.unread.remove(place);
                *slot = Slot::Read(block.clone());
                self.read.push_back(key);
                self.ahead -= 1;
                Some(block)
            }
        }
    }

    /// Puts a claimed block in its place, for those who wait for it first.
    fn put(&mut self, key: Key, block: Bytes, most: usize) -> Vec<oneshot::Sender<Fetched>> {
        let Some(Slot::Claimed(waiting)) = self.slots.remove(&key) else { return Vec::new() };
        self.kept += 1;
        if waiting.is_empty() {
            self.came += 1;
            self.slots.insert(key, Slot::Unread(block, self.came));
            self.unread.insert(self.came, (key, Instant::now()));
        } else {
            self.slots.insert(key, Slot::Read(block));
            self.read.push_back(key);
            self.ahead -= 1;
        }
        while self.kept > most && self.evict() {}
        waiting
    }

    /// Takes back what was claimed and will not come.
    fn withdraw(&mut self, key: Key) -> Vec<oneshot::Sender<Fetched>> {
        let Some(Slot::Claimed(waiting)) = self.slots.remove(&key) else { return Vec::new() };
        self.ahead -= 1;
        waiting
    }

    /// Drops the block that is needed least; returns false if there is none.
    fn evict(&mut self) -> bool {
        let Some(key) = self.read.pop_front() else { return self.evict_unread(|_| true) };
        self.slots.remove(&key);
        self.kept -= 1;
        true
    }

    /// Drops what has waited too long for a reader.
    fn forget_unread(&mut self, now: Instant) {
        let is_old = |came: Instant| now.saturating_duration_since(came) > UNREAD_FOR;
        while self.evict_unread(is_old) {}
    }

    /// Drops the oldest block that nobody has read, if it came at a time that is right for it.
    fn evict_unread(&mut self, is_due: impl Fn(Instant) -> bool) -> bool {
        let oldest = self.unread.first_entry().filter(|oldest| is_due(oldest.get().1));
        let Some((key, _)) = oldest.map(|oldest| oldest.remove()) else { return false };
        self.slots.remove(&key);
        self.kept -= 1;
        self.ahead -= 1;
        true
    }
}

/// Consecutive blocks that its holder fetches. What is left of it when it is dropped can be claimed
/// by others.
#[derive(Debug)]
pub(super) struct Claim {
    blocks: Arc<Blocks>,
    object: SourceId,
    left: Range<u64>,
}

impl Claim {
    /// The blocks that have not come.
    pub(super) fn left(&self) -> Range<u64> {
        self.left.clone()
    }

    /// Returns a buffer of `length` bytes for the next block.
    pub(super) fn buffer(&self, length: usize) -> Buffer {
        self.blocks.buffer(length)
    }

    /// Hands out the next block.
    pub(super) fn fill(&mut self, block: Bytes) {
        let Some(index) = self.left.next() else { return };
        let key = Key { object: self.object, index };
        let waiting = self.blocks.shelf().put(key, block.clone(), self.blocks.most);
        for waiting in waiting {
            let _gone = waiting.send(Ok(block.clone()));
        }
    }

    /// Tells those who wait that the rest will not come.
    pub(super) fn fail(mut self, failure: &Failure) {
        self.withdraw(|waiting| _ = waiting.send(Err(failure.clone())));
    }

    fn withdraw(&mut self, mut tell: impl FnMut(oneshot::Sender<Fetched>)) {
        for index in self.left.by_ref() {
            let key = Key { object: self.object, index };
            let waiting = self.blocks.shelf().withdraw(key);
            waiting.into_iter().for_each(&mut tell);
        }
    }
}

/// Those who wait see that nobody fetches it any more, and may do so themselves.
impl Drop for Claim {
    fn drop(&mut self) {
        self.withdraw(drop);
    }
}
