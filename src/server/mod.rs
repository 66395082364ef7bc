//! The server: who may come in, an accept loop, and one driver for every session.

mod admission;
mod answer;
mod catalogue;
mod connection;
mod driver;
mod event;
mod grant;
mod sender;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::media::Library;
use crate::session::Offer;
use crate::session::server::Timeouts;
use crate::transport::Listener;
use admission::Admission;

pub use admission::ConnectionLimits;
pub use event::ServeEvent;
pub use sessions::{Meter, RunningSession, SessionPhase, Sessions};

/// How long sessions may take to deliver their CLOSE_STREAM when the server shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// What clients may get.
    pub offer: Offer,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// The most that a session of version 2 is sent, bit/s; 0 is no limit.
    pub max_rate: u64,
    /// Who decides how fast a session of version 2 is sent.
    pub pacing: Pacing,
    /// Time without an acknowledgement of anything that waits for one after which a client is
    /// taken to be gone.
    pub stall_timeout: Duration,
}

impl ServeSettings {
    fn timeouts(&self) -> Timeouts {
        Timeouts {
            keepalive: self.offer.keepalive,
            session: self.offer.session_timeout,
            stall: self.stall_timeout,
        }
    }
}

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
    report: Box<dyn Fn(ServeEvent) + Send + Sync>,
}

impl Server {
    /// A server of this library. `sessions` shows what runs; `report` hears of every event and
    /// must not block.
    pub fn new(
        settings: ServeSettings,
        library: Arc<Library>,
        sessions: Arc<Sessions>,
        report: impl Fn(ServeEvent) + Send + Sync + 'static,
    ) -> Self {
        let admission = Arc::new(Admission::new(settings.connections));
        Self { settings, library, admission, sessions, report: Box::new(report) }
    }

    /// Serves who comes to this endpoint until `shutdown` is cancelled, then closes every session
    /// and returns.
    pub async fn serve(self: Arc<Self>, mut listener: Listener, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        while let Some(Some(connection)) = shutdown.run_until_cancelled(listener.accept()).await {
            connections.spawn(connection::attend(connection, self.clone(), shutdown.clone()));
        }
        // An endpoint that failed takes its sessions along.
        shutdown.cancel();
        connections.close();
        if timeout(SHUTDOWN_GRACE, connections.wait()).await.is_err() {
            debug!("some clients did not acknowledge the end in time");
        }
    }
}
