//! The rules of the server's side.

use std::time::Duration;

use super::super::Time;
use super::{Action, Delivery, Input, Reason, State, Timeouts};
use crate::protocol::{Error, Frame, Kind, NackCode, Pdu, Version};

/// How often within the stall timeout the delivery is looked at.
const STALL_CHECKS: u32 = 4;

/// The machine.
#[derive(Debug, Clone, Copy)]
pub struct ServerSession {
    version: Version,
    state: State,
    /// What the session was assigned; 0 before.
    session_id: u32,
    timeouts: Timeouts,
    /// Whether OPEN_STREAM or LIST waits for its answer. A client is silent until it has that, so
    /// the session timeout does not run.
    owes_answer: bool,
    /// When a valid PDU last came, or what the client waited for was on its way.
    heard: Time,
    /// When the next heartbeat of our own is due while paused.
    next_heartbeat: Time,
    /// When the pause has lasted too long.
    pause_ends: Time,
    /// The client asked for silence; it may not read what is on its way, in CLOSING, too.
    client_pauses: bool,
    /// Bytes that were acknowledged when it was last looked at.
    acknowledged: u64,
    /// When the delivery was last looked at.
    checked: Time,
    /// When the client last took something, or there was nothing for it to take.
    progressed: Time,
    /// CLOSE_STREAM 0 is to carry a digest that is not known yet.
    owes_digest: bool,
    /// When CLOSE_STREAM 0 is sent, with the digest or without; `None` before the media's end.
    completes: Option<Time>,
    /// The media is a broadcast: where nothing comes, heartbeats say that the server is there.
    live: bool,
    /// The last chunk that had been queued when a heartbeat was last due.
    chunk: u32,
}

