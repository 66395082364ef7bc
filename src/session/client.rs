//! The client's side of a session.

use std::time::Duration;

pub use super::end::End;

use super::Time;
use crate::protocol::{
    CloseReason, Digest, Error, Frame, Kind, MAX_CHUNK_SIZE, OpenAck, OpenStream, Options, Payload,
    Pdu, Version,
};

/// How long a client that stops waits for the server's CLOSE_STREAM.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

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
    /// A timer that [`Client::deadline`] asked for has run out.
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
    /// This is the digest of the whole media.
    Digest(Digest),
    /// The session is over.
    End(End),
    /// Log that something was ignored.
    Ignore(&'static str),
}

/// The machine.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    version: Version,
    state: State,
    /// Begin with a pause: the session goes on where one was lost while paused.
    begin_paused: bool,
    /// What the server assigned; 0 before.
    session_id: u32,
    script: Option<ScriptedPause>,
    /// How long OPEN_STREAM may stay without an answer.
    answer_within: Duration,
    keepalive: Duration,
    session_timeout: Duration,
    max_chunk_size: u32,
    /// seq of the chunk that is due.
    next_seq: u32,
    /// When OPEN_STREAM or CLOSE_STREAM went out, whichever the server has to answer.
    asked: Time,
    /// When a valid PDU last came from the server.
    heard: Time,
    /// When the last chunk came, or the wait for one began.
    chunk_heard: Time,
    next_heartbeat: Time,
    /// Since when the sink takes nothing. The server cannot be heard meanwhile, because we do not
    /// read, so its timers rest.
    sink_full_since: Option<Time>,
}

impl Client {
    /// A session in [`State::Idle`]; `answer_within` limits the wait for OPEN_ACK.
    pub fn new(
        version: Version,
        script: Option<ScriptedPause>,
        answer_within: Duration,
        now: Time,
    ) -> Self {
        Self {
            version,
            state: State::Idle,
            begin_paused: false,
            session_id: 0,
            script,
            answer_within,
            keepalive: Duration::MAX,
            session_timeout: Duration::MAX,
            max_chunk_size: 0,
            next_seq: 1,
            asked: now,
            heard: now,
            chunk_heard: now,
            next_heartbeat: now,
            sink_full_since: None,
        }
    }

