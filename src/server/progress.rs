//! What a running server tells whoever watches it. Nothing here ever waits for the watcher.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::protocol::Version;
use crate::transport::Fingerprint;

/// Something that happened to a server.
///
/// Serializes to a JSON event. The names and the order of the keys are a contract with scripts.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event")]
pub enum ServeEvent {
    /// It is bound, and clients may come.
    #[serde(rename = "listening")]
    Listening {
        /// The address that it is bound to.
        addr: SocketAddr,
        /// SHA-256 of its certificate.
        fingerprint: Fingerprint,
        /// What it serves, in words.
        #[serde(skip)]
        media: String,
        /// The URL to play it by.
        url: String,
    },
    /// OPEN_ACK was sent.
    #[serde(rename = "session_opened")]
    Opened {
        /// The session id.
        session: u32,
        /// The client's address.
        peer: SocketAddr,
        /// The protocol version.
        #[serde(serialize_with = "number")]
        version: Version,
        /// The agreed bitrate, bit/s.
        bitrate: u32,
        /// The pace of the session, bit/s; 0 is unpaced.
        rate: u64,
        /// What is streamed, where it has a name.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The byte of the media at which it starts; `None` for the first byte of media without a
        /// title.
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<u64>,
    },
    /// OPEN_NACK was sent.
    #[serde(rename = "session_refused")]
    Refused {
        /// The client's address.
        peer: SocketAddr,
        /// The title that was asked for, where one was named.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The OPEN_NACK code.
        code: u16,
        /// The code in words.
        reason: String,
    },
    /// PAUSE_STREAM came.
    #[serde(rename = "session_paused")]
    Paused {
        /// The session id.
        session: u32,
        /// The last chunk that was sent.
        seq: u32,
    },
    /// RESUME_STREAM came.
    #[serde(rename = "session_resumed")]
    Resumed {
        /// The session id.
        session: u32,
        /// The last chunk that was sent.
        seq: u32,
    },
    /// The session is over.
    #[serde(rename = "session_closed")]
    Closed {
        /// The session id.
        session: u32,
        /// The client's address.
        peer: SocketAddr,
        /// Why, in words.
        reason: String,
        /// Media bytes sent.
        bytes: u64,
        /// Chunks sent.
        chunks: u64,
        /// Time since OPEN_ACK.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
}

/// Serializes a duration as seconds, to the millisecond.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_millis() as f64 / 1000.0)
}

fn number<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(version.number())
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionPhase {
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
            phase: AtomicU8::new(SessionPhase::Streaming as u8),
            seq: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Notes what the session is doing.
    pub fn set_phase(&self, phase: SessionPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Notes a chunk that was handed to the transport.
    pub fn count_chunk(&self, seq: u32, bytes: u64) {
        self.seq.store(seq, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the session is doing.
    pub fn phase(&self) -> SessionPhase {
        match self.phase.load(Ordering::Relaxed) {
            phase if phase == SessionPhase::Paused as u8 => SessionPhase::Paused,
            phase if phase == SessionPhase::Closing as u8 => SessionPhase::Closing,
            _ => SessionPhase::Streaming,
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
        self.running().values().filter(|meter| meter.phase() == SessionPhase::Streaming).count()
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
        for (id, phase) in
            [(1, SessionPhase::Streaming), (2, SessionPhase::Paused), (3, SessionPhase::Closing)]
        {
            let meter = Arc::new(Meter::new(peer, 500_000, 10));
            meter.set_phase(phase);
            sessions.insert(id, meter);
        }
        assert_eq!((sessions.count(), sessions.streaming()), (3, 1));
        sessions.remove(1);
        assert_eq!((sessions.count(), sessions.streaming()), (2, 0));
    }
}
