//! The way to a server: a connection that fetches and questions share, and that is dialed anew when
//! it is lost.

mod dial;
mod nearest;
mod open;
mod questions;
mod servers;
mod tries;

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Error, Remote, Secret, Title};
use crate::protocol::{CloseReason, Version};
use crate::session::Allowance;
use crate::transport::{self, Connection, ConnectionHandle, Connector, Fingerprint};

pub(super) use nearest::nearest;
pub(super) use open::{FAREWELL, Granted, Request, cut, open, say_violation};
pub use questions::Description;
use questions::describe;
pub(super) use questions::{MAX_CATALOGUE, size, titles};
use servers::Servers;
pub(super) use tries::Tries;

/// Sessions on one connection: a server keeps one of its streams for LIST.
const MAX_SESSIONS: usize = 15;

/// Sessions that are opened on one connection within [`ALLOWANCE_TIME`]: a server ends one that
/// sends more than 100 PDUs in that time, and each session takes two, and one for each heartbeat and
/// pause.
const MAX_OPENED: u32 = 24;

/// Over how long openings are counted.
const ALLOWANCE_TIME: Duration = Duration::from_secs(5);

/// How long the server of a connection may not answer, at least, before nobody else is to wait for
/// it; and how many round trips.
const SILENT_FOR: Duration = Duration::from_secs(1);
const SILENT_RTTS: u32 = 3;

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

/// The way to a server, or to several that have the same titles. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    connector: Arc<Connector>,
    /// The name to expect in each certificate, where it is not the host's.
    name: Option<String>,
    servers: std::sync::Mutex<Servers>,
    settings: LinkSettings,
    /// The connection that the next session goes over, if it is shared.
    current: Mutex<Option<Connected>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("servers", &self.0.servers).finish_non_exhaustive()
    }
}

/// A connection to a server, which may be in use elsewhere, too.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    connection: Arc<Connection>,
    pub(super) fingerprint: Fingerprint,
    dialed_at: Instant,
    /// What may still be opened on it.
    allowance: Arc<Mutex<Allowance>>,
}

