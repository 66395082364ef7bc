//! The fetches that run beside each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{PlayPhase, Snapshot};

/// The fetches that run, and what all of them came to.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    last: AtomicU32,
    bytes: AtomicU64,
    running: Mutex<BTreeMap<u32, RunningFetch>>,
}

/// A fetch that runs.
#[derive(Debug, Clone)]
pub(crate) struct RunningFetch {
    pub(crate) title: String,
    /// The first byte.
    pub(crate) start: u64,
    /// The byte after the last one; `None` while it is live.
    pub(crate) end: Option<u64>,
    snapshot: watch::Receiver<Snapshot>,
}

impl RunningFetch {
    pub(crate) fn new(
        title: String,
        start: u64,
        end: Option<u64>,
        snapshot: watch::Receiver<Snapshot>,
    ) -> Self {
        Self { title, start, end, snapshot }
    }

    /// How far it is.
    pub(crate) fn snapshot(&self) -> Snapshot {
        *self.snapshot.borrow()
    }
}

impl Fetches {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u32, RunningFetch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fetch. Returns its number.
    pub(crate) fn add(&self, running: RunningFetch) -> u32 {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.running().insert(number, running);
        number
    }

    /// Notes where a fetch will end, now that the server said so.
    pub(crate) fn note_end(&self, number: u32, end: u64) {
        if let Some(running) = self.running().get_mut(&number) {
            running.end = Some(end);
        }
    }

    /// Takes out a fetch that is over. Returns the bytes that came.
    pub(crate) fn remove(&self, number: u32) -> u64 {
        let removed = self.running().remove(&number);
        let bytes = removed.map_or(0, |running| running.snapshot().bytes);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    /// The newest of those that run, at most so many, and their numbers.
    pub(crate) fn newest(&self, most: usize) -> Vec<(u32, RunningFetch)> {
        let running = self.running();
        let newest = running.iter().rev().take(most);
        newest.map(|(number, running)| (*number, running.clone())).collect()
    }

    /// How many run.
    pub(crate) fn count(&self) -> usize {
        self.running().len()
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u32 {
        self.last.load(Ordering::Relaxed)
    }

    /// Bytes of media that came for all of them.
    pub(crate) fn bytes(&self) -> u64 {
        let running = self.running();
        let bytes = running.values().map(|running| running.snapshot().bytes).sum::<u64>();
        self.bytes.load(Ordering::Relaxed) + bytes
    }

    /// Whether one of them has lost its connection.
    pub(crate) fn is_reconnecting(&self) -> bool {
        let lost = |running: &RunningFetch| running.snapshot().phase == PlayPhase::Reconnecting;
        self.running().values().any(lost)
    }
}
