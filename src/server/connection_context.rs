//! What the sessions of one connection share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::admission::Occupant;
use super::tokens::{Token, TokenPermit};
use crate::session::server::Refusal;
use crate::session::{Allowance, SharedPacer, Time};
use crate::transport::{ConnectionHandle, MAX_STREAMS};

/// Sessions that a connection may have at once: one of its streams is kept for LIST.
const MAX_SESSIONS: usize = MAX_STREAMS as usize - 1;

/// What the sessions of one connection share.
pub(super) struct ConnectionContext {
    pub(super) server: Arc<Server>,
    pub(super) handle: ConnectionHandle,
    pub(super) occupant: Occupant,
    /// Cancelled when the server shuts down.
    pub(super) shutdown: CancellationToken,
    /// Cancelled when the connection is lost: a session that waits for a disk has to hear of it.
    pub(super) lost: CancellationToken,
    /// Why no session of this connection is granted.
    pub(super) refusal: Option<Refusal>,
    /// The clock of what all sessions share reads zero here.
    pub(super) began: Instant,
    had_session: AtomicBool,
    /// Whether a warning about ignored PDUs was given; one is enough.
    warned: AtomicBool,
    /// How many of the client's questions wait for their answer, or for it to be sent.
    owed_answers: AtomicUsize,
    patience: Mutex<Patience>,
    /// The schedule of all that is sent; `None` where that has no limit.
    pacer: Option<Mutex<SharedPacer>>,
    token_permit: Mutex<Weak<TokenPermit>>,
    session_places: Arc<Semaphore>,
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
    pub(super) fn new(
        server: Arc<Server>,
        handle: ConnectionHandle,
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
            warned: AtomicBool::new(false),
            owed_answers: AtomicUsize::new(0),
            patience: Mutex::new(Patience::new()),
            pacer: (max_rate > 0).then(|| Mutex::new(SharedPacer::new(max_rate, Time::ZERO))),
            token_permit: Mutex::default(),
            session_places: Arc::new(Semaphore::new(MAX_SESSIONS)),
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

    /// Whether the connection has, or had, a session.
    pub(super) fn had_session(&self) -> bool {
        self.had_session.load(Ordering::Relaxed)
    }

    /// Notes a warning about ignored PDUs; returns whether there was one before.
    pub(super) fn note_warned(&self) -> bool {
        self.warned.swap(true, Ordering::Relaxed)
    }

    /// Takes a question into account until what is returned is dropped.
    pub(super) fn owe_answer(self: &Arc<Self>) -> OwedAnswer {
        self.owed_answers.fetch_add(1, Ordering::Relaxed);
        OwedAnswer(self.clone())
    }

    /// Whether the client waits for an answer.
    pub(super) fn owes_answer(&self) -> bool {
        self.owed_answers.load(Ordering::Relaxed) > 0
    }

    /// Returns when so many bytes may be sent; `None` where there is no limit.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Instant> {
        let pacer = self.pacer.as_ref()?;
        Some(self.began + lock(pacer).reserve(bytes, self.began.elapsed()))
    }

    /// Takes the place of a session; `None` if the connection has as many as it may.
    pub(super) fn session_place(&self) -> Option<OwnedSemaphorePermit> {
        self.session_places.clone().try_acquire_owned().ok()
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
