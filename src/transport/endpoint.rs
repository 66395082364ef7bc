//! Endpoints and connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use s2n_quic::client::Connect;
use s2n_quic::connection::StreamAcceptor;
use s2n_quic::provider::congestion_controller::{Bbr, Cubic, bbr, cubic};
use s2n_quic::provider::io::tokio as io_provider;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::rustls as tls_provider;
use s2n_quic::stream::BidirectionalStream;
use s2n_quic::{Client, Server};
use tokio::time::timeout;

use super::address::local_address;
use super::path::Observer;
use super::policy::PolicyLimiter;
use super::reset::ResetTokens;
use super::tls::{self, Seen};
use super::{
    ActiveIdentity, Congestion, Error, Fingerprint, HandshakePolicy, Incoming, Outgoing, Path,
    ResetKey, TransportSettings, Trust, TrustError, is_server_name,
};
use crate::protocol::{Role, Version};

/// What a client lets the server send ahead, bytes. Measured: below 2 MiB one stream is slower,
/// above it only takes memory.
const RECEIVE_WINDOW: u64 = 2 * 1024 * 1024;
/// What a server lets a client send ahead, bytes. Clients send small control PDUs; this bounds
/// what an attacker can make us hold.
const CONTROL_WINDOW: u64 = 64 * 1024;
/// How many streams a client may have open at once: its session, and a LIST beside it.
const STREAMS: u64 = 2;
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
/// How long a client may take over a handshake.
const MAX_HANDSHAKE: Duration = Duration::from_secs(10);

/// How much longer a handshake may take than its caller waits: the caller's words say more than
/// the endpoint's.
const HANDSHAKE_SLACK: Duration = Duration::from_secs(1);

/// How long a client that leaves waits for its last packet to be sent. The endpoint needs to run
/// for that, and no more; it does not count as idle before several round trips have passed.
const SHUT_GRACE: Duration = Duration::from_millis(10);

/// A server's endpoint. It lives on the current tokio runtime.
#[derive(Debug)]
pub struct Listener {
    server: Server,
    address: SocketAddr,
}

