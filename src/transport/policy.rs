//! Who may begin a handshake.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use s2n_quic::provider::endpoint_limits::{ConnectionAttempt, Limiter, Outcome};

/// What becomes of a client's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstLook {
    /// The handshake begins.
    Accept,
    /// The client has to prove its address first (QUIC Retry).
    ProveAddress,
    /// The connection is refused.
    Refuse,
}

/// Judges clients by their first packets, which costs next to nothing: everybody can send one, from
/// any address. Clients that have proved their address are not judged again.
pub trait HandshakePolicy: fmt::Debug + Send + Sync + 'static {
    /// Judges a packet that says it comes from `peer`, while so many handshakes are under way.
    fn first_look(&self, peer: SocketAddr, handshakes: usize) -> FirstLook;
}

/// A policy as the endpoint asks for it.
#[derive(Debug)]
pub(super) struct PolicyLimiter {
    pub(super) policy: Arc<dyn HandshakePolicy>,
    /// Handshakes that are under way, over all endpoints of the server.
    pub(super) handshakes: Arc<AtomicUsize>,
}

impl Limiter for PolicyLimiter {
    fn on_connection_attempt(&mut self, attempt: &ConnectionAttempt<'_>) -> Outcome {
        let peer = SocketAddr::from(attempt.remote_address.clone());
        match self.policy.first_look(peer, self.handshakes.load(Ordering::Relaxed)) {
            FirstLook::Accept => Outcome::allow(),
            FirstLook::ProveAddress => Outcome::retry(),
            FirstLook::Refuse => Outcome::close(),
        }
    }
}
