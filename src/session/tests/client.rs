//! The client's table and timers.

use super::*;
use crate::session::client::{Action, Cause, Client, End, Input, ScriptedPause, State};
use State::{Closed, Closing, Idle, OpenSent, Paused, Streaming};

const ANSWER_WITHIN: Duration = secs(10);

/// When the sessions of the table are in the state that they are to be in.
const NOW: Duration = secs(10);

const USER: State = Paused(Cause::User);
const SCRIPT: State = Paused(Cause::Script(secs(12)));
const SINK: State = Paused(Cause::Sink);
const STATES: [State; 8] = [Idle, OpenSent, Streaming, USER, SCRIPT, SINK, Closing, Closed];

/// One input of every kind. Chunk 2 is the one that is due.
fn inputs() -> Vec<Input> {
    let pdus = [
        Pdu::OpenStream(open()),
        Pdu::OpenAck(ACK),
        Pdu::OpenNack(3),
        chunk(2),
        Pdu::Pause,
        Pdu::Resume,
        Pdu::Close,
        Pdu::Heartbeat(1),
    ];
    let others = [
        Input::Connected(open()),
        Input::Frame(Frame::Malformed(malformed(Kind::OpenAck))),
        Input::Frame(Frame::Skipped { kind: 200 }),
        Input::Frame(Frame::Skipped { kind: 5 }),
        Input::Violation(VERSION),
        Input::StreamEnded,
        Input::TogglePause,
        Input::Stop,
        Input::SinkFull,
        Input::SinkReady,
        Input::Tick,
    ];
    pdus.into_iter().map(received).chain(others).collect()
}

fn received(sent: Pdu) -> Input {
    Input::Frame(pdu(sent))
}

/// What a state makes of an input: the next state, or none if it stays, and the action.
type Cell = (Option<State>, Option<Action>);

fn nothing() -> Cell {
    (None, None)
}
fn act(action: Action) -> Cell {
    (None, Some(action))
}
fn ignore(what: &'static str) -> Cell {
    act(Action::Ignore(what))
}
fn to(state: State, action: Action) -> Cell {
    (Some(state), Some(action))
}
fn end(end: End) -> Cell {
    to(Closed, Action::End(end))
}
fn deliver(seq: u32) -> Cell {
    act(Action::Deliver { seq, payload: payload(seq) })
}
fn resume() -> Cell {
    to(Streaming, Action::Send(Pdu::Resume))
}

/// The table of the protocol: one line an input, one column a state. No timer is due.
///
/// There is no wildcard, so that an input that is added has to be thought about here (and be
/// added to [`inputs`]).
#[rustfmt::skip]
fn table(input: &Input) -> [Cell; 8] {
    use Action::{Accepted, Close, Send};
    use End::{Complete, Cut, Refused, Stopped};
    match input {
        //   IDLE, OPEN_SENT, STREAMING, PAUSED by the user, by the script, by the sink, CLOSING, CLOSED
        Input::Frame(Frame::Pdu { pdu, session_id }) => match pdu {
            Pdu::OpenStream(_) => misplaced("OPEN_STREAM"),
            Pdu::OpenAck(ack) => {
                let accepted = to(Streaming, Accepted { ack: *ack, session_id: *session_id });
                let ignore = || ignore("OPEN_ACK");
                [ignore(), accepted, ignore(), ignore(), ignore(), ignore(), ignore(), nothing()]
            }
            Pdu::OpenNack(code) => {
                let ignore = || ignore("OPEN_NACK");
                [ignore(), end(Refused(*code)), ignore(), ignore(), ignore(), ignore(), ignore(), nothing()]
            }
            Pdu::Chunk(_) => [ignore("STREAM_CHUNK"), ignore("STREAM_CHUNK"), deliver(2), deliver(2), deliver(2), deliver(2), nothing(), nothing()],
            Pdu::Pause => misplaced("PAUSE_STREAM"),
            Pdu::Resume => misplaced("RESUME_STREAM"),
            Pdu::Close => [ignore("CLOSE_STREAM"), ignore("CLOSE_STREAM"), end(Complete), end(Complete), end(Complete), end(Complete), end(Stopped), nothing()],
            Pdu::Heartbeat(_) => [const { (None, None) }; 8],
        },
        Input::Frame(Frame::Malformed(error)) | Input::Violation(error) => {
            let end = || end(End::Violation(error.clone()));
            [end(), end(), end(), end(), end(), end(), end(), nothing()]
        }
        Input::Frame(Frame::Skipped { kind: 5 }) => misplaced("PAUSE_STREAM"),
        Input::Frame(Frame::Skipped { .. }) => misplaced("a PDU of unknown type"),
        Input::Connected(open) => [to(OpenSent, Send(Pdu::OpenStream(open.clone()))), nothing(), nothing(), nothing(), nothing(), nothing(), nothing(), nothing()],
        Input::StreamEnded => [end(Cut), end(Cut), end(Cut), end(Cut), end(Cut), end(Cut), end(Stopped), nothing()],
        Input::TogglePause => [nothing(), nothing(), to(USER, Send(Pdu::Pause)), resume(), resume(), (Some(USER), None), nothing(), nothing()],
        Input::Stop => [end(Stopped), end(Stopped), to(Closing, Close), to(Closing, Close), to(Closing, Close), to(Closing, Close), nothing(), nothing()],
        Input::SinkReady => [nothing(), nothing(), nothing(), nothing(), nothing(), resume(), nothing(), nothing()],
        Input::SinkFull | Input::Tick => [const { (None, None) }; 8],
    }
}

