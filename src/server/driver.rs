//! One session: the I/O that the state machine asks for.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::answer::{Answer, PendingAnswer};
use super::connection_context::ConnectionContext;
use super::event::ServeEvent;
use super::sender::{Heartbeat, SendOutcome, SessionSender};
use super::sessions::SessionPhase;
use super::tokens::TokenChanges;
use crate::protocol::{CloseReason, Frame, NackCode, Options, Pdu, Version};
use crate::session::Time;
use crate::session::server::{Action, Delivery, Input, Reason, Refusal, ServerSession, State};
use crate::transport::{self, Incoming, Outgoing, ReceiveError};

/// How long a client may take to acknowledge the end of a session that is over for the server.
const DELIVERY_GRACE: Duration = Duration::from_secs(3);

/// How long a client that broke the protocol may take to hear that it did.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// Drives one session over one stream.
pub(super) struct Driver {
    context: Arc<ConnectionContext>,
    incoming: Incoming,
    sender: SessionSender,
    /// The session's clock reads zero here.
    began: Instant,
    machine: ServerSession,
    /// The title that OPEN_STREAM named.
    wanted: Option<String>,
    /// The answer that the client waits for.
    answer: PendingAnswer,
    /// What came behind a question that was not answered yet, and waits for that.
    held: Option<Input>,
    token_changes: TokenChanges,
    /// Whether the client can still send something.
    listening: bool,
    /// Whether it was said that the session is over.
    is_over: bool,
}

impl Drop for Driver {
    /// A server that ends does not wait for the last of its sessions.
    fn drop(&mut self) {
        let (name, reason) = match self.context.shutdown.is_cancelled() {
            true => (Reason::Shutdown.name(), "cut off at the end of the server"),
            false => ("lost", "the session failed"),
        };
        if !self.is_over {
            self.tell_end(name, reason.to_owned());
        }
    }
}

