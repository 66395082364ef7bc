//! The server: an accept loop, and one driver for every session.

mod driver;
mod grant;
mod output;
mod progress;
mod resume;
mod work;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::media::Library;
use crate::session::Offer;
use crate::transport::{Connection, Listener};
use driver::Driver;

pub use progress::{Meter, ServeEvent, SessionPhase, Sessions};

/// How long sessions may take to deliver their CLOSE_STREAM when the server shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// What clients may get.
    pub offer: Offer,
    /// How many connections may be open at once; further ones are refused.
    pub max_connections: usize,
    /// The most that a session of version 2 is sent, bit/s; 0 is no limit.
    pub max_rate: u64,
    /// Who decides how fast a session of version 2 is sent.
    pub pacing: Pacing,
}

/// Who decides how fast a session is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// The client, within `max_rate`.
    Client,
    /// The agreed bitrate, whatever the client asks for.
    Bitrate,
}

/// What all sessions of a server share.
struct Shared {
    settings: ServeSettings,
    library: Arc<Library>,
    sessions: Arc<Sessions>,
    report: Box<dyn Fn(ServeEvent) + Send + Sync>,
    next_session: AtomicU32,
    shutdown: watch::Receiver<bool>,
}

impl Shared {
    /// Session ids count from 1; 0 stands for "not assigned" and is left out when they wrap.
    fn assign_session_id(&self) -> u32 {
        match self.next_session.fetch_add(1, Ordering::Relaxed) {
            0 => self.next_session.fetch_add(1, Ordering::Relaxed),
            id => id,
        }
    }
}

/// Serves until `shutdown` resolves, then closes every session and returns. `sessions` shows what
/// runs; `report` hears of every event and must not block.
pub async fn serve(
    mut listener: Listener,
    library: Arc<Library>,
    settings: ServeSettings,
    sessions: Arc<Sessions>,
    report: impl Fn(ServeEvent) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) {
    let (shut_down, shutdown_seen) = watch::channel(false);
    let shared = Arc::new(Shared {
        settings,
        library,
        sessions,
        report: Box::new(report),
        next_session: AtomicU32::new(1),
        shutdown: shutdown_seen,
    });
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            connection = listener.accept() => match connection {
                Some(connection) => {
                    connections.spawn(attend(connection, shared.clone()));
                }
                None => break,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    let _ = shut_down.send(true);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, all_closed).await.is_err() {
        debug!("some clients did not acknowledge the end in time");
    }
}

/// Serves the streams of one connection until it is closed.
async fn attend(mut connection: Connection, shared: Arc<Shared>) {
    let handle = connection.handle().clone();
    let peer = handle.peer();
    let mut shutdown = shared.shutdown.clone();
    let mut sessions = JoinSet::new();
    let (connection_lives, connected) = watch::channel(());
    debug!(%peer, "connected");
    let lost = loop {
        // A client that opens no stream is as silent as one that sends no PDU.
        let patience = sleep(shared.settings.offer.session_timeout);
        tokio::select! {
            stream = connection.accept_stream() => match stream {
                Ok(Some(stream)) => {
                    let (shared, connected) = (shared.clone(), connected.clone());
                    let mut driver = Driver::new(shared, handle.clone(), connected, stream);
                    sessions.spawn(async move { driver.run().await });
                }
                Ok(None) => break true,
                Err(error) => {
                    debug!(%peer, %error, "disconnected");
                    break true;
                }
            },
            Some(_) = sessions.join_next() => {}
            () = patience, if sessions.is_empty() => break false,
            _ = shutdown.wait_for(|down| *down) => break false,
        }
    };
    // Dropped at once where it is lost: a session that waits for a disk has to hear of it.
    let _connection_lives = (!lost).then_some(connection_lives);
    while sessions.join_next().await.is_some() {}
    handle.close(0);
}
