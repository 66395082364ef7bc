//! What the transport reports, in our words.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use s2n_quic::connection;
use s2n_quic::stream;

use super::TrustError;
use super::tls::Untrusted;

/// TLS alert `no_application_protocol`, as QUIC carries it (RFC 9001, section 4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
/// The QUIC error codes that carry a TLS alert.
const CRYPTO_ERRORS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
/// QUIC error code CONNECTION_REFUSED.
const CONNECTION_REFUSED: u64 = 0x02;

/// The transport failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket cannot be had.
    #[error("cannot use the UDP address {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Packets cannot be told apart for several workers.
    #[error(
        "{workers} workers need a system that steers packets by their connection ids, such as \
         Linux 4.5 or newer; here one is all there can be (server.workers = 1)"
    )]
    Steering {
        /// How many were asked for.
        workers: NonZeroU8,
        /// What the system says.
        source: io::Error,
    },
    /// A client cannot have a socket to reach a server with.
    #[error("cannot open a UDP socket to reach {server}")]
    Socket {
        /// The address to connect to.
        server: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A setting that s2n-quic refuses.
    #[error("a transport setting was refused: {0}")]
    Setting(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TrustError),
    /// The server's certificate was not accepted.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The peer does not speak our protocol.
    #[error("the server speaks none of our protocol versions (no common ALPN)")]
    NoCommonProtocol,
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// A name has no address.
    #[error("cannot find the address of {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nothing answered.
    #[error(
        "no answer from {server} within {} s; is the server running, and UDP let through?{}",
        seconds(*after),
        link_local_hint(server)
    )]
    NoAnswer {
        /// Who was asked.
        server: String,
        /// How long.
        after: Duration,
    },
    /// The server wants no more connections.
    #[error("the server refuses connections: it has reached its limit or is shutting down")]
    ConnectionRefused,
    /// The stream was reset by the peer, and with it what was under way.
    #[error("the stream was reset by the peer (code {0})")]
    Reset(u64),
    /// The peer closed the connection without an error.
    #[error("the connection was closed by the peer")]
    Closed,
    /// The peer closed the connection with an error.
    #[error("the connection was closed by the peer with error {0}")]
    ClosedWithError(u64),
    /// Nothing came for the idle timeout.
    #[error("the connection was lost: nothing came for the idle timeout")]
    Idle,
    /// The connection ended otherwise.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// A server answers through the interface that it is bound to, and through no other.
fn link_local_hint(server: &str) -> String {
    match server.contains('%') {
        true => format!(" It has to listen on that very address: serve --listen '{server}'"),
        false => String::new(),
    }
}

/// Seconds to a tenth; less than one to a thousandth.
fn seconds(time: Duration) -> f64 {
    let scale = if time < Duration::from_secs(1) { 1000.0 } else { 10.0 };
    (time.as_secs_f64() * scale).round() / scale
}

impl Error {
    /// Whether the same thing may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Socket { .. }
            | Self::Resolve { .. }
            | Self::NoAnswer { .. }
            | Self::ConnectionRefused
            | Self::Reset(_)
            | Self::Closed
            | Self::Idle
            | Self::Lost(_) => true,
            Self::ClosedWithError(_)
            | Self::Bind { .. }
            | Self::Steering { .. }
            | Self::Setting(_)
            | Self::Tls(_)
            | Self::Untrusted(_)
            | Self::NoCommonProtocol
            | Self::Handshake(_) => false,
        }
    }

    /// How far a try to connect got before it failed: of the addresses of one name, the error of
    /// the one that got furthest says most.
    pub fn reached(&self) -> Reached {
        match self {
            Self::Bind { .. }
            | Self::Steering { .. }
            | Self::Socket { .. }
            | Self::Setting(_)
            | Self::Tls(_)
            | Self::Resolve { .. } => Reached::Nothing,
            Self::NoAnswer { .. } | Self::Idle | Self::Lost(_) => Reached::Network,
            Self::ConnectionRefused | Self::Reset(_) | Self::Closed | Self::ClosedWithError(_) => {
                Reached::Server
            }
            Self::Untrusted(_) | Self::NoCommonProtocol | Self::Handshake(_) => Reached::Handshake,
        }
    }
}

/// How far a try to connect got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// No packet was sent.
    Nothing,
    /// Packets were sent, and not answered.
    Network,
    /// A server answered.
    Server,
    /// A server showed who it is.
    Handshake,
}

impl From<connection::Error> for Error {
    fn from(error: connection::Error) -> Self {
        match error {
            connection::Error::Closed { .. } => Self::Closed,
            connection::Error::Application { error, .. } => match u64::from(error) {
                0 => Self::Closed,
                code => Self::ClosedWithError(code),
            },
            connection::Error::IdleTimerExpired { .. } => Self::Idle,
            connection::Error::Transport { code, .. } => match code.as_u64() {
                NO_APPLICATION_PROTOCOL => Self::NoCommonProtocol,
                CONNECTION_REFUSED => Self::ConnectionRefused,
                code if CRYPTO_ERRORS.contains(&code) => Self::Handshake(error.to_string()),
                _ => Self::Lost(error.to_string()),
            },
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<stream::Error> for Error {
    fn from(error: stream::Error) -> Self {
        match error {
            stream::Error::ConnectionError { error, .. } => error.into(),
            stream::Error::StreamReset { error, .. } => Self::Reset(u64::from(error)),
            error => Self::Lost(error.to_string()),
        }
    }
}