impl Driver {
    pub(super) fn new(
        context: Arc<ConnectionContext>,
        (outgoing, incoming): (Outgoing, Incoming),
    ) -> Self {
        let began = Instant::now();
        let timeouts = context.server.settings.timeouts();
        Self {
            incoming,
            sender: SessionSender::new(context.clone(), outgoing, began),
            token_changes: TokenChanges::of(context.server.tokens.as_deref()),
            began,
            machine: ServerSession::new(context.handle.version(), timeouts, Time::ZERO),
            context,
            answer: PendingAnswer::default(),
            held: None,
            wanted: None,
            listening: true,
            is_over: false,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(&mut self) {
        let ended = match self.converse().await {
            // The connection was closed here, and not by its client.
            Err(_) if self.context.occupant.replaced.is_cancelled() => Ok(Reason::Replaced),
            ended => ended,
        };
        let name = ended.as_ref().map_or("lost", Reason::name);
        let reason = match ended {
            Ok(reason) => reason.to_string(),
            Err(error) => format!("connection lost: {error}"),
        };
        self.tell_end(name, reason);
    }

    /// Says that the session is over.
    fn tell_end(&mut self, name: &'static str, reason: String) {
        let peer = self.context.handle.peer();
        debug!(%peer, reason, "session over");
        self.is_over = true;
        if let Some(session) = self.sender.session() {
            let meter = session.running.meter();
            if let Some(token) = session.grant.access.token() {
                self.context.server.counters.bytes_by_token.add(token.name.clone(), meter.bytes());
            }
            self.context.server.counters.closed.add(name, 1);
            self.context.server.reporter.say(ServeEvent::Closed {
                session: session.running.id(),
                peer,
                reason,
                bytes: meter.bytes(),
                chunks: meter.seq().into(),
                elapsed: meter.opened.elapsed(),
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
                    match &self.context.refusal {
                        Some(refusal) => self.answer.refuse(refusal.clone()),
                        None => self.answer.open(&self.context, open, options),
                    }
                }
                Some(Action::SendAck) => self.acknowledge(),
                Some(Action::SendNack(refusal)) => {
                    self.refuse(refusal);
                    if !self.context.allows_mistake() {
                        self.abort(&Reason::Flooding).await;
                        return Ok(Reason::Flooding);
                    }
                }
                Some(Action::SendList(options)) => match &self.context.refusal {
                    Some(refusal) => self.answer.refuse(refusal.clone()),
                    None => self.answer.list(&self.context, options),
                },
                Some(Action::SendHeartbeat) => self.sender.owe(Heartbeat::Own),
                Some(Action::Echo(timestamp)) => self.sender.owe(Heartbeat::Echo(timestamp)),
                Some(Action::Close(reason)) => {
                    self.answer.stop();
                    self.close(&reason);
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
                if timeout(DELIVERY_GRACE, self.sender.push(false)).await.is_err() {
                    self.sender.reset(reason.to_wire());
                }
                return Ok(reason.clone());
            }
        }
    }

    /// Waits for the next thing that concerns the machine. Meanwhile chunks flow, and answers that
    /// need the disk are made.
    async fn next_input(&mut self) -> Result<Input, transport::Error> {
        let state = self.machine.state();
        loop {
            let answering = self.answer.is_owed() || self.sender.is_listing();
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
            let listening = self.listening && self.held.is_none() && !self.sender.is_full();
            let ConnectionContext { shutdown, lost, .. } = &*self.context;
            let input = tokio::select! {
                biased;
                frame = self.incoming.frame(), if listening => match frame {
                    Ok(Some(frame)) => Ok(self.heed(frame)),
                    Ok(None) => {
                        self.listening = false;
                        Ok(Input::PeerFinished)
                    }
                    Err(ReceiveError::Protocol(error)) => Ok(Input::Violation(error)),
                    Err(ReceiveError::Transport(error)) => disconnected(error, state),
                },
                // Where nobody listens, nobody else hears of it.
                () = lost.cancelled(), if answering => Err(transport::Error::Closed),
                () = tick => Ok(Input::Tick(Delivery::default())),
                () = shutdown.cancelled(), if state != State::Closing => {
                    Ok(Input::End(Reason::Shutdown))
                }
                () = self.token_changes.next() => match self.is_authorised() {
                    true => continue,
                    false => Ok(Input::End(Reason::NotAuthorised)),
                },
                answer = self.answer.next(), if answering => Ok(self.take(answer)),
                outcome = self.sender.push(state == State::Streaming) => match outcome {
                    Ok(SendOutcome::MediaEnded) => Ok(Input::End(Reason::Complete)),
                    Ok(SendOutcome::MediaNotKept) => Ok(Input::End(Reason::Behind)),
                    Ok(SendOutcome::MediaFailed(error)) => {
                        warn!(error = &error as &dyn std::error::Error, "the media failed");
                        Ok(Input::End(Reason::MediaFailed))
                    }
                    Ok(SendOutcome::DigestResolved) => Ok(Input::DigestResolved),
                    Ok(SendOutcome::Delivered) => Ok(Input::Delivered),
                    Ok(SendOutcome::Listed) => Ok(Input::Listed),
                    Ok(SendOutcome::HasRoom) => continue,
                    Err(error) => disconnected(error, state),
                },
            };
            match input {
                Ok(input) if answering && has_to_wait(&input) => self.held = Some(input),
                Ok(Input::Tick(_)) => return Ok(Input::Tick(self.sender.delivery().await)),
                input => return input,
            }
        }
    }

    /// Takes a PDU, unless it is one too many.
    fn heed(&self, frame: Frame) -> Input {
        let is_mistake = matches!(frame, Frame::Malformed(_));
        let allowed = self.context.allows_pdu() && (!is_mistake || self.context.allows_mistake());
        if allowed { Input::Frame(frame) } else { Input::End(Reason::Flooding) }
    }

    /// Returns false if the session's token is not good for it any more.
    fn is_authorised(&self) -> bool {
        let Some(grant) = self.sender.session().map(|session| &session.grant) else { return true };
        let tokens = self.context.server.tokens.as_ref();
        tokens.zip(grant.access.token()).is_none_or(|(tokens, token)| {
            tokens.still_allows(token, grant.media.title(), SystemTime::now())
        })
    }

    /// Takes what the client waits for.
    fn take(&mut self, answer: Answer) -> Input {
        match answer {
            Answer::Grant(Ok(grant)) => {
                self.context.note_session();
                self.sender.open(*grant)
            }
            Answer::Grant(Err(refusal)) => Input::Refused(refusal),
            Answer::Catalogue(Ok(entries)) => {
                self.sender.list(entries);
                Input::Listed
            }
            Answer::Catalogue(Err(refusal)) => Input::Refused(refusal),
        }
    }

    /// Sends OPEN_ACK and makes the session known.
    fn acknowledge(&mut self) {
        self.sender.acknowledge();
        let Some(session) = self.sender.session() else { return };
        let token = session.grant.access.token().map(|token| token.name.clone());
        let counters = &self.context.server.counters;
        counters.opened.add(1);
        token.iter().for_each(|token| counters.opened_by_token.add(token.clone(), 1));
        self.context.server.reporter.say(ServeEvent::Opened {
            session: session.running.id(),
            peer: self.context.handle.peer(),
            version: self.context.handle.version(),
            bitrate: session.grant.ack.bitrate,
            rate: session.grant.rate,
            title: Some(session.grant.media.title().to_owned()),
            start: Some(session.grant.start),
            token,
        });
    }

    fn refuse(&mut self, refusal: Refusal) {
        let Refusal { code, reason, retry_after, oldest } = refusal;
        let words = match &reason {
            Some(reason) => format!("{code}: {reason}"),
            None => code.to_string(),
        };
        let code = code.to_wire(self.context.handle.version());
        self.context.server.counters.refused.add(code, 1);
        let is_busy = code == NackCode::Busy as u16;
        let options = Options {
            retry_after,
            oldest,
            retry_with: self.context.server.settings.peers.clone().filter(|_| is_busy),
            ..reason.as_deref().map(Options::reason).unwrap_or_default()
        };
        self.sender.queue(&Pdu::OpenNack(code, options));
        let (peer, title) = (self.context.handle.peer(), self.wanted.take());
        let refused = ServeEvent::Refused { peer, title, code, reason: words, more: 0 };
        self.context.server.reporter.say(refused);
    }

    /// Queues CLOSE_STREAM, with the limit that was reached in words.
    fn close(&mut self, reason: &Reason) {
        let code = reason.to_wire();
        let is_limit = code == CloseReason::LIMIT;
        if is_limit {
            self.context.server.counters.limits.add(reason.name(), 1);
        }
        let words = is_limit.then(|| reason.to_string());
        let is_elsewhere = is_limit || code == CloseReason::SHUTDOWN;
        let peers = self.context.server.settings.peers.clone().filter(|_| is_elsewhere);
        self.sender.close(code, words.as_deref(), peers);
    }

    /// Ends the connection with an error. Version 2 says why before.
    async fn abort(&mut self, reason: &Reason) {
        let code = reason.to_wire();
        if code == CloseReason::LIMIT {
            self.context.server.counters.limits.add(reason.name(), 1);
        }
        if self.context.handle.version() != Version::V1 {
            self.sender.close(code, Some(&reason.to_string()), None);
            let _ = timeout(ABORT_GRACE, self.sender.push(false)).await;
        }
        self.context.handle.close(code.0);
    }

    fn ignore(&mut self, what: &str) {
        let peer = self.context.handle.peer();
        match self.context.note_warned() {
            false => warn!(%peer, "ignored {what}, which has no place here"),
            true => debug!(%peer, "ignored {what}"),
        }
    }

    /// Makes a change of state visible, and stops or starts the schedule.
    fn note_state(&mut self, before: State) {
        let now = self.began.elapsed();
        let state = self.machine.state();
        let Some(session) = self.sender.session_mut().filter(|_| state != before) else { return };
        let (id, meter) = (session.running.id(), session.running.meter());
        let seq = meter.seq();
        match state {
            State::Streaming => {
                session.pacer.iter_mut().for_each(|pacer| pacer.run(now));
                meter.set_phase(SessionPhase::Streaming);
                if before == State::Paused {
                    self.context.server.reporter.say(ServeEvent::Resumed { session: id, seq });
                }
            }
            State::Paused => {
                session.pacer.iter_mut().for_each(|pacer| pacer.pause(now));
                meter.set_phase(SessionPhase::Paused);
                self.context.server.reporter.say(ServeEvent::Paused { session: id, seq });
            }
            State::Idle | State::Closing | State::Closed => {
                meter.set_phase(SessionPhase::Closing);
            }
        }
    }
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
