//! The way to a server: a connection that fetches and questions share, and that is dialed anew when
//! it is lost.

mod dial;
mod nearest;
mod open;
mod questions;
mod tries;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Error, Remote, Title};
use crate::protocol::Version;
use crate::transport::{self, Address, Connection, ConnectionHandle, Connector, Fingerprint};

pub(super) use nearest::nearest;
pub(super) use open::{FAREWELL, Granted, Request, cut, open, say_violation};
pub use questions::Description;
pub(super) use questions::{MAX_CATALOGUE, size, titles};
pub(super) use tries::Tries;

/// Sessions on one connection: a server keeps one of its streams for LIST.
const MAX_SESSIONS: usize = 15;

/// How to get to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// The protocol versions to offer, newest first.
    pub versions: Vec<Version>,
    /// How long to try to connect, and then to wait for each answer.
    pub connect_timeout: Duration,
    /// Whether several sessions share a connection, which is kept between them. Else each has one
    /// of its own.
    pub shared: bool,
}

/// The way to a server. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    remote: Remote,
    connector: Arc<Connector>,
    /// The name to expect in the certificate.
    name: String,
    settings: LinkSettings,
    /// The connection that the next session goes over, if it is shared.
    current: Mutex<Option<Connected>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("server", &self.0.remote.address).finish_non_exhaustive()
    }
}

/// A connection to a server, which may be in use elsewhere, too.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    connection: Arc<Connection>,
    pub(super) fingerprint: Fingerprint,
}

impl Connected {
    pub(super) fn handle(&self) -> &ConnectionHandle {
        self.connection.handle()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes the connection, unless it is in use elsewhere; with a code in any case.
    pub(super) async fn release(self, code: u16) {
        if code != 0 {
            self.connection.handle().close(code);
        }
        if let Some(connection) = Arc::into_inner(self.connection) {
            connection.close(code).await;
        }
    }
}

/// A session that was granted, and the connection that it is on.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connected: Connected,
    pub(super) granted: Granted,
}

impl Link {
    /// The way to this server. Nothing is dialed yet.
    ///
    /// # Errors
    /// The trusted certificates cannot be read.
    pub fn new(remote: &Remote, settings: LinkSettings) -> Result<Self, Error> {
        let Remote { address, trust, name, transport } = remote;
        let LinkSettings { versions, connect_timeout, shared } = &settings;
        let streams = if *shared { MAX_SESSIONS } else { 1 };
        let connector = Connector::new(transport, trust, versions, *connect_timeout, streams)?;
        Ok(Self(Arc::new(Inner {
            remote: remote.clone(),
            connector: Arc::new(connector),
            name: name.as_deref().unwrap_or(address.certificate_name()).to_owned(),
            settings,
            current: Mutex::new(None),
        })))
    }

    /// Where the server is.
    pub fn server(&self) -> &Address {
        &self.0.remote.address
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.0.remote
    }

    /// How long to wait for each answer.
    pub(super) fn answer_within(&self) -> Duration {
        self.0.settings.connect_timeout
    }

    /// What QUIC knows of the connection that is shared, while there is one.
    pub async fn connection(&self) -> Option<ConnectionHandle> {
        let current = self.0.current.lock().await;
        current.as_ref().map(Connected::handle).filter(|handle| handle.is_open()).cloned()
    }

    /// Returns the connection for the next session: the shared one if it has room, else a new one.
    pub(super) async fn connect(
        &self,
        answer_within: Duration,
    ) -> Result<Connected, transport::Error> {
        if !self.0.settings.shared {
            return self.dial(answer_within).await;
        }
        // Held while it is dialed: who comes meanwhile shares what comes of it.
        let mut current = self.0.current.lock().await;
        let has_room = |connected: &&Connected| {
            connected.handle().is_open() && Arc::strong_count(&connected.connection) <= MAX_SESSIONS
        };
        if let Some(connected) = current.as_ref().filter(has_room) {
            return Ok(connected.clone());
        }
        let connected = self.dial(answer_within).await?;
        *current = Some(connected.clone());
        Ok(connected)
    }

    async fn dial(&self, answer_within: Duration) -> Result<Connected, transport::Error> {
        let Inner { connector, remote, name, .. } = &*self.0;
        let dialed = dial::dial(connector, &remote.address, name, answer_within).await?;
        let (connection, fingerprint) = dialed;
        Ok(Connected { connection: Arc::new(connection), fingerprint })
    }

    /// Opens a session that goes on with an earlier one, over a new connection, which others share
    /// from then on.
    async fn resume(self, request: Request) -> Result<Opened, Error> {
        let connected = self.dial(self.answer_within()).await?;
        if connected.handle().version() == Version::V1 {
            return Err(Error::CannotContinue);
        }
        let granted = open(connected.connection(), request, self.answer_within()).await?;
        if self.0.settings.shared {
            *self.0.current.lock().await = Some(connected.clone());
        }
        Ok(Opened { connected, granted })
    }

    /// Asks the server for its titles.
    ///
    /// # Errors
    /// The server cannot be reached, or has no such thing.
    pub async fn titles(&self, token: Option<&super::Secret>) -> Result<Vec<Title>, Error> {
        let connected = self.connect(self.answer_within()).await?;
        if connected.handle().version() == Version::V1 {
            return Err(Error::NeedsVersion2("catalogue"));
        }
        let titles = titles(connected.connection(), token, self.answer_within()).await;
        connected.release(0).await;
        titles
    }

    /// Asks the server about a title.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn describe(
        &self,
        title: &str,
        token: Option<&super::Secret>,
    ) -> Result<Description, Error> {
        let connected = self.connect(self.answer_within()).await?;
        if connected.handle().version() == Version::V1 {
            return Err(Error::NeedsVersion2("titles"));
        }
        let described =
            questions::describe(connected.connection(), title, token, self.answer_within()).await;
        connected.release(0).await;
        described
    }

    /// Closes the shared connection, if nothing uses it any more.
    pub async fn close(&self) {
        let current = self.0.current.lock().await.take();
        if let Some(connected) = current {
            connected.release(0).await;
        }
    }
}
