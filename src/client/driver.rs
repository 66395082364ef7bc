//! One session: the I/O that the state machine asks for.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::progress::{Event, Reporter};
use super::sink::Sink;
use super::{Command, Settings};
use crate::protocol::{OpenStream, Pdu};
use crate::session::Time;
use crate::session::client::{Action, Client, End, Input, State};
use crate::transport::{self, Incoming, Outgoing, ReceiveError, Telemetry};

/// How long a last CLOSE_STREAM may take to be acknowledged.
const FAREWELL: Duration = Duration::from_millis(500);

/// How a session ended.
pub(super) enum Ended {
    /// As the machine says.
    Session(End),
    /// The sink takes nothing any more.
    SinkFailed,
}

/// Drives one session over one stream.
pub(super) struct Driver<'a, R> {
    outgoing: Outgoing,
    incoming: Incoming,
    sink: &'a Sink,
    commands: &'a mut mpsc::UnboundedReceiver<Command>,
    reporter: &'a mut Reporter<R>,
    telemetry: Arc<Telemetry>,
    /// The session's clock reads zero here.
    began: Instant,
    machine: Client,
    /// The machine was told that the sink is full; nothing is read meanwhile.
    sink_full: bool,
    /// Whether the server can still send something.
    listening: bool,
    /// Whether a warning about ignored PDUs was given; one a session is enough.
    warned: bool,
}

impl<'a, R: FnMut(Event)> Driver<'a, R> {
    pub(super) fn new(
        (outgoing, incoming): (Outgoing, Incoming),
        settings: &Settings,
        sink: &'a Sink,
        commands: &'a mut mpsc::UnboundedReceiver<Command>,
        reporter: &'a mut Reporter<R>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            outgoing,
            incoming,
            sink,
            commands,
            reporter,
            telemetry,
            began: Instant::now(),
            machine: Client::new(settings.script, settings.connect_timeout, Time::ZERO),
            sink_full: false,
            listening: true,
            warned: false,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self, open: OpenStream) -> Result<Ended, transport::Error> {
        self.reporter.requested(open.clone());
        let mut input = Input::Connected(open);
        loop {
            if let Some(end) = self.step(input) {
                // Politeness; the session is over either way.
                let _ = timeout(FAREWELL, self.farewell()).await;
                return Ok(Ended::Session(end));
            }
            input = match self.next_input().await? {
                Some(input) => input,
                None => return Ok(Ended::SinkFailed),
            };
        }
    }

    /// Takes one step of the machine and does what it asks for.
    fn step(&mut self, input: Input) -> Option<End> {
        let before = self.machine.state();
        let (machine, actions) = self.machine.step(input, self.began.elapsed());
        self.machine = machine;
        let mut end = None;
        for action in actions.into_iter().flatten() {
            match action {
                Action::Send(pdu) => self.outgoing.queue(&pdu),
                Action::SendHeartbeat => self.outgoing.queue_heartbeat(),
                Action::Close => {
                    self.outgoing.queue(&Pdu::Close);
                    self.outgoing.finish();
                }
                Action::Accepted { ack, session_id } => {
                    self.outgoing.set_session_id(session_id);
                    self.reporter.accepted(session_id, ack);
                }
                Action::Deliver { seq, payload } => {
                    self.reporter.chunk(seq, payload.len() as u64, &self.telemetry);
                    self.sink.put(payload);
                }
                Action::End(how) => end = Some(how),
                Action::Ignore(what) => self.ignore(what),
            }
        }
        self.reporter.state(before, self.machine.state());
        end
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
        if !self.sink_full && !self.sink.has_room() {
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
        // A stopping client reads on, to find the server's answer, even if the sink is full.
        let closing = self.machine.state() == State::Closing;
        let listening = self.listening && (closing || !self.sink_full);
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => Ok(Some(match command {
                Command::TogglePause => Input::TogglePause,
                Command::Stop => Input::Stop,
            })),
            () = self.sink.room(), if self.sink_full => {
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
            () = self.sink.failed() => Ok(None),
            () = tick => Ok(Some(Input::Tick)),
            failed = send(&mut self.outgoing) => Err(failed),
        }
    }

    /// Sees a last CLOSE_STREAM off.
    async fn farewell(&mut self) {
        debug!("session over in state {:?}", self.machine.state());
        if self.outgoing.is_finished() {
            let _ = self.outgoing.delivered().await;
        }
    }
}

/// Sends what is queued; ends only if that fails.
async fn send(outgoing: &mut Outgoing) -> transport::Error {
    match outgoing.drain().await {
        Ok(()) => pending().await,
        Err(error) => error,
    }
}
