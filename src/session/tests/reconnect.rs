//! Sessions that are lost and taken up again, under a clock that jumps from event to event: what
//! a client has in the end is one media, every byte of it once and in order.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use proptest::prelude::*;

use super::simulation::{Link, Message};
use super::*;
use crate::protocol::NackCode;
use crate::session::client::{self, Cause, ClientSession, Earlier, End, Validator};
use crate::session::server::{self, Refusal, ServerSession};
use crate::session::{Pacer, Time};

/// More than can happen in any of the schedules below.
const TOO_MANY: usize = 20_000;

/// What happens from outside.
#[derive(Debug, Clone, Copy)]
enum Event {
    TogglePause,
    SinkFull,
    SinkReady,
    Stop,
    /// The connection is gone, and the client is told.
    Loss,
    /// The same, but nobody is told: from now on nothing arrives.
    Blackout,
    /// The server shuts down, and starts again after so many ms.
    Restart(u64),
    /// The media is replaced by another.
    Change,
}

#[derive(Debug, Clone)]
struct Scenario {
    /// Bytes of the media.
    length: usize,
    /// Between two chunks; at most the keepalive interval, as the server sees to.
    millis_per_chunk: u64,
    /// Payload bytes of a chunk in one session after the other, over and over.
    chunk_sizes: Vec<usize>,
    /// How long each message takes to the server, and to the client, over and over.
    delays: [Vec<u64>; 2],
    /// How long a client waits before it tries again, over and over.
    backoff: Vec<u64>,
    /// How long after the one before each of them comes.
    events: Vec<(u64, Event)>,
}

/// How it all ended.
#[derive(Debug, PartialEq)]
enum Outcome {
    Complete,
    Stopped,
    /// The server refused with this code.
    Refused(u16),
}

/// Both ends of one connection, and what is between them.
struct Connection {
    client: ClientSession,
    client_id: u32,
    server: ServerSession,
    server_id: u32,
    to_server: Link,
    to_client: Link,
    /// Nothing arrives any more.
    dark: bool,
    pacer: Pacer,
    chunk_size: usize,
    /// What the session sends: the media from where it was asked to begin.
    media: Bytes,
    /// How many chunks have been sent.
    seq: u32,
    closed_by_server: bool,
}

/// Whose turn it is next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Event,
    Connect,
    ServerHears,
    ClientHears,
    ChunkIsDue,
    ServerTick,
    ClientTick,
}

struct World {
    scenario: Scenario,
    now: Time,
    events: VecDeque<(Time, Event)>,
    /// How often the media has been replaced.
    generation: u8,
    /// The server is down until then.
    up_at: Time,
    connection: Option<Connection>,
    /// Without a connection: when the client tries the next one.
    connect_at: Time,
    /// How many connections there have been.
    connections: usize,
    // What the client keeps from one session to the next.
    delivered: Vec<u8>,
    validator: Option<Bytes>,
    paused: bool,
    sink_full: bool,
    outcome: Option<Outcome>,
    /// How each session but the last one ended, as far as the client was told.
    ends: Vec<End>,
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The bytes of the media: no two generations have the same anywhere.
fn media(generation: u8, length: usize) -> Bytes {
    (0..length).map(|at| (at as u8).wrapping_mul(16).wrapping_add(generation)).collect()
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let events = scenario.events.iter().scan(Time::ZERO, |at, (gap, event)| {
            *at += millis(*gap);
            Some((*at, *event))
        });
        Self {
            scenario: scenario.clone(),
            now: Time::ZERO,
            events: events.collect(),
            generation: 0,
            up_at: Time::ZERO,
            connection: None,
            connect_at: Time::ZERO,
            connections: 0,
            delivered: vec![],
            validator: None,
            paused: false,
            sink_full: false,
            outcome: None,
            ends: vec![],
        }
    }

