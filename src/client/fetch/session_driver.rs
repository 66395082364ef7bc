//! One session: the I/O that the state machine asks for.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::farewell::farewell;
use super::resume_state::{Missing, ResumeState};
use super::silence::{Silence, Step};
use crate::client::event::PlayEvent;
use crate::client::link::{Granted, Opened, Tries, cut};
use crate::client::progress::Reporter;
use crate::client::sink::Sink;
use crate::client::{Error, PlayCommand, PlaySettings};
use crate::protocol::{CloseReason, Frame, OpenAck, Options, Payload, Pdu, Version};
use crate::session::client::{Action, Cause, ClientSession, End, Input, State};
use crate::transport::{ConnectionHandle, Incoming, Outgoing, ReceiveError};

/// The longest that a chunk is expected to take, seconds: a server may announce anything.
const MAX_CHUNK_TIME: f64 = 60.0;

/// How a session ended.
#[derive(Debug)]
pub(in crate::client) enum Ended {
    /// As the machine says.
    Session(End),
    /// The sink takes nothing any more.
    SinkFailed,
}

/// What a session came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is over.
    Ended(Ended),
    /// The server fell silent, and answered on another connection.
    Moved(Box<Opened>),
}

/// What a driver works with, and does not own.
pub(super) struct FetchContext<'a, R> {
    /// What the server is called.
    pub(super) server: String,
    pub(super) settings: &'a PlaySettings,
    pub(super) sink: &'a Sink,
    pub(super) commands: &'a mut mpsc::UnboundedReceiver<PlayCommand>,
    pub(super) reporter: &'a mut Reporter<R>,
    pub(super) resume: &'a mut ResumeState,
    pub(super) silence: &'a mut Silence,
    pub(super) tries: &'a mut Tries,
}

/// Drives one session over one stream.
pub(super) struct SessionDriver<'a, R> {
    connection: ConnectionHandle,
    outgoing: Outgoing,
    incoming: Incoming,
    context: FetchContext<'a, R>,
    /// The session's clock reads zero here.
    began: Instant,
    machine: ClientSession,
    /// The machine was told that the sink is full; nothing is read meanwhile.
    sink_full: bool,
    /// Whether the server ends the session after the last byte that was asked for.
    ends_by_itself: bool,
    /// Whether the server can still send something.
    listening: bool,
    /// Whether a warning about ignored PDUs was given; one a session is enough.
    warned: bool,
    /// What came of a header that is not whole yet.
    header: Vec<Payload>,
    /// The newest heartbeat, and when it was queued.
    heartbeat: Option<(u64, Instant)>,
}

impl<'a, R: FnMut(PlayEvent)> SessionDriver<'a, R> {
    /// Runs a session that was granted to its end.
    pub(super) async fn run(
        granted: Granted,
        connection: ConnectionHandle,
        context: FetchContext<'a, R>,
    ) -> Result<Outcome, Error> {
        let Granted { outgoing, incoming, machine, began, ack, options, session_id } = granted;
        let mut driver = Self {
            connection,
            outgoing,
            incoming,
            began,
            machine,
            context,
            sink_full: false,
            ends_by_itself: options.end_offset.is_some(),
            listening: true,
            warned: false,
            header: Vec::new(),
            heartbeat: None,
        };
        driver.accept(ack, &options, session_id);
        let outcome = driver.converse().await?;
        if let Outcome::Ended(ended) = &outcome {
            debug!("session over: {ended:?}");
            let Self { connection, outgoing, incoming, .. } = driver;
            farewell(ended, connection.version(), outgoing, incoming).await;
        }
        Ok(outcome)
    }

    /// Feeds the machine and does what it asks for, until it is closed.
    async fn converse(&mut self) -> Result<Outcome, Error> {
        self.note_state(State::OpenSent, Instant::now());
        // A key may have been pressed while the session was on its way.
        let mut input = (self.machine.paused_by_user() != self.context.resume.paused_by_user)
            .then_some(Input::TogglePause);
        loop {
            if let Some(input) = input
                && let Some(ended) = self.step(input)
            {
                return Ok(Outcome::Ended(ended));
            }
            if self.has_too_much_to_come() {
                input = Some(Input::Stop);
                continue;
            }
            input = match self.next().await? {
                Next::Input(input) => Some(input),
                Next::Nothing => None,
                Next::Outcome(outcome) => return Ok(outcome),
            };
        }
    }

