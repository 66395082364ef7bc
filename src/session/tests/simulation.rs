//! The two machines against each other, under a clock that jumps from event to event.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::session::client::{self, Cause, ClientSession, End, ScriptedPause};
use crate::session::server::{self, Reason, ServerSession};
use crate::session::{Pacer, Time};

/// More than can happen in any of the sessions below.
const TOO_MANY: usize = 5_000;

/// What the origin's client sends in version 1, whatever it was assigned.
const ANY_ID: u32 = 12_345;

/// What happens to the client from outside.
#[derive(Debug, Clone, Copy)]
enum Event {
    TogglePause,
    SinkFull,
    SinkReady,
    Stop,
}

#[derive(Debug, Clone)]
struct Scenario {
    version: Version,
    chunks: u32,
    /// Between two chunks; at most the keepalive interval, as the server sees to.
    millis_per_chunk: u64,
    script: Option<ScriptedPause>,
    /// How long each message takes to the server, and to the client, over and over.
    delays: [Vec<u64>; 2],
    /// How long after the one before each of them comes.
    events: Vec<(u64, Event)>,
}

/// What travels.
#[expect(clippy::large_enum_variant, reason = "few are under way")]
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// A PDU and the session id in its header.
    Pdu(u32, Pdu),
    /// The end of the stream.
    Fin,
    /// The client has closed the connection.
    Gone,
}

/// One direction: nothing is lost, nothing overtakes.
#[derive(Debug)]
pub(super) struct Link {
    delays: std::iter::Cycle<std::vec::IntoIter<u64>>,
    under_way: VecDeque<(Time, Message)>,
}

impl Link {
    pub(super) fn new(delays: Vec<u64>) -> Self {
        Self { delays: delays.into_iter().cycle(), under_way: VecDeque::new() }
    }

    pub(super) fn send(&mut self, message: Message, now: Time) {
        let arrival = now + Duration::from_millis(self.delays.next().unwrap());
        let arrival = self.under_way.back().map_or(arrival, |(last, _)| arrival.max(*last));
        self.under_way.push_back((arrival, message));
    }

    pub(super) fn next_arrival(&self) -> Option<Time> {
        self.under_way.front().map(|(arrival, _)| *arrival)
    }

    pub(super) fn receive(&mut self, now: Time) -> Option<Message> {
        self.next_arrival().filter(|arrival| *arrival <= now)?;
        self.under_way.pop_front().map(|(_, message)| message)
    }
}

/// Whose turn it is next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Event,
    ServerHears,
    ClientHears,
    ChunkIsDue,
    ServerTick,
    ClientTick,
}

