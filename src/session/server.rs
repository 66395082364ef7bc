//! The server's side of a session.

use std::time::Duration;

use super::Time;
use crate::protocol::{Error, Frame, Kind, NackCode, OpenStream, Pdu};

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
#[derive(Debug)]
pub enum Input {
    /// A frame came from the client.
    Frame(Frame),
    /// The bytes from the client cannot be followed any further.
    Violation(Error),
    /// The client finished its side of the stream.
    PeerFinished,
    /// [`Action::Open`] succeeded.
    Opened,
    /// [`Action::Open`] came to a refusal.
    Refused(NackCode),
    /// Every chunk of the media is on its way.
    MediaEnded,
    /// The media cannot be read on.
    MediaFailed,
    /// Everything sent has arrived, FIN included.
    Delivered,
    /// The server is shutting down.
    Shutdown,
    /// A timer that [`Server::deadline`] asked for has run out.
    Tick,
}

/// What a driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// See whether this can be granted, and answer with [`Input::Opened`] or [`Input::Refused`].
    Open(OpenStream),
    /// Send OPEN_ACK with the terms granted.
    SendAck,
    /// Send OPEN_NACK.
    SendNack(NackCode),
    /// Send HEARTBEAT.
    SendHeartbeat,
    /// Send CLOSE_STREAM, then finish the stream.
    Close(Reason),
    /// Close the connection with an error code, without waiting for anything.
    Abort(Reason),
    /// Log that something was ignored.
    Ignore(&'static str),
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

/// The machine.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    state: State,
    keepalive: Duration,
    session_timeout: Duration,
    /// When a valid PDU last came.
    heard: Time,
    /// When the next heartbeat of our own is due while paused.
    next_heartbeat: Time,
}

impl Server {
    /// A session in [`State::Idle`] whose timers count from `now`.
    pub fn new(keepalive: Duration, session_timeout: Duration, now: Time) -> Self {
        Self { state: State::Idle, keepalive, session_timeout, heard: now, next_heartbeat: now }
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Input::Tick`] is due, unless something else happens first.
    pub fn deadline(&self) -> Option<Time> {
        let timeout = self.heard.saturating_add(self.session_timeout);
        match self.state {
            State::Idle | State::Streaming | State::Closing => Some(timeout),
            State::Paused => Some(timeout.min(self.next_heartbeat)),
            State::Closed => None,
        }
    }

    /// Takes one input; the one place where the state changes.
    pub fn step(mut self, input: Input, now: Time) -> (Self, Option<Action>) {
        use State::{Closed, Closing, Idle, Paused, Streaming};

        if let Input::Frame(Frame::Pdu { .. }) = input {
            self.heard = now;
        }
        let timed_out = now >= self.heard.saturating_add(self.session_timeout);
        let malformed_open =
            |error: &Error| matches!(error, Error::Malformed { kind: Kind::OpenStream, .. });

        let (state, action) = match (self.state, input) {
            (Closed, _) => (Closed, None),

            (Idle, Input::Frame(Frame::Pdu { pdu: Pdu::OpenStream(open), .. })) => {
                (Idle, Some(Action::Open(open)))
            }
            (Idle, Input::Opened) => (Streaming, Some(Action::SendAck)),
            (Idle, Input::Refused(code)) => (Idle, Some(Action::SendNack(code))),
            (Idle, Input::PeerFinished) => (Closed, Some(Action::Close(Reason::NeverOpened))),
            (Streaming | Paused, Input::Frame(Frame::Pdu { pdu: Pdu::OpenStream(_), .. })) => {
                (self.state, Some(Action::SendNack(NackCode::ProtocolViolation)))
            }
            (Idle | Streaming | Paused, Input::Frame(Frame::Malformed(error)))
                if malformed_open(&error) =>
            {
                (self.state, Some(Action::SendNack(NackCode::ProtocolViolation)))
            }

            (Streaming, Input::Frame(Frame::Pdu { pdu: Pdu::Pause, .. })) => {
                self.next_heartbeat = now.saturating_add(self.keepalive);
                (Paused, None)
            }
            (Paused, Input::Frame(Frame::Pdu { pdu: Pdu::Resume, .. })) => (Streaming, None),
            (Streaming, Input::MediaEnded) => (Closing, Some(Action::Close(Reason::Complete))),
            (Streaming | Paused, Input::Frame(Frame::Pdu { pdu: Pdu::Close, .. })) => {
                (Closed, Some(Action::Close(Reason::Client)))
            }
            (
                Idle | Streaming | Paused,
                Input::Frame(Frame::Pdu { pdu: Pdu::Heartbeat(_), .. }),
            ) => (self.state, Some(Action::SendHeartbeat)),

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
            // CLOSE_STREAM would say that the media is complete: version 1 knows no reasons.
            (Streaming | Paused, Input::MediaFailed) => {
                (Closed, Some(Action::Abort(Reason::MediaFailed)))
            }
            // What crossed CLOSE_STREAM on its way. FIN is sent, so nothing can be answered.
            (
                Closing,
                Input::Frame(Frame::Pdu {
                    pdu: Pdu::Pause | Pdu::Resume | Pdu::Close | Pdu::Heartbeat(_),
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
                Input::Opened
                | Input::Refused(_)
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
}
