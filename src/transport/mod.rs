//! QUIC and TLS: the only place that names s2n-quic and rustls.

mod active;
mod address;
mod certificate;
mod connection;
mod connection_id;
mod endpoint;
mod error;
mod fingerprint;
mod framed;
mod identity;
mod path_stats;
mod policy;
mod quic_lb;
mod reset;
mod roots;
mod tls;
mod validity;
mod workers;

use std::time::Duration;

pub use active::ActiveIdentity;
pub use address::Address;
pub use certificate::{Certificate, CertificateError, is_server_name};
pub use connection::{Connection, ConnectionHandle};
pub(crate) use endpoint::MAX_STREAMS;
pub use endpoint::{Connector, Listener, granted_socket_buffer};
pub use error::{Error, Reached};
pub use fingerprint::Fingerprint;
pub use framed::{Incoming, Outgoing, ReceiveError};
pub use identity::Identity;
pub use path_stats::PathStats;
pub use policy::{FirstLook, HandshakePolicy};
pub use quic_lb::{BalancerKey, BalancerKeyError, LoadBalancing, ServerId, ServerIdError};
pub use reset::ResetKey;
pub use tls::{Trust, TrustError, Untrusted};
pub use validity::ValidityProblem;
pub use workers::{MAX_WORKERS, Sockets, WorkerSocket, Workers};

/// The smallest IP packet that `transport.mtu` may be: what every QUIC path carries.
pub const MIN_MTU: u16 = 1228;
/// The largest; s2n-quic was seen to crash at 65,000.
pub const MAX_MTU: u16 = 9001;

/// How packets leave and arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportSettings {
    /// The largest IP packet to try, bytes: [`MIN_MTU`] to [`MAX_MTU`].
    pub mtu: u16,
    /// How fast to send on a path that loses packets.
    pub congestion: Congestion,
    /// After how long without a packet a connection counts as lost.
    pub idle_timeout: Duration,
    /// Socket buffers to ask the kernel for, bytes.
    pub socket_buffer: u32,
}

/// A congestion controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Congestion {
    /// BBR: follows the bandwidth and the round trip, and does not take each loss for congestion.
    Bbr,
    /// CUBIC: backs off at every loss.
    Cubic,
}