struct World {
    version: Version,
    now: Time,
    events: VecDeque<(Time, Event)>,
    client: ClientSession,
    server: ServerSession,
    to_server: Link,
    to_client: Link,
    pacer: Pacer,
    millis_per_chunk: u64,
    chunks: u32,
    sent: u32,
    sink_full: bool,
    /// Session ids as each side sends them.
    client_id: u32,
    server_id: u32,
    /// Timestamps of the client's heartbeats that have not come back.
    beats: VecDeque<u64>,
    delivered: Vec<u32>,
    end: Option<End>,
    reason: Option<Reason>,
    disconnected: bool,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let [to_server, to_client] = scenario.delays.clone();
        let events = scenario.events.iter().scan(Time::ZERO, |at, (gap, event)| {
            *at += Duration::from_millis(*gap);
            Some((*at, *event))
        });
        let version = scenario.version;
        let mut world = Self {
            version,
            now: Time::ZERO,
            events: events.collect(),
            client: ClientSession::new(version, scenario.script, secs(10), Time::ZERO),
            server: ServerSession::new(version, TIMEOUTS, Time::ZERO),
            to_server: Link::new(to_server),
            to_client: Link::new(to_client),
            // A byte a millisecond.
            pacer: Pacer::new(8_000),
            millis_per_chunk: scenario.millis_per_chunk,
            chunks: scenario.chunks,
            sent: 0,
            sink_full: false,
            client_id: 0,
            server_id: 0,
            beats: VecDeque::new(),
            delivered: vec![],
            end: None,
            reason: None,
            disconnected: false,
        };
        world.step_client(client::Input::Connected(open(), asked()));
        world
    }

    /// Runs until both sides are done.
    fn run(mut self) -> Self {
        for _ in 0..TOO_MANY {
            if self.end.is_some() && self.disconnected {
                return self;
            }
            if self.events.is_empty() {
                self.let_go();
            }
            let (at, turn) = self.next_turn().expect("nothing will ever happen again");
            self.now = self.now.max(at);
            self.take(turn);
        }
        panic!("stuck in {:?} and {:?}", self.client, self.server);
    }

    /// In the end whoever holds the session up lets go of it.
    fn let_go(&mut self) {
        if self.sink_full {
            self.events.push_back((self.now, Event::SinkReady));
        } else if self.client.state() == client::State::Paused(Cause::User) {
            self.events.push_back((self.now, Event::TogglePause));
        }
    }

    fn next_turn(&self) -> Option<(Time, Turn)> {
        let listening = !self.sink_full || self.client.state() == client::State::Closing;
        let streaming = self.server.state() == server::State::Streaming;
        let media_time = u64::from(self.sent) * self.millis_per_chunk;
        let turns = [
            (self.events.front().map(|(at, _)| *at), Turn::Event),
            (self.to_server.next_arrival(), Turn::ServerHears),
            (self.to_client.next_arrival().filter(|_| listening), Turn::ClientHears),
            (self.pacer.due(media_time).filter(|_| streaming), Turn::ChunkIsDue),
            (self.server.deadline(), Turn::ServerTick),
            (self.client.deadline(), Turn::ClientTick),
        ];
        turns.into_iter().filter_map(|(at, turn)| Some((at?, turn))).min_by_key(|(at, _)| *at)
    }

    fn take(&mut self, turn: Turn) {
        use client::Input as ToClient;
        use server::Input as ToServer;
        match turn {
            Turn::Event => {
                let (_, event) = self.events.pop_front().unwrap();
                self.happen(event);
            }
            Turn::ServerHears => match self.to_server.receive(self.now).unwrap() {
                Message::Pdu(session_id, pdu) => {
                    self.step_server(ToServer::Frame(Frame::Pdu { session_id, pdu }));
                }
                Message::Fin => self.step_server(ToServer::PeerFinished),
                Message::Gone => {
                    self.disconnected = true;
                    self.step_server(ToServer::Delivered);
                }
            },
            Turn::ClientHears => match self.to_client.receive(self.now).unwrap() {
                Message::Pdu(session_id, pdu) => {
                    self.step_client(ToClient::Frame(Frame::Pdu { session_id, pdu }));
                }
                Message::Fin => self.step_client(ToClient::StreamEnded),
                Message::Gone => unreachable!("only a client closes the connection here"),
            },
            Turn::ChunkIsDue => {
                if self.sent < self.chunks {
                    self.sent += 1;
                    self.send_to_client(chunk(self.sent));
                }
                if self.sent == self.chunks {
                    self.step_server(ToServer::End(Reason::Complete));
                }
            }
            Turn::ServerTick => {
                let before = self.server;
                self.step_server(server_tick());
                let moved = self.server.deadline() > before.deadline();
                assert!(moved || self.server.state() != before.state(), "busy in {before:?}");
            }
            Turn::ClientTick => {
                let before = self.client;
                self.step_client(ToClient::Tick);
                let moved = self.client.deadline() > before.deadline();
                assert!(moved || self.client.state() != before.state(), "busy in {before:?}");
            }
        }
    }

    fn happen(&mut self, event: Event) {
        use client::{Input, State};
        match event {
            Event::TogglePause => self.step_client(Input::TogglePause),
            Event::Stop => self.step_client(Input::Stop),
            // A sink that has been given nothing has room.
            Event::SinkFull
                if matches!(self.client.state(), State::Streaming | State::Paused(_)) =>
            {
                self.sink_full = true;
                self.step_client(Input::SinkFull);
            }
            Event::SinkReady if self.sink_full => {
                self.sink_full = false;
                self.step_client(Input::SinkReady);
            }
            Event::SinkFull | Event::SinkReady => {}
        }
    }

    fn send_to_server(&mut self, pdu: Pdu) {
        self.to_server.send(Message::Pdu(self.client_id, pdu), self.now);
    }

    fn send_to_client(&mut self, pdu: Pdu) {
        self.to_client.send(Message::Pdu(self.server_id, pdu), self.now);
    }

    fn step_client(&mut self, input: client::Input) {
        use client::Action;
        let (client, actions) = self.client.step(input, self.now);
        self.client = client;
        for action in actions.into_iter().flatten() {
            match action {
                Action::Send(pdu) => self.send_to_server(pdu),
                Action::SendHeartbeat => {
                    let timestamp = self.now.as_nanos() as u64;
                    self.beats.push_back(timestamp);
                    self.send_to_server(Pdu::Heartbeat { timestamp, echo: false });
                }
                Action::Accepted { ack, options, session_id } => {
                    assert_eq!((ack, options, session_id), (ACK, self.granted(), SESSION));
                    self.client_id = if self.version == V1 { ANY_ID } else { session_id };
                }
                Action::Deliver { seq, payload: bytes } => {
                    assert_eq!(bytes, payload(seq));
                    self.delivered.push(seq);
                }
                Action::Close => {
                    self.send_to_server(Pdu::Close(CloseReason::CLIENT, none()));
                    self.to_server.send(Message::Fin, self.now);
                }
                Action::Echoed(timestamp) => {
                    assert_eq!(self.version, V2, "version 1 has no echo");
                    assert_eq!(self.beats.pop_front(), Some(timestamp), "each comes back once");
                }
                Action::Edge { .. } => panic!("it is no broadcast"),
                Action::Digest(digest) => assert_eq!(digest, [1; 32]),
                Action::End(end) => {
                    self.to_server.send(Message::Gone, self.now);
                    assert_eq!(self.end.replace(end), None, "a session ends once");
                }
                Action::Ignore(what) => panic!("the client ignored {what}"),
            }
        }
    }

    /// What the server says of media that is all chunks.
    fn granted(&self) -> Options {
        let total_size = Some(u64::from(self.chunks) * MAX_CHUNK as u64);
        Options { total_size, ..granted() }
    }

    fn step_server(&mut self, input: server::Input) {
        use server::{Action, Input, State};
        let (server, action) = self.server.step(input, self.now);
        self.server = server;
        match server.state() {
            State::Streaming => self.pacer.run(self.now),
            _ => self.pacer.pause(self.now),
        }
        match action {
            None => {}
            Some(Action::Open(..)) => {
                self.server_id = SESSION;
                self.step_server(Input::Opened {
                    session_id: SESSION,
                    owes_digest: false,
                    live: false,
                });
            }
            Some(Action::SendAck) => self.send_to_client(Pdu::OpenAck(ACK, self.granted())),
            Some(Action::SendHeartbeat) => {
                self.send_to_client(Pdu::Heartbeat { timestamp: 0, echo: false });
            }
            Some(Action::Echo(timestamp)) => {
                assert_eq!(self.version, V2, "version 1 has no echo");
                self.send_to_client(Pdu::Heartbeat { timestamp, echo: true });
            }
            Some(Action::Close(reason)) => {
                let (number, digest) = match self.version {
                    V1 => (CloseReason::COMPLETE, None),
                    V2 => (reason.to_wire(), Some([1; 32])),
                };
                self.send_to_client(Pdu::Close(number, Options { digest, ..none() }));
                self.to_client.send(Message::Fin, self.now);
                assert_eq!(self.reason.replace(reason), None, "a session ends once");
            }
            Some(action) => panic!("the server came to {action:?}"),
        }
    }
}

