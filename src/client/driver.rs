//! One session: the I/O that the state machine asks for.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::course::{Course, Discontinuity};
use super::progress::{Event, Reporter};
use super::sink::Sink;
use super::{Command, Server, Settings};
use crate::protocol::{CloseReason, OpenAck, Options, Payload, Pdu, Version};
use crate::session::Time;
use crate::session::client::{Action, Cause, Client, End, Input, State};
use crate::transport::{self, Handle, Incoming, Outgoing, ReceiveError};

/// How long a last CLOSE_STREAM may take to be acknowledged.
const FAREWELL: Duration = Duration::from_millis(500);

/// After how long without a sign of the server, beyond what its pace explains, it is pinged. One
/// that was restarted tells that it knows nothing of us, but only when it hears from us.
const SILENCE: Duration = Duration::from_millis(250);

/// The longest that a chunk is expected to take, seconds: a server may announce anything.
const MAX_CHUNK_TIME: f64 = 3600.0;

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As the machine says.
    Session(End),
    /// What came does not fit.
    Broken(Discontinuity),
    /// The sink takes nothing any more.
    SinkFailed,
}

/// What a driver works with, and does not own.
pub(super) struct Parts<'a, R> {
    pub(super) server: &'a Server,
    pub(super) settings: &'a Settings,
    pub(super) sink: &'a Sink,
    pub(super) commands: &'a mut mpsc::UnboundedReceiver<Command>,
    pub(super) reporter: &'a mut Reporter<R>,
    pub(super) course: &'a mut Course,
}

/// Drives one session over one stream.
pub(super) struct Driver<'a, R> {
    connection: Handle,
    outgoing: Outgoing,
    incoming: Incoming,
    parts: Parts<'a, R>,
    /// The session's clock reads zero here.
    began: Instant,
    machine: Client,
    /// The machine was told that the sink is full; nothing is read meanwhile.
    sink_full: bool,
    /// Whether the server can still send something.
    listening: bool,
    /// Whether a warning about ignored PDUs was given; one a session is enough.
    warned: bool,
    /// The newest heartbeat, and when it was queued.
    heartbeat: Option<(u64, Instant)>,
    /// Silence of the server that is not usual.
    silence: Duration,
}