/// A PDU that has no row: it is logged while there is a session.
fn misplaced(what: &'static str) -> [Cell; 8] {
    let ignore = || ignore(what);
    [ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), nothing()]
}

/// Takes steps whose actions do not matter.
fn run(client: Client, steps: impl IntoIterator<Item = (Input, Duration)>) -> Client {
    steps.into_iter().fold(client, |client, (input, now)| client.step(input, now).0)
}

/// A session with these terms that streams since `now`.
fn streaming(ack: OpenAck, script: Option<ScriptedPause>, now: Duration) -> Client {
    let new = Client::new(script, ANSWER_WITHIN, now);
    run(new, [(Input::Connected(open()), now), (received(Pdu::OpenAck(ack)), now)])
}

/// A session in this state at [`NOW`], with chunk 1 received where there was time for it.
fn session(state: State) -> Client {
    let new = Client::new(None, ANSWER_WITHIN, NOW);
    let script = ScriptedPause { at: 1, length: secs(2) };
    let streaming = |script| run(streaming(ACK, script, NOW), [(received(chunk(1)), NOW)]);
    let client = match state {
        Idle => new,
        OpenSent => run(new, [(Input::Connected(open()), NOW)]),
        Streaming => streaming(None),
        Paused(Cause::User) => run(streaming(None), [(Input::TogglePause, NOW)]),
        Paused(Cause::Script(_)) => streaming(Some(script)),
        Paused(Cause::Sink) => sink_pause(NOW),
        Closing => run(streaming(None), [(Input::Stop, NOW)]),
        Closed => run(streaming(None), [(Input::Stop, NOW), (Input::StreamEnded, NOW)]),
    };
    assert_eq!(client.state(), state);
    client
}

/// A session that its full sink pauses at `now`, with a heartbeat just sent.
fn sink_pause(now: Duration) -> Client {
    let before = now - KEEPALIVE;
    let full = [(received(chunk(1)), before), (Input::SinkFull, before)];
    let client = run(streaming(ACK, None, before), full);
    let (client, actions) = client.step(Input::Tick, now);
    assert_eq!(actions, [Some(Action::Send(Pdu::Pause)), None]);
    run(client, [(Input::Tick, now)])
}

/// When a session comes to an end, and to which, if these are the only steps beside the ticks.
fn end_of(
    mut client: Client,
    steps: impl IntoIterator<Item = (Input, Duration)>,
) -> Option<(Duration, End)> {
    let mut steps = steps.into_iter().peekable();
    for _ in 0..200 {
        let due = client.deadline();
        let first = steps.next_if(|(_, at)| due.is_none_or(|due| *at < due));
        let (input, now) = match first {
            Some(step) => step,
            None => (Input::Tick, due?),
        };
        let (next, actions) = client.step(input, now);
        client = next;
        if let Some(Action::End(end)) = actions.into_iter().flatten().last() {
            return Some((now, end));
        }
    }
    None
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    for (column, state) in STATES.into_iter().enumerate() {
        for input in inputs() {
            let label = format!("{state:?} on {input:?}");
            let (next, action) = table(&input).into_iter().nth(column).unwrap();
            let (client, done) = session(state).step(input, NOW);
            assert_eq!((client.state(), done), (next.unwrap_or(state), [action, None]), "{label}");
        }
    }
}

#[test]
fn states_have_the_numbers_of_the_protocol() {
    assert_eq!(STATES.map(State::number), [0, 1, 2, 3, 3, 3, 4, 5]);
}

