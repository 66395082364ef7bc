//! The wire, as a peer sees it.

mod decoding;
mod encoding;
mod options;
mod properties;

use bytes::{BufMut, Bytes, BytesMut};

use super::Version::{V1, V2};
use super::*;

/// Bytes from hex digits; blanks are for the reader.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A PDU of any type byte and body.
fn raw(version: Version, kind: u8, body: &[u8]) -> Bytes {
    let header = Header { kind, flags: 0, session_id: 7, body_length: body.len() as u32 };
    [&header.encode(version), body].concat().into()
}

/// Only the header of a PDU, which announces this many bytes of body.
fn announcement(version: Version, kind: u8, body_length: u32) -> Bytes {
    Bytes::from_owner(Header { kind, flags: 0, session_id: 7, body_length }.encode(version))
}

/// What a new decoder finds in these pieces, up to the error that ends the stream, if any.
fn decode(
    version: Version,
    role: Role,
    pieces: impl IntoIterator<Item = Bytes>,
) -> (Vec<Frame>, Option<Error>) {
    let mut decoder = Decoder::new(version, role);
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(piece.is_empty(), "a decoder that wants more has left bytes behind");
    }
    (frames, None)
}

/// The one frame in these bytes, all of which must belong to it.
fn decode_one(version: Version, role: Role, bytes: Bytes) -> Frame {
    let (mut frames, error) = decode(version, role, [bytes]);
    assert_eq!((frames.len(), error), (1, None));
    frames.remove(0)
}

/// A HEARTBEAT, to show that a decoder is still in step.
fn beat_bytes(version: Version) -> Bytes {
    match version {
        V1 => hex("01 08 0000 00000007 00000008  0000018BCFE56800"),
        V2 => hex("02 08 0000 00000007 00000008  0000018BCFE56800"),
    }
}

fn heartbeat(echo: bool) -> Pdu {
    Pdu::Heartbeat { timestamp: 1_700_000_000_000, echo }
}

fn beat() -> Frame {
    Frame::Pdu { session_id: 7, pdu: heartbeat(false) }
}

fn open_stream() -> OpenStream {
    OpenStream {
        codec: "h264".into(),
        profile: "baseline".into(),
        bitrates: vec![240_000, 480_000],
        encryption: 0,
        delivery: 1,
    }
}

const ACK: OpenAck =
    OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };

/// No options.
fn none() -> Options {
    Options::default()
}

fn chunk(seq: u32, payload: impl Into<Bytes>) -> Pdu {
    Pdu::Chunk(Chunk { seq, payload: Payload::from(payload.into()) })
}