impl<'a, R: FnMut(Event)> Driver<'a, R> {
    pub(super) fn new(
        (outgoing, incoming): (Outgoing, Incoming),
        connection: Handle,
        parts: Parts<'a, R>,
    ) -> Self {
        let answer_within = parts.settings.connect_timeout;
        let version = connection.version();
        let machine = Client::new(version, parts.course.script, answer_within, Time::ZERO);
        Self {
            connection,
            outgoing,
            incoming,
            began: Instant::now(),
            machine: if parts.course.paused { machine.paused() } else { machine },
            parts,
            sink_full: false,
            listening: true,
            warned: false,
            heartbeat: None,
            silence: Duration::MAX,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self) -> Result<Ended, transport::Error> {
        let open = self.parts.settings.open.clone();
        self.parts.reporter.requested(open.clone());
        let mut input = Input::Connected(open, self.parts.course.request());
        loop {
            if let Some(ended) = self.step(input) {
                // Politeness; the session is over either way.
                let _ = timeout(FAREWELL, self.farewell(&ended)).await;
                return Ok(ended);
            }
            input = match self.next_input().await? {
                Some(input) => input,
                None => return Ok(Ended::SinkFailed),
            };
        }
    }

    /// Takes one step of the machine and does what it asks for.
    fn step(&mut self, input: Input) -> Option<Ended> {
        let before = self.machine.state();
        let (machine, actions) = self.machine.step(input, self.began.elapsed());
        self.machine = machine;
        let mut ended = None;
        for action in actions.into_iter().flatten() {
            match action {
                Action::Send(pdu) => self.outgoing.queue(&pdu),
                Action::SendHeartbeat => {
                    self.heartbeat = Some((self.outgoing.queue_heartbeat(), Instant::now()));
                }
                Action::Close => {
                    self.outgoing.queue(&Pdu::Close(CloseReason::CLIENT, Options::default()));
                    self.outgoing.finish();
                }
                Action::Accepted { ack, options, session_id } => {
                    ended = self.accept(ack, &options, session_id).err().map(Ended::Broken);
                }
                Action::Deliver { seq, payload } => self.deliver(seq, payload),
                Action::Echoed(timestamp) => self.note_echo(timestamp),
                Action::Digest(digest) => self.parts.course.digest = Some(digest),
                Action::End(End::Complete) => {
                    ended = Some(match self.parts.course.complete() {
                        Ok(()) => Ended::Session(End::Complete),
                        Err(discontinuity) => Ended::Broken(discontinuity),
                    });
                }
                Action::End(end) => ended = Some(Ended::Session(end)),
                Action::Ignore(what) => self.ignore(what),
            }
        }
        self.note_state(before);
        ended
    }

    /// Takes the terms that the server grants.
    fn accept(
        &mut self,
        ack: OpenAck,
        options: &Options,
        session_id: u32,
    ) -> Result<(), Discontinuity> {
        let Parts { server, sink, course, reporter, .. } = &mut self.parts;
        course.accept(self.connection.version(), options)?;
        self.outgoing.set_session_id(session_id);
        // Version 1 has no digests.
        let hash = course.is_verified() && self.connection.version() != Version::V1;
        sink.begin(course.origin(server.address.to_string()), hash);
        let chunk_bits = f64::from(ack.max_chunk_size) * 8.0;
        let rate = options.rate.unwrap_or(ack.bitrate.into());
        let chunk_time = if rate == 0 { 0.0 } else { chunk_bits / rate as f64 };
        self.silence = SILENCE + Duration::from_secs_f64(chunk_time.min(MAX_CHUNK_TIME) * 1.5);
        reporter.accepted(session_id, ack, options, course);
        Ok(())
    }

    fn deliver(&mut self, seq: u32, payload: Payload) {
        let Parts { sink, course, reporter, .. } = &mut self.parts;
        course.position += payload.len() as u64;
        reporter.chunk(seq, payload.len() as u64, self.connection.path());
        sink.put(payload);
    }

    fn note_echo(&mut self, timestamp: u64) {
        if let Some((sent, at)) = self.heartbeat
            && sent == timestamp
        {
            self.parts.reporter.echo(at.elapsed());
        }
    }

    /// Makes a change of state visible, and lets the next session know of it.
    fn note_state(&mut self, before: State) {
        let state = self.machine.state();
        self.parts.course.rested |= matches!(state, State::Paused(_));
        self.parts.course.paused = self.machine.paused_by_user();
        if let State::Paused(Cause::Script(_)) = state {
            self.parts.course.script = None;
        }
        self.parts.reporter.state(before, state);
    }

    fn ignore(&mut self, what: &str) {
        match std::mem::replace(&mut self.warned, true) {
            false => warn!("ignored {what}, which has no place here"),
            true => debug!("ignored {what}"),
        }
    }

    /// Waits for the next thing that concerns the machine; `None` if the sink has failed.
    /// Meanwhile what is queued leaves.
    async fn next_input(&mut self) -> Result<Option<Input>, transport::Error> {
        // Before and after the chunks, the server's answers are read whatever the sink does.
        let carries_media = matches!(self.machine.state(), State::Streaming | State::Paused(_));
        if carries_media && !self.sink_full && !self.parts.sink.has_room() {
            self.sink_full = true;
            return Ok(Some(Input::SinkFull));
        }
        let deadline = self.machine.deadline().map(|deadline| self.began + deadline);
        let tick = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let listening = self.listening && !(carries_media && self.sink_full);
        let streaming = self.machine.state() == State::Streaming;
        tokio::select! {
            biased;
            Some(command) = self.parts.commands.recv() => Ok(Some(match command {
                Command::TogglePause => Input::TogglePause,
                Command::Stop => Input::Stop,
            })),
            () = self.parts.sink.room(), if self.sink_full => {
                self.sink_full = false;
                Ok(Some(Input::SinkReady))
            }
            frame = self.incoming.frame(), if listening => match frame {
                Ok(Some(frame)) => Ok(Some(Input::Frame(frame))),
                Ok(None) => {
                    self.listening = false;
                    Ok(Some(Input::StreamEnded))
                }
                Err(ReceiveError::Protocol(error)) => Ok(Some(Input::Violation(error))),
                Err(ReceiveError::Transport(error)) => Err(error),
            },
            // Nothing more is there to be read: the sink gets at once all that came together.
            never = flush(self.parts.sink) => match never {},
            () = self.parts.sink.failed() => Ok(None),
            () = tick => Ok(Some(Input::Tick)),
            failed = send(&mut self.outgoing) => Err(failed),
            // A pause is silent, and for long; the heartbeats do there.
            never = ping(&self.connection, self.silence), if listening && streaming => match never {},
        }
    }

    /// Sees a last CLOSE_STREAM off. Version 2 tells a server that it broke the protocol.
    async fn farewell(&mut self, ended: &Ended) {
        debug!("session over: {ended:?}");
        let broken = matches!(ended, Ended::Session(End::Violation(_)) | Ended::Broken(_));
        if broken && self.connection.version() != Version::V1 {
            self.outgoing.queue(&Pdu::Close(CloseReason::VIOLATION, Options::default()));
            self.outgoing.finish();
        }
        if self.outgoing.is_finished() {
            let _ = self.outgoing.delivered().await;
        }
    }
}

/// Pings the server for as long as it is silent.
async fn ping(connection: &Handle, silence: Duration) -> Infallible {
    loop {
        sleep(silence).await;
        connection.ping();
    }
}

/// Hands over what the sink was given, and waits for whatever else happens.
async fn flush(sink: &Sink) -> Infallible {
    sink.flush();
    pending().await
}

/// Sends what is queued; ends only if that fails.
async fn send(outgoing: &mut Outgoing) -> transport::Error {
    match outgoing.drain().await {
        Ok(()) => pending().await,
        Err(error) => error,
    }
}