    /// Runs until the client is done.
    fn run(mut self) -> Self {
        for _ in 0..TOO_MANY {
            if self.outcome.is_some() {
                return self;
            }
            if self.events.is_empty() {
                self.let_go();
            }
            let (at, turn) = self.next_turn().expect("nothing will ever happen again");
            self.now = self.now.max(at);
            self.take(turn);
        }
        panic!("stuck with {} of {} bytes", self.delivered.len(), self.scenario.length);
    }

    /// In the end whoever holds the session up lets go of it.
    fn let_go(&mut self) {
        let client = self.connection.as_ref().map(|connection| connection.client.state());
        if self.sink_full {
            self.events.push_back((self.now, Event::SinkReady));
        } else if client == Some(client::State::Paused(Cause::User)) {
            self.events.push_back((self.now, Event::TogglePause));
        }
    }

    fn next_turn(&self) -> Option<(Time, Turn)> {
        use client::State::{Closing, OpenSent};
        let event = (self.events.front().map(|(at, _)| *at), Turn::Event);
        let turns = match &self.connection {
            None => vec![event, (Some(self.connect_at), Turn::Connect)],
            Some(connection) => {
                let Connection { client, server, to_server, to_client, .. } = connection;
                let opening = matches!(client.state(), OpenSent | Closing);
                let listening = opening || !self.sink_full;
                let streaming = server.state() == server::State::Streaming;
                let media_time = u64::from(connection.seq) * self.scenario.millis_per_chunk;
                vec![
                    event,
                    (to_server.next_arrival(), Turn::ServerHears),
                    (to_client.next_arrival().filter(|_| listening), Turn::ClientHears),
                    (connection.pacer.due(media_time).filter(|_| streaming), Turn::ChunkIsDue),
                    (server.deadline(), Turn::ServerTick),
                    (client.deadline(), Turn::ClientTick),
                ]
            }
        };
        turns.into_iter().filter_map(|(at, turn)| Some((at?, turn))).min_by_key(|(at, _)| *at)
    }

    fn take(&mut self, turn: Turn) {
        match (turn, &mut self.connection) {
            (Turn::Event, _) => {
                let (_, event) = self.events.pop_front().unwrap();
                self.happen(event);
            }
            (Turn::Connect, _) => self.connect(),
            (Turn::ServerHears, Some(connection)) => {
                let message = connection.to_server.receive(self.now).unwrap();
                if connection.dark {
                    return;
                }
                self.step_server(match message {
                    Message::Pdu(session_id, pdu) => {
                        server::Input::Frame(Frame::Pdu { session_id, pdu })
                    }
                    Message::Fin => server::Input::PeerFinished,
                    Message::Gone => unreachable!("a connection ends with its client"),
                });
            }
            (Turn::ClientHears, Some(connection)) => {
                let message = connection.to_client.receive(self.now).unwrap();
                if connection.dark {
                    return;
                }
                self.step_client(match message {
                    Message::Pdu(session_id, pdu) => {
                        client::Input::Frame(Frame::Pdu { session_id, pdu })
                    }
                    Message::Fin => client::Input::StreamEnded,
                    Message::Gone => unreachable!("a connection ends with its client"),
                });
            }
            (Turn::ChunkIsDue, Some(connection)) => {
                let size = connection.chunk_size.min(connection.media.len());
                if size > 0 {
                    connection.seq += 1;
                    let payload = Payload::from(connection.media.split_to(size));
                    let chunk = Pdu::Chunk(Chunk { seq: connection.seq, payload });
                    let message = Message::Pdu(connection.server_id, chunk);
                    connection.to_client.send(message, self.now);
                }
                if connection.media.is_empty() {
                    self.step_server(server::Input::End(server::Reason::Complete));
                }
            }
            (Turn::ServerTick, Some(connection)) => {
                let before = connection.server;
                self.step_server(server_tick());
                let after = self.connection.as_ref().map(|connection| connection.server);
                let moved = after.is_none_or(|after| {
                    after.deadline() > before.deadline() || after.state() != before.state()
                });
                assert!(moved, "busy in {before:?}");
            }
            (Turn::ClientTick, Some(connection)) => {
                let before = connection.client;
                self.step_client(client::Input::Tick);
                let after = self.connection.as_ref().map(|connection| connection.client);
                let moved = after.is_none_or(|after| {
                    after.deadline() > before.deadline() || after.state() != before.state()
                });
                assert!(moved, "busy in {before:?}");
            }
            (turn, None) => unreachable!("{turn:?} without a connection"),
        }
    }