#[test]
fn chunks_must_count_by_one_from_one() {
    let new = streaming(ACK, None, NOW);
    assert_eq!(new.last_seq(), 0);
    for (client, wrong, want) in [
        (new, [0, 2, u32::MAX], 1),
        (session(Streaming), [1, 0, 3], 2),
        (session(USER), [1, 0, 3], 2),
    ] {
        for got in wrong {
            let (client, actions) = client.step(received(chunk(got)), NOW);
            let violation = End::Violation(Error::Sequence { got, want });
            assert_eq!(client.state(), Closed);
            assert_eq!(actions, [Some(Action::End(violation)), None]);
        }
        let (client, _) = client.step(received(chunk(want)), NOW);
        assert_eq!(client.last_seq(), want);
    }
}

#[test]
fn a_chunk_must_not_be_larger_than_granted() {
    for (granted, size, accepted) in [
        (4, 4, true),
        (4, 5, false),
        (0, 1, false),
        // Whatever a server grants itself, this implementation takes 1 MiB.
        (u32::MAX, 1_048_576, true),
        (u32::MAX, 1_048_577, false),
    ] {
        let client = streaming(OpenAck { max_chunk_size: granted, ..ACK }, None, NOW);
        let payload = Payload::from(bytes::Bytes::from(vec![0; size]));
        let [action, _] = client.step(received(Pdu::Chunk(Chunk { seq: 1, payload })), NOW).1;
        let limit = granted.min(1_048_576);
        let error = Error::ChunkTooLarge { got: size as u32, limit };
        let violation = Some(Action::End(End::Violation(error)));
        assert_eq!(action == violation, !accepted, "{granted}, {size}: {action:?}");
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let expected = Some((secs(20), End::NoAnswer(ANSWER_WITHIN)));
    assert_eq!(end_of(session(OpenSent), []), expected);
    // A sign of life is not an answer.
    for other in [received(Pdu::Heartbeat(1)), Input::Frame(Frame::Skipped { kind: 9 })] {
        assert_eq!(end_of(session(OpenSent), [(other, secs(15))]), expected);
    }
}

#[test]
fn a_client_sends_heartbeats_while_it_streams_and_while_it_is_paused() {
    for state in [Streaming, USER, SCRIPT, SINK] {
        let mut client = session(state);
        let mut beats = vec![];
        for now in (10..=25).map(secs) {
            // Keeps the server from being stalled.
            client = run(client, [(received(chunk(client.last_seq() + 1)), now)]);
            let (next, actions) = client.step(Input::Tick, now);
            client = next;
            if actions[0] == Some(Action::SendHeartbeat) {
                beats.push(now);
            }
        }
        assert_eq!(beats, [secs(15), secs(20), secs(25)], "{state:?}");
    }
}

#[test]
fn a_silent_server_is_given_up_after_the_session_timeout() {
    // With these terms a stall comes after the timeout.
    let patient = OpenAck { keepalive: 20, ..ACK };
    for client in [streaming(patient, None, NOW), session(USER)] {
        let timeout = |at| Some((secs(at), End::Timeout(SESSION_TIMEOUT)));
        assert_eq!(end_of(client, []), timeout(40));
        let heartbeat = [(received(Pdu::Heartbeat(1)), secs(16))];
        assert_eq!(end_of(client, heartbeat), timeout(46));
        let skipped = [(Input::Frame(Frame::Skipped { kind: 9 }), secs(16))];
        assert_eq!(end_of(client, skipped), timeout(40), "only valid PDUs count");
    }
}

#[test]
fn a_server_that_sends_no_chunks_has_stalled() {
    let stalled = |at| Some((secs(at), End::Stalled(secs(10))));
    let client = session(Streaming);
    assert_eq!(end_of(client, []), stalled(20));
    let (_, actions) = client.step(Input::Tick, secs(20));
    assert_eq!(actions[0], Some(Action::Close), "it is told");

    let heartbeat = [(received(Pdu::Heartbeat(1)), secs(19))];
    assert_eq!(end_of(client, heartbeat), stalled(20), "only chunks count");
    assert_eq!(end_of(client, [(received(chunk(2)), secs(19))]), stalled(29));
    let pause = [(Input::TogglePause, secs(12)), (Input::TogglePause, secs(28))];
    assert_eq!(end_of(client, pause), stalled(38), "a pause is not a stall");
    let full = [(Input::SinkFull, secs(12)), (Input::SinkReady, secs(14))];
    assert_eq!(end_of(client, full), stalled(24), "neither is its own sink");
    let late = [(Input::SinkFull, secs(19)), (Input::SinkReady, secs(22))];
    assert_eq!(end_of(client, late), stalled(32), "nor when it is full just before the time");
}

#[test]
fn intervals_of_nothing_are_taken_as_a_second() {
    let stalled = Some((secs(12), End::Stalled(secs(2))));
    assert_eq!(end_of(streaming(OpenAck { keepalive: 0, ..ACK }, None, NOW), []), stalled);
    let silent = Some((secs(11), End::Timeout(secs(1))));
    assert_eq!(end_of(streaming(OpenAck { session_timeout: 0, ..ACK }, None, NOW), []), silent);
}

#[test]
fn a_full_sink_holds_the_timers_that_count_what_is_not_read() {
    for state in [Streaming, USER, SCRIPT] {
        assert_eq!(end_of(session(state), [(Input::SinkFull, secs(11))]), None, "{state:?}");
    }
    assert_eq!(end_of(session(SINK), []), None);
    // The time without reading is forgotten, not added.
    let full = [(Input::SinkFull, secs(11)), (Input::SinkReady, secs(501))];
    let timeout = Some((secs(531), End::Timeout(SESSION_TIMEOUT)));
    assert_eq!(end_of(session(USER), full), timeout);
}

#[test]
fn a_sink_that_takes_nothing_for_the_keepalive_interval_becomes_a_pause() {
    let pause = [Some(Action::Send(Pdu::Pause)), None];
    // The interval counts from the first time that the sink is full.
    let full = [(Input::SinkFull, secs(11)), (Input::SinkFull, secs(13))];
    let client = run(session(Streaming), full.into_iter().chain([(Input::Tick, secs(15))]));
    assert_eq!(client.step(Input::Tick, just_before(secs(16))).0.state(), Streaming);
    let (client, actions) = client.step(Input::Tick, secs(16));
    assert_eq!((client.state(), actions), (SINK, pause));

    let brief = [(Input::SinkFull, secs(11)), (Input::SinkReady, secs(15))];
    assert_eq!(run(session(Streaming), brief).step(Input::Tick, secs(16)).0.state(), Streaming);
}

#[test]
fn the_user_may_take_a_pause_over_from_the_sink() {
    let user = run(session(SINK), [(Input::TogglePause, secs(20))]);
    let (user, actions) = user.step(Input::SinkReady, secs(21));
    assert_eq!((user.state(), actions), (USER, [None, None]), "the sink does not end it");
    let (client, actions) = user.step(Input::TogglePause, secs(22));
    assert_eq!((client.state(), actions), (Streaming, [Some(Action::Send(Pdu::Resume)), None]));
}

#[test]
fn a_scripted_pause_comes_after_its_chunk_and_ends_by_itself() {
    let script = Some(ScriptedPause { at: 3, length: secs(2) });
    let client = streaming(ACK, script, NOW);
    let client = run(client, [(received(chunk(1)), NOW), (received(chunk(2)), NOW)]);
    assert_eq!(client.state(), Streaming);
    let (client, actions) = client.step(received(chunk(3)), NOW);
    let deliver = Action::Deliver { seq: 3, payload: payload(3) };
    assert_eq!(actions, [Some(deliver), Some(Action::Send(Pdu::Pause))]);
    assert_eq!((client.state(), client.deadline()), (SCRIPT, Some(secs(12))));

    let early = client.step(Input::Tick, just_before(secs(12))).0;
    assert_eq!(early.state(), SCRIPT);
    let (client, actions) = client.step(Input::Tick, secs(12));
    assert_eq!((client.state(), actions), (Streaming, [Some(Action::Send(Pdu::Resume)), None]));
}

#[test]
fn a_scripted_pause_leaves_a_pause_of_the_user_alone() {
    let script = Some(ScriptedPause { at: 1, length: secs(2) });
    let client = run(streaming(ACK, script, NOW), [(Input::TogglePause, NOW)]);
    let (client, actions) = client.step(received(chunk(1)), NOW);
    assert_eq!((client.state(), &actions[1]), (USER, &None));
    assert_eq!(run(client, [(Input::Tick, secs(13))]).state(), USER);
}

#[test]
fn a_client_that_stops_waits_two_seconds_for_the_answer() {
    let stop = [(Input::Stop, secs(12)), (received(chunk(2)), secs(13))];
    let client = run(session(Streaming), stop);
    assert_eq!(client.step(Input::Tick, just_before(secs(14))).0.state(), Closing);
    assert_eq!(end_of(client, []), Some((secs(14), End::Stopped)));
}

/// The driver must not find a deadline in the past that a tick does not move, whatever the terms.
#[test]
fn a_tick_at_the_deadline_is_never_in_vain() {
    let extreme = [0, u32::MAX].map(|seconds| {
        streaming(OpenAck { keepalive: seconds, session_timeout: seconds, ..ACK }, None, NOW)
    });
    for mut client in STATES.map(session).into_iter().chain(extreme) {
        for _ in 0..100 {
            let Some(deadline) = client.deadline() else { break };
            let state = client.state();
            client = client.step(Input::Tick, deadline).0;
            let moved = client.deadline().is_none_or(|later| later > deadline);
            assert!(moved || client.state() != state, "{state:?}");
        }
    }
}
