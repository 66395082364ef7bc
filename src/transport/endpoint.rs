//! Endpoints.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use s2n_quic::client::Connect;
use s2n_quic::provider::congestion_controller::{Bbr, Cubic, bbr, cubic};
use s2n_quic::provider::io::tokio as io_provider;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::rustls as tls_provider;
use s2n_quic::{Client, Server};

use super::address::local_address;
use super::connection_id::ConnectionIds;
use super::path_stats::Observer;
use super::policy::PolicyLimiter;
use super::reset::ResetTokens;
use super::tls::{self, VerdictCell};
use super::{
    ActiveIdentity, Congestion, Connection, Error, Fingerprint, HandshakePolicy, ResetKey,
    TransportSettings, Trust, TrustError, WorkerSocket, is_server_name,
};
use crate::protocol::Version;

/// What a client lets the server send ahead, bytes. Measured: below 2 MiB one stream is slower,
/// above it only takes memory.
const RECEIVE_WINDOW: u64 = 2 * 1024 * 1024;
/// The same for a stream of a connection that sessions share.
const SHARED_STREAM_WINDOW: u64 = 1024 * 1024;
/// What a server lets a client send ahead, bytes. Clients send small control PDUs; this bounds
/// what an attacker can make us hold.
const CONTROL_WINDOW: u64 = 64 * 1024;
/// How many streams a client may have open at once: its sessions, and a LIST beside them.
pub(crate) const MAX_STREAMS: u64 = 16;
/// What either side keeps of a stream until it is acknowledged, bytes. Measured: less is slower for
/// an unpaced stream, and 4 MiB too, because the buffer is scanned for every packet.
pub(super) const SEND_BUFFER: u32 = 1024 * 1024;
/// The congestion window that a server begins with, bytes. At the usual ten packets a first chunk
/// of 64 KiB would take three round trips more. BBR also takes its first pace from it: so wide,
/// that chunk is out within a tenth of a round trip. How much follows is for [`Outgoing::room`].
const INITIAL_WINDOW: u32 = 256 * 1024;
/// What an endpoint takes from the kernel at a time, bytes. Measured: s2n-quic's 8 MiB pass through
/// so much memory that packets are out of the processor's cache when their turn comes, which costs
/// a client that writes a file one part in twenty; and each megabyte that was used stays resident.
const RECEIVE_RING: usize = 1024 * 1024;
/// What an endpoint prepares for the kernel at a time, bytes. Measured: with s2n-quic's 128 KiB,
/// which hold no more than eight bursts of ten packets, one stream at an MTU of 1500 is slower by
/// one part in twenty; 512 KiB are no faster.
const SEND_RING: usize = 256 * 1024;
/// How long a client may take over a handshake. A client that has the server's part of it takes it
/// for done, and is never told that the server gave it up: s2n-quic does not send the token of a
/// stateless reset in a handshake. So the server is more patient than clients that wait the default
/// of 10 s for their connection and then for their session, however much is lost on the way.
const MAX_HANDSHAKE: Duration = Duration::from_secs(30);

/// What a round trip is taken to be before one was measured. RFC 9002, section 6.2.2, has 333 ms, so
/// that a first packet that is lost costs a second, and the next ones two, and four, until too few
/// are sent for a path that loses many. On one with a longer round trip than three times this, some
/// packets of the handshake are sent twice.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How much longer a handshake may take than its caller waits: the caller's words say more than
/// the endpoint's.
const HANDSHAKE_SLACK: Duration = Duration::from_secs(1);

/// A server's endpoint. It lives on the current tokio runtime.
#[derive(Debug)]
pub struct Listener {
    server: Server,
    address: SocketAddr,
}

