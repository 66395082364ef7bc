//! One session: the I/O that the state machine asks for.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::Shared;
use super::grant::in_trouble;
use super::output::{Heartbeat, Output, Progress};
use super::progress::{ServeEvent, SessionPhase};
use super::work::{Answer, Work};
use crate::protocol::{Frame, Options, Pdu, Version};
use crate::session::Time;
use crate::session::server::{Action, Input, Reason, Refusal, ServerSession, State};
use crate::transport::{self, Handle, Incoming, Outgoing, ReceiveError};

/// How long a client may take to acknowledge the end of a session that is over for the server.
const DELIVERY_GRACE: Duration = Duration::from_secs(3);

/// How long a client that broke the protocol may take to hear that it did.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// Drives one session over one stream.
pub(super) struct Driver {
    shared: Arc<Shared>,
    connection: Handle,
    incoming: Incoming,
    output: Output,
    /// The session's clock reads zero here.
    began: Instant,
    machine: ServerSession,
    /// The title that OPEN_STREAM named.
    wanted: Option<String>,
    shutdown: watch::Receiver<bool>,
    /// Its sender is gone when the connection is.
    connected: watch::Receiver<()>,
    /// The answer that the client waits for.
    work: Work,
    /// What came behind a question that was not answered yet, and waits for that.
    held: Option<Input>,
    /// Whether the client can still send something.
    listening: bool,
    /// Whether a warning about ignored PDUs was given; one a session is enough.
    warned: bool,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Handle,
        connected: watch::Receiver<()>,
        (outgoing, incoming): (Outgoing, Incoming),
    ) -> Self {
        let offer = &shared.settings.offer;
        let began = Instant::now();
        let (keepalive, session_timeout) = (offer.keepalive, offer.session_timeout);
        let machine =
            ServerSession::new(connection.version(), keepalive, session_timeout, Time::ZERO);
        Self {
            shutdown: shared.shutdown.clone(),
            shared,
            connection,
            incoming,
            output: Output::new(outgoing, began),
            began,
            machine,
            connected,
            work: Work::default(),
            held: None,
            wanted: None,
            listening: true,
            warned: false,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(&mut self) {
        let peer = self.connection.peer();
        let reason = match self.converse().await {
            Ok(reason) => reason.to_string(),
            Err(error) => format!("connection lost: {error}"),
        };
        debug!(%peer, reason, "session over");
        if let Some(session) = self.output.session() {
            self.shared.sessions.remove(session.id);
            (self.shared.report)(ServeEvent::Closed {
                session: session.id,
                peer,
                reason,
                bytes: session.meter.bytes(),
                chunks: session.meter.seq().into(),
                elapsed: session.meter.opened.elapsed(),
            });
        }
    }

    /// Feeds the machine and does what it asks for, until it is closed.
    async fn converse(&mut self) -> Result<Reason, transport::Error> {
        let mut closing = None;
        loop {
            let input = self.next_input().await?;
            let before = self.machine.state();
            let (machine, action) = self.machine.step(input, self.began.elapsed());
            self.machine = machine;
            match action {
                None => {}
                Some(Action::Open(open, options)) => {
                    self.wanted.clone_from(&options.title);
                    let version = self.connection.version();
                    self.work.open(self.shared.clone(), version, open, options);
                }
                Some(Action::SendAck) => self.acknowledge(),
                Some(Action::SendNack(refusal)) => self.refuse(refusal),
                Some(Action::SendList) => self.work.list(&self.shared),
                Some(Action::SendHeartbeat) => self.output.owe(Heartbeat::Own),
                Some(Action::Echo(timestamp)) => self.output.owe(Heartbeat::Echo(timestamp)),
                Some(Action::Close(reason)) => {
                    self.work.stop();
                    self.output.close(reason.to_wire(), None);
                    closing = Some(reason);
                }
                Some(Action::Abort(reason)) => {
                    self.abort(&reason).await;
                    return Ok(reason);
                }
                Some(Action::Ignore(what)) => self.ignore(what),
            }
            self.note_state(before);
            if let (Some(reason), State::Closed) = (&closing, self.machine.state()) {
                // The session is over whether or not the client still listens.
                let _ = timeout(DELIVERY_GRACE, self.output.push(false)).await;
                return Ok(reason.clone());
            }
        }
    }

    /// Waits for the next thing that concerns the machine. Meanwhile chunks flow, and answers that
    /// need the disk are made.
    async fn next_input(&mut self) -> Result<Input, transport::Error> {
        let state = self.machine.state();
        loop {
            let answering = self.work.is_under_way() || self.output.is_listing();
            if !answering && let Some(held) = self.held.take() {
                return Ok(held);
            }
            let deadline = self.machine.deadline().map(|deadline| self.began + deadline);
            let tick = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => pending().await,
                }
            };
            let listening = self.listening && self.held.is_none() && !self.output.is_clogged();
            let input = tokio::select! {
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
                // Where nobody listens, nobody else hears of it.
                Err(_) = self.connected.changed(), if answering => Err(transport::Error::Closed),
                () = tick => Ok(Input::Tick),
                () = shut_down(&mut self.shutdown), if state != State::Closing => {
                    Ok(Input::Shutdown)
                }
                answer = self.work.answer(), if answering => Ok(self.take(answer)),
                progress = self.output.push(state == State::Streaming) => match progress {
                    Ok(Progress::MediaEnded) => Ok(Input::MediaEnded),
                    Ok(Progress::MediaFailed(error)) => {
                        warn!(error = &error as &dyn std::error::Error, "the media failed");
                        Ok(Input::MediaFailed)
                    }
                    Ok(Progress::Delivered) => Ok(Input::Delivered),
                    Ok(Progress::Listed) => Ok(Input::Listed),
                    Ok(Progress::Unclogged) => continue,
                    Err(error) => disconnected(error, state),
                },
            };
            match input {
                Ok(input) if answering && has_to_wait(&input) => self.held = Some(input),
                input => return input,
            }
        }
    }

    /// Takes what the client waits for.
    fn take(&mut self, answer: Answer) -> Input {
        match answer {
            Answer::Grant(Ok(grant)) => {
                let session_id = self.shared.assign_session_id();
                self.output.open(session_id, grant, self.connection.peer());
                Input::Opened { session_id }
            }
            Answer::Grant(Err(refusal)) => Input::Refused(refusal),
            Answer::Catalogue(Ok(entries)) => {
                self.output.list(entries);
                Input::Listed
            }
            Answer::Catalogue(Err(_)) => Input::Refused(in_trouble()),
        }
    }

    /// Sends OPEN_ACK and makes the session known.
    fn acknowledge(&mut self) {
        self.output.acknowledge();
        let Some(session) = self.output.session() else { return };
        self.shared.sessions.insert(session.id, session.meter.clone());
        (self.shared.report)(ServeEvent::Opened {
            session: session.id,
            peer: self.connection.peer(),
            version: self.connection.version(),
            bitrate: session.grant.ack.bitrate,
            rate: session.grant.rate,
            title: Some(session.grant.media.title().to_owned()),
            start: Some(session.grant.start),
        });
    }

    fn refuse(&mut self, refusal: Refusal) {
        let Refusal { code, reason, retry_after } = refusal;
        let words = match &reason {
            Some(reason) => format!("{code}: {reason}"),
            None => code.to_string(),
        };
        let code = code.to_wire(self.connection.version());
        let options =
            Options { retry_after, ..reason.as_deref().map(Options::reason).unwrap_or_default() };
        self.output.queue(&Pdu::OpenNack(code, options));
        let (peer, title) = (self.connection.peer(), self.wanted.take());
        (self.shared.report)(ServeEvent::Refused { peer, title, code, reason: words });
    }

    /// Ends the connection with an error. Version 2 says why before.
    async fn abort(&mut self, reason: &Reason) {
        let code = reason.to_wire();
        if self.connection.version() != Version::V1 {
            self.output.close(code, Some(&reason.to_string()));
            let _ = timeout(ABORT_GRACE, self.output.push(false)).await;
        }
        self.connection.close(code.0);
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
                session.pacer.iter_mut().for_each(|pacer| pacer.run(now));
                session.meter.set_phase(SessionPhase::Streaming);
                if before == State::Paused {
                    (self.shared.report)(ServeEvent::Resumed { session: id, seq });
                }
            }
            State::Paused => {
                session.pacer.iter_mut().for_each(|pacer| pacer.pause(now));
                session.meter.set_phase(SessionPhase::Paused);
                (self.shared.report)(ServeEvent::Paused { session: id, seq });
            }
            State::Idle | State::Closing | State::Closed => {
                session.meter.set_phase(SessionPhase::Closing);
            }
        }
    }
}

/// Waits until the server shuts down.
async fn shut_down(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Whether this is for later where a question is not answered yet: they are answered in order.
fn has_to_wait(input: &Input) -> bool {
    match input {
        Input::Frame(Frame::Pdu { pdu, .. }) => !matches!(pdu, Pdu::Heartbeat { .. }),
        Input::Frame(Frame::Malformed(_)) | Input::PeerFinished => true,
        _ => false,
    }
}

/// A client that has everything closes the connection; there is no better acknowledgement.
fn disconnected(error: transport::Error, state: State) -> Result<Input, transport::Error> {
    match error {
        transport::Error::Closed if state == State::Closing => Ok(Input::Delivered),
        error => Err(error),
    }
}