impl Listener {
    /// Binds the address; port 0 picks a free one.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address cannot be had.
    pub fn bind(
        address: SocketAddr,
        identity: &ActiveIdentity,
        reset_key: &ResetKey,
        policy: Arc<dyn HandshakePolicy>,
        settings: &TransportSettings,
    ) -> Result<Self, Error> {
        let bind_error = |source| Error::Bind { address, source };
        // Bound before all else, so that the port is known which was picked.
        let socket = UdpSocket::bind(address).map_err(bind_error)?;
        let bound = socket.local_addr().map_err(bind_error)?;
        let tls = tls_provider::Server::from(tls::server_config(identity)?);
        let limits = limits(settings)
            .with_max_handshake_duration(MAX_HANDSHAKE)
            .and_then(|limits| limits.with_data_window(CONTROL_WINDOW))
            .and_then(|limits| limits.with_bidirectional_remote_data_window(CONTROL_WINDOW))
            .and_then(|limits| limits.with_max_open_remote_bidirectional_streams(STREAMS))
            .and_then(|limits| limits.with_max_open_remote_unidirectional_streams(0))
            .and_then(|limits| limits.with_max_send_buffer_size(SEND_BUFFER))
            .map_err(setting)?;
        let builder = Server::builder()
            .with_tls(tls)
            .map_err(setting)?
            .with_limits(limits)
            .map_err(setting)?
            .with_endpoint_limits(PolicyLimiter(policy))
            .map_err(setting)?
            .with_event(Observer)
            .map_err(setting)?
            .with_stateless_reset_token(ResetTokens::new(reset_key, bound))
            .map_err(setting)?
            .with_io(io(socket, settings).map_err(bind_error)?)
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
        Ok(Self { server, address: bound })
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

/// A client's side of connecting: settings and trust, ready to dial any number of times.
#[derive(Debug)]
pub struct Connector {
    settings: TransportSettings,
    patience: Duration,
    tls: Arc<rustls::ClientConfig>,
    seen: Seen,
}

impl Connector {
    /// A connector that offers these protocol versions, newest first. Whoever connects waits for
    /// a handshake as long as `patience`.
    ///
    /// # Errors
    /// [`Error::Tls`] if the trusted certificates cannot be read.
    pub fn new(
        settings: &TransportSettings,
        trust: &Trust,
        versions: &[Version],
        patience: Duration,
    ) -> Result<Self, Error> {
        let (tls, seen) = tls::client_config(trust, versions)?;
        Ok(Self { settings: settings.clone(), patience, tls: Arc::new(tls), seen })
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
            .with_max_handshake_duration(self.patience + HANDSHAKE_SLACK)
            .and_then(|limits| limits.with_data_window(RECEIVE_WINDOW))
            .and_then(|limits| limits.with_bidirectional_local_data_window(RECEIVE_WINDOW))
            .and_then(|limits| limits.with_max_send_buffer_size(SEND_BUFFER))
            .and_then(|limits| limits.with_max_open_remote_bidirectional_streams(0))
            .and_then(|limits| limits.with_max_open_remote_unidirectional_streams(0))
            .map_err(setting)?;
        let builder = Client::builder()
            .with_tls(tls_provider::Client::from(self.tls.clone()))
            .map_err(setting)?
            .with_limits(limits)
            .map_err(setting)?
            .with_event(Observer)
            .map_err(setting)?
            .with_io(io(socket, &self.settings).map_err(socket_error)?)
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

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection {
    handle: Handle,
    acceptor: StreamAcceptor,
    /// The endpoint of a client, which has no other connection.
    client: Option<Client>,
}

/// What many may hold of a connection.
#[derive(Debug, Clone)]
pub struct Handle {
    inner: s2n_quic::connection::Handle,
    version: Version,
    peer: SocketAddr,
    path: Arc<Path>,
}

impl Handle {
    /// What QUIC knows about the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The protocol version that was agreed by ALPN.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Asks the peer for a sign of life, which QUIC gives below the protocol. Where the peer has
    /// lost the connection, that shows soon.
    pub fn ping(&self) {
        // A connection that is over says so elsewhere.
        let _ = self.inner.clone().ping();
    }

    /// Closes the connection at once, with an error code for the peer; 0 is none. What was not
    /// acknowledged is dropped.
    pub fn close(&self, code: u16) {
        self.inner.close(u32::from(code).into());
    }
}

impl Connection {
    fn new(connection: s2n_quic::Connection, client: Option<Client>) -> Result<Self, Error> {
        let alpn = connection.application_protocol()?;
        let version = Version::from_alpn(&alpn).ok_or(Error::NoCommonProtocol)?;
        let peer = connection.remote_addr()?;
        let path = connection
            .query_event_context(Arc::<Path>::clone)
            .map_err(|error| Error::Lost(error.to_string()))?;
        let (inner, acceptor) = connection.split();
        Ok(Self { handle: Handle { inner, version, peer, path }, acceptor, client })
    }

    /// What many may hold of it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The next stream that the client opens; `None` when the connection is closed.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn accept_stream(&mut self) -> Result<Option<(Outgoing, Incoming)>, Error> {
        let stream = self.acceptor.accept_bidirectional_stream().await?;
        Ok(stream.map(|stream| self.framed(stream)))
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn open_stream(&mut self) -> Result<(Outgoing, Incoming), Error> {
        let stream = self.handle.inner.open_bidirectional_stream().await?;
        Ok(self.framed(stream))
    }

    /// Closes a client's connection and waits, for a moment at most, until the peer was told.
    pub async fn shut(mut self, code: u16) {
        self.handle.close(code);
        if let Some(client) = &mut self.client {
            let _ = timeout(SHUT_GRACE, client.wait_idle()).await;
        }
    }

    fn framed(&self, stream: BidirectionalStream) -> (Outgoing, Incoming) {
        let (receive, send) = stream.split();
        let role = if self.client.is_some() { Role::Client } else { Role::Server };
        let Handle { version, path, .. } = &self.handle;
        let outgoing = Outgoing::new(send, *version, path.clone());
        (outgoing, Incoming::new(receive, *version, role))
    }
}

/// The limits that both sides share. Keep-alives go at a third of the idle timeout, so that two
/// of them may get lost.
fn limits(settings: &TransportSettings) -> Limits {
    let limits = Limits::new();
    limits
        .with_max_idle_timeout(settings.idle_timeout)
        .and_then(|limits| limits.with_max_keep_alive_period(settings.idle_timeout / 3))
        .unwrap_or(limits)
}

fn io(socket: UdpSocket, settings: &TransportSettings) -> io::Result<io_provider::Provider> {
    let buffer = settings.socket_buffer as usize;
    io_provider::Builder::default()
        .with_rx_socket(socket)
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