impl Listener {
    /// Starts one on the socket of a worker.
    ///
    /// # Errors
    /// [`Error::Bind`] if the socket cannot be used.
    pub fn start(
        socket: WorkerSocket,
        identity: &ActiveIdentity,
        reset_key: &ResetKey,
        policy: Arc<dyn HandshakePolicy>,
        settings: &TransportSettings,
    ) -> Result<Self, Error> {
        let WorkerSocket { socket, address, worker, server_id, handshakes } = socket;
        let bind_error = |source| Error::Bind { address, source };
        let tls = tls_provider::Server::from(tls::server_config(identity)?);
        let limits = limits(settings)
            .with_max_handshake_duration(MAX_HANDSHAKE)
            .and_then(|limits| limits.with_data_window(CONTROL_WINDOW))
            .and_then(|limits| limits.with_bidirectional_remote_data_window(CONTROL_WINDOW))
            .and_then(|limits| limits.with_max_open_remote_bidirectional_streams(MAX_STREAMS))
            .and_then(|limits| limits.with_max_open_remote_unidirectional_streams(0))
            .and_then(|limits| limits.with_max_send_buffer_size(SEND_BUFFER))
            .map_err(setting)?;
        let builder = Server::builder()
            .with_tls(tls)
            .map_err(setting)?
            .with_limits(limits)
            .map_err(setting)?
            .with_endpoint_limits(PolicyLimiter { policy, handshakes: handshakes.clone() })
            .map_err(setting)?
            .with_event(Observer::new(handshakes))
            .map_err(setting)?
            .with_connection_id(ConnectionIds::new(worker, server_id))
            .map_err(setting)?
            .with_stateless_reset_token(ResetTokens::new(reset_key, address, worker))
            .map_err(setting)?
            .with_io(io(socket, settings, worker.is_alone()).map_err(bind_error)?)
            .map_err(setting)?;
        let started = match settings.congestion {
            Congestion::Bbr => {
                let bbr = bbr::Builder::default().with_initial_congestion_window(INITIAL_WINDOW);
                builder.with_congestion_controller(bbr.build()).map_err(setting)?.start()
            }
            Congestion::Cubic => {
                let cubic =
                    cubic::Builder::default().with_initial_congestion_window(INITIAL_WINDOW);
                builder.with_congestion_controller(cubic.build()).map_err(setting)?.start()
            }
        };
        let server = started.map_err(|error| bind_error(io::Error::other(error.to_string())))?;
        Ok(Self { server, address })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection whose handshake succeeded; `None` if the endpoint failed.
    pub async fn accept(&mut self) -> Option<Connection> {
        loop {
            let connection = self.server.accept().await?;
            // A connection that is already gone has nothing to say.
            if let Ok(connection) = Connection::new(connection, None) {
                return Some(connection);
            }
        }
    }
}

/// What a client lets a server send ahead, bytes.
#[derive(Debug, Clone, Copy)]
struct Windows {
    connection: u64,
    stream: u64,
}

impl Windows {
    /// Those of a connection of so many sessions. A connection's window is given back only as its
    /// streams are read, so one that nobody reads must not have all of it.
    fn of(sessions: usize) -> Self {
        match u64::try_from(sessions).unwrap_or(u64::MAX) {
            0 | 1 => Self { connection: RECEIVE_WINDOW, stream: RECEIVE_WINDOW },
            sessions => Self {
                connection: SHARED_STREAM_WINDOW.saturating_mul(sessions.saturating_add(1)),
                stream: SHARED_STREAM_WINDOW,
            },
        }
    }
}

/// A client's side of connecting: settings and trust, ready to dial any number of times.
#[derive(Debug)]
pub struct Connector {
    settings: TransportSettings,
    handshake_timeout: Duration,
    windows: Windows,
    tls: Arc<rustls::ClientConfig>,
    seen: VerdictCell,
}

impl Connector {
    /// A connector that offers these protocol versions, newest first, for connections of so many
    /// sessions. Whoever connects waits for a handshake as long as `handshake_timeout`.
    ///
    /// # Errors
    /// [`Error::Tls`] if the trusted certificates cannot be read.
    pub fn new(
        settings: &TransportSettings,
        trust: &Trust,
        versions: &[Version],
        handshake_timeout: Duration,
        sessions: usize,
    ) -> Result<Self, Error> {
        let (tls, seen) = tls::client_config(trust, versions)?;
        let windows = Windows::of(sessions);
        Ok(Self {
            settings: settings.clone(),
            handshake_timeout,
            windows,
            tls: Arc::new(tls),
            seen,
        })
    }