impl Connected {
    pub(super) fn handle(&self) -> &ConnectionHandle {
        self.connection.handle()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether another session can be opened on it.
    fn has_room(&self) -> bool {
        // One reference is the link's own.
        let has_room = Arc::strong_count(&self.connection) <= MAX_SESSIONS;
        self.handle().is_open() && has_room && !self.is_silent()
    }

    /// Whether its server has not answered for so long that it may be gone.
    fn is_silent(&self) -> bool {
        let path = self.handle().path();
        let answers_within = path.rtt().unwrap_or_default().saturating_mul(SILENT_RTTS);
        path.is_silent_for(answers_within.max(SILENT_FOR))
    }

    /// Takes the opening of a session into account; returns false if the server may take one more
    /// for a flood.
    async fn take_turn(&self) -> bool {
        self.allowance.lock().await.take(self.dialed_at.elapsed())
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
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

/// Whether to ask once more. A connection that is lost says nothing of what was asked: a server may
/// have taken it for unused, because it was kept for long or because the question was lost on the
/// way.
#[derive(Debug, Default)]
pub(super) struct Again {
    has_asked_again: bool,
}

impl Again {
    /// Whether to ask again, after an answer whose connection was lost or not.
    pub(super) fn is_worth(&mut self, is_lost: bool) -> bool {
        is_lost && !std::mem::replace(&mut self.has_asked_again, true)
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
        let Remote { addresses, trust, name, transport } = remote;
        let LinkSettings { versions, connect_timeout, shared } = &settings;
        let streams = if *shared { MAX_SESSIONS } else { 1 };
        let connector = Connector::new(transport, trust, versions, *connect_timeout, streams)?;
        Ok(Self(Arc::new(Inner {
            connector: Arc::new(connector),
            name: name.clone(),
            servers: std::sync::Mutex::new(Servers::new(addresses.clone())),
            settings,
            current: Mutex::new(None),
        })))
    }

    /// Where the server is that is in use, or that is tried first.
    pub fn server(&self) -> String {
        self.servers().to_string()
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that media comes from the server in use.
    pub(super) fn note_progress(&self) {
        self.servers().note_progress();
    }

    /// Goes to the next server after the one asked at `asked_at` has sent the client away, perhaps to
    /// others that it names; where another fetch has gone to the next one since, to that. Returns
    /// false where all of them have sent the client away, one after the other.
    pub(super) async fn pass_over(&self, asked_at: Instant, others: Option<&str>) -> bool {
        let mut current = self.0.current.lock().await;
        let mut servers = self.servers();
        others.into_iter().for_each(|others| servers.learn(others));
        if let Some(is_fresh) = servers.moved_since(asked_at) {
            return is_fresh;
        }
        *current = None;
        servers.pass_over()
    }

    /// How long to wait for each answer.
    pub(super) fn answer_within(&self) -> Duration {
        self.0.settings.connect_timeout
    }

    /// What QUIC knows of the connection that is shared, while there is one.
    pub fn connection(&self) -> Option<ConnectionHandle> {
        // While another is dialed nobody can say.
        let current = self.0.current.try_lock().ok()?;
        current.as_ref().map(Connected::handle).filter(|handle| handle.is_open()).cloned()
    }

    /// Returns the connection for the next session: the shared one if it has room, else a new one.
    pub(super) async fn connect(&self, patience: Duration) -> Result<Connected, transport::Error> {
        if !self.0.settings.shared {
            return self.dial(patience).await;
        }
        // Held while it is dialed: who comes meanwhile shares what comes of it.
        let mut current = self.0.current.lock().await;
        if let Some(connected) = current.as_ref()
            && connected.has_room()
            && connected.take_turn().await
        {
            return Ok(connected.clone());
        }
        let connected = self.dial(patience).await?;
        *current = Some(connected.clone());
        Ok(connected)
    }

    async fn dial(&self, patience: Duration) -> Result<Connected, transport::Error> {
        let Inner { connector, name, .. } = &*self.0;
        let servers = self.servers().in_turn();
        let dialed = dial::dial(connector, servers, name.as_deref(), patience).await?;
        let (server, connection, fingerprint) = dialed;
        self.servers().prefer(&server);
        Ok(Connected {
            connection: Arc::new(connection),
            fingerprint,
            dialed_at: Instant::now(),
            allowance: Arc::new(Mutex::new(Allowance::new(MAX_OPENED, ALLOWANCE_TIME))),
        })
    }

    /// Takes a connection that failed out of use. What still runs on it may go on.
    pub(super) async fn forget(&self, failed: &Connected) {
        let mut current = self.0.current.lock().await;
        if current.as_ref().is_some_and(|current| current.is(failed)) {
            *current = None;
        }
    }

    /// Opens a session that goes on with one that was lost at this time, over a connection that is
    /// younger, which others share from then on.
    async fn resume(self, request: Request, lost_at: Instant) -> Result<Opened, Error> {
        // Somebody else who dials may do that into an outage.
        let shared = self.0.current.try_lock().ok().and_then(|current| current.clone());
        let younger = |connected: &Connected| connected.dialed_at > lost_at && connected.has_room();
        let connected = match shared.filter(younger) {
            Some(connected) => connected,
            None => self.dial(self.answer_within()).await?,
        };
        if connected.handle().version() == Version::V1 {
            return Err(Error::CannotContinue);
        }
        let granted = open(connected.connection(), request, self.answer_within()).await?;
        if self.0.settings.shared
            && let Ok(mut current) = self.0.current.try_lock()
        {
            *current = Some(connected.clone());
        }
        Ok(Opened { connected, granted })
    }

    /// Asks the server for its titles.
    ///
    /// # Errors
    /// The server cannot be reached, or has no such thing.
    pub async fn titles(&self, token: Option<&Secret>) -> Result<Vec<Title>, Error> {
        let mut again = Again::default();
        loop {
            let connected = self.connect_for("catalogue").await?;
            let titles = titles(connected.connection(), token, self.answer_within()).await;
            if !again.is_worth(self.let_go(connected, &titles).await) {
                return titles;
            }
        }
    }

    /// Asks the server about a title.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn describe(
        &self,
        title: &str,
        token: Option<&Secret>,
    ) -> Result<Description, Error> {
        let mut again = Again::default();
        loop {
            let connected = self.connect_for("titles").await?;
            let described = describe(connected.connection(), title, token, self.answer_within());
            let described = described.await;
            if !again.is_worth(self.let_go(connected, &described).await) {
                return described;
            }
        }
    }

    /// A connection for a question about what only version 2 has.
    async fn connect_for(&self, what: &'static str) -> Result<Connected, Error> {
        let connected = self.connect(self.answer_within()).await?;
        match connected.handle().version() {
            Version::V1 => Err(Error::NeedsVersion2(what)),
            Version::V2 => Ok(connected),
        }
    }

    /// Lets a connection go that is not needed after this answer. Returns true if it was lost before
    /// that, or taken for unused.
    pub(super) async fn let_go<T>(&self, connected: Connected, answer: &Result<T, Error>) -> bool {
        if matches!(answer, Err(Error::Transport(_) | Error::NoAnswer { .. })) {
            self.forget(&connected).await;
        }
        let is_lost = match answer {
            Err(Error::Transport(transport::Error::ClosedWithError(code))) => {
                *code == u64::from(CloseReason::LIMIT.0)
            }
            Err(Error::Transport(error)) => error.is_transient(),
            _ => false,
        };
        let broken = matches!(answer, Err(Error::Session(end)) if end.is_violation());
        connected.release(if broken { CloseReason::VIOLATION.0 } else { 0 }).await;
        is_lost
    }

    /// Closes the shared connection, if nothing uses it any more.
    pub async fn close(&self) {
        let current = self.0.current.lock().await.take();
        if let Some(connected) = current {
            connected.release(0).await;
        }
    }
}
