//! One session: the I/O that the state machine asks for.

use std::future::pending;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::Shared;
use super::output::{Output, Progress};
use super::progress::{Event, Phase};
use crate::protocol::{NackCode, OpenStream, Pdu};
use crate::session::Time;
use crate::session::server::{Action, Input, Reason, Server, State};
use crate::transport::{self, Connection, Incoming, Outgoing, ReceiveError};

/// How long a client may take to acknowledge the end of a session that is over for the server.
const DELIVERY_GRACE: Duration = Duration::from_secs(3);

/// Drives one session over one stream.
pub(super) struct Driver<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    incoming: Incoming,
    output: Output,
    /// The session's clock reads zero here.
    began: Instant,
    machine: Server,
    shutdown: watch::Receiver<bool>,
    /// Whether the client can still send something.
    listening: bool,
    /// Whether a warning about ignored PDUs was given; one a session is enough.
    warned: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        connection: &'a Connection,
        (outgoing, incoming): (Outgoing, Incoming),
    ) -> Self {
        let offer = &shared.settings.offer;
        let began = Instant::now();
        Self {
            shared,
            connection,
            incoming,
            output: Output::new(outgoing, began),
            began,
            machine: Server::new(offer.keepalive, offer.session_timeout, Time::ZERO),
            shutdown: shared.shutdown.clone(),
            listening: true,
            warned: false,
        }
    }

    /// Runs the session to its end; `Break` if the connection ended with it.
    pub(super) async fn run(mut self) -> ControlFlow<()> {
        let peer = self.connection.peer();
        let (reason, flow) = match self.converse().await {
            Ok(Ending::Delivered(reason)) => (reason.to_string(), ControlFlow::Continue(())),
            Ok(Ending::Aborted(reason)) => {
                self.connection.close(error_code(&reason));
                (reason.to_string(), ControlFlow::Break(()))
            }
            Err(error) => (format!("connection lost: {error}"), ControlFlow::Break(())),
        };
        debug!(%peer, reason, "session over");
        if let Some(session) = self.output.session() {
            self.shared.sessions.remove(session.id);
            (self.shared.report)(Event::Closed {
                session: session.id,
                peer,
                reason,
                bytes: session.meter.bytes(),
                chunks: session.meter.seq().into(),
                elapsed: session.meter.opened.elapsed(),
            });
        }
        flow
    }

    /// Feeds the machine and does what it asks for, until it is closed.
    async fn converse(&mut self) -> Result<Ending, transport::Error> {
        let mut closing = None;
        loop {
            let mut input = Some(self.next_input().await?);
            while let Some(next) = input.take() {
                let before = self.machine.state();
                let (machine, action) = self.machine.step(next, self.began.elapsed());
                self.machine = machine;
                match action {
                    None => {}
                    Some(Action::Open(open)) => input = Some(self.open(&open).await),
                    Some(Action::SendAck) => self.acknowledge(),
                    Some(Action::SendNack(code)) => self.refuse(code),
                    Some(Action::SendHeartbeat) => self.output.owe_heartbeat(),
                    Some(Action::Close(reason)) => {
                        self.output.close();
                        closing = Some(reason);
                    }
                    Some(Action::Abort(reason)) => return Ok(Ending::Aborted(reason)),
                    Some(Action::Ignore(what)) => self.ignore(what),
                }
                self.note_state(before);
            }
            if let (Some(reason), State::Closed) = (&closing, self.machine.state()) {
                // The session is over whether or not the client still listens.
                let _ = timeout(DELIVERY_GRACE, self.output.push(false)).await;
                return Ok(Ending::Delivered(reason.clone()));
            }
        }
    }

    /// Waits for the next thing that concerns the machine. Meanwhile chunks flow.
    async fn next_input(&mut self) -> Result<Input, transport::Error> {
        let deadline = self.machine.deadline().map(|deadline| self.began + deadline);
        let tick = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let state = self.machine.state();
        let listening = self.listening && !self.output.is_clogged();
        tokio::select! {
            biased;
            frame = self.incoming.frame(), if listening => match frame {
                Ok(Some(frame)) => Ok(Input::Frame(frame)),
                Ok(None) => {
                    self.listening = false;
                    Ok(Input::PeerFinished)
                }
                Err(ReceiveError::Protocol(error)) => Ok(Input::Violation(error)),
                Err(ReceiveError::Transport(error)) => disconnected(error, state),
            },
            () = tick => Ok(Input::Tick),
            _ = self.shutdown.wait_for(|down| *down), if state != State::Closing => Ok(Input::Shutdown),
            progress = self.output.push(state == State::Streaming) => match progress {
                Ok(Progress::MediaEnded) => Ok(Input::MediaEnded),
                Ok(Progress::MediaFailed(error)) => {
                    warn!(error = &error as &dyn std::error::Error, "the media failed");
                    Ok(Input::MediaFailed)
                }
                Ok(Progress::Delivered) => Ok(Input::Delivered),
                Err(error) => disconnected(error, state),
            },
        }
    }

    /// Sees whether an OPEN_STREAM can be granted.
    async fn open(&mut self, open: &OpenStream) -> Input {
        let ack = match self.shared.settings.offer.negotiate(open) {
            Ok(ack) => ack,
            Err(code) => return Input::Refused(code),
        };
        match self.shared.library.open().await {
            Ok(media) => {
                let id = self.shared.assign_session_id();
                self.output.open(id, ack, media, self.connection.peer());
                Input::Opened
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the media cannot be opened");
                // Version 1 has no code for it.
                Input::Refused(NackCode::ProtocolViolation)
            }
        }
    }

    /// Sends OPEN_ACK and makes the session known.
    fn acknowledge(&mut self) {
        self.output.acknowledge();
        let Some(session) = self.output.session() else { return };
        self.shared.sessions.insert(session.id, session.meter.clone());
        (self.shared.report)(Event::Opened {
            session: session.id,
            peer: self.connection.peer(),
            version: self.connection.version(),
            bitrate: session.ack.bitrate,
            rate: session.ack.bitrate.into(),
        });
    }

    fn refuse(&mut self, code: NackCode) {
        self.output.queue(&Pdu::OpenNack(code as u16));
        (self.shared.report)(Event::Refused {
            peer: self.connection.peer(),
            code: code as u16,
            reason: code.to_string(),
        });
    }

    fn ignore(&mut self, what: &str) {
        let peer = self.connection.peer();
        match std::mem::replace(&mut self.warned, true) {
            false => warn!(%peer, "ignored {what}, which has no place here"),
            true => debug!(%peer, "ignored {what}"),
        }
    }

    /// Makes a change of state visible, and stops or starts the schedule.
    fn note_state(&mut self, before: State) {
        let now = self.began.elapsed();
        let state = self.machine.state();
        let Some(session) = self.output.session_mut().filter(|_| state != before) else { return };
        let (id, seq) = (session.id, session.meter.seq());
        match state {
            State::Streaming => {
                session.pacer.run(now);
                session.meter.set_phase(Phase::Streaming);
                if before == State::Paused {
                    (self.shared.report)(Event::Resumed { session: id, seq });
                }
            }
            State::Paused => {
                session.pacer.pause(now);
                session.meter.set_phase(Phase::Paused);
                (self.shared.report)(Event::Paused { session: id, seq });
            }
            State::Idle | State::Closing | State::Closed => {
                session.meter.set_phase(Phase::Closing);
            }
        }
    }
}

/// A client that has everything closes the connection; there is no better acknowledgement.
fn disconnected(error: transport::Error, state: State) -> Result<Input, transport::Error> {
    match error {
        transport::Error::Closed if state == State::Closing => Ok(Input::Delivered),
        error => Err(error),
    }
}

/// How a session came to its end.
enum Ending {
    /// With CLOSE_STREAM; the connection may go on.
    Delivered(Reason),
    /// With the connection.
    Aborted(Reason),
}

/// The QUIC application error code that a session is aborted with: the number that version 2
/// gives the reason in CLOSE_STREAM.
fn error_code(reason: &Reason) -> u16 {
    match reason {
        Reason::Complete => 0,
        Reason::Client | Reason::NeverOpened => 1,
        Reason::Shutdown => 2,
        Reason::Timeout => 3,
        Reason::MediaFailed => 4,
        Reason::Violation(_) => NackCode::ProtocolViolation as u16,
    }
}
