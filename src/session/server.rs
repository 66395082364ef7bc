//! The server's side of a session.

use std::time::Duration;

use super::Time;
use crate::protocol::{
    CloseReason, Error, Frame, Kind, NackCode, OpenStream, Options, Pdu, Version,
};

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
    },
    /// [`Action::Open`] or [`Action::SendList`] came to a refusal.
    Refused(Refusal),
    /// The catalogue is on its way, or a further part of it has left.
    Listed,
    /// Every chunk of the media is on its way.
    MediaEnded,
    /// The media cannot be read on.
    MediaFailed,
    /// Everything sent has arrived, FIN included.
    Delivered,
    /// The server is shutting down.
    Shutdown,
    /// A timer that [`ServerSession::deadline`] asked for has run out.
    Tick,
}

/// What a driver has to do.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is soon taken apart")]
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// See whether this can be granted, and answer with [`Input::Opened`] or [`Input::Refused`].
    Open(OpenStream, Options),
    /// Send OPEN_ACK with the terms granted.
    SendAck,
    /// Send OPEN_NACK.
    SendNack(Refusal),
    /// Send the catalogue, and answer with [`Input::Listed`], or with [`Input::Refused`].
    SendList,
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
}

impl From<NackCode> for Refusal {
    fn from(code: NackCode) -> Self {
        Self { code, reason: None, retry_after: None }
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
    /// The media became unreadable or changed.
    #[error("the media became unreadable or changed")]
    MediaFailed,
    /// The client broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(Error),
}

impl Reason {
    /// The number that CLOSE_STREAM gives it in version 2, and an aborted connection in both.
    pub fn to_wire(&self) -> CloseReason {
        match self {
            Self::Complete => CloseReason::COMPLETE,
            Self::Client | Self::NeverOpened => CloseReason::CLIENT,
            Self::Shutdown => CloseReason::SHUTDOWN,
            Self::Timeout => CloseReason::TIMEOUT,
            Self::MediaFailed => CloseReason::MEDIA,
            Self::Violation(_) => CloseReason::VIOLATION,
        }
    }
}

/// The machine.
#[derive(Debug, Clone, Copy)]
pub struct ServerSession {
    version: Version,
    state: State,
    /// What the session was assigned; 0 before.
    session_id: u32,
    keepalive: Duration,
    session_timeout: Duration,
    /// Whether OPEN_STREAM or LIST waits for its answer. A client is silent until it has that, so
    /// the session timeout does not run.
    owes_answer: bool,
    /// When a valid PDU last came, or what the client waited for was on its way.
    heard: Time,
    /// When the next heartbeat of our own is due while paused.
    next_heartbeat: Time,
}

impl ServerSession {
    /// A session in [`State::Idle`] whose timers count from `now`.
    pub fn new(
        version: Version,
        keepalive: Duration,
        session_timeout: Duration,
        now: Time,
    ) -> Self {
        Self {
            version,
            state: State::Idle,
            session_id: 0,
            keepalive,
            session_timeout,
            owes_answer: false,
            heard: now,
            next_heartbeat: now,
        }
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Input::Tick`] is due, unless something else happens first.
    pub fn deadline(&self) -> Option<Time> {
        let timeout = self.heard.saturating_add(self.session_timeout);
        match self.state {
            State::Idle if self.owes_answer => None,
            State::Idle | State::Streaming | State::Closing => Some(timeout),
            State::Paused => Some(timeout.min(self.next_heartbeat)),
            State::Closed => None,
        }
    }

    /// Takes one input; the one place where the state changes.
    pub fn step(mut self, input: Input, now: Time) -> (Self, Option<Action>) {
        use State::{Closed, Closing, Idle, Paused, Streaming};

        let input = self.checked(input);
        match input {
            Input::Frame(Frame::Pdu { .. }) => self.heard = now,
            Input::Opened { .. } | Input::Refused(_) | Input::Listed if self.state == Idle => {
                self.owes_answer = false;
                self.heard = now;
            }
            _ => {}
        }
        let timed_out =
            self.deadline().is_some() && now >= self.heard.saturating_add(self.session_timeout);
        let malformed_open =
            |error: &Error| matches!(error, Error::Malformed { kind: Kind::OpenStream, .. });

        let (state, action) = match (self.state, input) {
            (Closed, _) => (Closed, None),

            (Idle, Input::Frame(Frame::Pdu { pdu: Pdu::OpenStream(open, options), .. })) => {
                self.owes_answer = true;
                (Idle, Some(Action::Open(open, options)))
            }
            (Idle, Input::Opened { session_id }) => {
                self.session_id = session_id;
                (Streaming, Some(Action::SendAck))
            }
            (Idle, Input::Refused(refusal)) => (Idle, Some(Action::SendNack(refusal))),
            (Idle, Input::Frame(Frame::Pdu { pdu: Pdu::List(_), .. })) => {
                self.owes_answer = true;
                (Idle, Some(Action::SendList))
            }
            (Idle, Input::PeerFinished) => (Closed, Some(Action::Close(Reason::NeverOpened))),
            (Streaming | Paused, Input::Frame(Frame::Pdu { pdu: Pdu::OpenStream(..), .. })) => {
                (self.state, Some(Action::SendNack(NackCode::ProtocolViolation.into())))
            }
            (Idle | Streaming | Paused, Input::Frame(Frame::Malformed(error)))
                if malformed_open(&error) =>
            {
                (self.state, Some(Action::SendNack(NackCode::ProtocolViolation.into())))
            }

            (Streaming, Input::Frame(Frame::Pdu { pdu: Pdu::Pause, .. })) => {
                self.next_heartbeat = now.saturating_add(self.keepalive);
                (Paused, None)
            }
            (Paused, Input::Frame(Frame::Pdu { pdu: Pdu::Resume, .. })) => (Streaming, None),
            (Streaming, Input::MediaEnded) => (Closing, Some(Action::Close(Reason::Complete))),
            (Streaming | Paused, Input::Frame(Frame::Pdu { pdu: Pdu::Close(..), .. })) => {
                (Closed, Some(Action::Close(Reason::Client)))
            }
            (
                Idle | Streaming | Paused,
                Input::Frame(Frame::Pdu { pdu: Pdu::Heartbeat { timestamp, echo }, .. }),
            ) => match self.version {
                Version::V1 => (self.state, Some(Action::SendHeartbeat)),
                Version::V2 if echo => (self.state, None),
                Version::V2 => (self.state, Some(Action::Echo(timestamp))),
            },

            (Idle | Streaming | Paused, Input::Tick) if timed_out => {
                (Closed, Some(Action::Close(Reason::Timeout)))
            }
            // A client whose player is paused may leave the last chunks unread for an hour; its
            // heartbeats keep the session open until they are delivered.
            (Closing, Input::Tick) if timed_out => (Closed, Some(Action::Abort(Reason::Timeout))),
            (Paused, Input::Tick) if now >= self.next_heartbeat => {
                self.next_heartbeat = now.saturating_add(self.keepalive);
                (Paused, Some(Action::SendHeartbeat))
            }
            (state, Input::Tick) => (state, None),

            (Closing, Input::Delivered) => (Closed, None),
            (Idle | Streaming | Paused, Input::Shutdown) => {
                (Closing, Some(Action::Close(Reason::Shutdown)))
            }
            // In version 1 CLOSE_STREAM would say that the media is complete.
            (Streaming | Paused, Input::MediaFailed) => match self.version {
                Version::V1 => (Closed, Some(Action::Abort(Reason::MediaFailed))),
                Version::V2 => (Closed, Some(Action::Close(Reason::MediaFailed))),
            },
            // What crossed CLOSE_STREAM on its way. FIN is sent, so nothing can be answered.
            (
                Closing,
                Input::Frame(Frame::Pdu {
                    pdu: Pdu::Pause | Pdu::Resume | Pdu::Close(..) | Pdu::Heartbeat { .. },
                    ..
                }),
            ) => (Closing, None),
            (Closing, Input::Frame(Frame::Malformed(error))) if malformed_open(&error) => {
                (Closing, Some(Action::Ignore(Kind::OpenStream.name())))
            }

            (_, Input::Violation(error) | Input::Frame(Frame::Malformed(error))) => {
                (Closed, Some(Action::Abort(Reason::Violation(error))))
            }

            (state, Input::Frame(Frame::Pdu { pdu, .. })) => {
                (state, Some(Action::Ignore(pdu.kind().name())))
            }
            (state, Input::Frame(Frame::Skipped { kind })) => {
                let name = Kind::from_byte(kind).map_or("a PDU of unknown type", Kind::name);
                (state, Some(Action::Ignore(name)))
            }
            // What a driver reports late, about a session that has moved on.
            (
                state,
                Input::Opened { .. }
                | Input::Refused(_)
                | Input::Listed
                | Input::MediaEnded
                | Input::MediaFailed
                | Input::Delivered
                | Input::PeerFinished
                | Input::Shutdown,
            ) => (state, None),
        };
        self.state = state;
        (self, action)
    }

    /// Version 2 takes a PDU of another session for a violation. What asks for a session, or for
    /// the catalogue, belongs to none.
    fn checked(&self, input: Input) -> Input {
        match input {
            Input::Frame(Frame::Pdu { session_id, pdu })
                if self.version != Version::V1
                    && session_id != self.session_id
                    && !matches!(pdu, Pdu::OpenStream(..) | Pdu::List(_)) =>
            {
                Input::Violation(Error::SessionId { got: session_id, want: self.session_id })
            }
            input => input,
        }
    }
}
