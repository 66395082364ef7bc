//! One connection, and the sessions on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Server;
use super::admission::Occupant;
use super::connection_context::ConnectionContext;
use super::driver::Driver;
use crate::protocol::CloseReason;
use crate::session::server::Reason;
use crate::transport::{self, Connection};

/// How long a client for which there is no place may take to ask, and to hear why.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// How long a connection is kept that had a session: its user may seek.
const KEPT_AFTER_SESSION: Duration = Duration::from_secs(5 * 60);

/// How soon it is looked again whether a client that waits for an answer has it.
const ANSWER_CHECK: Duration = Duration::from_secs(1);

/// Serves the streams of one connection until it is closed.
pub(super) async fn attend(
    mut connection: Connection,
    server: Arc<Server>,
    shutdown: CancellationToken,
) {
    let handle = connection.handle().clone();
    let peer = handle.peer();
    server.counters.connections.add(1);
    let connection_handle = Arc::new(handle.clone());
    let replaced = CancellationToken::new();
    let occupant = Occupant { connection: connection_handle, replaced };
    let admitted = server.admission.connection(peer.ip(), occupant.clone());
    let (_permit, _turned_away, refusal) = match admitted {
        Ok(permit) => (Some(permit), None, None),
        Err(full) => {
            server.counters.limits.add(full.limit(), 1);
            (None, Some(server.admission.turn_away()), Some(full.into()))
        }
    };
    debug!(%peer, "connected");
    let context = Arc::new(ConnectionContext::new(server, handle, occupant, shutdown, refusal));
    let mut sessions = JoinSet::new();
    let over = serve_streams(&mut connection, &context, &mut sessions).await;
    debug!(%peer, ?over, "the connection is over");
    match over {
        Over::Lost(_) => context.lost.cancel(),
        Over::Replaced => {
            context.server.counters.limits.add(Reason::Replaced.name(), 1);
            context.lost.cancel();
            context.handle.close(CloseReason::LIMIT.0);
        }
        Over::Unused => {
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
    /// Its client opened no session in time, or there was no place for it.
    Unused,
    /// Its place went to another connection of its client.
    Replaced,
    /// Its client has had its sessions.
    Idle,
    Shutdown,
}

async fn serve_streams(
    connection: &mut Connection,
    context: &Arc<ConnectionContext>,
    sessions: &mut JoinSet<()>,
) -> Over {
    let patience = match context.refusal {
        None => context.server.settings.open_timeout,
        Some(_) => REFUSAL_TIME,
    };
    let mut unused_until = context.began + patience;
    loop {
        let had_session = context.had_session();
        let until = if had_session { Instant::now() + KEPT_AFTER_SESSION } else { unused_until };
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
            () = sleep_until(until), if !had_session || sessions.is_empty() => {
                if had_session {
                    return Over::Idle;
                } else if context.had_session() {
                    continue;
                } else if !context.owes_answer() {
                    return Over::Unused;
                }
                unused_until = Instant::now() + ANSWER_CHECK;
            }
            () = context.occupant.replaced.cancelled() => return Over::Replaced,
            () = context.shutdown.cancelled() => return Over::Shutdown,
        }
    }
}