    fn happen(&mut self, event: Event) {
        use client::Input;
        match event {
            Event::TogglePause if self.connection.is_none() => self.paused = !self.paused,
            Event::TogglePause => self.step_client(Input::TogglePause),
            Event::Stop if self.connection.is_none() => self.outcome = Some(Outcome::Stopped),
            Event::Stop => self.step_client(Input::Stop),
            // A sink that has been given nothing has room.
            Event::SinkFull if !self.delivered.is_empty() => {
                self.sink_full = true;
                self.step_client(Input::SinkFull);
            }
            Event::SinkReady if self.sink_full => {
                self.sink_full = false;
                self.step_client(Input::SinkReady);
            }
            Event::SinkFull | Event::SinkReady => {}
            Event::Loss => self.lose(),
            Event::Blackout => {
                if let Some(connection) = &mut self.connection {
                    connection.dark = true;
                }
            }
            Event::Restart(down) => {
                self.up_at = self.up_at.max(self.now + millis(down));
                self.step_server(server::Input::End(server::Reason::Shutdown));
            }
            Event::Change => {
                self.generation += 1;
                // A file's identity is checked before each block that is read.
                self.step_server(server::Input::End(server::Reason::MediaFailed));
            }
        }
    }

    /// The client's logic after a loss, which is all there is to it.
    fn lose(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        self.paused = connection.client.paused_by_user();
        if connection.client.state() == client::State::Closing {
            self.outcome = Some(Outcome::Stopped);
        }
        self.connect_at = self.now + self.backoff();
    }

    fn backoff(&self) -> Duration {
        let backoff = &self.scenario.backoff;
        millis(backoff[self.connections % backoff.len()])
    }

    fn connect(&mut self) {
        let Scenario { chunk_sizes, delays: [to_server, to_client], .. } = &self.scenario;
        self.connections += 1;
        if self.now < self.up_at {
            self.connect_at = self.now + self.backoff().max(millis(1));
            return;
        }
        let earlier = Earlier {
            position: self.delivered.len() as u64,
            validator: self.validator.as_deref().and_then(Validator::new),
            ..Earlier::default()
        };
        let client = ClientSession::new(V2, None, secs(10), self.now).resuming(earlier);
        self.connection = Some(Connection {
            client: if self.paused { client.paused() } else { client },
            client_id: 0,
            server: ServerSession::new(V2, TIMEOUTS, self.now),
            server_id: 0,
            to_server: Link::new(to_server.clone()),
            to_client: Link::new(to_client.clone()),
            dark: false,
            // A byte a millisecond.
            pacer: Pacer::new(8_000),
            chunk_size: chunk_sizes[self.connections % chunk_sizes.len()],
            media: Bytes::new(),
            seq: 0,
            closed_by_server: false,
        });
        let resume = self.validator.clone().map(|validator| Options {
            start_offset: Some(self.delivered.len() as u64),
            validator: Some(validator),
            ..none()
        });
        self.step_client(client::Input::Connected(open(), resume.unwrap_or_default()));
        if self.sink_full {
            self.step_client(client::Input::SinkFull);
        }
    }

