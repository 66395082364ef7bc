//! The client's state machine.

use std::time::Duration;

use super::received::Received;
use super::{Action, Cause, Earlier, End, Input, ScriptedPause, State};
use crate::protocol::{
    Chunk, CloseReason, Error, Frame, Kind, MAX_HEADER, OpenAck, Options, Pdu, Version,
};
use crate::session::Time;

/// How long a client that stops waits for the server's CLOSE_STREAM.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The longest keepalive interval that a client follows, whatever the server announces: a stall
/// is found out within twice that.
const MAX_KEEPALIVE: Duration = Duration::from_secs(60);

/// The longest session timeout that a client follows.
const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(300);

/// Media bytes after PAUSE_STREAM from which on a client stops reading. A server that heeds the
/// pause has sent less: what was in its send buffer, 1 MiB and a chunk.
const MAX_AFTER_PAUSE: u64 = 2 * 1024 * 1024;

/// The machine.
#[derive(Debug, Clone, Copy)]
pub struct ClientSession {
    version: Version,
    state: State,
    /// Begin with a pause: the session goes on where one was lost while paused.
    begin_paused: bool,
    /// What the session has to go on with.
    earlier: Earlier,
    /// What the server assigned; 0 before.
    session_id: u32,
    script: Option<ScriptedPause>,
    /// How long OPEN_STREAM may stay without an answer.
    answer_within: Duration,
    keepalive: Duration,
    session_timeout: Duration,
    received: Received,
    /// The media is a broadcast: heartbeats say that a server is there that sends no chunk.
    live: bool,
    /// Media bytes that came since PAUSE_STREAM.
    after_pause: u64,
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

impl ClientSession {
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
            earlier: Earlier::default(),
            session_id: 0,
            script,
            answer_within,
            keepalive: Duration::MAX,
            session_timeout: Duration::MAX,
            received: Received::default(),
            live: false,
            after_pause: 0,
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

    /// The same session, but one that has to go on where earlier ones ended.
    pub fn resuming(self, earlier: Earlier) -> Self {
        Self { earlier, ..self }
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

    /// Whether the server is to be read from. False once it has sent more into a pause than one
    /// that heeds PAUSE_STREAM can have had under way; the transport's flow control then holds it.
    pub fn is_reading(&self) -> bool {
        self.after_pause <= MAX_AFTER_PAUSE
    }

    /// seq of the last chunk that came; 0 before the first.
    pub fn last_seq(&self) -> u32 {
        self.received.last_seq()
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
        (self.sink_full_since.is_none() && self.is_reading()).then_some(at)
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
        if is_sign_of_life(&input) {
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
                if let Err(end) = self.check_terms(&options) {
                    return (self.closed(), [Some(Action::End(end)), None]);
                }
                self.session_id = session_id;
                self.note_terms(ack, &options, now);
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
                match self.received.take(&chunk, self.version) {
                    Ok(()) => self.take_chunk(chunk, now),
                    Err(error) => (Closed, [Some(Action::End(End::Violation(error))), None]),
                }
            }
            (
                Streaming | Paused(_),
                Input::Frame(Frame::Pdu { pdu: Pdu::Close(reason, options), .. }),
            ) => {
                let digest = options.digest.map(Action::Digest);
                let end = match reason {
                    CloseReason::COMPLETE => {
                        self.received.complete().map_or_else(End::from, |()| End::Complete)
                    }
                    reason => End::closed(reason, options),
                };
                (Closed, [digest, Some(Action::End(end))])
            }

            // A key pressed during an outage must not be lost.
            (Idle | OpenSent, Input::TogglePause) => {
                self.begin_paused = !self.begin_paused;
                (self.state, [None, None])
            }
            (Streaming, Input::TogglePause) => self.pause(Cause::User),
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
            (Streaming, Input::Tick) if due(self.sink_pause_at()) => self.pause(Cause::Sink),
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
                if self.live && !echo {
                    self.chunk_heard = now;
                }
                (state, [echo.then_some(Action::Echoed(timestamp)), None])
            }
            (
                Streaming | Paused(_),
                Input::Frame(Frame::Pdu { pdu: Pdu::Edge { edge, oldest }, .. }),
            ) => (self.state, [Some(Action::Edge { edge, oldest }), None]),
            // What was on its way when we stopped.
            (Closing, Input::Frame(Frame::Pdu { pdu: Pdu::Chunk(_) | Pdu::Edge { .. }, .. })) => {
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

    /// Whether OPEN_ACK goes on with what was begun, and asks for no more memory than it may. Version
    /// 1 says nothing of that.
    fn check_terms(&self, options: &Options) -> Result<(), End> {
        match (self.version, options.header_length) {
            (Version::V1, _) => Ok(()),
            (Version::V2, Some(got)) if got > MAX_HEADER => {
                Err(End::Violation(Error::HeaderTooLarge { got }))
            }
            (Version::V2, _) => Ok(self.earlier.check(options)?),
        }
    }

    fn closed(self) -> Self {
        Self { state: State::Closed, ..self }
    }

    /// Takes over what the server granted. Intervals are kept within sense: 0 would be a busy
    /// loop, and a foreign server may announce any u32.
    fn note_terms(&mut self, ack: OpenAck, options: &Options, now: Time) {
        let seconds = |seconds: u32| Duration::from_secs(seconds.max(1).into());
        self.keepalive = seconds(ack.keepalive).min(MAX_KEEPALIVE);
        self.session_timeout = seconds(ack.session_timeout).min(MAX_SESSION_TIMEOUT);
        self.received = Received::nothing(ack, options);
        self.live = options.live;
        self.chunk_heard = now;
        self.next_heartbeat = now.saturating_add(self.keepalive);
    }

    /// Hands a good chunk on, and pauses after it where the script says so.
    fn take_chunk(&mut self, chunk: Chunk, now: Time) -> (State, [Option<Action>; 2]) {
        let bytes = chunk.payload.len() as u64;
        if bytes > 0 {
            self.chunk_heard = now;
        }
        let deliver = Some(Action::Deliver { seq: chunk.seq, payload: chunk.payload });
        let scripted = self.script.take_if(|script| script.at == chunk.seq);
        match (self.state, scripted) {
            (State::Streaming, Some(script)) => {
                let (paused, [pause, _]) =
                    self.pause(Cause::Script(now.saturating_add(script.length)));
                (paused, [deliver, pause])
            }
            (State::Paused(_), _) => {
                self.after_pause = self.after_pause.saturating_add(bytes);
                (self.state, [deliver, None])
            }
            (state, _) => (state, [deliver, None]),
        }
    }

    fn pause(&mut self, cause: Cause) -> (State, [Option<Action>; 2]) {
        self.after_pause = 0;
        (State::Paused(cause), [Some(Action::Send(Pdu::Pause)), None])
    }

    fn resume(&mut self, now: Time) -> (State, [Option<Action>; 2]) {
        if !self.is_reading() {
            // The server was not listened to meanwhile.
            self.heard = now;
            self.after_pause = 0;
        }
        self.chunk_heard = now;
        (State::Streaming, [Some(Action::Send(Pdu::Resume)), None])
    }
}

/// Whether an input shows that the server is there. A chunk without media does not: a server that
/// sends nothing else has stalled.
fn is_sign_of_life(input: &Input) -> bool {
    match input {
        Input::Frame(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }) => !chunk.payload.is_empty(),
        Input::Frame(Frame::Pdu { .. }) => true,
        _ => false,
    }
}