    /// Connects to one address and expects `name` in its certificate.
    ///
    /// # Errors
    /// Those of a handshake.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Result<(Connection, Fingerprint), Error> {
        // s2n-quic panics on a name that is none.
        if !is_server_name(name) {
            return Err(TrustError::Name(name.into()).into());
        }
        let client = self.endpoint(address)?;
        let connect = Connect::new(address).with_server_name(name);
        match client.connect(connect).await {
            Ok(mut connection) => {
                // A pause may be longer than a NAT on the way remembers the path.
                connection.keep_alive(true)?;
                let connection = Connection::new(connection, Some(client))?;
                match self.seen.verdict() {
                    Some(Ok(fingerprint)) => Ok((connection, fingerprint)),
                    _ => Err(Error::Handshake("no certificate was seen".into())),
                }
            }
            Err(error) => match (Error::from(error), self.seen.verdict()) {
                (Error::Handshake(_), Some(Err(untrusted))) => Err(untrusted.into()),
                (error, _) => Err(error),
            },
        }
    }

    /// An endpoint of the same address family. One for each connection: a socket that is bound
    /// anew also leaves a NAT entry or a route that went bad behind.
    fn endpoint(&self, peer: SocketAddr) -> Result<Client, Error> {
        let socket_error = |source| Error::Socket { server: peer, source };
        let socket = local_address(peer).and_then(UdpSocket::bind).map_err(socket_error)?;
        let limits = limits(&self.settings)
            .with_max_handshake_duration(self.handshake_timeout + HANDSHAKE_SLACK)
            .and_then(|limits| limits.with_data_window(self.windows.connection))
            .and_then(|limits| limits.with_bidirectional_local_data_window(self.windows.stream))
            .and_then(|limits| limits.with_max_send_buffer_size(SEND_BUFFER))
            .and_then(|limits| limits.with_max_open_remote_bidirectional_streams(0))
            .and_then(|limits| limits.with_max_open_remote_unidirectional_streams(0))
            .map_err(setting)?;
        let builder = Client::builder()
            .with_tls(tls_provider::Client::from(self.tls.clone()))
            .map_err(setting)?
            .with_limits(limits)
            .map_err(setting)?
            .with_event(Observer::default())
            .map_err(setting)?
            .with_io(io(socket, &self.settings, true).map_err(socket_error)?)
            .map_err(setting)?;
        let started = match self.settings.congestion {
            Congestion::Bbr => {
                builder.with_congestion_controller(Bbr::default()).map_err(setting)?.start()
            }
            Congestion::Cubic => {
                builder.with_congestion_controller(Cubic::default()).map_err(setting)?.start()
            }
        };
        let other = |error: s2n_quic::provider::StartError| io::Error::other(error.to_string());
        started.map_err(|error| socket_error(other(error)))
    }
}

/// The limits that both sides share. Keep-alives go at a third of the idle timeout, so that two
/// of them may get lost.
fn limits(settings: &TransportSettings) -> Limits {
    let limits = Limits::new();
    limits
        .with_max_idle_timeout(settings.idle_timeout)
        .and_then(|limits| limits.with_max_keep_alive_period(settings.idle_timeout / 3))
        .and_then(|limits| limits.with_initial_round_trip_time(INITIAL_RTT))
        .unwrap_or(limits)
}

/// With `gro` the kernel may join packets that come from one address, whatever their connections:
/// only one endpoint gets them then.
fn io(
    socket: UdpSocket,
    settings: &TransportSettings,
    gro: bool,
) -> io::Result<io_provider::Provider> {
    let buffer = settings.socket_buffer as usize;
    io_provider::Builder::default()
        .with_rx_socket(socket)
        .and_then(|io| io.with_gro(gro))
        .and_then(|io| io.with_max_mtu(settings.mtu))
        .and_then(|io| io.with_send_buffer_size(buffer))
        .and_then(|io| io.with_recv_buffer_size(buffer))
        .and_then(|io| io.with_internal_send_buffer_size(SEND_RING))
        .and_then(|io| io.with_internal_recv_buffer_size(RECEIVE_RING))
        .and_then(|io| io.build())
}

/// How large a socket buffer the kernel grants where `wanted` bytes are asked for, if it says.
pub fn granted_socket_buffer(wanted: u32) -> Option<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    sockopt::set_socket_recv_buffer_size(&socket, wanted as usize).ok()?;
    let granted = sockopt::socket_recv_buffer_size(&socket).ok()?;
    // Linux doubles it, for its own bookkeeping.
    let granted = if cfg!(target_os = "linux") { granted / 2 } else { granted };
    u32::try_from(granted).ok()
}

fn setting(error: impl std::fmt::Display) -> Error {
    Error::Setting(error.to_string())
}
