//! One connection, and the sessions on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Server;
use super::driver::Driver;
use crate::protocol::CloseReason;
use crate::session::server::Refusal;
use crate::transport::{self, Connection, Handle};

/// How long a client for which there is no place may take to ask, and to hear why.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// What the sessions of one connection share.
pub(super) struct ConnectionContext {
    pub(super) server: Arc<Server>,
    pub(super) handle: Handle,
    /// Cancelled when the server shuts down.
    pub(super) shutdown: CancellationToken,
    /// Cancelled when the connection is lost: a session that waits for a disk has to hear of it.
    pub(super) lost: CancellationToken,
    /// Why no session of this connection is granted.
    pub(super) refusal: Option<Refusal>,
}

/// Serves the streams of one connection until it is closed.
pub(super) async fn attend(
    mut connection: Connection,
    server: Arc<Server>,
    shutdown: CancellationToken,
) {
    let handle = connection.handle().clone();
    let peer = handle.peer();
    let (_permit, refusal) = match server.admission.connection(peer.ip()) {
        Ok(permit) => (Some(permit), None),
        Err(full) => (None, Some(full.into())),
    };
    debug!(%peer, "connected");
    let context =
        Arc::new(ConnectionContext { server, handle, shutdown, lost: <_>::default(), refusal });
    let mut sessions = JoinSet::new();
    let served = serve_streams(&mut connection, &context, &mut sessions);
    let over = match context.refusal {
        None => served.await,
        Some(_) => tokio::select! {
            over = served => over,
            () = sleep(REFUSAL_TIME) => Over::Refused,
        },
    };
    debug!(%peer, ?over, "the connection is over");
    match over {
        Over::Lost(_) => context.lost.cancel(),
        Over::Refused => {
            context.handle.close(CloseReason::LIMIT.0);
            return;
        }
        Over::Idle | Over::Shutdown => {}
    }
    while sessions.join_next().await.is_some() {}
    context.handle.close(0);
}

/// Why a connection is not served any further.
#[derive(Debug)]
enum Over {
    /// It is gone.
    Lost(#[expect(dead_code, reason = "for the log")] Option<transport::Error>),
    /// Its client opens no session.
    Idle,
    /// There was no place for it.
    Refused,
    Shutdown,
}

async fn serve_streams(
    connection: &mut Connection,
    context: &Arc<ConnectionContext>,
    sessions: &mut JoinSet<()>,
) -> Over {
    loop {
        // A client that opens no stream is as silent as one that sends no PDU.
        let idle = sleep(context.server.settings.offer.session_timeout);
        tokio::select! {
            stream = connection.accept_stream() => match stream {
                Ok(Some(stream)) => {
                    let mut driver = Driver::new(context.clone(), stream);
                    sessions.spawn(async move { driver.run().await });
                }
                Ok(None) => return Over::Lost(None),
                Err(error) => return Over::Lost(Some(error)),
            },
            Some(_) = sessions.join_next() => {}
            () = idle, if sessions.is_empty() => return Over::Idle,
            () = context.shutdown.cancelled() => return Over::Shutdown,
        }
    }
}
