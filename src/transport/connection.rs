//! A connection, and its streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use s2n_quic::Client;
use s2n_quic::connection::StreamAcceptor;
use s2n_quic::stream::BidirectionalStream;
use tokio::time::timeout;

use super::path_stats::Observed;
use super::{Error, Incoming, Outgoing, PathStats};
use crate::protocol::{Role, Version};

/// How long a client that leaves waits for its last packet to be sent. The endpoint needs to run
/// for that, and no more; it does not count as idle before several round trips have passed.
const CLOSE_TIME: Duration = Duration::from_millis(10);

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection {
    handle: ConnectionHandle,
    acceptor: StreamAcceptor,
    /// The endpoint of a client, which has no other connection.
    client: Option<Client>,
}

/// What many may hold of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionHandle {
    inner: s2n_quic::connection::Handle,
    version: Version,
    peer: SocketAddr,
    path: Arc<PathStats>,
}

impl ConnectionHandle {
    /// What QUIC knows about the path.
    pub fn path(&self) -> &PathStats {
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

    /// Returns true unless the connection is known to be over.
    pub fn is_open(&self) -> bool {
        self.inner.remote_addr().is_ok()
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
    pub(super) fn new(
        connection: s2n_quic::Connection,
        client: Option<Client>,
    ) -> Result<Self, Error> {
        let alpn = connection.application_protocol()?;
        let version = Version::from_alpn(&alpn).ok_or(Error::NoCommonProtocol)?;
        let peer = connection.remote_addr()?;
        let path = connection
            .query_event_context(|observed: &Observed| observed.path.clone())
            .map_err(|error| Error::Lost(error.to_string()))?;
        let (inner, acceptor) = connection.split();
        Ok(Self { handle: ConnectionHandle { inner, version, peer, path }, acceptor, client })
    }

    /// What many may hold of it.
    pub fn handle(&self) -> &ConnectionHandle {
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
    pub async fn open_stream(&self) -> Result<(Outgoing, Incoming), Error> {
        let stream = self.handle.inner.clone().open_bidirectional_stream().await?;
        Ok(self.framed(stream))
    }

    /// Closes a client's connection and waits, for a moment at most, until the peer was told.
    pub async fn close(mut self, code: u16) {
        self.handle.close(code);
        if let Some(client) = &mut self.client {
            let _ = timeout(CLOSE_TIME, client.wait_idle()).await;
        }
    }

    fn framed(&self, stream: BidirectionalStream) -> (Outgoing, Incoming) {
        let (receive, send) = stream.split();
        let role = if self.client.is_some() { Role::Client } else { Role::Server };
        let ConnectionHandle { version, path, .. } = &self.handle;
        let outgoing = Outgoing::new(send, *version, path.clone());
        (outgoing, Incoming::new(receive, *version, role))
    }
}