    fn step_client(&mut self, input: client::Input) {
        use client::Action;
        let now = self.now;
        let Some(connection) = &mut self.connection else { return };
        let (client, actions) = connection.client.step(input, now);
        connection.client = client;
        for action in actions.into_iter().flatten() {
            let Some(connection) = &mut self.connection else { panic!("{action:?} after the end") };
            let send = |connection: &mut Connection, pdu| {
                connection.to_server.send(Message::Pdu(connection.client_id, pdu), now);
            };
            match action {
                Action::Send(pdu) => send(connection, pdu),
                Action::SendHeartbeat => {
                    send(connection, Pdu::Heartbeat { timestamp: 1, echo: false });
                }
                Action::Accepted { options, session_id, .. } => {
                    connection.client_id = session_id;
                    assert!(self.validator.is_none() || self.validator == options.validator);
                    self.validator = options.validator;
                    assert_eq!(options.start_offset, Some(self.delivered.len() as u64));
                }
                Action::Deliver { payload, .. } => {
                    assert!(!self.sink_full || client.state() == client::State::Closing);
                    payload.pieces().iter().for_each(|piece| self.delivered.extend(piece));
                }
                Action::Close => {
                    send(connection, Pdu::Close(CloseReason::CLIENT, none()));
                    connection.to_server.send(Message::Fin, now);
                }
                Action::Echoed(timestamp) => assert_eq!(timestamp, 1),
                Action::Edge { .. } => panic!("it is no broadcast"),
                Action::Digest(digest) => {
                    let known = self.validator.as_ref().map(|validator| validator[0]);
                    assert_eq!(known, Some(digest[0]));
                }
                Action::End(end) => self.end(end),
                Action::Ignore(what) => panic!("the client ignored {what}"),
            }
        }
    }

    /// What the client makes of a session's end.
    fn end(&mut self, end: End) {
        self.outcome = match &end {
            End::Complete => Some(Outcome::Complete),
            End::Stopped => Some(Outcome::Stopped),
            End::Refused { code, .. } => Some(Outcome::Refused(*code)),
            End::Violation(error) => panic!("{error}"),
            End::Discontinuity(error) => panic!("{error}"),
            End::Closed { .. }
            | End::NoAnswer(_)
            | End::Stalled(_)
            | End::Timeout(_)
            | End::Cut => None,
        };
        if self.outcome.is_none() {
            self.ends.push(end);
            self.lose();
        }
    }

    fn step_server(&mut self, input: server::Input) {
        use server::{Action, Input, State};
        let now = self.now;
        let Some(connection) = &mut self.connection else { return };
        let (server, action) = connection.server.step(input, now);
        connection.server = server;
        match server.state() {
            State::Streaming => connection.pacer.run(now),
            _ => connection.pacer.pause(now),
        }
        let total = self.scenario.length;
        let pdu = match action {
            None => return,
            Some(Action::Open(_, options)) => {
                let generation = self.generation;
                let offset = usize::try_from(options.start_offset.unwrap_or(0)).unwrap();
                let refusal = if options.validator.is_some_and(|known| known[..] != [generation]) {
                    Some(NackCode::MediaChanged)
                } else if offset > total {
                    Some(NackCode::PastTheEnd)
                } else {
                    None
                };
                if let Some(code) = refusal {
                    return self.step_server(Input::Refused(Refusal::from(code)));
                }
                connection.media = media(generation, total);
                connection.media.advance(offset);
                let session_id = self.connections as u32;
                connection.server_id = session_id;
                return self.step_server(Input::Opened {
                    session_id,
                    owes_digest: false,
                    live: false,
                });
            }
            Some(Action::SendAck) => {
                let offset = total - connection.media.len();
                let options = Options {
                    start_offset: Some(offset as u64),
                    validator: Some(Bytes::copy_from_slice(&[self.generation])),
                    total_size: Some(total as u64),
                    ..none()
                };
                let max_chunk_size = connection.chunk_size as u32;
                Pdu::OpenAck(OpenAck { max_chunk_size, ..ACK }, options)
            }
            Some(Action::SendNack(refusal)) => Pdu::OpenNack(refusal.code.to_wire(V2), none()),
            Some(Action::SendHeartbeat) => Pdu::Heartbeat { timestamp: 0, echo: false },
            Some(Action::Echo(timestamp)) => Pdu::Heartbeat { timestamp, echo: true },
            Some(Action::Close(reason)) => {
                assert!(!connection.closed_by_server, "a session ends once");
                connection.closed_by_server = true;
                let digest = Some([self.generation; 32]).filter(|_| reason.to_wire().0 == 0);
                Pdu::Close(reason.to_wire(), Options { digest, ..none() })
            }
            // OPEN_STREAM crossed the server's shutting down.
            Some(Action::Ignore("OPEN_STREAM")) => return,
            Some(Action::Abort(server::Reason::Timeout)) => return self.lose(),
            Some(action) => panic!("the server came to {action:?}"),
        };
        let last = matches!(pdu, Pdu::Close(..));
        connection.to_client.send(Message::Pdu(connection.server_id, pdu), now);
        if last {
            connection.to_client.send(Message::Fin, now);
        }
    }
}

