//! The client's table and timers.

use super::*;
use crate::session::client::{Action, Cause, ClientSession, End, Input, ScriptedPause, State};
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
    let others = [
        Input::Connected(open(), asked()),
        Input::Frame(Frame::Malformed(malformed(Kind::OpenAck))),
        Input::Violation(VERSION),
        Input::StreamEnded,
        Input::TogglePause,
        Input::Stop,
        Input::SinkFull,
        Input::SinkReady,
        Input::Tick,
    ];
    // Whatever a type byte says that this side does not read.
    let skipped = (0..=u8::MAX).map(|kind| Input::Frame(Frame::Skipped { kind }));
    every_pdu().into_iter().map(received).chain(skipped).chain(others).collect()
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

/// The table of the protocol: one line an input, one column a state. No timer is due. It is the
/// same in both versions; what they differ in is which PDUs get here, and session ids.
///
/// There is no wildcard, so that an input that is added has to be thought about here (and be
/// added to [`inputs`]).
#[rustfmt::skip]
fn table(input: &Input) -> [Cell; 8] {
    use Action::{Accepted, Close, Echoed, Send};
    use End::{Complete, Cut, Stopped};
    match input {
        //   IDLE, OPEN_SENT, STREAMING, PAUSED by the user, by the script, by the sink, CLOSING, CLOSED
        Input::Frame(Frame::Pdu { pdu, session_id }) => match pdu {
            Pdu::OpenStream(..) => misplaced("OPEN_STREAM"),
            Pdu::OpenAck(ack, options) => {
                let accepted = to(Streaming, Accepted { ack: *ack, options: options.clone(), session_id: *session_id });
                let ignore = || ignore("OPEN_ACK");
                [ignore(), accepted, ignore(), ignore(), ignore(), ignore(), ignore(), nothing()]
            }
            Pdu::OpenNack(code, options) => {
                let refused = End::Refused { code: *code, reason: options.reason.clone(), retry_after: Some(secs(60)), retry_with: None, oldest: None };
                let ignore = || ignore("OPEN_NACK");
                [ignore(), end(refused), ignore(), ignore(), ignore(), ignore(), ignore(), nothing()]
            }
            Pdu::Chunk(_) => [ignore("STREAM_CHUNK"), ignore("STREAM_CHUNK"), deliver(2), deliver(2), deliver(2), deliver(2), nothing(), nothing()],
            Pdu::Pause => misplaced("PAUSE_STREAM"),
            Pdu::Resume => misplaced("RESUME_STREAM"),
            Pdu::Close(reason, options) if *reason != CloseReason::COMPLETE => {
                let retry_after = options.retry_after.map(|after| secs(after.into()));
                let closed = || end(End::Closed { reason: *reason, text: options.reason.clone(), retry_after, retry_with: None });
                [ignore("CLOSE_STREAM"), closed(), closed(), closed(), closed(), closed(), end(Stopped), nothing()]
            }
            Pdu::Close(..) => [ignore("CLOSE_STREAM"), ignore("CLOSE_STREAM"), end(Complete), end(Complete), end(Complete), end(Complete), end(Stopped), nothing()],
            Pdu::Heartbeat { echo: false, .. } => [const { (None, None) }; 8],
            Pdu::Heartbeat { timestamp, echo: true } => {
                let echoed = || act(Echoed(*timestamp));
                [echoed(), echoed(), echoed(), echoed(), echoed(), echoed(), echoed(), nothing()]
            }
            Pdu::List(_) => misplaced("LIST"),
            Pdu::ListReply { .. } => misplaced("LIST_REPLY"),
            Pdu::Edge { edge, oldest } => {
                let told = || act(Action::Edge { edge: *edge, oldest: *oldest });
                [ignore("EDGE"), ignore("EDGE"), told(), told(), told(), told(), nothing(), nothing()]
            }
        },
        Input::Frame(Frame::Malformed(error)) | Input::Violation(error) => {
            let end = || end(End::Violation(error.clone()));
            [end(), end(), end(), end(), end(), end(), end(), nothing()]
        }
        Input::Frame(Frame::Skipped { kind }) => misplaced(name_of(*kind)),
        Input::Connected(open, options) => [to(OpenSent, Send(Pdu::OpenStream(open.clone(), options.clone()))), nothing(), nothing(), nothing(), nothing(), nothing(), nothing(), nothing()],
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
fn run(client: ClientSession, steps: impl IntoIterator<Item = (Input, Duration)>) -> ClientSession {
    steps.into_iter().fold(client, |client, (input, now)| client.step(input, now).0)
}

/// A session with these terms that streams since `now`.
fn streaming_in(
    version: Version,
    ack: OpenAck,
    script: Option<ScriptedPause>,
    now: Duration,
) -> ClientSession {
    let new = ClientSession::new(version, script, ANSWER_WITHIN, now);
    let accepted = received(Pdu::OpenAck(ack, none()));
    run(new, [(Input::Connected(open(), none()), now), (accepted, now)])
}

/// The same in version 1; what is tested with it depends on no version.
fn streaming(ack: OpenAck, script: Option<ScriptedPause>, now: Duration) -> ClientSession {
    streaming_in(V1, ack, script, now)
}

/// A session in this state at [`NOW`], with chunk 1 received where there was time for it.
fn session_in(version: Version, state: State) -> ClientSession {
    let new = ClientSession::new(version, None, ANSWER_WITHIN, NOW);
    let script = ScriptedPause { at: 1, length: secs(2) };
    let streaming =
        |script| run(streaming_in(version, ACK, script, NOW), [(received(chunk(1)), NOW)]);
    let client = match state {
        Idle => new,
        OpenSent => run(new, [(Input::Connected(open(), none()), NOW)]),
        Streaming => streaming(None),
        Paused(Cause::User) => run(streaming(None), [(Input::TogglePause, NOW)]),
        Paused(Cause::Script(_)) => streaming(Some(script)),
        Paused(Cause::Sink) => sink_pause(version, NOW),
        Closing => run(streaming(None), [(Input::Stop, NOW)]),
        Closed => run(streaming(None), [(Input::Stop, NOW), (Input::StreamEnded, NOW)]),
    };
    assert_eq!(client.state(), state);
    client
}

fn session(state: State) -> ClientSession {
    session_in(V1, state)
}

/// A session that its full sink pauses at `now`, with a heartbeat just sent.
fn sink_pause(version: Version, now: Duration) -> ClientSession {
    let before = now - KEEPALIVE;
    let full = [(received(chunk(1)), before), (Input::SinkFull, before)];
    let client = run(streaming_in(version, ACK, None, before), full);
    let (client, actions) = client.step(Input::Tick, now);
    assert_eq!(actions, [Some(Action::Send(Pdu::Pause)), None]);
    run(client, [(Input::Tick, now)])
}

/// When a session comes to an end, and to which, if these are the only steps beside the ticks.
fn end_of(
    mut client: ClientSession,
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

/// Every state in both versions, with its column in the table.
fn sessions() -> impl Iterator<Item = (Version, usize, State)> {
    Version::ALL.into_iter().flat_map(|version| {
        STATES.into_iter().enumerate().map(move |(column, state)| (version, column, state))
    })
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    for (version, column, state) in sessions() {
        for input in inputs() {
            let label = format!("{version:?}, {state:?} on {input:?}");
            let (next, action) = table(&input).into_iter().nth(column).unwrap();
            let (client, done) = session_in(version, state).step(input, NOW);
            let done: Vec<_> = done.into_iter().flatten().collect();
            let expected = Vec::from_iter(action);
            assert_eq!((client.state(), done), (next.unwrap_or(state), expected), "{label}");
        }
    }
}

#[test]
fn a_pdu_of_another_session_is_a_violation_in_version_2_and_nothing_in_version_1() {
    for (version, column, state) in sessions() {
        for (pdu, got) in every_pdu().into_iter().flat_map(|pdu| {
            [0, SESSION, 12_345, u32::MAX].map(|session_id| (pdu.clone(), session_id))
        }) {
            let label = format!("{version:?}, {state:?} on {pdu:?} of session {got}");
            let input = Input::Frame(Frame::Pdu { session_id: got, pdu });
            // Before OPEN_ACK there is no id to compare with.
            let assigned = !matches!(state, Idle | OpenSent | Closed);
            let (next, action) = match version {
                V2 if got != SESSION && assigned => {
                    end(End::Violation(Error::SessionId { got, want: SESSION }))
                }
                _ => table(&input).into_iter().nth(column).unwrap(),
            };
            let (client, done) = session_in(version, state).step(input, NOW);
            let done: Vec<_> = done.into_iter().flatten().collect();
            let expected = Vec::from_iter(action);
            assert_eq!((client.state(), done), (next.unwrap_or(state), expected), "{label}");
        }
    }
}

/// The id is the one in the header of OPEN_ACK, even if a server should assign 0.
#[test]
fn the_session_id_is_that_of_open_ack() {
    for assigned in [0, 1, u32::MAX] {
        let of = |session_id, pdu| Input::Frame(Frame::Pdu { session_id, pdu });
        let ack = || Pdu::OpenAck(ACK, granted());
        let (client, actions) = session_in(V2, OpenSent).step(of(assigned, ack()), NOW);
        let accepted = Action::Accepted { ack: ACK, options: granted(), session_id: assigned };
        assert_eq!(actions, [Some(accepted), None]);
        assert_eq!(client.step(of(assigned, chunk(1)), NOW).1, [deliver(1).1, None]);
        let error = Error::SessionId { got: SESSION, want: assigned };
        let (client, actions) = client.step(of(SESSION, chunk(1)), NOW);
        assert_eq!((client.state(), actions), (Closed, [end(End::Violation(error)).1, None]));
    }
}

#[test]
fn the_digest_is_handed_on_before_the_end() {
    for (reason, text) in [(0, None), (2, Some("full".to_owned()))] {
        let options = Options { digest: Some([7; 32]), reason: text.clone(), ..none() };
        let close = || received(Pdu::Close(CloseReason(reason), options.clone()));
        for state in [Streaming, USER, SCRIPT, SINK] {
            let expected = match reason {
                0 => End::Complete,
                _ => End::Closed {
                    reason: CloseReason(reason),
                    text: text.clone(),
                    retry_after: None,
                    retry_with: None,
                },
            };
            let (client, actions) = session_in(V2, state).step(close(), NOW);
            let digest = Some(Action::Digest([7; 32]));
            assert_eq!((client.state(), actions), (Closed, [digest, Some(Action::End(expected))]));
        }
        // Nobody waits for it any more.
        let (_, actions) = session_in(V2, Closing).step(close(), NOW);
        assert_eq!(actions, [Some(Action::End(End::Stopped)), None]);
    }
}

#[test]
fn a_refusal_without_options_says_only_its_code() {
    let (_, actions) = session_in(V2, OpenSent).step(received(Pdu::OpenNack(6, none())), NOW);
    let refused =
        End::Refused { code: 6, reason: None, retry_after: None, retry_with: None, oldest: None };
    assert_eq!(actions, [Some(Action::End(refused)), None]);
}

#[test]
fn what_a_server_says_is_shown_without_its_control_characters() {
    let reason = Some("\x1b[2Jgone".to_owned());
    let refused = End::Refused {
        code: 4,
        reason: reason.clone(),
        retry_after: None,
        retry_with: None,
        oldest: None,
    };
    let closed = End::Closed {
        reason: CloseReason::LIMIT,
        text: reason,
        retry_after: None,
        retry_with: None,
    };
    for end in [refused, closed] {
        assert!(end.to_string().ends_with(": \\u{1b}[2Jgone"), "{end}");
    }
}

#[test]
fn a_session_may_begin_with_a_pause() {
    for version in Version::ALL {
        let new = ClientSession::new(version, None, ANSWER_WITHIN, NOW).paused();
        let client = run(new, [(Input::Connected(open(), none()), NOW)]);
        let (client, actions) = client.step(received(Pdu::OpenAck(ACK, granted())), NOW);
        let accepted = Action::Accepted { ack: ACK, options: granted(), session_id: SESSION };
        assert_eq!(actions, [Some(accepted), Some(Action::Send(Pdu::Pause))]);
        assert_eq!(client.state(), USER);
        // What was sent before the pause took effect counts.
        let (client, actions) = client.step(received(chunk(1)), NOW);
        assert_eq!(actions, [deliver(1).1, None]);
        assert_eq!(client.deadline(), Some(secs(15)), "it sends heartbeats");
        assert_eq!(end_of(client, []), Some((secs(40), End::Timeout(SESSION_TIMEOUT))));
        let (client, actions) = client.step(Input::TogglePause, secs(30));
        assert_eq!((client.state(), actions), (Streaming, [Some(Action::Send(Pdu::Resume)), None]));
        assert_eq!(client.deadline(), Some(secs(15)));
        assert_eq!(end_of(client, []), Some((secs(40), End::Timeout(SESSION_TIMEOUT))));
        let (client, _) = client.step(received(chunk(2)), secs(30));
        assert_eq!(end_of(client, []), Some((secs(40), End::Stalled(secs(10)))));
    }
}

#[test]
fn a_key_pressed_before_the_session_is_open_takes_effect_with_it() {
    for presses in 0..4 {
        for begin in [false, true] {
            let new = ClientSession::new(V2, None, ANSWER_WITHIN, NOW);
            let new = if begin { new.paused() } else { new };
            let press = |count| (0..count).map(|_| (Input::TogglePause, NOW));
            let client = run(new, press(presses / 2));
            let client = run(client, [(Input::Connected(open(), none()), NOW)]);
            let client = run(client, press(presses - presses / 2));
            let paused = begin != (presses % 2 == 1);
            assert_eq!((client.state(), client.paused_by_user()), (OpenSent, paused));
            let client = run(client, [(received(Pdu::OpenAck(ACK, none())), NOW)]);
            let expected = if paused { USER } else { Streaming };
            assert_eq!((client.state(), client.paused_by_user()), (expected, paused));
        }
    }
}

#[test]
fn only_a_pause_of_the_user_outlives_the_session() {
    for state in STATES {
        assert_eq!(session_in(V2, state).paused_by_user(), state == USER, "{state:?}");
    }
}

/// After a reconnect the sink may still be full of what the lost session brought.
#[test]
fn a_sink_that_is_full_before_the_session_opens_holds_its_timers() {
    for before in [Idle, OpenSent] {
        let ack = received(Pdu::OpenAck(ACK, none()));
        let full = run(session_in(V2, before), [(Input::SinkFull, NOW)]);
        let open = match before {
            Idle => run(full, [(Input::Connected(open(), none()), NOW), (ack, NOW)]),
            _ => run(full, [(ack, NOW)]),
        };
        assert_eq!(end_of(open, []), None, "{before:?}");
        assert_eq!(run(open, [(Input::Tick, secs(15))]).state(), SINK);
        let ready = run(open, [(Input::Tick, secs(15)), (Input::SinkReady, secs(100))]);
        assert_eq!(end_of(ready, []), Some((secs(110), End::Stalled(secs(10)))));
    }
    let brief = [(Input::SinkFull, NOW), (Input::SinkReady, NOW)];
    let client = run(session_in(V2, OpenSent), brief);
    let client = run(client, [(received(Pdu::OpenAck(ACK, none())), NOW)]);
    assert_eq!(end_of(client, []), Some((secs(20), End::Stalled(secs(10)))));
    // The server is not waited for longer than otherwise.
    let full = [(Input::SinkFull, NOW)];
    let no_answer = Some((secs(20), End::NoAnswer(ANSWER_WITHIN)));
    assert_eq!(end_of(session_in(V2, OpenSent), full), no_answer);
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
    for other in [
        received(Pdu::Heartbeat { timestamp: 1, echo: false }),
        Input::Frame(Frame::Skipped { kind: 9 }),
    ] {
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
        let heartbeat = [(received(Pdu::Heartbeat { timestamp: 1, echo: false }), secs(16))];
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

    let heartbeat = [(received(Pdu::Heartbeat { timestamp: 1, echo: false }), secs(19))];
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
    let both = sessions().map(|(version, _, state)| session_in(version, state));
    for mut client in both.chain(extreme) {
        for _ in 0..100 {
            let Some(deadline) = client.deadline() else { break };
            let state = client.state();
            client = client.step(Input::Tick, deadline).0;
            let moved = client.deadline().is_none_or(|later| later > deadline);
            assert!(moved || client.state() != state, "{state:?}");
        }
    }
}