fn any_scenario() -> impl Strategy<Value = Scenario> {
    let event = prop_oneof![
        4 => Just(Event::TogglePause),
        3 => Just(Event::SinkFull),
        3 => Just(Event::SinkReady),
        1 => Just(Event::Stop),
    ];
    let script = (1..6_u32, 0..8_000_u64)
        .prop_map(|(at, millis)| ScriptedPause { at, length: Duration::from_millis(millis) });
    // Long enough for much to cross, and short enough for no side to give the other up: at worst
    // 1.5 s for RESUME to arrive, 5 s for the next chunk, 1.5 s for that to arrive.
    let delays = || prop::collection::vec(prop_oneof![0..50_u64, 0..1_500_u64], 1..8);
    let gap = prop_oneof![0..100_u64, 0..20_000_u64];
    (
        prop_oneof![Just(V1), Just(V2)],
        0..20_u32,
        prop_oneof![Just(0), 0..5_000_u64],
        prop::option::of(script),
        [delays(), delays()],
        prop::collection::vec((gap, event), 0..12),
    )
        .prop_map(|(version, chunks, millis_per_chunk, script, delays, events)| Scenario {
            version,
            chunks,
            millis_per_chunk,
            script,
            delays,
            events,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_comes_to_its_end_whatever_crosses_on_the_way(scenario in any_scenario()) {
        let stopped = scenario.events.iter().any(|(_, event)| matches!(event, Event::Stop));
        let world = World::new(&scenario).run();

        let in_order = 1..=world.delivered.len() as u32;
        prop_assert!(world.delivered.iter().copied().eq(in_order), "{:?}", world.delivered);
        match world.end {
            Some(End::Complete) => {
                prop_assert_eq!(world.delivered.len() as u32, scenario.chunks);
                prop_assert_eq!(&world.reason, &Some(Reason::Complete));
            }
            Some(End::Stopped) => {
                prop_assert!(stopped);
                // Who stops before OPEN_ACK just leaves.
                let told = matches!(world.reason, Some(Reason::Client | Reason::Complete));
                prop_assert!(told || world.delivered.is_empty());
            }
            end => prop_assert!(false, "{:?}", end),
        }
        if world.reason.is_some() {
            prop_assert_eq!(world.server.state(), server::State::Closed);
        }
    }
}

#[test]
fn a_pause_makes_the_session_longer_by_its_length() {
    let script = ScriptedPause { at: 3, length: secs(2) };
    let scenario = Scenario {
        version: V2,
        chunks: 8,
        millis_per_chunk: 1_000,
        script: Some(script),
        delays: [vec![0], vec![0]],
        events: vec![],
    };
    let ends_at = |scenario: &Scenario| World::new(scenario).run().now;
    assert_eq!(ends_at(&scenario), secs(9));
    assert_eq!(ends_at(&Scenario { script: None, ..scenario }), secs(7));
}
