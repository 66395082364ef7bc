//! The counters of a running server. Nothing here waits for whoever reads them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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

impl SessionPhase {
    /// What it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Paused => "paused",
            Self::Closing => "closing",
        }
    }
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
    /// Bytes that there are to send; `None` while the media is live.
    pub total: Option<u64>,
    phase: AtomicU8,
    seq: AtomicU32,
    bytes: AtomicU64,
}

impl Meter {
    /// Counters at zero, for a session that begins to stream now.
    pub fn new(peer: SocketAddr, bitrate: u32, total: Option<u64>) -> Self {
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

/// The sessions that run now, and what has been sent in all, over every endpoint of a server. The
/// lock is taken when a session opens or closes and when somebody looks, never for a chunk.
#[derive(Debug, Default)]
pub struct Sessions {
    running: Mutex<BTreeMap<u32, Arc<Meter>>>,
    count: AtomicUsize,
    assigned: AtomicU32,
    closed: AtomicU64,
    closed_bytes: AtomicU64,
    closed_chunks: AtomicU64,
}

impl Sessions {
    /// Adds a session under an id of its own. It is counted as running until what is returned is
    /// dropped.
    pub fn add(self: &Arc<Self>, meter: Meter) -> RunningSession {
        let session =
            RunningSession { id: self.assign_id(), meter: Arc::new(meter), sessions: self.clone() };
        self.running().insert(session.id, session.meter.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        session
    }

    /// Returns the next id. They count from 1; 0 stands for "not assigned" and is left out when
    /// they wrap.
    fn assign_id(&self) -> u32 {
        match self.assigned.fetch_add(1, Ordering::Relaxed).wrapping_add(1) {
            0 => self.assign_id(),
            id => id,
        }
    }

    /// Takes a session off, and its bytes into the total.
    fn remove(&self, session: u32) {
        if let Some(meter) = self.running().remove(&session) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.closed.fetch_add(1, Ordering::Relaxed);
            self.closed_bytes.fetch_add(meter.bytes(), Ordering::Relaxed);
            self.closed_chunks.fetch_add(meter.seq().into(), Ordering::Relaxed);
        }
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many of them do this right now. Takes one look at each and copies nothing.
    pub fn in_phase(&self, phase: SessionPhase) -> usize {
        self.running().values().filter(|meter| meter.phase() == phase).count()
    }

    /// Chunks sent by all sessions, running and ended.
    pub fn chunks(&self) -> u64 {
        // Held meanwhile: one that ends must not count twice.
        let running = self.running();
        let chunks: u64 = running.values().map(|meter| u64::from(meter.seq())).sum();
        chunks + self.closed_chunks.load(Ordering::Relaxed)
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
        let running = self.running();
        let bytes: u64 = running.values().map(|meter| meter.bytes()).sum();
        bytes + self.closed_bytes.load(Ordering::Relaxed)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<Meter>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that counts as running until it is dropped, however it ends.
#[derive(Debug)]
pub struct RunningSession {
    id: u32,
    meter: Arc<Meter>,
    sessions: Arc<Sessions>,
}

impl RunningSession {
    /// The session id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its counters.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for RunningSession {
    fn drop(&mut self) {
        self.sessions.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new("[::1]:9000".parse().unwrap(), 500_000, Some(10))
    }

    #[test]
    fn only_sessions_that_make_chunks_are_streaming() {
        let sessions = Arc::new(Sessions::default());
        let phases = [SessionPhase::Streaming, SessionPhase::Paused, SessionPhase::Closing];
        let mut running = phases.map(|phase| {
            let session = sessions.add(meter());
            session.meter().set_phase(phase);
            Some(session)
        });
        assert_eq!((sessions.count(), sessions.in_phase(SessionPhase::Streaming)), (3, 1));
        running[0] = None;
        assert_eq!(
            (sessions.count(), sessions.in_phase(SessionPhase::Streaming), sessions.closed()),
            (2, 0, 1)
        );
    }

    #[test]
    fn a_session_that_panics_takes_its_meter_along() {
        let sessions = Arc::new(Sessions::default());
        let session = sessions.add(meter());
        session.meter().count_chunk(1, 7);
        let panicked = std::thread::spawn(move || {
            let _session = session;
            panic!("as a bug would");
        });
        assert!(panicked.join().is_err());
        assert_eq!((sessions.count(), sessions.closed(), sessions.bytes()), (0, 1, 7));
    }

    #[test]
    fn ids_count_from_1_and_leave_out_0() {
        let sessions = Arc::new(Sessions::default());
        assert_eq!(sessions.add(meter()).id(), 1);
        sessions.assigned.store(u32::MAX - 1, Ordering::Relaxed);
        assert_eq!([(); 2].map(|()| sessions.add(meter()).id()), [u32::MAX, 1]);
    }
}
