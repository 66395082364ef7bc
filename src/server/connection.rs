//! One connection, and the sessions on it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Server;
use super::admission::Occupant;
use super::driver::Driver;
use super::tokens::{Token, TokenPermit};
use crate::protocol::CloseReason;
use crate::session::server::{Reason, Refusal};
use crate::session::{Allowance, SharedPacer, Time};
use crate::transport::{self, Connection, Handle};

/// How long a client for which there is no place may take to ask, and to hear why.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// How long a connection is kept that had a session: its user may seek.
const KEPT_AFTER_SESSION: Duration = Duration::from_secs(5 * 60);

/// How soon it is looked again whether a client that waits for an answer has it.
const ANSWER_CHECK: Duration = Duration::from_secs(1);

/// What the sessions of one connection share.
pub(super) struct ConnectionContext {
    pub(super) server: Arc<Server>,
    pub(super) handle: Handle,
    occupant: Occupant,
    /// Cancelled when the server shuts down.
    pub(super) shutdown: CancellationToken,
    /// Cancelled when the connection is lost: a session that waits for a disk has to hear of it.
    pub(super) lost: CancellationToken,
    /// Why no session of this connection is granted.
    pub(super) refusal: Option<Refusal>,
    /// The clock of what all sessions share reads zero here.
    began: Instant,
    had_session: AtomicBool,
    /// How many of the client's questions wait for their answer, or for it to be sent.
    owed_answers: AtomicUsize,
    patience: Mutex<Patience>,
    /// The schedule of all that is sent; `None` where that has no limit.
    pacer: Option<Mutex<SharedPacer>>,
    token_permit: Mutex<Weak<TokenPermit>>,
}

/// What a client may still ask for.
struct Patience {
    pdus: Allowance,
    mistakes: Allowance,
}

impl Patience {
    fn new() -> Self {
        Self {
            pdus: Allowance::new(100, Duration::from_secs(5)),
            mistakes: Allowance::new(16, Duration::from_secs(10)),
        }
    }
}

impl ConnectionContext {
    fn new(
        server: Arc<Server>,
        handle: Handle,
        occupant: Occupant,
        shutdown: CancellationToken,
        refusal: Option<Refusal>,
    ) -> Self {
        let max_rate = server.settings.max_rate;
        Self {
            server,
            handle,
            occupant,
            shutdown,
            lost: CancellationToken::new(),
            refusal,
            began: Instant::now(),
            had_session: AtomicBool::new(false),
            owed_answers: AtomicUsize::new(0),
            patience: Mutex::new(Patience::new()),
            pacer: (max_rate > 0).then(|| Mutex::new(SharedPacer::new(max_rate, Time::ZERO))),
            token_permit: Mutex::default(),
        }
    }

    /// Notes a PDU of the client; returns false if there are too many.
    pub(super) fn allows_pdu(&self) -> bool {
        let now = self.began.elapsed();
        lock(&self.patience).pdus.take(now)
    }

    /// Notes a malformed body or an OPEN_STREAM that was refused; returns false if there are too
    /// many.
    pub(super) fn allows_mistake(&self) -> bool {
        let now = self.began.elapsed();
        lock(&self.patience).mistakes.take(now)
    }

    /// Notes that the connection has, or had, a session.
    pub(super) fn note_session(&self) {
        self.had_session.store(true, Ordering::Relaxed);
    }

    /// Takes a question into account until what is returned is dropped.
    pub(super) fn owe_answer(self: &Arc<Self>) -> OwedAnswer {
        self.owed_answers.fetch_add(1, Ordering::Relaxed);
        OwedAnswer(self.clone())
    }

    /// Returns when so many bytes may be sent; `None` where there is no limit.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Instant> {
        let pacer = self.pacer.as_ref()?;
        Some(self.began + lock(pacer).reserve(bytes, self.began.elapsed()))
    }

    /// Takes the connection into the count of its token while it has a session with it; `None` if
    /// that has as many as it may.
    pub(super) fn permit(&self, token: &Arc<Token>) -> Option<Arc<TokenPermit>> {
        let mut held = lock(&self.token_permit);
        if let Some(permit) = held.upgrade().filter(|permit| permit.is_of(token)) {
            return Some(permit);
        }
        let permit = Arc::new(self.server.tokens.as_ref()?.permit(token, self.occupant.clone())?);
        *held = Arc::downgrade(&permit);
        Some(permit)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question that is not answered.
pub(super) struct OwedAnswer(Arc<ConnectionContext>);

impl Drop for OwedAnswer {
    fn drop(&mut self) {
        self.0.owed_answers.fetch_sub(1, Ordering::Relaxed);
    }
}

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
        let had_session = context.had_session.load(Ordering::Relaxed);
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
                } else if context.had_session.load(Ordering::Relaxed) {
                    continue;
                } else if context.owed_answers.load(Ordering::Relaxed) == 0 {
                    return Over::Unused;
                }
                unused_until = Instant::now() + ANSWER_CHECK;
            }
            () = context.occupant.replaced.cancelled() => return Over::Replaced,
            () = context.shutdown.cancelled() => return Over::Shutdown,
        }
    }
}
