//! What a server has done since it started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts by a small number of names.
#[derive(Debug, Default)]
pub struct CountsBy<K>(Mutex<BTreeMap<K, u64>>);

impl<K: Ord + Clone> CountsBy<K> {
    /// Adds `number` to the count of `key`.
    pub(super) fn add(&self, key: K, number: u64) {
        *self.counts().entry(key).or_default() += number;
    }

    /// Returns all counts, sorted by name.
    pub fn all(&self) -> Vec<(K, u64)> {
        self.counts().iter().map(|(key, count)| (key.clone(), *count)).collect()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<K, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of a server. None grows with the number of peers or titles.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections whose handshake succeeded.
    pub connections: Count,
    /// Sessions that were opened.
    pub opened: Count,
    /// Sessions that ended, by the reason in words.
    pub closed: CountsBy<&'static str>,
    /// Sessions that were refused, by the code of OPEN_NACK.
    pub refused: CountsBy<u16>,
    /// Limits that were hit, by kind.
    pub limits: CountsBy<&'static str>,
    /// Chunks that were sent later than they were due by more than 100 ms.
    pub chunks_late: Count,
    /// Sessions that were opened, by the name of their token.
    pub opened_by_token: CountsBy<String>,
    /// Media bytes of sessions that ended, by the name of their token.
    pub bytes_by_token: CountsBy<String>,
}
