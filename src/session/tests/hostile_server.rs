//! What a client bears of a server that means it no good.

use super::*;
use crate::session::client::{Action, ClientSession, Discontinuity, Earlier, End, Input, State};

const MIB: u64 = 1024 * 1024;

fn received(sent: Pdu) -> Input {
    Input::Frame(pdu(sent))
}

/// A session that streams since the time zero on these terms.
fn streaming(version: Version, ack: OpenAck, options: Options) -> ClientSession {
    let position = options.start_offset.unwrap_or(0);
    let earlier = Earlier { position, ..Earlier::default() };
    let new = ClientSession::new(version, None, secs(10), Duration::ZERO).resuming(earlier);
    let (asked, _) = new.step(Input::Connected(open(), none()), Duration::ZERO);
    asked.step(received(Pdu::OpenAck(ack, options)), Duration::ZERO).0
}

fn of_size(seq: u32, length: usize) -> Input {
    let payload = Payload::from(bytes::Bytes::from(vec![0; length]));
    received(Pdu::Chunk(Chunk { seq, payload }))
}

fn violation(client: ClientSession, input: Input) -> Option<Error> {
    match client.step(input, Duration::ZERO).1 {
        [Some(Action::End(End::Violation(error))), None] => Some(error),
        _ => None,
    }
}

#[test]
fn the_first_byte_past_the_announced_end_is_a_violation() {
    let announced = |start| Options { total_size: Some(7), start_offset: start, ..none() };
    for (start, left) in [(None, 7), (Some(0), 7), (Some(4), 3), (Some(7), 0), (Some(9), 0)] {
        let mut client = streaming(V2, ACK, announced(start));
        let mut seq = 1;
        let mut rest = left;
        while rest >= 2 {
            assert_eq!(violation(client, of_size(seq, 2)), None, "{start:?}");
            client = client.step(of_size(seq, 2), Duration::ZERO).0;
            (seq, rest) = (seq + 1, rest - 2);
        }
        let error = Error::PastTheEnd { got: rest as u32 + 1, left: rest };
        assert_eq!(violation(client, of_size(seq, rest as usize + 1)), Some(error), "{start:?}");
    }
    let unknown = streaming(V2, ACK, none());
    assert_eq!(violation(unknown, of_size(1, MAX_CHUNK)), None, "nothing was announced");
}

#[test]
fn a_header_is_no_larger_than_a_mebibyte_and_comes_as_a_whole() {
    let of_header = |length| Options { header_length: Some(length), live: true, ..none() };
    let asked = || {
        let new = ClientSession::new(V2, None, secs(10), Duration::ZERO);
        new.step(Input::Connected(open(), none()), Duration::ZERO).0
    };
    let too_large = received(Pdu::OpenAck(ACK, of_header(MIB as u32 + 1)));
    let error = Error::HeaderTooLarge { got: MIB as u32 + 1 };
    assert_eq!(violation(asked(), too_large), Some(error));
    let (client, _) = asked().step(received(Pdu::OpenAck(ACK, of_header(3))), Duration::ZERO);
    assert_eq!(client.state(), State::Streaming);
    let end = |client: ClientSession| {
        let complete = received(Pdu::Close(CloseReason::COMPLETE, none()));
        client.step(complete, Duration::ZERO).1.into_iter().flatten().last()
    };
    let (client, _) = client.step(of_size(1, 2), Duration::ZERO);
    let missing = Discontinuity::Header { missing: 1 };
    assert_eq!(end(client), Some(Action::End(End::Discontinuity(missing))));
    let (client, _) = client.step(of_size(2, 2), Duration::ZERO);
    assert_eq!(end(client), Some(Action::End(End::Complete)));
}

#[test]
fn an_empty_chunk_is_a_violation_in_version_2() {
    let empty = || of_size(1, 0);
    let error = Error::EmptyChunk { seq: 1 };
    assert_eq!(violation(streaming(V2, ACK, none()), empty()), Some(error));
    assert_eq!(violation(streaming(V1, ACK, none()), empty()), None);
}

#[test]
fn empty_chunks_are_no_sign_of_life_in_version_1() {
    let mut client = streaming(V1, ACK, none());
    for second in 1.. {
        let now = secs(second);
        let (next, actions) = client.step(of_size(second as u32, 0), now);
        let (next, ticked) = next.step(Input::Tick, now);
        client = next;
        let ended = actions
            .into_iter()
            .chain(ticked)
            .flatten()
            .any(|action| matches!(action, Action::End(End::Stalled(_))));
        if ended {
            assert_eq!(now, KEEPALIVE * 2);
            return;
        }
        assert!(now < KEEPALIVE * 2, "it has not stalled");
    }
}

#[test]
fn a_server_that_announces_long_intervals_is_found_out_all_the_same() {
    let ack = OpenAck { keepalive: u32::MAX, session_timeout: u32::MAX, ..ACK };
    for version in Version::ALL {
        let client = streaming(version, ack, none());
        let mut stalled = client;
        let mut heartbeats = 0;
        let end = loop {
            let due = stalled.deadline().unwrap();
            let (next, actions) = stalled.step(Input::Tick, due);
            stalled = next;
            heartbeats += u32::from(actions.contains(&Some(Action::SendHeartbeat)));
            if stalled.state() == State::Closed {
                break due;
            }
        };
        assert_eq!((heartbeats, end), (1, secs(120)), "{version:?}");

        let mut silent = client.step(Input::TogglePause, Duration::ZERO).0;
        let end = loop {
            let due = silent.deadline().unwrap();
            silent = silent.step(Input::Tick, due).0;
            if silent.state() == State::Closed {
                break due;
            }
        };
        assert_eq!(end, secs(300), "{version:?}");
    }
}

#[test]
fn a_server_that_sends_on_into_a_pause_is_not_read_any_more() {
    const CHUNK: usize = 65_536;
    let ack = OpenAck { max_chunk_size: CHUNK as u32, ..ACK };
    for version in Version::ALL {
        let mut client = streaming(version, ack, none());
        for seq in 1..100 {
            client = client.step(of_size(seq, CHUNK), Duration::ZERO).0;
        }
        assert!(client.is_reading(), "there was no pause");
        client = client.step(Input::TogglePause, Duration::ZERO).0;
        let mut after_pause = 0;
        for seq in 100.. {
            if !client.is_reading() {
                break;
            }
            client = client.step(of_size(seq, CHUNK), Duration::ZERO).0;
            after_pause += CHUNK as u64;
        }
        assert!((2 * MIB..3 * MIB).contains(&after_pause), "{after_pause}");
        // It cannot be heard, so its silence says nothing.
        let late = secs(3_600);
        client = client.step(Input::Tick, late).0;
        assert_eq!(client.state().number(), 3, "{version:?}");
        let (resumed, actions) = client.step(Input::TogglePause, late);
        assert_eq!(actions, [Some(Action::Send(Pdu::Resume)), None]);
        assert!(resumed.is_reading());
        assert!(resumed.deadline().unwrap() > late);
    }
}
