//! The server's table and timers.

use super::*;
use crate::protocol::{Digest, NackCode};
use crate::session::server::{
    Action, Delivery, Input, Reason, Refusal, ResumableMedia, ServerSession, State, resume,
};
use State::{Closed, Closing, Idle, Paused, Streaming};

const STATES: [State; 5] = [Idle, Streaming, Paused, Closing, Closed];

fn opened() -> Input {
    Input::Opened { session_id: SESSION, owes_digest: false, live: false }
}

fn refusal() -> Refusal {
    Refusal {
        code: NackCode::Busy,
        reason: Some("full".into()),
        retry_after: Some(60),
        oldest: None,
    }
}

/// The session id that PDUs carry in this state.
fn own_id(state: State) -> u32 {
    if state == Idle { 0 } else { SESSION }
}

/// One input of every kind, as far as version 2 goes by the state's own session id.
fn inputs(state: State) -> Vec<Input> {
    let session_id = own_id(state);
    let pdus = every_pdu().into_iter().map(|pdu| Input::Frame(Frame::Pdu { session_id, pdu }));
    let others = [
        Input::Frame(Frame::Malformed(malformed(Kind::OpenStream))),
        Input::Frame(Frame::Malformed(malformed(Kind::Heartbeat))),
        Input::Frame(Frame::Malformed(malformed(Kind::List))),
        Input::Violation(VERSION),
        Input::PeerFinished,
        opened(),
        Input::Refused(refusal()),
        Input::Listed,
        Input::DigestResolved,
        Input::End(Reason::Complete),
        Input::End(Reason::Shutdown),
        Input::End(Reason::MediaFailed),
        Input::End(Reason::Behind),
        Input::End(Reason::NotAuthorised),
        Input::End(Reason::Flooding),
        Input::Delivered,
        server_tick(),
    ];
    // Whatever a type byte says that this side does not read.
    let skipped = (0..=u8::MAX).map(|kind| Input::Frame(Frame::Skipped { kind }));
    pdus.chain(skipped).chain(others).collect()
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
fn nack99() -> Cell {
    act(Action::SendNack(NackCode::ProtocolViolation.into()))
}
fn to(state: State) -> Cell {
    (Some(state), None)
}
fn close(state: State, reason: Reason) -> Cell {
    (Some(state), Some(Action::Close(reason)))
}
fn abort(reason: Reason) -> Cell {
    (Some(Closed), Some(Action::Abort(reason)))
}
fn violation(error: &Error) -> Cell {
    abort(Reason::Violation(error.clone()))
}

/// The table of the protocol: one line an input, one column a state. No timer is due. Where the
/// versions differ there is a line for each.
///
/// There is no wildcard, so that an input that is added has to be thought about here (and be
/// added to [`inputs`]).
#[rustfmt::skip]
fn table(version: Version, input: &Input) -> [Cell; 5] {
    use Reason::{Client, Complete, NeverOpened, Shutdown};
    match input {
        //                                 IDLE, STREAMING, PAUSED, CLOSING, CLOSED
        Input::Frame(Frame::Pdu { pdu, .. }) => match pdu {
            Pdu::OpenStream(open, options) => [act(Action::Open(open.clone(), options.clone())), nack99(), nack99(), ignore("OPEN_STREAM"), nothing()],
            Pdu::OpenAck(..) => misplaced("OPEN_ACK"),
            Pdu::OpenNack(..) => misplaced("OPEN_NACK"),
            Pdu::Chunk(_) => misplaced("STREAM_CHUNK"),
            Pdu::Pause => [ignore("PAUSE_STREAM"), to(Paused), ignore("PAUSE_STREAM"), nothing(), nothing()],
            Pdu::Resume => [ignore("RESUME_STREAM"), ignore("RESUME_STREAM"), to(Streaming), nothing(), nothing()],
            Pdu::Close(..) => [ignore("CLOSE_STREAM"), close(Closed, Client), close(Closed, Client), nothing(), nothing()],
            Pdu::Heartbeat { timestamp, echo } => match (version, echo) {
                (V1, _) => [act(Action::SendHeartbeat), act(Action::SendHeartbeat), act(Action::SendHeartbeat), nothing(), nothing()],
                (V2, false) => [act(Action::Echo(*timestamp)), act(Action::Echo(*timestamp)), act(Action::Echo(*timestamp)), nothing(), nothing()],
                (V2, true) => [nothing(), nothing(), nothing(), nothing(), nothing()],
            },
            Pdu::List(options) => [act(Action::SendList(options.clone())), ignore("LIST"), ignore("LIST"), ignore("LIST"), nothing()],
            Pdu::ListReply { .. } => misplaced("LIST_REPLY"),
            Pdu::Edge { .. } => misplaced("EDGE"),
        },
        Input::Frame(Frame::Malformed(Error::Malformed { kind: Kind::OpenStream, .. })) =>
            [nack99(), nack99(), nack99(), ignore("OPEN_STREAM"), nothing()],
        Input::Frame(Frame::Malformed(error)) | Input::Violation(error) =>
            [violation(error), violation(error), violation(error), violation(error), nothing()],
        Input::Frame(Frame::Skipped { kind }) => misplaced(name_of(*kind)),
        Input::PeerFinished => [close(Closed, NeverOpened), nothing(), nothing(), nothing(), nothing()],
        Input::Opened { .. } => [(Some(Streaming), Some(Action::SendAck)), nothing(), nothing(), nothing(), nothing()],
        Input::Refused(refusal) => [act(Action::SendNack(refusal.clone())), nothing(), nothing(), nothing(), nothing()],
        Input::Listed => [nothing(), nothing(), nothing(), nothing(), nothing()],
        Input::DigestResolved => [nothing(), nothing(), nothing(), nothing(), nothing()],
        Input::End(Complete) => [nothing(), close(Closing, Complete), nothing(), nothing(), nothing()],
        Input::End(Shutdown) => [close(Closing, Shutdown), close(Closing, Shutdown), close(Closing, Shutdown), nothing(), nothing()],
        Input::End(Reason::Flooding) =>
            [abort(Reason::Flooding), abort(Reason::Flooding), abort(Reason::Flooding), abort(Reason::Flooding), nothing()],
        Input::End(reason) => match version {
            V1 => [nothing(), abort(reason.clone()), abort(reason.clone()), nothing(), nothing()],
            V2 => [nothing(), close(Closed, reason.clone()), close(Closed, reason.clone()), nothing(), nothing()],
        },
        Input::Delivered => [nothing(), nothing(), nothing(), to(Closed), nothing()],
        Input::Tick(_) => [nothing(), nothing(), nothing(), nothing(), nothing()],
    }
}

/// A PDU that has no row: it is logged while there is a session.
fn misplaced(what: &'static str) -> [Cell; 5] {
    [ignore(what), ignore(what), ignore(what), ignore(what), nothing()]
}

/// A session in this state, everything of which happened at `now`.
fn session(version: Version, state: State, now: Duration) -> ServerSession {
    let way = match state {
        Idle => vec![],
        Streaming => vec![opened()],
        Paused => vec![opened(), Input::Frame(pdu(Pdu::Pause))],
        Closing => vec![opened(), Input::End(Reason::Complete)],
        Closed => vec![opened(), Input::End(Reason::Complete), Input::Delivered],
    };
    let new = ServerSession::new(version, TIMEOUTS, now);
    let server = way.into_iter().fold(new, |server, input| server.step(input, now).0);
    assert_eq!(server.state(), state);
    server
}

/// Every state in both versions.
fn sessions() -> impl Iterator<Item = (Version, State)> {
    Version::ALL.into_iter().flat_map(|version| STATES.map(|state| (version, state)))
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    for (version, state) in sessions() {
        let column = STATES.iter().position(|other| *other == state).unwrap();
        for input in inputs(state) {
            let label = format!("{version:?}, {state:?} on {input:?}");
            let (next, action) = table(version, &input).into_iter().nth(column).unwrap();
            let (server, done) = session(version, state, secs(1)).step(input, secs(1));
            assert_eq!((server.state(), done), (next.unwrap_or(state), action), "{label}");
        }
    }
}

#[test]
fn a_pdu_of_another_session_is_a_violation_in_version_2_and_nothing_in_version_1() {
    for (version, state) in sessions() {
        let column = STATES.iter().position(|other| *other == state).unwrap();
        let want = own_id(state);
        for (pdu, got) in every_pdu().into_iter().flat_map(|pdu| {
            [0, SESSION, 12_345, u32::MAX].map(|session_id| (pdu.clone(), session_id))
        }) {
            let label = format!("{version:?}, {state:?} on {pdu:?} of session {got}");
            // What asks for a session or for the catalogue belongs to none.
            let exempt = matches!(pdu, Pdu::OpenStream(..) | Pdu::List(_));
            let input = Input::Frame(Frame::Pdu { session_id: got, pdu });
            let (next, action) = match version {
                V2 if got != want && !exempt && state != Closed => {
                    violation(&Error::SessionId { got, want })
                }
                _ => table(version, &input).into_iter().nth(column).unwrap(),
            };
            let (server, done) = session(version, state, secs(1)).step(input, secs(1));
            assert_eq!((server.state(), done), (next.unwrap_or(state), action), "{label}");
        }
    }
}

/// A refusal assigns nothing.
#[test]
fn a_session_id_is_assigned_once_and_only_by_opening() {
    let server = session(V2, Idle, secs(0)).step(Input::Refused(refusal()), secs(0)).0;
    let beat = Pdu::Heartbeat { timestamp: 9, echo: false };
    let (_, action) = server.step(Input::Frame(pdu(beat.clone())), secs(0));
    assert_eq!(action, violation(&Error::SessionId { got: SESSION, want: 0 }).1);
    // What a driver reports late changes nothing.
    let server = session(V2, Streaming, secs(0))
        .step(Input::Opened { session_id: 8, owes_digest: false, live: false }, secs(0))
        .0;
    assert_eq!(server.step(Input::Frame(pdu(beat)), secs(0)).1, Some(Action::Echo(9)));
}

#[test]
fn a_catalogue_may_be_asked_for_before_a_session_and_between_refusals() {
    let list = || Input::Frame(Frame::Pdu { session_id: 0, pdu: Pdu::List(none()) });
    let server = session(V2, Idle, secs(0));
    let (server, action) = server.step(list(), secs(20));
    assert_eq!(action, Some(Action::SendList(none())));
    let server = server.step(Input::Refused(refusal()), secs(20)).0;
    let (server, action) = server.step(list(), secs(20));
    assert_eq!(action, Some(Action::SendList(none())));
    assert_eq!(server.step(opened(), secs(20)).1, Some(Action::SendAck));
}

/// A client is silent while it waits, however slow the server's disk is.
#[test]
fn no_session_times_out_while_it_waits_for_its_answer() {
    for version in Version::ALL {
        let open = Frame::Pdu { session_id: 0, pdu: Pdu::OpenStream(open(), none()) };
        let list = Frame::Pdu { session_id: 0, pdu: Pdu::List(none()) };
        for (question, answers) in [
            (open, vec![opened(), Input::Refused(refusal())]),
            (list, vec![Input::Listed, Input::Refused(refusal())]),
        ] {
            for answer in answers {
                let label = format!("{version:?}, {question:?}, {answer:?}");
                let server = session(version, Idle, secs(0));
                let server = server.step(Input::Frame(question.clone()), secs(20)).0;
                assert_eq!(server.deadline(), None, "{label}");
                let (server, action) = server.step(server_tick(), secs(500));
                assert_eq!((server.state(), action), (Idle, None), "{label}");
                let beat = Pdu::Heartbeat { timestamp: 9, echo: false };
                let beat = Input::Frame(Frame::Pdu { session_id: 0, pdu: beat });
                let (server, action) = server.step(beat, secs(501));
                assert!(action.is_some() && server.deadline().is_none(), "{label}: answered");
                let server = server.step(answer, secs(510)).0;
                assert_eq!(server.deadline(), Some(secs(540)), "{label}: it has to speak again");
            }
        }
    }
}

#[test]
fn a_client_that_takes_the_catalogue_is_there() {
    let server = session(V2, Idle, secs(0)).step(Input::Listed, secs(29)).0;
    let server = server.step(Input::Listed, secs(58)).0;
    assert_eq!(server.deadline(), Some(secs(88)));
    let (server, action) = server.step(server_tick(), secs(88));
    assert_eq!((server.state(), action), (Closed, Some(Action::Close(Reason::Timeout))));
}

#[test]
fn reasons_have_the_numbers_of_the_protocol() {
    let reasons = [
        Reason::Complete,
        Reason::Client,
        Reason::NeverOpened,
        Reason::Shutdown,
        Reason::Timeout,
        Reason::MediaFailed,
        Reason::Behind,
        Reason::Stalled,
        Reason::PausedTooLong,
        Reason::Flooding,
        Reason::Replaced,
        Reason::NotAuthorised,
        Reason::Violation(VERSION),
    ];
    let numbers = [0, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 7, 99];
    assert_eq!(reasons.map(|reason| reason.to_wire().0), numbers);
}

#[test]
fn states_have_the_numbers_of_the_protocol() {
    assert_eq!(STATES.map(|state| state as u8), [0, 1, 2, 3, 4]);
}

#[test]
fn a_client_that_was_refused_may_try_again() {
    for version in Version::ALL {
        let (server, _) = session(version, Idle, secs(0)).step(Input::Refused(refusal()), secs(1));
        let again = Input::Frame(pdu(Pdu::OpenStream(open(), asked())));
        let (server, action) = server.step(again, secs(2));
        assert_eq!((server.state(), action), (Idle, Some(Action::Open(open(), asked()))));
        assert_eq!(server.step(opened(), secs(2)).1, Some(Action::SendAck));
    }
}

#[test]
fn a_session_without_a_pdu_for_the_session_timeout_is_over() {
    for (version, state) in sessions() {
        let server = session(version, state, secs(100));
        let last = [Action::Close(Reason::Timeout), Action::Abort(Reason::Timeout)];
        let expected = match state {
            Idle | Streaming | Paused => Some(&last[0]),
            // CLOSE_STREAM was sent and is not being read.
            Closing => Some(&last[1]),
            Closed => None,
        };
        let (before, action) = server.step(server_tick(), just_before(secs(130)));
        assert_eq!(before.state(), state);
        assert!(matches!(action, None | Some(Action::SendHeartbeat)), "{state:?}: {action:?}");
        let (server, action) = server.step(server_tick(), secs(130));
        assert_eq!((server.state(), action.as_ref()), (Closed, expected), "{state:?}");
        assert_eq!(server.deadline(), None);
    }
}

/// Steps `input` at 20 s into a session whose last PDU came at 0 s, and says when it times out.
fn timeout_after(version: Version, state: State, input: Input) -> Option<Duration> {
    let (server, _) = session(version, state, secs(0)).step(input, secs(20));
    (20..100).map(secs).find(|now| server.step(server_tick(), *now).0.state() == Closed)
}

#[test]
fn only_a_valid_pdu_puts_the_session_timeout_off() {
    for (version, state) in sessions().filter(|(_, state)| *state != Closed) {
        for valid in [
            Pdu::Heartbeat { timestamp: 1, echo: false },
            Pdu::Heartbeat { timestamp: 1, echo: true },
            Pdu::Resume,
            Pdu::OpenStream(open(), none()),
        ] {
            let label = format!("{version:?}, {state:?} on {valid:?}");
            let owes_answer = state == Idle && matches!(valid, Pdu::OpenStream(..));
            let input = Input::Frame(Frame::Pdu { session_id: own_id(state), pdu: valid });
            let expected = (!owes_answer).then_some(secs(50));
            assert_eq!(timeout_after(version, state, input), expected, "{label}");
        }
        for other in [
            Input::Frame(Frame::Skipped { kind: 200 }),
            Input::Frame(Frame::Skipped { kind: 4 }),
            Input::Frame(Frame::Malformed(malformed(Kind::OpenStream))),
            server_tick(),
        ] {
            let label = format!("{version:?}, {state:?} on {other:?}");
            assert_eq!(timeout_after(version, state, other), Some(secs(30)), "{label}");
        }
    }
}

#[test]
fn a_paused_server_sends_heartbeats_by_itself() {
    Version::ALL.into_iter().for_each(paused_heartbeats);
}

fn paused_heartbeats(version: Version) {
    let streaming = session(version, Streaming, secs(0));
    assert_eq!(streaming.deadline(), Some(secs(30)), "chunks are signs of life enough");
    assert_eq!(streaming.step(server_tick(), secs(29)).1, None);

    let (mut server, _) = streaming.step(Input::Frame(pdu(Pdu::Pause)), secs(2));
    for due in [secs(7), secs(12), secs(17), secs(22), secs(27)] {
        assert_eq!(server.deadline(), Some(due));
        assert_eq!(server.step(server_tick(), just_before(due)).1, None);
        let (next, action) = server.step(server_tick(), due);
        assert_eq!((next.state(), action), (Paused, Some(Action::SendHeartbeat)));
        server = next;
    }
    assert_eq!(server.deadline(), Some(secs(32)));
    assert_eq!(server.step(server_tick(), secs(32)).1, Some(Action::Close(Reason::Timeout)));
    let (server, _) = server.step(Input::Frame(pdu(Pdu::Resume)), secs(31));
    assert_eq!(server.deadline(), Some(secs(61)), "no heartbeats once it goes on");
}

/// The driver must not find a deadline in the past that a tick does not move.
#[test]
fn a_tick_at_the_deadline_is_never_in_vain() {
    for (version, state) in sessions() {
        let mut server = session(version, state, secs(3));
        while let Some(deadline) = server.deadline() {
            let (next, _) = server.step(server_tick(), deadline);
            assert!(next.deadline().is_none_or(|later| later > deadline), "{state:?}");
            server = next;
        }
        assert_eq!(server.state(), Closed);
    }
}

/// Bytes of a session that a client has acknowledged, with more on the way.
fn delivered(acknowledged: u64) -> Input {
    Input::Tick(Delivery { acknowledged, outstanding: true, chunk: 0 })
}

/// A session that looks after its client's progress every five seconds, for twenty.
fn watchful(version: Version, state: State) -> ServerSession {
    let timeouts = Timeouts { session: secs(500), stall: secs(20), ..TIMEOUTS };
    let new = ServerSession::new(version, timeouts, secs(0));
    let end = Input::End(Reason::Complete);
    let way = match state {
        Idle => vec![Input::Listed],
        Streaming => vec![opened()],
        Closing => vec![opened(), end],
        Paused | Closed => unreachable!("nothing is sent there"),
    };
    way.into_iter().fold(new, |server, input| server.step(input, secs(0)).0)
}

#[test]
fn a_client_that_takes_nothing_is_gone_whatever_it_says() {
    for version in Version::ALL {
        for state in [Idle, Streaming, Closing] {
            let label = format!("{version:?}, {state:?}");
            let mut server = watchful(version, state);
            let beat = Pdu::Heartbeat { timestamp: 9, echo: false };
            for now in [5, 10, 15] {
                let own_id = own_id(state);
                let beat = Input::Frame(Frame::Pdu { session_id: own_id, pdu: beat.clone() });
                server = server.step(beat, secs(now)).0;
                assert_eq!(server.deadline(), Some(secs(now)), "{label}");
                let (next, action) = server.step(delivered(0), secs(now));
                assert_eq!((next.state(), action), (state, None), "{label}, {now}");
                server = next;
            }
            let (server, action) = server.step(delivered(0), secs(20));
            let told = match (version, state) {
                (V1, _) | (_, Closing) => Action::Abort(Reason::Stalled),
                (V2, _) => Action::Close(Reason::Stalled),
            };
            assert_eq!((server.state(), action), (Closed, Some(told)), "{label}");
        }
    }
}

#[test]
fn a_quiet_broadcast_is_heard_of_within_a_keepalive_and_then_twice_as_often() {
    let live = Input::Opened { session_id: SESSION, owes_digest: false, live: true };
    let new = ServerSession::new(V2, TIMEOUTS, secs(0));
    let mut server = new.step(live, secs(0)).0;
    let mut beats = Vec::new();
    // One chunk comes just after the first look.
    for chunk in [0, 1, 1, 1, 1] {
        let now = server.deadline().unwrap();
        let beat = Pdu::Heartbeat { timestamp: 9, echo: false };
        server = server.step(Input::Frame(pdu(beat)), now).0;
        let look = Input::Tick(Delivery { acknowledged: 0, outstanding: false, chunk });
        let (next, action) = server.step(look, now);
        server = next;
        beats.extend(action.map(|action| (now, action)));
    }
    let half = TIMEOUTS.keepalive / 2;
    assert_eq!(beats, [1, 3, 4, 5].map(|times| (times * half, Action::SendHeartbeat)));
}

#[test]
fn a_client_that_takes_a_byte_now_and_then_or_pauses_is_there() {
    for state in [Streaming, Closing] {
        let mut server = watchful(V2, state);
        for (acknowledged, now) in (1..).zip([15, 30, 45]) {
            server = server.step(delivered(acknowledged), secs(now)).0;
            assert_eq!(server.state(), state, "{now}");
        }
        // All that was on the way has arrived: it is the media's turn.
        let everything = Input::Tick(Delivery { acknowledged: 3, outstanding: false, chunk: 0 });
        server = server.step(everything, secs(64)).0;
        assert_eq!(server.step(delivered(3), secs(83)).0.state(), state);

        // In CLOSING a pause changes nothing but this.
        let mut server = server.step(Input::Frame(pdu(Pdu::Pause)), secs(65)).0;
        for now in [70, 90, 200] {
            let beat = Pdu::Heartbeat { timestamp: 9, echo: false };
            server = server.step(Input::Frame(pdu(beat)), secs(now)).0;
            server = server.step(delivered(3), secs(now)).0;
        }
        let server = server.step(Input::Frame(pdu(Pdu::Resume)), secs(200)).0;
        assert_eq!(server.state(), state);
        assert_eq!(server.step(delivered(3), secs(219)).0.state(), state);
        assert_eq!(server.step(delivered(3), secs(220)).0.state(), Closed);
    }
}

/// A session that has sent all of its media at 10 s and owes its digest.
fn owing_digest() -> ServerSession {
    let opened = Input::Opened { session_id: SESSION, owes_digest: true, live: false };
    let server = session(V2, Idle, secs(10)).step(opened, secs(10)).0;
    let (server, action) = server.step(Input::End(Reason::Complete), secs(10));
    assert_eq!((server.state(), action), (Streaming, None));
    server
}

#[test]
fn the_end_waits_for_the_digest() {
    let (server, action) = owing_digest().step(Input::DigestResolved, secs(12));
    assert_eq!((server.state(), action), (Streaming, None));
    assert_eq!(server.deadline(), Some(secs(12)));
    let (server, action) = server.step(server_tick(), secs(12));
    assert_eq!((server.state(), action), close_of(Closing, Reason::Complete));
}

#[test]
fn the_end_waits_for_the_digest_no_longer_than_a_client_waits_for_a_sign_of_life() {
    let server = owing_digest();
    assert_eq!(server.deadline(), Some(secs(15)));
    assert_eq!(server.step(server_tick(), just_before(secs(15))).1, None);
    let (server, action) = server.step(server_tick(), secs(15));
    assert_eq!((server.state(), action), close_of(Closing, Reason::Complete));
}

#[test]
fn a_digest_that_is_known_before_the_end_keeps_nobody_waiting() {
    let opened = Input::Opened { session_id: SESSION, owes_digest: true, live: false };
    let server = session(V2, Idle, secs(0)).step(opened, secs(0)).0;
    let server = server.step(Input::DigestResolved, secs(1)).0;
    let (server, action) = server.step(Input::End(Reason::Complete), secs(2));
    assert_eq!((server.state(), action), close_of(Closing, Reason::Complete));
}

#[test]
fn a_pause_at_the_end_puts_the_end_off() {
    let server = owing_digest().step(Input::Frame(pdu(Pdu::Pause)), secs(11)).0;
    let server = server.step(Input::DigestResolved, secs(12)).0;
    let (server, action) = server.step(server_tick(), secs(13));
    assert_eq!((server.state(), action), (Paused, None));
    let server = server.step(Input::Frame(pdu(Pdu::Resume)), secs(20)).0;
    let (server, action) = server.step(server_tick(), secs(20));
    assert_eq!((server.state(), action), close_of(Closing, Reason::Complete));
}

fn close_of(state: State, reason: Reason) -> (State, Option<Action>) {
    (state, Some(Action::Close(reason)))
}

#[test]
fn a_pause_has_an_end_however_alive_the_client_is() {
    for (version, told) in
        [(V1, Action::Abort(Reason::PausedTooLong)), (V2, Action::Close(Reason::PausedTooLong))]
    {
        let timeouts = Timeouts { session: secs(500), pause: secs(60), ..TIMEOUTS };
        let server = ServerSession::new(version, timeouts, secs(0));
        let server = server.step(opened(), secs(0)).0;
        // Each pause has its own time.
        let mut server = server.step(Input::Frame(pdu(Pdu::Pause)), secs(0)).0;
        server = server.step(Input::Frame(pdu(Pdu::Resume)), secs(40)).0;
        server = server.step(Input::Frame(pdu(Pdu::Pause)), secs(50)).0;
        while server.deadline() < Some(secs(110)) {
            let beat = Pdu::Heartbeat { timestamp: 9, echo: false };
            let now = server.deadline().unwrap();
            server = server.step(Input::Frame(pdu(beat)), now).0;
            server = server.step(server_tick(), now).0;
            assert_eq!(server.state(), Paused);
        }
        let (server, action) = server.step(server_tick(), secs(110));
        assert_eq!((server.state(), action), (Closed, Some(told)));
    }
}

/// Media of 100 bytes.
struct Media;

impl ResumableMedia for Media {
    fn size(&self) -> Option<u64> {
        Some(100)
    }

    fn validator(&self) -> bytes::Bytes {
        bytes::Bytes::from_static(b"own")
    }

    fn goes_by(&self, validator: &[u8]) -> bool {
        validator == b"own"
    }

    fn digest(&self) -> Option<Digest> {
        None
    }

    fn resolve_digest(&self) -> std::task::Poll<Option<Digest>> {
        std::task::Poll::Ready(None)
    }

    fn digest_behind(&self, _: &[u8]) -> Option<Digest> {
        None
    }
}

#[test]
fn a_client_gets_the_stretch_that_it_asks_for() {
    let stretch = |start_offset, end_offset| {
        let options = Options { start_offset, end_offset, ..none() };
        resume(V2, &options, &Media)
            .map(|resumed| (resumed.start, resumed.end))
            .map_err(|refusal| refusal.code)
    };
    assert_eq!(stretch(None, None), Ok((0, None)));
    assert_eq!(stretch(Some(10), Some(20)), Ok((10, Some(20))));
    assert_eq!(stretch(None, Some(0)), Ok((0, Some(0))), "nothing, which is no error");
    assert_eq!(stretch(Some(100), Some(u64::MAX)), Ok((100, Some(100))), "the end");
    assert_eq!(stretch(Some(20), Some(10)), Err(NackCode::PastTheEnd));
    assert_eq!(stretch(Some(101), None), Err(NackCode::PastTheEnd));
}