impl ServerSession {
    /// A session in [`State::Idle`] whose timers count from `now`.
    pub fn new(version: Version, timeouts: Timeouts, now: Time) -> Self {
        // A client whose sink is full says so after a keepalive interval.
        let stall = timeouts.stall.max(timeouts.keepalive.saturating_mul(2));
        let timeouts = Timeouts { stall, ..timeouts };
        Self {
            version,
            state: State::Idle,
            session_id: 0,
            timeouts,
            owes_answer: false,
            heard: now,
            next_heartbeat: now,
            pause_ends: now,
            client_pauses: false,
            acknowledged: 0,
            checked: now,
            progressed: now,
            owes_digest: false,
            completes: None,
            live: false,
            chunk: 0,
        }
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Input::Tick`] is due, unless something else happens first.
    pub fn deadline(&self) -> Option<Time> {
        let timeout = self.timeout();
        let check = self.checked.saturating_add(self.timeouts.stall / STALL_CHECKS);
        match self.state {
            State::Idle if self.owes_answer => None,
            State::Idle => Some(timeout.min(check)),
            State::Streaming => {
                let completes = self.completes.unwrap_or(timeout);
                let heartbeat = if self.live { self.next_heartbeat } else { timeout };
                Some(timeout.min(check).min(completes).min(heartbeat))
            }
            State::Paused => Some(timeout.min(self.next_heartbeat).min(self.pause_ends)),
            State::Closing => Some(timeout.min(check)),
            State::Closed => None,
        }
    }

    /// How often it is looked whether a broadcast is quiet: a client takes a server that it has
    /// not heard for twice the keepalive interval for stalled.
    fn quiet_check(&self) -> Duration {
        self.timeouts.keepalive / 2
    }

    fn timeout(&self) -> Time {
        self.heard.saturating_add(self.timeouts.session)
    }

    /// Takes one input; the one place where the state changes.
    pub fn step(mut self, input: Input, now: Time) -> (Self, Option<Action>) {
        use State::{Closed, Closing, Idle, Paused, Streaming};

        let input = self.checked(input);
        match &input {
            Input::Frame(Frame::Pdu { pdu, .. }) => {
                self.heard = now;
                self.note_pause(pdu, now);
            }
            Input::Tick(delivery) => self.note_delivery(*delivery, now),
            Input::Opened { .. } | Input::Refused(_) | Input::Listed if self.state == Idle => {
                self.owes_answer = false;
                self.heard = now;
                self.checked = now;
                self.progressed = now;
            }
            _ => {}
        }
        let timed_out = !self.owes_answer && now >= self.timeout();
        let stalled = now >= self.progressed.saturating_add(self.timeouts.stall);
        let malformed_open =
            |error: &Error| matches!(error, Error::Malformed { kind: Kind::OpenStream, .. });

        let (state, action) = match (self.state, input) {
            (Closed, _) => (Closed, None),

            (Idle, Input::Frame(Frame::Pdu { pdu: Pdu::OpenStream(open, options), .. })) => {
                self.owes_answer = true;
                (Idle, Some(Action::Open(open, options)))
            }
            (Idle, Input::Opened { session_id, owes_digest, live }) => {
                self.session_id = session_id;
                self.live = live;
                self.next_heartbeat = now.saturating_add(self.quiet_check());
                self.owes_digest = owes_digest;
                (Streaming, Some(Action::SendAck))
            }
            (Idle, Input::Refused(refusal)) => (Idle, Some(Action::SendNack(refusal))),
            (Idle, Input::Frame(Frame::Pdu { pdu: Pdu::List(options), .. })) => {
                self.owes_answer = true;
                (Idle, Some(Action::SendList(options)))
            }
            (Idle, Input::PeerFinished) => (Closed, Some(Action::Close(Reason::NeverOpened))),
            (Streaming | Paused, Input::Frame(Frame::Pdu { pdu: Pdu::OpenStream(..), .. })) => {
                (self.state, Some(Action::SendNack(NackCode::ProtocolViolation.into())))
            }
            (Idle | Streaming | Paused, Input::Frame(Frame::Malformed(error)))
                if malformed_open(&error) =>
            {
                (self.state, Some(Action::SendNack(NackCode::ProtocolViolation.into())))
            }

            (Streaming, Input::Frame(Frame::Pdu { pdu: Pdu::Pause, .. })) => {
                self.next_heartbeat = now.saturating_add(self.timeouts.keepalive);
                self.pause_ends = now.saturating_add(self.timeouts.pause);
                (Paused, None)
            }
            (Paused, Input::Frame(Frame::Pdu { pdu: Pdu::Resume, .. })) => {
                self.next_heartbeat = now.saturating_add(self.quiet_check());
                (Streaming, None)
            }
            // A client that is kept waiting longer takes the server for stalled.
            (Streaming, Input::End(Reason::Complete)) if self.owes_digest => {
                let patience = now.saturating_add(self.timeouts.keepalive);
                self.completes.get_or_insert(patience);
                (Streaming, None)
            }
            (Streaming | Paused, Input::DigestResolved) => {
                self.owes_digest = false;
                self.completes = self.completes.map(|_| now);
                (self.state, None)
            }
            (Streaming, Input::Tick(_)) if self.completes.is_some_and(|time| now >= time) => {
                (Closing, Some(Action::Close(Reason::Complete)))
            }
            (Streaming, Input::End(Reason::Complete)) => {
                (Closing, Some(Action::Close(Reason::Complete)))
            }
            (Streaming | Paused, Input::Frame(Frame::Pdu { pdu: Pdu::Close(..), .. })) => {
                (Closed, Some(Action::Close(Reason::Client)))
            }
            (
                Idle | Streaming | Paused,
                Input::Frame(Frame::Pdu { pdu: Pdu::Heartbeat { timestamp, echo }, .. }),
            ) => match self.version {
                Version::V1 => (self.state, Some(Action::SendHeartbeat)),
                Version::V2 if echo => (self.state, None),
                Version::V2 => (self.state, Some(Action::Echo(timestamp))),
            },

            (Idle | Streaming | Paused, Input::Tick(_)) if timed_out => {
                (Closed, Some(Action::Close(Reason::Timeout)))
            }
            // A client whose player is paused may leave the last chunks unread for an hour; its
            // heartbeats keep the session open until they are delivered.
            (Closing, Input::Tick(_)) if timed_out => {
                (Closed, Some(Action::Abort(Reason::Timeout)))
            }
            (Idle | Streaming, Input::Tick(_)) if stalled => self.give_up(Reason::Stalled),
            (Closing, Input::Tick(_)) if stalled => (Closed, Some(Action::Abort(Reason::Stalled))),
            (Paused, Input::Tick(_)) if now >= self.pause_ends => {
                self.give_up(Reason::PausedTooLong)
            }
            (Paused, Input::Tick(_)) if now >= self.next_heartbeat => {
                self.next_heartbeat = now.saturating_add(self.timeouts.keepalive);
                (Paused, Some(Action::SendHeartbeat))
            }
            (Streaming, Input::Tick(delivery)) if self.live && now >= self.next_heartbeat => {
                self.next_heartbeat = now.saturating_add(self.quiet_check());
                let quiet = std::mem::replace(&mut self.chunk, delivery.chunk) == delivery.chunk;
                (Streaming, quiet.then_some(Action::SendHeartbeat))
            }
            (state, Input::Tick(_)) => (state, None),

            (Closing, Input::Delivered) => (Closed, None),
            (Idle | Streaming | Paused, Input::End(Reason::Shutdown)) => {
                (Closing, Some(Action::Close(Reason::Shutdown)))
            }
            (_, Input::End(Reason::Flooding)) => (Closed, Some(Action::Abort(Reason::Flooding))),
            (Streaming | Paused, Input::End(reason)) if reason != Reason::Complete => {
                self.give_up(reason)
            }
            // What crossed CLOSE_STREAM on its way. FIN is sent, so nothing can be answered.
            (
                Closing,
                Input::Frame(Frame::Pdu {
                    pdu: Pdu::Pause | Pdu::Resume | Pdu::Close(..) | Pdu::Heartbeat { .. },
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
                Input::Opened { .. }
                | Input::Refused(_)
                | Input::Listed
                | Input::DigestResolved
                | Input::End(_)
                | Input::Delivered
                | Input::PeerFinished,
            ) => (state, None),
        };
        self.state = state;
        (self, action)
    }

    /// Ends the session before the media is complete, which CLOSE_STREAM would deny in version 1.
    fn give_up(&self, reason: Reason) -> (State, Option<Action>) {
        let action = match self.version {
            Version::V1 => Action::Abort(reason),
            Version::V2 => Action::Close(reason),
        };
        (State::Closed, Some(action))
    }

    fn note_pause(&mut self, pdu: &Pdu, now: Time) {
        match pdu {
            Pdu::Pause => self.client_pauses = true,
            Pdu::Resume => {
                self.client_pauses = false;
                self.checked = now;
                self.progressed = now;
            }
            _ => {}
        }
    }

    fn note_delivery(&mut self, delivery: Delivery, now: Time) {
        let Delivery { acknowledged, outstanding, .. } = delivery;
        if self.client_pauses || !outstanding || acknowledged > self.acknowledged {
            self.progressed = now;
        }
        self.acknowledged = acknowledged;
        self.checked = now;
    }

    /// Version 2 takes a PDU of another session for a violation. What asks for a session, or for
    /// the catalogue, belongs to none.
    fn checked(&self, input: Input) -> Input {
        match input {
            Input::Frame(Frame::Pdu { session_id, pdu })
                if self.version != Version::V1
                    && session_id != self.session_id
                    && !matches!(pdu, Pdu::OpenStream(..) | Pdu::List(_)) =>
            {
                Input::Violation(Error::SessionId { got: session_id, want: self.session_id })
            }
            input => input,
        }
    }
}