fn any_scenario() -> impl Strategy<Value = Scenario> {
    let event = prop_oneof![
        4 => Just(Event::TogglePause),
        3 => Just(Event::SinkFull),
        3 => Just(Event::SinkReady),
        4 => Just(Event::Loss),
        2 => Just(Event::Blackout),
        2 => (0..20_000_u64).prop_map(Event::Restart),
    ];
    // What ends a schedule is rare, so that most of them get far.
    let last =
        prop_oneof![4 => Just(None), 1 => Just(Some(Event::Stop)), 1 => Just(Some(Event::Change))];
    let delays = || prop::collection::vec(prop_oneof![0..50_u64, 0..1_500_u64], 1..8);
    let gap = || prop_oneof![0..100_u64, 0..3_000_u64, 0..20_000_u64];
    (
        0..60_usize,
        prop_oneof![Just(0), 0..5_000_u64],
        prop::collection::vec(1..=MAX_CHUNK, 1..4),
        [delays(), delays()],
        prop::collection::vec(0..10_000_u64, 1..4),
        prop::collection::vec((gap(), event), 0..20),
        (gap(), last, any::<prop::sample::Index>()),
    )
        .prop_map(
            |(length, millis_per_chunk, chunk_sizes, delays, backoff, mut events, last)| {
                if let (gap, Some(event), at) = last {
                    events.insert(at.index(events.len() + 1), (gap, event));
                }
                Scenario { length, millis_per_chunk, chunk_sizes, delays, backoff, events }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 1_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_lost_the_media_arrives_once_and_in_order(scenario in any_scenario()) {
        let had = |event: fn(&Event) -> bool| scenario.events.iter().any(|(_, one)| event(one));
        let world = World::new(&scenario).run();
        let generation = world.validator.as_ref().map_or(0, |validator| validator[0]);
        let media = media(generation, scenario.length);
        prop_assert!(media.starts_with(&world.delivered), "{:?}", world.delivered);
        match world.outcome {
            Some(Outcome::Complete) => prop_assert_eq!(world.delivered, media),
            Some(Outcome::Stopped) => prop_assert!(had(|event| matches!(event, Event::Stop))),
            Some(Outcome::Refused(code)) => {
                prop_assert_eq!(code, 6);
                prop_assert!(had(|event| matches!(event, Event::Change)));
            }
            None => unreachable!("the schedule has run"),
        }
    }
}

/// Twelve bytes, one a second, without any delay.
fn scenario(events: Vec<(u64, Event)>) -> Scenario {
    Scenario {
        length: 12,
        millis_per_chunk: 1_000,
        chunk_sizes: vec![1],
        delays: [vec![0], vec![0]],
        backoff: vec![500],
        events,
    }
}

#[test]
fn a_session_goes_on_with_the_next_byte_after_each_loss() {
    let losses = vec![(2_100, Event::Loss), (3_000, Event::Loss), (600, Event::Loss)];
    let world = World::new(&scenario(losses)).run();
    assert_eq!((world.outcome, world.connections), (Some(Outcome::Complete), 4));
    assert_eq!(world.delivered, media(0, 12));
    // 3 chunks before the first loss, 3 before the second, 1 before the third, 5 after it.
    assert_eq!(world.now, millis(5_700 + 500 + 4_000));
}

#[test]
fn a_loss_that_nobody_is_told_of_is_found_by_the_timers() {
    let world = World::new(&scenario(vec![(2_100, Event::Blackout)])).run();
    assert_eq!(world.ends, [End::Stalled(secs(10))]);
    assert_eq!((world.outcome, world.connections), (Some(Outcome::Complete), 2));
    assert_eq!(world.delivered, media(0, 12));
}

#[test]
fn a_server_that_shuts_down_is_waited_for() {
    let world = World::new(&scenario(vec![(2_100, Event::Restart(1_400))])).run();
    let reason = CloseReason::SHUTDOWN;
    assert_eq!(
        world.ends,
        [End::Closed { reason, text: None, retry_after: None, retry_with: None }]
    );
    assert_eq!((world.outcome, world.connections), (Some(Outcome::Complete), 4));
    assert_eq!(world.delivered, media(0, 12));
}

#[test]
fn media_that_changed_is_never_mixed() {
    // While it streams the server notices; during an outage the validator does.
    let streaming = vec![(2_100, Event::Change)];
    let outage = vec![(2_100, Event::Loss), (100, Event::Change)];
    for (events, ends) in [(streaming, 1), (outage, 0)] {
        let world = World::new(&scenario(events)).run();
        assert_eq!((world.outcome, world.ends.len()), (Some(Outcome::Refused(6)), ends));
        assert_eq!(world.delivered, media(0, 3));
    }
    // Before the first session there is nothing that it could be mixed with.
    let mut before = World::new(&scenario(vec![(0, Event::Change)]));
    before.connect_at = millis(100);
    let world = before.run();
    assert_eq!((world.outcome, world.delivered), (Some(Outcome::Complete), media(1, 12).to_vec()));
}

#[test]
fn a_paused_session_stays_paused_over_losses() {
    // The second is lost again before the server could answer.
    let scenario = Scenario {
        delays: [vec![0], vec![300]],
        ..scenario(vec![
            (2_100, Event::TogglePause),
            (1_000, Event::Loss),
            (600, Event::Loss),
            (60_000, Event::TogglePause),
        ])
    };
    let world = World::new(&scenario).run();
    assert_eq!((world.outcome, world.connections), (Some(Outcome::Complete), 3));
    assert_eq!(world.delivered, media(0, 12));
    // 3 chunks before, and one that the server sends before PAUSE_STREAM arrives.
    assert_eq!(world.now, millis(2_100 + 1_000 + 600 + 60_000 + 700 + 7_000 + 300));
}

#[test]
fn a_pause_may_be_asked_for_and_ended_during_an_outage() {
    let outage = [(2_100, Event::Loss), (100, Event::TogglePause)];
    let paused = World::new(&scenario([&outage[..], &[(60_000, Event::TogglePause)]].concat()));
    assert!(paused.run().now > secs(62));
    let twice = World::new(&scenario([&outage[..], &[(100, Event::TogglePause)]].concat()));
    assert!(twice.run().now < secs(15));
}

#[test]
fn a_sink_that_stays_full_over_a_loss_is_no_stall() {
    let events = vec![(2_100, Event::SinkFull), (100, Event::Loss), (60_000, Event::SinkReady)];
    let world = World::new(&scenario(events)).run();
    assert_eq!((world.outcome, world.connections), (Some(Outcome::Complete), 2));
    assert_eq!(world.ends, []);
    assert_eq!(world.delivered, media(0, 12));
}