/// A PDU with its bytes: who reads it, what it is, the session id of its header.
type Sample = (Role, Pdu, u32, &'static str);

/// Every PDU of version 1 with its bytes, written by hand from the specification.
fn samples_1() -> Vec<Sample> {
    vec![
        (
            Role::Server,
            Pdu::OpenStream(open_stream(), none()),
            0,
            "01 01 0000 00000000 0000001B  0004 68323634  0008 626173656C696E65
             02 0003A980 00075300  00 01",
        ),
        (
            Role::Client,
            Pdu::OpenAck(ACK, none()),
            0x3039,
            "01 02 0000 00003039 00000010  0007A120 00010000 00000005 0000001E",
        ),
        (Role::Client, Pdu::OpenNack(99, none()), 0, "01 03 0000 00000000 00000002  0063"),
        (
            Role::Client,
            chunk(0x0102_0304, "hello"),
            u32::MAX,
            "01 04 0000 FFFFFFFF 0000000D  01020304 00000005 68656C6C6F",
        ),
        (Role::Server, Pdu::Pause, 12_345, "01 05 0000 00003039 00000000"),
        (Role::Server, Pdu::Resume, 12_345, "01 06 0000 00003039 00000000"),
        (
            Role::Client,
            Pdu::Close(CloseReason::COMPLETE, none()),
            12_345,
            "01 07 0000 00003039 00000000",
        ),
        (Role::Server, heartbeat(false), 7, "01 08 0000 00000007 00000008  0000018BCFE56800"),
    ]
}

/// Every PDU of version 2, with every option where it belongs.
fn samples_2() -> Vec<Sample> {
    let digest = Some(std::array::from_fn(|at| at as u8));
    let asked = Options {
        title: Some("a/b.mp4".into()),
        start_offset: Some(0x0010_0000),
        validator: Some(hex("DEADBEEF")),
        token: Some("key".into()),
        rate: Some(0),
        end_offset: Some(0x0102_0304_0506_0708),
        unverified: true,
        ..none()
    };
    let granted = Options {
        title: Some("ä".into()),
        start_offset: Some(u64::MAX),
        validator: Some(hex("00")),
        total_size: Some(0x0102_0304_0506_0708),
        media_type: Some("video/mp4".into()),
        rate: Some(4_000_000),
        live: true,
        digest,
        modified: Some(0x0000_018B_CFE5_6800),
        ..none()
    };
    let busy = Options { retry_after: Some(30), ..Options::reason("full") };
    let later = Options { retry_after: Some(1), ..Options::reason("bye") };
    let first = Options {
        title: Some("a".into()),
        total_size: Some(8),
        media_type: Some("text/plain".into()),
        bitrate: Some(500_000),
        ..none()
    };
    let second = Options { title: Some("b".into()), live: true, ..none() };
    vec![
        (
            Role::Server,
            Pdu::OpenStream(open_stream(), none()),
            0,
            "02 01 0000 00000000 0000001B  0004 68323634  0008 626173656C696E65
             02 0003A980 00075300  00 01",
        ),
        (
            Role::Server,
            Pdu::OpenStream(open_stream(), asked),
            0,
            "02 01 0000 00000000 0000005D  0004 68323634  0008 626173656C696E65
             02 0003A980 00075300  00 01
             0001 0007 612F622E6D7034  0002 0008 0000000000100000  0003 0004 DEADBEEF
             0006 0003 6B6579  0007 0008 0000000000000000
             000D 0008 0102030405060708  8001 0000",
        ),
        (
            Role::Client,
            Pdu::OpenAck(ACK, granted),
            0x3039,
            "02 02 0000 00003039 00000081  0007A120 00010000 00000005 0000001E
             0001 0002 C3A4  0002 0008 FFFFFFFFFFFFFFFF  0003 0001 00
             0004 0008 0102030405060708  0005 0009 766964656F2F6D7034
             0007 0008 00000000003D0900  0009 0000
             000A 0021 01 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F
             0013 0008 0000018BCFE56800",
        ),
        (
            Role::Client,
            Pdu::OpenNack(7, busy),
            0,
            "02 03 0000 00000000 00000012  0007  0008 0004 66756C6C  000B 0004 0000001E",
        ),
        (
            Role::Client,
            chunk(0x0102_0304, "hello"),
            u32::MAX,
            "02 04 0000 FFFFFFFF 0000000D  01020304 00000005 68656C6C6F",
        ),
        (Role::Server, Pdu::Pause, 12_345, "02 05 0000 00003039 00000000"),
        (Role::Server, Pdu::Resume, 12_345, "02 06 0000 00003039 00000000"),
        (
            Role::Server,
            Pdu::Close(CloseReason::CLIENT, none()),
            12_345,
            "02 07 0000 00003039 00000002  0001",
        ),
        (
            Role::Client,
            Pdu::Close(CloseReason::SHUTDOWN, later),
            12_345,
            "02 07 0000 00003039 00000011  0002  0008 0003 627965  000B 0004 00000001",
        ),
        (
            Role::Client,
            Pdu::Close(CloseReason::COMPLETE, Options { digest, ..none() }),
            12_345,
            "02 07 0000 00003039 00000027  0000
             000A 0021 01 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        ),
        (Role::Server, heartbeat(false), 7, "02 08 0000 00000007 00000008  0000018BCFE56800"),
        (Role::Client, heartbeat(true), 7, "02 08 0100 00000007 00000008  0000018BCFE56800"),
        (Role::Server, Pdu::List(none()), 0, "02 09 0000 00000000 00000000"),
        (
            Role::Server,
            Pdu::List(Options { token: Some("key".into()), ..none() }),
            0,
            "02 09 0000 00000000 00000007  0006 0003 6B6579",
        ),
        (
            Role::Client,
            Pdu::ListReply { entries: vec![first, second], more: true },
            0,
            "02 0A 0100 00000000 00000038  00000002
             0027  0001 0001 61  0004 0008 0000000000000008  0005 000A 746578742F706C61696E
                   000C 0004 0007A120
             0009  0001 0001 62  0009 0000",
        ),
        (
            Role::Client,
            Pdu::ListReply { entries: vec![], more: false },
            0,
            "02 0A 0000 00000000 00000004  00000000",
        ),
        (
            Role::Client,
            Pdu::Edge { edge: 0x0102_0304_0506_0708, oldest: 9 },
            7,
            "02 0B 0000 00000007 00000010  0102030405060708 0000000000000009",
        ),
    ]
}

fn samples() -> impl Iterator<Item = (Version, Sample)> {
    let of = |version, samples: Vec<Sample>| samples.into_iter().map(move |one| (version, one));
    of(V1, samples_1()).chain(of(V2, samples_2()))
}

/// Asserts that a body is refused as malformed, and that the PDU after it is read.
fn assert_malformed(version: Version, role: Role, of: u8, body: &[u8]) {
    let (frames, error) = decode(version, role, [raw(version, of, body), beat_bytes(version)]);
    let [Frame::Malformed(Error::Malformed { kind, .. }), next] = &frames[..] else {
        panic!("type {of}, {body:?}: {frames:?}, {error:?}")
    };
    assert_eq!((*kind as u8, next, error), (of, &beat(), None));
}
