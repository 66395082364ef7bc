//! The server's side of a session.

mod machine;
mod resume;

use std::time::Duration;

use crate::protocol::{CloseReason, Error, Frame, NackCode, OpenStream, Options};

pub use machine::ServerSession;
pub use resume::{ResumableMedia, Resumed, resume};

/// Where a session is, numbered as in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No OPEN_STREAM has been accepted.
    Idle = 0,
    /// Chunks are being made.
    Streaming = 1,
    /// The client asked for silence.
    Paused = 2,
    /// CLOSE_STREAM and FIN are sent and not yet known to have arrived.
    Closing = 3,
    /// Nothing more happens.
    Closed = 4,
}

/// What can happen to a session.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is soon taken apart")]
#[derive(Debug)]
pub enum Input {
    /// A frame came from the client.
    Frame(Frame),
    /// The bytes from the client cannot be followed any further.
    Violation(Error),
    /// The client finished its side of the stream.
    PeerFinished,
    /// [`Action::Open`] succeeded, and the session has this id.
    Opened {
        /// What PDUs of the session carry from now on.
        session_id: u32,
        /// The client is to get a digest that is not known yet.
        owes_digest: bool,
        /// The media is a broadcast, at whose edge nothing may come for long.
        live: bool,
    },
    /// [`Action::Open`] or [`Action::SendList`] came to a refusal.
    Refused(Refusal),
    /// The catalogue is on its way, or a further part of it has left.
    Listed,
    /// The digest that is owed is known, or there will be none.
    DigestResolved,
    /// The server ends the session. With [`Reason::Complete`], every chunk is on its way.
    End(Reason),
    /// Everything sent has arrived, FIN included.
    Delivered,
    /// A timer that [`ServerSession::deadline`] asked for has run out.
    Tick(Delivery),
}

/// How far what was sent has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Bytes that the client has acknowledged.
    pub acknowledged: u64,
    /// Whether there are bytes that it has not.
    pub outstanding: bool,
    /// The last chunk that was queued for it; 0 before the first.
    pub chunk: u32,
}

/// The times that a session goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Time between heartbeats, and the longest wait for a digest.
    pub keepalive: Duration,
    /// Time without a PDU after which the client is taken to be gone.
    pub session: Duration,
    /// Time without an acknowledgement of anything outstanding after which the client is taken to
    /// be gone, whatever PDUs it sends.
    pub stall: Duration,
    /// The longest pause.
    pub pause: Duration,
}

/// What a driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// See whether this can be granted, and answer with [`Input::Opened`] or [`Input::Refused`].
    Open(OpenStream, Options),
    /// Send OPEN_ACK with the terms granted.
    SendAck,
    /// Send OPEN_NACK.
    SendNack(Refusal),
    /// Send the catalogue, and answer with [`Input::Listed`], or with [`Input::Refused`].
    SendList(Options),
    /// Send HEARTBEAT with the time of the clock.
    SendHeartbeat,
    /// Send HEARTBEAT back with the timestamp that it came with.
    Echo(u64),
    /// Send CLOSE_STREAM, then finish the stream.
    Close(Reason),
    /// Close the connection with an error code, without waiting for anything.
    Abort(Reason),
    /// Log that something was ignored.
    Ignore(&'static str),
}

/// Why an OPEN_STREAM is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: NackCode,
    /// The cause in words for a person, where there is more to say than the code does.
    pub reason: Option<String>,
    /// After how many seconds another try makes sense, if it ever does.
    pub retry_after: Option<u32>,
    /// The first byte that is kept, of a broadcast.
    pub oldest: Option<u64>,
}

impl From<NackCode> for Refusal {
    fn from(code: NackCode) -> Self {
        Self { code, reason: None, retry_after: None, oldest: None }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The media ended and every byte of it was sent.
    #[error("complete")]
    Complete,
    /// The client closed it.
    #[error("closed by the client")]
    Client,
    /// The client finished its stream without ever opening a session.
    #[error("the client left without a session")]
    NeverOpened,
    /// The server is shutting down.
    #[error("server shutting down")]
    Shutdown,
    /// No PDU came for the session timeout.
    #[error("session timeout")]
    Timeout,
    /// The client acknowledged nothing for the stall timeout.
    #[error("the client takes nothing")]
    Stalled,
    /// The client was paused for longer than the server keeps its session.
    #[error("paused for too long")]
    PausedTooLong,
    /// The client sends more than anybody has to say.
    #[error("too many PDUs")]
    Flooding,
    /// Another connection of the same client needs the place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The client may not have it any more.
    #[error("not authorised any more")]
    NotAuthorised,
    /// The media became unreadable or changed.
    #[error("the media became unreadable or changed")]
    MediaFailed,
    /// The media is live, and what the client is to get next is not kept any more.
    #[error("too far behind a live stream")]
    Behind,
    /// The client broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(Error),
}

impl Reason {
    /// What it is called in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Client => "client",
            Self::NeverOpened => "never_opened",
            Self::Shutdown => "shutdown",
            Self::Timeout => "session_timeout",
            Self::Stalled => "stall_timeout",
            Self::PausedTooLong => "max_pause",
            Self::Flooding => "too_many_pdus",
            Self::Replaced => "replaced",
            Self::NotAuthorised => "not_authorised",
            Self::MediaFailed => "media_failed",
            Self::Behind => "behind",
            Self::Violation(_) => "violation",
        }
    }

    /// The number that CLOSE_STREAM gives it in version 2, and an aborted connection in both.
    pub fn to_wire(&self) -> CloseReason {
        match self {
            Self::Complete => CloseReason::COMPLETE,
            Self::Client | Self::NeverOpened => CloseReason::CLIENT,
            Self::Shutdown => CloseReason::SHUTDOWN,
            Self::Timeout => CloseReason::TIMEOUT,
            Self::Stalled | Self::PausedTooLong | Self::Flooding | Self::Replaced => {
                CloseReason::LIMIT
            }
            Self::NotAuthorised => CloseReason::NOT_AUTHORISED,
            Self::MediaFailed => CloseReason::MEDIA,
            Self::Behind => CloseReason::BEHIND,
            Self::Violation(_) => CloseReason::VIOLATION,
        }
    }
}
