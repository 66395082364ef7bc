//! The server: who may come in, an accept loop, and one driver for every session.

mod admission;
mod answer;
mod catalogue;
mod connection;
mod connection_context;
mod counters;
mod driver;
mod event;
mod grant;
mod maintenance;
mod open_session;
mod sender;
mod sessions;
mod throttle;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::media::Library;
use crate::protocol::{NackCode, Options, Version};
use crate::session::Offer;
use crate::session::server::{Refusal, Timeouts};
use crate::transport::Listener;
use maintenance::Reporter;
use tokens::Access;

pub use admission::{Admission, ConnectionLimits};
pub use counters::{Count, Counters, CountsBy};
pub use event::ServeEvent;
pub use sessions::{Meter, RunningSession, SessionPhase, Sessions};
pub use tokens::{Token, Tokens};

/// How long sessions may take to deliver their CLOSE_STREAM when the server shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// What clients may get.
    pub offer: Offer,
    /// The most that a session of version 2 is sent, bit/s; 0 is no limit.
    pub max_rate: u64,
    /// Who decides how fast a session of version 2 is sent.
    pub pacing: Pacing,
    /// Time without an acknowledgement of anything that waits for one after which a client is
    /// taken to be gone.
    pub stall_timeout: Duration,
    /// How long a connection may have no session before its first.
    pub open_timeout: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// What may wait in the send buffers of all sessions, bytes.
    pub send_memory: u64,
    /// Other servers that have the same titles, as RETRY_WITH names them.
    pub peers: Option<String>,
}

impl ServeSettings {
    fn timeouts(&self) -> Timeouts {
        Timeouts {
            keepalive: self.offer.keepalive,
            session: self.offer.session_timeout,
            stall: self.stall_timeout,
            pause: self.max_pause,
        }
    }

    /// The most that a viewer of a broadcast is sent, bit/s; 0 is no limit.
    fn most_of_a_broadcast(&self) -> u64 {
        match self.pacing {
            Pacing::Client => self.max_rate,
            Pacing::Bitrate => grant::limit_rate(self.offer.bitrate.into(), self.max_rate),
        }
    }
}

/// The endpoint accepts nobody any more, and nobody asked for that.
#[derive(Debug, thiserror::Error)]
#[error("the QUIC endpoint failed: start the server again")]
pub struct EndpointFailed;

/// Who decides how fast a session is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// The client, within `max_rate`.
    Client,
    /// The agreed bitrate, whatever the client asks for.
    Bitrate,
}

/// What all endpoints, connections and sessions of a server share.
pub struct Server {
    settings: ServeSettings,
    library: Arc<Library>,
    admission: Arc<Admission>,
    sessions: Arc<Sessions>,
    counters: Counters,
    /// `None` where everybody may watch everything.
    tokens: Option<Arc<Tokens>>,
    reporter: Reporter,
    /// Endpoints whose accept loop runs.
    accepting: AtomicUsize,
}

impl Server {
    /// A server of this library, for whoever has one of `tokens` where there are any. `sessions`
    /// shows what runs; `report` hears of every event and must not block.
    pub fn new(
        settings: ServeSettings,
        library: Arc<Library>,
        admission: Arc<Admission>,
        tokens: Option<Arc<Tokens>>,
        sessions: Arc<Sessions>,
        report: impl Fn(ServeEvent) + Send + Sync + 'static,
    ) -> Self {
        Self {
            settings,
            library,
            admission,
            sessions,
            counters: Counters::default(),
            tokens,
            reporter: Reporter::new(report),
            accepting: AtomicUsize::new(0),
        }
    }

    /// What it has done since it started.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The sessions that run.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Who has a place.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What it serves.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Returns true while an endpoint accepts connections.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) > 0
    }

    /// What one session may have on the way, bytes: all together have `send_memory`.
    fn send_share(&self) -> u32 {
        let sessions = u64::try_from(self.sessions.count().max(1)).unwrap_or(u64::MAX);
        u32::try_from(self.settings.send_memory / sessions).unwrap_or(u32::MAX)
    }

    /// What a client may do that shows this token.
    ///
    /// # Errors
    /// Nothing at all, which version 1 cannot be helped with: it has no tokens.
    fn access(&self, version: Version, options: &Options) -> Result<Access, Refusal> {
        let Some(tokens) = &self.tokens else { return Ok(Access::Everything) };
        let secret = options.token.as_deref().filter(|_| version != Version::V1);
        let token = secret.and_then(|secret| tokens.find(secret, SystemTime::now()));
        token.map(Access::Token).ok_or(NackCode::NotAuthorised.into())
    }

    /// Serves who comes to this endpoint until `shutdown` is cancelled, then closes every session
    /// and returns.
    ///
    /// # Errors
    /// The endpoint failed before.
    pub async fn serve(
        self: Arc<Self>,
        mut listener: Listener,
        shutdown: CancellationToken,
    ) -> Result<(), EndpointFailed> {
        let connections = TaskTracker::new();
        self.accepting.fetch_add(1, Ordering::Relaxed);
        while let Some(Some(connection)) = shutdown.run_until_cancelled(listener.accept()).await {
            connections.spawn(connection::attend(connection, self.clone(), shutdown.clone()));
        }
        self.accepting.fetch_sub(1, Ordering::Relaxed);
        let failed = !shutdown.is_cancelled();
        // An endpoint that failed takes its sessions along.
        shutdown.cancel();
        connections.close();
        if timeout(SHUTDOWN_GRACE, connections.wait()).await.is_err() {
            debug!("some clients did not acknowledge the end in time");
        }
        if failed { Err(EndpointFailed) } else { Ok(()) }
    }
}