    /// Takes one step of the machine and does what it asks for.
    fn step(&mut self, input: Input) -> Option<Ended> {
        let before = self.machine.state();
        // A heartbeat that answers none says that nothing of a broadcast has come.
        if let Input::Frame(Frame::Pdu { pdu: Pdu::Heartbeat { echo: false, .. }, .. }) = &input {
            self.context.resume.was_quiet |= self.context.resume.live;
        }
        let now = Instant::now();
        let (machine, actions) = self.machine.step(input, now.duration_since(self.began));
        self.machine = machine;
        let mut ended = None;
        for action in actions.into_iter().flatten() {
            match action {
                Action::Send(pdu) => self.outgoing.queue(&pdu),
                Action::SendHeartbeat => {
                    self.heartbeat = Some((self.outgoing.queue_heartbeat(), now));
                }
                Action::Close => {
                    self.outgoing.queue(&Pdu::Close(CloseReason::CLIENT, Options::default()));
                    self.outgoing.finish();
                }
                Action::Deliver { seq, payload } => self.deliver(seq, payload),
                Action::Echoed(timestamp) => self.note_echo(timestamp),
                Action::Edge { edge, oldest } => self.context.reporter.edge(edge, oldest),
                Action::Digest(digest) => self.context.resume.digest = Some(digest),
                Action::End(end) => ended = Some(Ended::Session(end)),
                Action::Ignore(what) => self.ignore(what),
                // That was before.
                Action::Accepted { .. } => {}
            }
        }
        self.note_state(before, now);
        ended
    }

    /// Takes the terms that the server grants.
    fn accept(&mut self, ack: OpenAck, options: &Options, session_id: u32) {
        let FetchContext { server, sink, resume, reporter, silence, .. } = &mut self.context;
        match resume.accept(self.connection.version(), options) {
            None => {}
            Some(Missing::Bytes(bytes)) => warn!(
                "{bytes} bytes of the broadcast are missing here: the server does not keep them \
                 any more"
            ),
            Some(Missing::Rest) => {
                warn!("the broadcast was started anew: what was left of the old one is missing");
            }
        }
        // Version 1 has no digests.
        let hash = resume.is_verified() && self.connection.version() != Version::V1;
        sink.begin(resume.origin(server.clone()), hash);
        options.modified.into_iter().for_each(|millis| sink.date(millis));
        let chunk_bits = f64::from(ack.max_chunk_size) * 8.0;
        let rate = options.rate.unwrap_or(ack.bitrate.into());
        let chunk_time = if rate == 0 { 0.0 } else { chunk_bits / rate as f64 };
        let chunk_time = match options.live {
            // At its edge nothing may come, and then a heartbeat.
            true => f64::from(ack.keepalive),
            false => chunk_time,
        };
        let chunk_time = Duration::from_secs_f64(chunk_time.min(MAX_CHUNK_TIME));
        silence.begin(chunk_time, Instant::now());
        reporter.accepted(session_id, ack, options, resume.position, resume.size);
    }

    fn deliver(&mut self, seq: u32, mut payload: Payload) {
        let FetchContext { sink, resume, reporter, .. } = &mut self.context;
        // A server that knows no END_OFFSET sends more.
        let most = resume.left().map_or(u64::MAX, |left| left.saturating_add(resume.header_left));
        payload.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        let header = resume.header_left.min(payload.len() as u64);
        resume.header_left -= header;
        let bytes = payload.len() as u64 - header;
        resume.position += bytes;
        reporter.chunk(seq, bytes, self.connection.path());
        // The sink gets nothing before the header is whole.
        self.header.push(payload);
        if resume.header_left == 0 {
            self.header.drain(..).for_each(|payload| sink.put(payload));
        }
    }

    /// Whether all that was asked for is there, and the server does not know that.
    fn has_too_much_to_come(&self) -> bool {
        !self.ends_by_itself
            && self.context.resume.is_at_end()
            && matches!(self.machine.state(), State::Streaming | State::Paused(_))
    }

    fn note_echo(&mut self, timestamp: u64) {
        if let Some((sent, at)) = self.heartbeat
            && sent == timestamp
        {
            self.context.reporter.echo(at.elapsed());
        }
    }

    /// Makes a change of state at `now` visible, and lets the next session know of it.
    fn note_state(&mut self, before: State, now: Instant) {
        let state = self.machine.state();
        let resume = &mut *self.context.resume;
        resume.was_quiet |= matches!(state, State::Paused(_));
        // What ends a paused session does not resume it.
        if state != State::Closed {
            resume.paused_by_sink = state == State::Paused(Cause::Sink);
            resume.paused_by_user = self.machine.paused_by_user();
        }
        if let State::Paused(Cause::Script(_)) = state {
            resume.script = None;
        }
        self.context.reporter.state(before, state, now.into());
    }