    /// The same session, but paused by the user as soon as it is open.
    pub fn paused(self) -> Self {
        Self { begin_paused: true, ..self }
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the user has paused it, or wants it paused as soon as it is open: what a session
    /// that takes its place after a loss has to begin with.
    pub fn paused_by_user(&self) -> bool {
        match self.state {
            State::Idle | State::OpenSent => self.begin_paused,
            state => state == State::Paused(Cause::User),
        }
    }

    /// seq of the last chunk that came; 0 before the first.
    pub fn last_seq(&self) -> u32 {
        self.next_seq.wrapping_sub(1)
    }

    /// When [`Input::Tick`] is due, unless something else happens first.
    pub fn deadline(&self) -> Option<Time> {
        let timers = match self.state {
            State::Idle | State::Closed => return None,
            State::OpenSent => return Some(self.asked.saturating_add(self.answer_within)),
            State::Closing => return Some(self.asked.saturating_add(CLOSE_WAIT)),
            State::Streaming => [self.stalled_at(), self.sink_pause_at(), self.silent_at()],
            State::Paused(Cause::Script(until)) => [Some(until), self.silent_at(), None],
            State::Paused(_) => [self.silent_at(), None, None],
        };
        timers.into_iter().flatten().chain([self.next_heartbeat]).min()
    }

    /// When the server counts as stalled: no chunk for twice the keepalive interval.
    fn stalled_at(&self) -> Option<Time> {
        let at = self.chunk_heard.saturating_add(self.stall_limit());
        self.sink_full_since.is_none().then_some(at)
    }

    /// When the server counts as gone: nothing at all for the session timeout.
    fn silent_at(&self) -> Option<Time> {
        let at = self.heard.saturating_add(self.session_timeout);
        self.sink_full_since.is_none().then_some(at)
    }

    /// When a sink that takes nothing becomes a pause.
    fn sink_pause_at(&self) -> Option<Time> {
        Some(self.sink_full_since?.saturating_add(self.keepalive))
    }

    fn stall_limit(&self) -> Duration {
        self.keepalive.saturating_mul(2)
    }

    /// Takes one input; the one place where the state changes. The actions are to be done in
    /// order.
    pub fn step(mut self, input: Input, now: Time) -> (Self, [Option<Action>; 2]) {
        use State::{Closed, Closing, Idle, OpenSent, Paused, Streaming};

        let input = self.checked(input);
        if let Input::Frame(Frame::Pdu { .. }) = input {
            self.heard = now;
        }
        let due = |at: Option<Time>| at.is_some_and(|at| now >= at);

        let (state, actions) = match (self.state, input) {
            (Closed, _) => (Closed, [None, None]),

            (Idle, Input::Connected(open, options)) => {
                self.asked = now;
                (OpenSent, [Some(Action::Send(Pdu::OpenStream(open, options))), None])
            }
            (
                OpenSent,
                Input::Frame(Frame::Pdu { pdu: Pdu::OpenAck(ack, options), session_id }),
            ) => {
                self.session_id = session_id;
                self.note_terms(ack, now);
                let accepted = Some(Action::Accepted { ack, options, session_id });
                match self.begin_paused {
                    true => (Paused(Cause::User), [accepted, Some(Action::Send(Pdu::Pause))]),
                    false => (Streaming, [accepted, None]),
                }
            }
            (OpenSent, Input::Frame(Frame::Pdu { pdu: Pdu::OpenNack(code, options), .. })) => {
                (Closed, [Some(Action::End(End::refused(code, options))), None])
            }
            (OpenSent, Input::Frame(Frame::Pdu { pdu: Pdu::Close(reason, options), .. }))
                if reason != CloseReason::COMPLETE =>
            {
                (Closed, [Some(Action::End(End::closed(reason, options))), None])
            }
            (OpenSent, Input::Tick) if now >= self.asked.saturating_add(self.answer_within) => {
                (Closed, [Some(Action::End(End::NoAnswer(self.answer_within))), None])
            }

            (Streaming | Paused(_), Input::Frame(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. })) => {
                let size = chunk.payload.len() as u32;
                if chunk.seq != self.next_seq {
                    let error = Error::Sequence { got: chunk.seq, want: self.next_seq };
                    (Closed, [Some(Action::End(End::Violation(error))), None])
                } else if size > self.max_chunk_size {
                    let error = Error::ChunkTooLarge { got: size, limit: self.max_chunk_size };
                    (Closed, [Some(Action::End(End::Violation(error))), None])
                } else {
                    self.next_seq = self.next_seq.wrapping_add(1);
                    self.chunk_heard = now;
                    let deliver = Some(Action::Deliver { seq: chunk.seq, payload: chunk.payload });
                    let scripted = self.script.take_if(|script| script.at == chunk.seq);
                    match (self.state, scripted) {
                        (Streaming, Some(script)) => (
                            Paused(Cause::Script(now.saturating_add(script.length))),
                            [deliver, Some(Action::Send(Pdu::Pause))],
                        ),
                        (state, _) => (state, [deliver, None]),
                    }
                }
            }
            (
                Streaming | Paused(_),
                Input::Frame(Frame::Pdu { pdu: Pdu::Close(reason, options), .. }),
            ) => {
                let digest = options.digest.map(Action::Digest);
                let end = match reason {
                    CloseReason::COMPLETE => End::Complete,
                    reason => End::closed(reason, options),
                };
                (Closed, [digest, Some(Action::End(end))])
            }

            // A key pressed during an outage must not be lost.
            (Idle | OpenSent, Input::TogglePause) => {
                self.begin_paused = !self.begin_paused;
                (self.state, [None, None])
            }
            (Streaming, Input::TogglePause) => {
                (Paused(Cause::User), [Some(Action::Send(Pdu::Pause)), None])
            }
            // The server is silent already; from now on only the user ends it.
            (Paused(Cause::Sink), Input::TogglePause) => (Paused(Cause::User), [None, None]),
            (Paused(_), Input::TogglePause) => self.resume(now),

            // The sink may still be full of what a lost session brought.
            (Idle | OpenSent | Streaming | Paused(_), Input::SinkFull) => {
                self.sink_full_since.get_or_insert(now);
                (self.state, [None, None])
            }
            (Idle | OpenSent | Streaming | Paused(_), Input::SinkReady) => {
                self.sink_full_since = None;
                self.heard = now;
                self.chunk_heard = now;
                match self.state {
                    Paused(Cause::Sink) => self.resume(now),
                    state => (state, [None, None]),
                }
            }

            (Streaming | Paused(_), Input::Stop) => {
                self.asked = now;
                (Closing, [Some(Action::Close), None])
            }
            (Idle | OpenSent, Input::Stop) => (Closed, [Some(Action::End(End::Stopped)), None]),
            (
                Closing,
                Input::Frame(Frame::Pdu { pdu: Pdu::Close(..), .. }) | Input::StreamEnded,
            ) => (Closed, [Some(Action::End(End::Stopped)), None]),
            (Closing, Input::Tick) if now >= self.asked.saturating_add(CLOSE_WAIT) => {
                (Closed, [Some(Action::End(End::Stopped)), None])
            }

            (Streaming | Paused(_), Input::Tick) if due(self.silent_at()) => {
                (Closed, [Some(Action::End(End::Timeout(self.session_timeout))), None])
            }
            (Streaming, Input::Tick) if due(self.stalled_at()) => {
                (Closed, [Some(Action::Close), Some(Action::End(End::Stalled(self.stall_limit())))])
            }
            (Streaming, Input::Tick) if due(self.sink_pause_at()) => {
                (Paused(Cause::Sink), [Some(Action::Send(Pdu::Pause)), None])
            }
            (Paused(Cause::Script(until)), Input::Tick) if now >= until => self.resume(now),
            (Streaming | Paused(_), Input::Tick) if now >= self.next_heartbeat => {
                self.next_heartbeat = now.saturating_add(self.keepalive);
                (self.state, [Some(Action::SendHeartbeat), None])
            }
            (state, Input::Tick) => (state, [None, None]),

            (_, Input::Violation(error) | Input::Frame(Frame::Malformed(error))) => {
                (Closed, [Some(Action::End(End::Violation(error))), None])
            }
            (_, Input::StreamEnded) => (Closed, [Some(Action::End(End::Cut)), None]),

            // A heartbeat says that the server is alive, which is noted above.
            (state, Input::Frame(Frame::Pdu { pdu: Pdu::Heartbeat { timestamp, echo }, .. })) => {
                (state, [echo.then_some(Action::Echoed(timestamp)), None])
            }
            // What was on its way when we stopped.
            (Closing, Input::Frame(Frame::Pdu { pdu: Pdu::Chunk(_), .. })) => {
                (Closing, [None, None])
            }
            (state, Input::Frame(Frame::Pdu { pdu, .. })) => {
                (state, [Some(Action::Ignore(pdu.kind().name())), None])
            }
            (state, Input::Frame(Frame::Skipped { kind })) => {
                let name = Kind::from_byte(kind).map_or("a PDU of unknown type", Kind::name);
                (state, [Some(Action::Ignore(name)), None])
            }
            (
                state,
                Input::Connected(..)
                | Input::TogglePause
                | Input::SinkFull
                | Input::SinkReady
                | Input::Stop,
            ) => (state, [None, None]),
        };
        self.state = state;
        (self, actions)
    }

    /// Version 2 takes a PDU of another session for a violation, once there is a session.
    fn checked(&self, input: Input) -> Input {
        match input {
            Input::Frame(Frame::Pdu { session_id, .. })
                if self.version != Version::V1
                    && !matches!(self.state, State::Idle | State::OpenSent)
                    && session_id != self.session_id =>
            {
                Input::Violation(Error::SessionId { got: session_id, want: self.session_id })
            }
            input => input,
        }
    }

    /// Takes over what the server granted. Intervals are kept within sense: 0 would be a busy
    /// loop, and a foreign server may announce any u32.
    fn note_terms(&mut self, ack: OpenAck, now: Time) {
        self.keepalive = Duration::from_secs(ack.keepalive.max(1).into());
        self.session_timeout = Duration::from_secs(ack.session_timeout.max(1).into());
        self.max_chunk_size = ack.max_chunk_size.min(MAX_CHUNK_SIZE);
        self.chunk_heard = now;
        self.next_heartbeat = now.saturating_add(self.keepalive);
    }

    fn resume(&mut self, now: Time) -> (State, [Option<Action>; 2]) {
        self.chunk_heard = now;
        (State::Streaming, [Some(Action::Send(Pdu::Resume)), None])
    }
}
