//! What a running server tells whoever watches it. Nothing here ever waits for the watcher.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::protocol::Version;

/// Something that happened to a session.
#[derive(Debug, Clone)]
pub enum Event {
    /// OPEN_ACK was sent.
    Opened {
        /// The session id.
        session: u32,
        /// Who plays.
        peer: SocketAddr,
        /// The protocol version.
        version: Version,
        /// The agreed bitrate, bit/s.
        bitrate: u32,
        /// What the session is paced at, bit/s; 0 is as fast as it goes.
        rate: u64,
        /// What is streamed.
        title: String,
        /// The byte of the media at which it starts.
        start: u64,
    },
    /// OPEN_NACK was sent.
    Refused {
        /// Who asked.
        peer: SocketAddr,
        /// What for, where it was named.
        title: Option<String>,
        /// The OPEN_NACK code.
        code: u16,
        /// What it means.
        reason: String,
    },
    /// PAUSE_STREAM came.
    Paused {
        /// The session id.
        session: u32,
        /// The last chunk that was sent.
        seq: u32,
    },
    /// RESUME_STREAM came.
    Resumed {
        /// The session id.
        session: u32,
        /// The last chunk that was sent.
        seq: u32,
    },
    /// The session is over.
    Closed {
        /// The session id.
        session: u32,
        /// Who played.
        peer: SocketAddr,
        /// Why, in words.
        reason: String,
        /// Media bytes sent.
        bytes: u64,
        /// Chunks sent.
        chunks: u64,
        /// Time since OPEN_ACK.
        elapsed: Duration,
    },
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Chunks are made.
    Streaming,
    /// The client asked for silence.
    Paused,
    /// The end is sent and not yet known to have arrived.
    Closing,
}

/// The counters of one running session, written by its driver and read by whoever draws.
#[derive(Debug)]
pub struct Meter {
    /// Who plays.
    pub peer: SocketAddr,
    /// The agreed bitrate, bit/s.
    pub bitrate: u32,
    /// When OPEN_ACK was sent.
    pub opened: Instant,
    /// Bytes of the whole media.
    pub total: u64,
    phase: AtomicU8,
    seq: AtomicU32,
    bytes: AtomicU64,
}

impl Meter {
    /// Counters at zero, for a session that begins to stream now.
    pub fn new(peer: SocketAddr, bitrate: u32, total: u64) -> Self {
        Self {
            peer,
            bitrate,
            opened: Instant::now(),
            total,
            phase: AtomicU8::new(Phase::Streaming as u8),
            seq: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Notes what the session is doing.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Notes a chunk that was handed to the transport.
    pub fn count_chunk(&self, seq: u32, bytes: u64) {
        self.seq.store(seq, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the session is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Paused as u8 => Phase::Paused,
            phase if phase == Phase::Closing as u8 => Phase::Closing,
            _ => Phase::Streaming,
        }
    }

    /// The last chunk that was sent; 0 before the first.
    pub fn seq(&self) -> u32 {
        self.seq.load(Ordering::Relaxed)
    }

    /// Media bytes sent.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The sessions that run now, and what has been sent in all. The lock is taken when a session
/// opens or closes and when somebody looks, never for a chunk.
#[derive(Debug, Default)]
pub struct Sessions {
    running: Mutex<BTreeMap<u32, Arc<Meter>>>,
    closed: AtomicU64,
    closed_bytes: AtomicU64,
}

impl Sessions {
    /// Adds a session.
    pub fn insert(&self, session: u32, meter: Arc<Meter>) {
        self.running().insert(session, meter);
    }

    /// Takes a session off, and its bytes into the total.
    pub fn remove(&self, session: u32) {
        if let Some(meter) = self.running().remove(&session) {
            self.closed.fetch_add(1, Ordering::Relaxed);
            self.closed_bytes.fetch_add(meter.bytes(), Ordering::Relaxed);
        }
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.running().len()
    }

    /// How many of them make chunks right now. Takes one look at each and copies nothing.
    pub fn streaming(&self) -> usize {
        self.running().values().filter(|meter| meter.phase() == Phase::Streaming).count()
    }

    /// The newest ones, newest first.
    pub fn newest(&self, count: usize) -> Vec<(u32, Arc<Meter>)> {
        self.running().iter().rev().take(count).map(|(id, meter)| (*id, meter.clone())).collect()
    }

    /// How many have ended.
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Media bytes sent by all sessions, running and ended.
    pub fn bytes(&self) -> u64 {
        let running: u64 = self.running().values().map(|meter| meter.bytes()).sum();
        running + self.closed_bytes.load(Ordering::Relaxed)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<Meter>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sessions_that_make_chunks_are_streaming() {
        let sessions = Sessions::default();
        let peer = "[::1]:9000".parse().unwrap();
        for (id, phase) in [(1, Phase::Streaming), (2, Phase::Paused), (3, Phase::Closing)] {
            let meter = Arc::new(Meter::new(peer, 500_000, 10));
            meter.set_phase(phase);
            sessions.insert(id, meter);
        }
        assert_eq!((sessions.count(), sessions.streaming()), (3, 1));
        sessions.remove(1);
        assert_eq!((sessions.count(), sessions.streaming()), (2, 0));
    }
}
