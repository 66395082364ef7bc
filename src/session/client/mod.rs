//! The client's side of a session.

mod earlier;
mod end;
mod machine;
mod received;

use std::time::Duration;

pub use earlier::{Discontinuity, Earlier, Validator};
pub use end::End;
pub use machine::ClientSession;

use super::Time;
use crate::protocol::{Digest, Error, Frame, OpenAck, OpenStream, Options, Payload, Pdu};

/// Where a session is, numbered as in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing has been sent.
    Idle,
    /// OPEN_STREAM is out.
    OpenSent,
    /// Chunks arrive.
    Streaming,
    /// The server was asked for silence.
    Paused(Cause),
    /// CLOSE_STREAM is out.
    Closing,
    /// Nothing more happens.
    Closed,
}

impl State {
    /// The state's number in the protocol.
    pub const fn number(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::OpenSent => 1,
            Self::Streaming => 2,
            Self::Paused(_) => 3,
            Self::Closing => 4,
            Self::Closed => 5,
        }
    }
}

/// Who asked for a pause, and so who ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The user, by key.
    User,
    /// The script, until a time.
    Script(Time),
    /// The sink, which takes nothing.
    Sink,
}

/// A pause that is planned beforehand, as the origin client makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptedPause {
    /// The chunk after which to pause.
    pub at: u32,
    /// How long.
    pub length: Duration,
}

/// What can happen to a session.
#[derive(Debug)]
pub enum Input {
    /// The stream is open; ask for media.
    Connected(OpenStream, Options),
    /// A frame came from the server.
    Frame(Frame),
    /// The bytes from the server cannot be followed any further.
    Violation(Error),
    /// The stream ended.
    StreamEnded,
    /// The user asked to pause, or to go on.
    TogglePause,
    /// The user asked to stop.
    Stop,
    /// The sink has no room for the next chunk.
    SinkFull,
    /// The sink has room again.
    SinkReady,
    /// A timer that [`ClientSession::deadline`] asked for has run out.
    Tick,
}

/// What a driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a PDU.
    Send(Pdu),
    /// Send HEARTBEAT with the clock's time.
    SendHeartbeat,
    /// These terms hold from now on.
    Accepted {
        /// What the server granted.
        ack: OpenAck,
        /// What version 2 says beside it.
        options: Options,
        /// The session id that the server assigned.
        session_id: u32,
    },
    /// Hand media on to the sink.
    Deliver {
        /// The chunk's number.
        seq: u32,
        /// Its bytes.
        payload: Payload,
    },
    /// Send CLOSE_STREAM, then finish the stream.
    Close,
    /// A heartbeat of ours came back with this timestamp.
    Echoed(u64),
    /// The broadcast is so far now.
    Edge {
        /// How many bytes there are.
        edge: u64,
        /// The first byte that is still kept.
        oldest: u64,
    },
    /// This is the digest of the whole media.
    Digest(Digest),
    /// The session is over.
    End(End),
    /// Log that something was ignored.
    Ignore(&'static str),
}