    fn ignore(&mut self, what: &str) {
        match std::mem::replace(&mut self.warned, true) {
            false => warn!("ignored {what}, which has no place here"),
            true => debug!("ignored {what}"),
        }
    }

    /// Waits for the next thing that happens. Meanwhile what is queued leaves.
    async fn next(&mut self) -> Result<Next, Error> {
        // Before and after the chunks, the server's answers are read whatever the sink does.
        let carries_media = matches!(self.machine.state(), State::Streaming | State::Paused(_));
        if carries_media && !self.sink_full && !self.context.sink.has_room() {
            self.sink_full = true;
            return Ok(Next::Input(Input::SinkFull));
        }
        let listening =
            self.listening && self.machine.is_reading() && !(carries_media && self.sink_full);
        // A pause is silent, and for long; the heartbeats do there.
        let watching = listening && self.machine.state() == State::Streaming;
        if !watching {
            self.note_life();
        }
        let deadline = self.machine.deadline().map(|deadline| self.began + deadline);
        let path = self.connection.path();
        let silent_at = self.context.silence.due(path.rtt().unwrap_or_default());
        let asking = watching && self.context.silence.is_asking();
        let trying = !self.context.tries.is_empty();
        tokio::select! {
            biased;
            Some(command) = self.context.commands.recv() => Ok(Next::Input(match command {
                PlayCommand::TogglePause => Input::TogglePause,
                PlayCommand::Stop => Input::Stop,
            })),
            () = self.context.sink.room(), if self.sink_full => {
                self.sink_full = false;
                Ok(Next::Input(Input::SinkReady))
            }
            frame = self.incoming.frame(), if listening => {
                self.note_life();
                match frame {
                    Ok(Some(frame)) => Ok(Next::Input(Input::Frame(frame))),
                    Ok(None) => {
                        self.listening = false;
                        Ok(Next::Input(Input::StreamEnded))
                    }
                    Err(ReceiveError::Protocol(error)) => {
                        Ok(Next::Input(Input::Violation(error)))
                    }
                    Err(ReceiveError::Transport(error)) => Err(cut(error)),
                }
            }
            // Nothing more is there to be read: the sink gets at once all that came together.
            never = flush(self.context.sink) => match never {},
            () = self.context.sink.failed() => {
                Ok(Next::Outcome(Outcome::Ended(Ended::SinkFailed)))
            },
            () = sleep_until(deadline.unwrap_or(self.began)), if deadline.is_some() => {
                Ok(Next::Input(Input::Tick))
            }
            failed = send(&mut self.outgoing) => Err(failed),
            () = path.acknowledgement(), if asking => {
                self.note_life();
                Ok(Next::Nothing)
            }
            tried = self.context.tries.first(), if trying => Ok(self.moved(tried)),
            () = sleep_until(silent_at), if watching => {
                self.break_silence();
                Ok(Next::Nothing)
            }
        }
    }

    /// Notes that the server is there, or need not be heard; what was tried beside is given up.
    fn note_life(&mut self) {
        let FetchContext { silence, tries, .. } = &mut self.context;
        silence.heard(Instant::now());
        if !tries.is_empty() {
            tries.give_up();
            silence.was_alive();
        }
    }

    /// Asks a silent server for a sign of life, and then tries another path beside this one: the
    /// transport follows only so many changes of a client's address.
    fn break_silence(&mut self) {
        let FetchContext { silence, tries, resume, settings, .. } = &mut self.context;
        self.connection.ping();
        let goes_on = resume.is_resumable() && !settings.retry_for.is_zero();
        if silence.step(Instant::now()) == Step::Dial && goes_on {
            tries.start(resume.request(settings));
        }
    }

    /// Goes on with the connection that answered. One that failed says nothing of this one.
    fn moved(&mut self, tried: Result<Opened, Error>) -> Next {
        match tried {
            Ok(opened) => Next::Outcome(Outcome::Moved(Box::new(opened))),
            Err(error) => {
                debug!(%error, "another connection was tried in vain");
                Next::Nothing
            }
        }
    }
}

/// What happens next.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is soon taken apart")]
enum Next {
    /// Something that concerns the machine.
    Input(Input),
    /// Nothing that does.
    Nothing,
    /// The end of the session, or of its connection.
    Outcome(Outcome),
}

/// Hands over what the sink was given, and waits for whatever else happens.
async fn flush(sink: &Sink) -> Infallible {
    sink.flush();
    pending().await
}

/// Sends what is queued; ends only if that fails.
async fn send(outgoing: &mut Outgoing) -> Error {
    match outgoing.drain().await {
        Ok(()) => pending().await,
        Err(error) => cut(error),
    }
}
