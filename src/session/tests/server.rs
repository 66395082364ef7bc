//! The server's table and timers.

use super::*;
use crate::protocol::NackCode;
use crate::session::server::{Action, Input, Reason, Server, State};
use State::{Closed, Closing, Idle, Paused, Streaming};

const STATES: [State; 5] = [Idle, Streaming, Paused, Closing, Closed];

/// One input of every kind.
fn inputs() -> Vec<Input> {
    let pdus = [
        Pdu::OpenStream(open()),
        Pdu::OpenAck(ACK),
        Pdu::OpenNack(1),
        chunk(1),
        Pdu::Pause,
        Pdu::Resume,
        Pdu::Close,
        Pdu::Heartbeat(1),
    ];
    let others = [
        Input::Frame(Frame::Malformed(malformed(Kind::OpenStream))),
        Input::Frame(Frame::Malformed(malformed(Kind::Heartbeat))),
        Input::Frame(Frame::Skipped { kind: 200 }),
        Input::Frame(Frame::Skipped { kind: 4 }),
        Input::Violation(VERSION),
        Input::PeerFinished,
        Input::Opened,
        Input::Refused(NackCode::UnsupportedCodec),
        Input::MediaEnded,
        Input::MediaFailed,
        Input::Delivered,
        Input::Shutdown,
        Input::Tick,
    ];
    pdus.into_iter().map(|sent| Input::Frame(pdu(sent))).chain(others).collect()
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
    act(Action::SendNack(NackCode::ProtocolViolation))
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

/// The table of the protocol: one line an input, one column a state. No timer is due.
///
/// There is no wildcard, so that an input that is added has to be thought about here (and be
/// added to [`inputs`]).
#[rustfmt::skip]
fn table(input: &Input) -> [Cell; 5] {
    use Reason::{Client, Complete, MediaFailed, NeverOpened, Shutdown};
    match input {
        //                                 IDLE, STREAMING, PAUSED, CLOSING, CLOSED
        Input::Frame(Frame::Pdu { pdu, .. }) => match pdu {
            Pdu::OpenStream(open) => [act(Action::Open(open.clone())), nack99(), nack99(), ignore("OPEN_STREAM"), nothing()],
            Pdu::OpenAck(_) => misplaced("OPEN_ACK"),
            Pdu::OpenNack(_) => misplaced("OPEN_NACK"),
            Pdu::Chunk(_) => misplaced("STREAM_CHUNK"),
            Pdu::Pause => [ignore("PAUSE_STREAM"), to(Paused), ignore("PAUSE_STREAM"), nothing(), nothing()],
            Pdu::Resume => [ignore("RESUME_STREAM"), ignore("RESUME_STREAM"), to(Streaming), nothing(), nothing()],
            Pdu::Close => [ignore("CLOSE_STREAM"), close(Closed, Client), close(Closed, Client), nothing(), nothing()],
            Pdu::Heartbeat(_) => [act(Action::SendHeartbeat), act(Action::SendHeartbeat), act(Action::SendHeartbeat), nothing(), nothing()],
        },
        Input::Frame(Frame::Malformed(Error::Malformed { kind: Kind::OpenStream, .. })) =>
            [nack99(), nack99(), nack99(), ignore("OPEN_STREAM"), nothing()],
        Input::Frame(Frame::Malformed(error)) | Input::Violation(error) =>
            [violation(error), violation(error), violation(error), violation(error), nothing()],
        Input::Frame(Frame::Skipped { kind: 4 }) => misplaced("STREAM_CHUNK"),
        Input::Frame(Frame::Skipped { .. }) => misplaced("a PDU of unknown type"),
        Input::PeerFinished => [close(Closed, NeverOpened), nothing(), nothing(), nothing(), nothing()],
        Input::Opened => [(Some(Streaming), Some(Action::SendAck)), nothing(), nothing(), nothing(), nothing()],
        Input::Refused(code) => [act(Action::SendNack(*code)), nothing(), nothing(), nothing(), nothing()],
        Input::MediaEnded => [nothing(), close(Closing, Complete), nothing(), nothing(), nothing()],
        Input::MediaFailed => [nothing(), abort(MediaFailed), abort(MediaFailed), nothing(), nothing()],
        Input::Delivered => [nothing(), nothing(), nothing(), to(Closed), nothing()],
        Input::Shutdown => [close(Closing, Shutdown), close(Closing, Shutdown), close(Closing, Shutdown), nothing(), nothing()],
        Input::Tick => [nothing(), nothing(), nothing(), nothing(), nothing()],
    }
}

/// A PDU that has no row: it is logged while there is a session.
fn misplaced(what: &'static str) -> [Cell; 5] {
    [ignore(what), ignore(what), ignore(what), ignore(what), nothing()]
}

/// A session in this state, everything of which happened at `now`.
fn session(state: State, now: Duration) -> Server {
    let way = match state {
        Idle => vec![],
        Streaming => vec![Input::Opened],
        Paused => vec![Input::Opened, Input::Frame(pdu(Pdu::Pause))],
        Closing => vec![Input::Opened, Input::MediaEnded],
        Closed => vec![Input::Opened, Input::MediaEnded, Input::Delivered],
    };
    let new = Server::new(KEEPALIVE, SESSION_TIMEOUT, now);
    let server = way.into_iter().fold(new, |server, input| server.step(input, now).0);
    assert_eq!(server.state(), state);
    server
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    for (column, state) in STATES.into_iter().enumerate() {
        for input in inputs() {
            let label = format!("{state:?} on {input:?}");
            let (next, action) = table(&input).into_iter().nth(column).unwrap();
            let (server, done) = session(state, secs(1)).step(input, secs(1));
            assert_eq!((server.state(), done), (next.unwrap_or(state), action), "{label}");
        }
    }
}

#[test]
fn states_have_the_numbers_of_the_protocol() {
    assert_eq!(STATES.map(|state| state as u8), [0, 1, 2, 3, 4]);
}

#[test]
fn a_client_that_was_refused_may_try_again() {
    let (server, _) =
        session(Idle, secs(0)).step(Input::Refused(NackCode::UnsupportedCodec), secs(1));
    let (server, action) = server.step(Input::Frame(pdu(Pdu::OpenStream(open()))), secs(2));
    assert_eq!((server.state(), action), (Idle, Some(Action::Open(open()))));
    assert_eq!(server.step(Input::Opened, secs(2)).1, Some(Action::SendAck));
}

#[test]
fn a_session_without_a_pdu_for_the_session_timeout_is_over() {
    for state in STATES {
        let server = session(state, secs(100));
        let last = [Action::Close(Reason::Timeout), Action::Abort(Reason::Timeout)];
        let expected = match state {
            Idle | Streaming | Paused => Some(&last[0]),
            // CLOSE_STREAM was sent and is not being read.
            Closing => Some(&last[1]),
            Closed => None,
        };
        let (before, action) = server.step(Input::Tick, just_before(secs(130)));
        assert_eq!(before.state(), state);
        assert!(matches!(action, None | Some(Action::SendHeartbeat)), "{state:?}: {action:?}");
        let (server, action) = server.step(Input::Tick, secs(130));
        assert_eq!((server.state(), action.as_ref()), (Closed, expected), "{state:?}");
        assert_eq!(server.deadline(), None);
    }
}

/// Steps `input` at 20 s into a session whose last PDU came at 0 s, and says when it times out.
fn timeout_after(state: State, input: Input) -> Option<Duration> {
    let (server, _) = session(state, secs(0)).step(input, secs(20));
    (20..100).map(secs).find(|now| server.step(Input::Tick, *now).0.state() == Closed)
}

#[test]
fn only_a_valid_pdu_puts_the_session_timeout_off() {
    for state in [Idle, Streaming, Paused, Closing] {
        for valid in [Pdu::Heartbeat(1), Pdu::Resume, Pdu::OpenStream(open())] {
            let label = format!("{state:?} on {valid:?}");
            assert_eq!(timeout_after(state, Input::Frame(pdu(valid))), Some(secs(50)), "{label}");
        }
        for other in [
            Input::Frame(Frame::Skipped { kind: 200 }),
            Input::Frame(Frame::Skipped { kind: 4 }),
            Input::Frame(Frame::Malformed(malformed(Kind::OpenStream))),
            Input::Tick,
        ] {
            let label = format!("{state:?} on {other:?}");
            assert_eq!(timeout_after(state, other), Some(secs(30)), "{label}");
        }
    }
}

#[test]
fn a_paused_server_sends_heartbeats_by_itself() {
    let streaming = session(Streaming, secs(0));
    assert_eq!(streaming.deadline(), Some(secs(30)), "chunks are signs of life enough");
    assert_eq!(streaming.step(Input::Tick, secs(29)).1, None);

    let (mut server, _) = streaming.step(Input::Frame(pdu(Pdu::Pause)), secs(2));
    for due in [secs(7), secs(12), secs(17), secs(22), secs(27)] {
        assert_eq!(server.deadline(), Some(due));
        assert_eq!(server.step(Input::Tick, just_before(due)).1, None);
        let (next, action) = server.step(Input::Tick, due);
        assert_eq!((next.state(), action), (Paused, Some(Action::SendHeartbeat)));
        server = next;
    }
    assert_eq!(server.deadline(), Some(secs(32)));
    assert_eq!(server.step(Input::Tick, secs(32)).1, Some(Action::Close(Reason::Timeout)));
    let (server, _) = server.step(Input::Frame(pdu(Pdu::Resume)), secs(31));
    assert_eq!(server.deadline(), Some(secs(61)), "no heartbeats once it goes on");
}

/// The driver must not find a deadline in the past that a tick does not move.
#[test]
fn a_tick_at_the_deadline_is_never_in_vain() {
    for state in STATES {
        let mut server = session(state, secs(3));
        while let Some(deadline) = server.deadline() {
            let (next, _) = server.step(Input::Tick, deadline);
            assert!(next.deadline().is_none_or(|later| later > deadline), "{state:?}");
            server = next;
        }
        assert_eq!(server.state(), Closed);
    }
}
