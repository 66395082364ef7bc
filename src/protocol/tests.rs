//! The wire, as a peer sees it.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

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
            "02 01 0000 00000000 0000004D  0004 68323634  0008 626173656C696E65
             02 0003A980 00075300  00 01
             0001 0007 612F622E6D7034  0002 0008 0000000000100000  0003 0004 DEADBEEF
             0006 0003 6B6579  0007 0008 0000000000000000",
        ),
        (
            Role::Client,
            Pdu::OpenAck(ACK, granted),
            0x3039,
            "02 02 0000 00003039 00000075  0007A120 00010000 00000005 0000001E
             0001 0002 C3A4  0002 0008 FFFFFFFFFFFFFFFF  0003 0001 00
             0004 0008 0102030405060708  0005 0009 766964656F2F6D7034
             0007 0008 00000000003D0900  0009 0000
             000A 0021 01 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
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
    ]
}

fn samples() -> impl Iterator<Item = (Version, Sample)> {
    let of = |version, samples: Vec<Sample>| samples.into_iter().map(move |one| (version, one));
    of(V1, samples_1()).chain(of(V2, samples_2()))
}

#[test]
fn every_pdu_has_the_bytes_of_the_specification() {
    for (version, (role, pdu, session_id, bytes)) in samples() {
        assert_eq!(pdu.encode(version, session_id), hex(bytes), "encoding {version:?} {pdu}");
        assert_eq!(decode_one(version, role, hex(bytes)), Frame::Pdu { session_id, pdu });
    }
}

#[test]
fn the_examples_in_the_specification_are_what_it_says() {
    let blocks = include_str!("wire.md").split("```").skip(1).step_by(2);
    let examples: Vec<_> = blocks
        .map(|block| {
            let lines = block.lines().skip(1).map(|line| line.split("    ").next().unwrap_or(line));
            hex(&lines.collect::<String>())
        })
        .collect();
    let [first, second] = &examples[..] else { panic!("{examples:?}") };
    let plain = OpenStream { delivery: 0, ..open_stream() };
    let pdu = Pdu::OpenStream(plain.clone(), none());
    assert_eq!(decode_one(V1, Role::Server, first.clone()), Frame::Pdu { session_id: 0, pdu });
    let rest = Options {
        title: Some("a.mp4".into()),
        start_offset: Some(196_608),
        validator: Some(hex("DEADBEEF")),
        rate: Some(0),
        ..none()
    };
    let pdu = Pdu::OpenStream(OpenStream { bitrates: vec![480_000], ..plain }, rest);
    assert_eq!(decode_one(V2, Role::Server, second.clone()), Frame::Pdu { session_id: 0, pdu });
}

/// What a peer of version 1 is told by a PDU: nothing of what version 2 adds.
fn in_version_1(pdu: Pdu) -> Pdu {
    match pdu {
        Pdu::OpenStream(open, _) => Pdu::OpenStream(open, none()),
        Pdu::OpenAck(ack, _) => Pdu::OpenAck(ack, none()),
        Pdu::OpenNack(code, _) => Pdu::OpenNack(code, none()),
        Pdu::Close(..) => Pdu::Close(CloseReason::COMPLETE, none()),
        Pdu::Heartbeat { timestamp, .. } => Pdu::Heartbeat { timestamp, echo: false },
        pdu => pdu,
    }
}

#[test]
fn nothing_of_version_2_reaches_a_peer_of_version_1() {
    for (role, pdu, session_id, _) in
        samples_2().into_iter().filter(|(_, pdu, ..)| pdu.kind().since() == V1)
    {
        let bytes = pdu.encode(V1, session_id);
        assert_eq!(bytes[2..4], [0, 0], "{pdu}");
        let plain = in_version_1(pdu);
        assert_eq!(bytes, plain.encode(V1, session_id));
        assert_eq!(decode_one(V1, role, bytes), Frame::Pdu { session_id, pdu: plain });
    }
}

#[test]
fn a_chunk_is_its_prefix_and_its_payload() {
    for version in Version::ALL {
        let prefix = Chunk::prefix(version, u32::MAX, 0x0102_0304, 5);
        let whole = chunk(0x0102_0304, "hello").encode(version, u32::MAX);
        assert_eq!(whole, [&prefix[..], b"hello"].concat());
    }
}

#[test]
fn flags_without_a_meaning_and_the_reserved_byte_are_ignored() {
    for version in ["01", "02"] {
        let bytes = hex(&format!("{version} 05 FFFF 00003039 00000000"));
        let version = if version == "01" { V1 } else { V2 };
        let frame = decode_one(version, Role::Server, bytes);
        assert_eq!(frame, Frame::Pdu { session_id: 12_345, pdu: Pdu::Pause });
    }
}

#[test]
fn only_bit_0_of_the_flags_says_something_and_only_in_version_2() {
    for flags in 0..=u8::MAX {
        let set = flags & 1 != 0;
        for (version, echo) in [(V1, false), (V2, set)] {
            let mut bytes = BytesMut::from(&beat_bytes(version)[..]);
            bytes[2] = flags;
            for role in [Role::Client, Role::Server] {
                let frame = decode_one(version, role, bytes.clone().freeze());
                assert_eq!(frame, Frame::Pdu { session_id: 7, pdu: heartbeat(echo) });
            }
        }
        let bytes = hex(&format!("02 0A {flags:02X}00 00000000 00000004  00000000"));
        let pdu = Pdu::ListReply { entries: vec![], more: set };
        assert_eq!(decode_one(V2, Role::Client, bytes), Frame::Pdu { session_id: 0, pdu });
    }
}

#[test]
fn the_alpn_identifier_selects_the_version_exactly() {
    assert_eq!(Version::from_alpn(b"quic-stream-proto"), Some(V1));
    assert_eq!(Version::from_alpn(b"quicstream/2"), Some(V2));
    assert_eq!(Version::ALL.map(Version::alpn), ["quicstream/2", "quic-stream-proto"]);
    for other in [
        "",
        "quic-stream-prot",
        "quic-stream-proto\0",
        "QUIC-STREAM-PROTO",
        "h3",
        "quicstream",
        "quicstream/1",
        "quicstream/20",
        "Quicstream/2",
    ] {
        assert_eq!(Version::from_alpn(other.as_bytes()), None, "{other:?}");
    }
}

#[test]
fn refusals_have_the_codes_of_the_specification() {
    let known = (0..=u16::MAX).filter_map(|code| Some((code, NackCode::from_wire(code)?)));
    assert!(known.eq([
        (1, NackCode::UnsupportedCodec),
        (2, NackCode::UnsupportedEncryption),
        (3, NackCode::MulticastUnsupported),
        (4, NackCode::NoSuchTitle),
        (5, NackCode::NotAuthorised),
        (6, NackCode::MediaChanged),
        (7, NackCode::Busy),
        (8, NackCode::PastTheEnd),
        (99, NackCode::ProtocolViolation),
    ]));
}

#[test]
fn a_peer_of_version_1_is_refused_with_the_codes_that_it_knows() {
    for code in (0..=u16::MAX).filter_map(NackCode::from_wire) {
        let number = code as u16;
        assert_eq!(code.to_wire(V2), number);
        assert_eq!(code.to_wire(V1), if number <= 3 { number } else { 99 });
    }
}

#[test]
fn close_reasons_have_the_numbers_of_the_specification() {
    let reasons = [
        CloseReason::COMPLETE,
        CloseReason::CLIENT,
        CloseReason::SHUTDOWN,
        CloseReason::TIMEOUT,
        CloseReason::MEDIA,
        CloseReason::BEHIND,
        CloseReason::LIMIT,
        CloseReason::VIOLATION,
    ];
    assert_eq!(reasons.map(|reason| reason.0), [0, 1, 2, 3, 4, 5, 6, 99]);
    // One that nobody knows yet is no error.
    let frame = decode_one(V2, Role::Client, raw(V2, 7, &[0x12, 0x34]));
    assert_eq!(frame, Frame::Pdu { session_id: 7, pdu: Pdu::Close(CloseReason(0x1234), none()) });
}

#[test]
fn a_reason_is_cut_to_what_fits() {
    for (text, length) in
        [("", 0), ("why", 3), (&"ä".repeat(300), 512), (&format!("x{}", "ä".repeat(300)), 511)]
    {
        let options = Options::reason(text);
        assert_eq!(options.reason.as_ref().map(String::len), Some(length));
        let pdu = Pdu::Close(CloseReason::LIMIT, options);
        let frame = decode_one(V2, Role::Client, pdu.encode(V2, 7));
        assert_eq!(frame, Frame::Pdu { session_id: 7, pdu });
    }
}

#[test]
fn what_does_not_fit_the_wire_is_cut() {
    let long = "ä".repeat(40_000);
    let open = OpenStream { codec: long, bitrates: vec![1; 300], ..OpenStream::default() };
    let bytes = Pdu::OpenStream(open, none()).encode(V1, 0);
    // A character of two bytes does not fit the last of 65,535.
    assert_eq!(bytes.len(), 12 + 2 + 65_534 + 2 + 1 + 255 * 4 + 2);
    assert_eq!(bytes[12..14], [0xFF, 0xFE]);
}

/// The types that each end reads.
fn read_by(version: Version, role: Role) -> &'static [u8] {
    match (version, role) {
        (V1, Role::Client) => &[2, 3, 4, 7, 8],
        (V1, Role::Server) => &[1, 5, 6, 7, 8],
        (V2, Role::Client) => &[2, 3, 4, 7, 8, 10],
        (V2, Role::Server) => &[1, 5, 6, 7, 8, 9],
    }
}

const ENDS: [(Version, Role); 4] =
    [(V1, Role::Client), (V1, Role::Server), (V2, Role::Client), (V2, Role::Server)];

#[test]
fn each_end_reads_what_is_sent_to_it_and_skips_the_rest() {
    for (version, role) in ENDS {
        for kind in 0..=u8::MAX {
            let label = format!("{version:?}, {role:?}, type {kind}");
            let sent = [raw(version, kind, b"whatever it is"), beat_bytes(version)];
            let (frames, error) = decode(version, role, sent);
            assert_eq!((frames.len(), error), (2, None), "{label}");
            let read = read_by(version, role).contains(&kind);
            assert_eq!(frames[0] != Frame::Skipped { kind }, read, "{label}");
            assert_eq!(frames[1], beat(), "{label}");
        }
    }
}

#[test]
fn the_catalogue_is_unknown_in_version_1() {
    for (role, kind) in [(Role::Server, 9), (Role::Client, 10)] {
        let (frames, error) = decode(V1, role, [raw(V1, kind, &[0; 4]), beat_bytes(V1)]);
        assert_eq!((frames, error), (vec![Frame::Skipped { kind }, beat()], None));
    }
}

#[test]
fn a_body_that_is_skipped_is_not_kept() {
    let mut decoder = Decoder::new(V1, Role::Server);
    let skipped = decoder.decode(&mut announcement(V1, 4, 8_008));
    assert_eq!(skipped, Ok(Some(Frame::Skipped { kind: 4 })), "known before its body is there");
    for _ in 0..2 {
        let piece = Bytes::from(vec![1; 4_004]);
        assert_eq!(decoder.decode(&mut piece.clone()), Ok(None));
        assert!(piece.is_unique());
    }
    assert_eq!(decoder.decode(&mut beat_bytes(V1)), Ok(Some(beat())));
}

#[test]
fn a_header_of_another_version_is_an_error() {
    for version in Version::ALL {
        let want = version.number();
        for got in (0..=u8::MAX).filter(|got| *got != want) {
            let bytes = [&[got], &beat_bytes(version)[1..]].concat().into();
            let error = Error::Version { got, want };
            assert_eq!(decode(version, Role::Server, [bytes]), (vec![], Some(error)));
        }
    }
}

#[test]
fn a_body_over_the_limit_is_an_error_before_it_arrives() {
    for (version, role) in ENDS {
        for kind in 0..=u8::MAX {
            let large = matches!(kind, 4 | 10) || !read_by(version, role).contains(&kind);
            let limit = if large { 1_048_584 } else { 16_384 };
            let (_, error) = decode(version, role, [announcement(version, kind, limit)]);
            assert_eq!(error, None, "type {kind} at its limit");
            for length in [limit + 1, u32::MAX] {
                let found = decode(version, role, [announcement(version, kind, length)]);
                assert_eq!(found, (vec![], Some(Error::BodyTooLong { kind, length, limit })));
            }
        }
    }
}

/// Asserts that a body is refused as malformed, and that the PDU after it is read.
fn assert_malformed(version: Version, role: Role, of: u8, body: &[u8]) {
    let (frames, error) = decode(version, role, [raw(version, of, body), beat_bytes(version)]);
    let [Frame::Malformed(Error::Malformed { kind, .. }), next] = &frames[..] else {
        panic!("type {of}, {body:?}: {frames:?}, {error:?}")
    };
    assert_eq!((*kind as u8, next, error), (of, &beat(), None));
}

#[test]
fn a_body_that_is_too_short_or_too_long_is_malformed() {
    for (version, (role, pdu, _, bytes)) in samples() {
        let kind = pdu.kind() as u8;
        let body = &hex(bytes)[12..];
        for short in (0..body.len()).map(|length| &body[..length]) {
            match decode_one(version, role, raw(version, kind, short)) {
                // Cut between two options it is whole; what was read must be all of it.
                Frame::Pdu { pdu, session_id } if version == V2 => {
                    assert_eq!(pdu.encode(version, session_id), raw(version, kind, short));
                }
                _ => assert_malformed(version, role, kind, short),
            }
        }
        assert_malformed(version, role, kind, &[body, &[0]].concat());
    }
}

#[test]
fn an_open_stream_that_contradicts_itself_is_malformed() {
    for body in [
        // Texts that are not UTF-8, and a character torn in two by the border between them.
        "0002 C328  0000  00  00 00",
        "0000  0001 FF  00  00 00",
        "0001 C3  0001 A4  00  00 00",
        // Texts that are longer than the body.
        "FFFF 68323634  0000  00  00 00",
        "0006 0000 00 00 00",
        "0000  0004 00  00 00",
        // More bitrates than announced, and fewer.
        "0000  0000  01 00000001 00000002  00 00",
        "0000  0000  02 00000001  00 00",
    ] {
        assert_malformed(V1, Role::Server, 1, &hex(body));
        assert_malformed(V2, Role::Server, 1, &hex(body));
    }
}

#[test]
fn a_chunk_whose_lengths_disagree_is_malformed() {
    for length in ["00000004", "00000006", "00000000", "0000000D", "FFFFFFFF"] {
        let body = hex(&format!("00000001 {length} 68656C6C6F"));
        assert_malformed(V1, Role::Client, 4, &body);
        assert_malformed(V2, Role::Client, 4, &body);
    }
}

/// An option as it stands in a body.
fn option(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
}

/// These options in a body of every type that has any.
fn carried(options: &[u8]) -> [(Role, u8, Vec<u8>); 6] {
    let entry = |length: usize| [0, 0, 0, 1, (length >> 8) as u8, length as u8];
    [
        (Role::Server, 1, [&hex("0001 63  0000  00  00 00"), options].concat()),
        (Role::Client, 2, [&[0; 16], options].concat()),
        (Role::Client, 3, [&[0; 2], options].concat()),
        (Role::Server, 7, [&[0; 2], options].concat()),
        (Role::Server, 9, options.to_vec()),
        (Role::Client, 10, [&entry(options.len()), options].concat()),
    ]
}

fn assert_malformed_options(options: &[u8]) {
    for (role, kind, body) in carried(options) {
        assert_malformed(V2, role, kind, &body);
    }
}

/// The options that are read, which must be the same in every PDU that has any.
fn read_options(options: &[u8]) -> Options {
    let mut read = carried(options).into_iter().map(|(role, kind, body)| {
        match decode_one(V2, role, raw(V2, kind, &body)) {
            Frame::Pdu { pdu: Pdu::ListReply { mut entries, .. }, .. } => entries.remove(0),
            Frame::Pdu {
                pdu:
                    Pdu::OpenStream(_, options)
                    | Pdu::OpenAck(_, options)
                    | Pdu::OpenNack(_, options)
                    | Pdu::Close(_, options)
                    | Pdu::List(options),
                ..
            } => options,
            other => panic!("type {kind}, {options:?}: {other:?}"),
        }
    });
    let first = read.next().unwrap();
    assert!(read.all(|options| options == first));
    first
}

/// Every option with the least and the most bytes that its value may have.
const LENGTHS: [(u16, usize, usize); 12] = [
    (1, 1, 255),
    (2, 8, 8),
    (3, 1, 64),
    (4, 8, 8),
    (5, 0, 255),
    (6, 0, 4_096),
    (7, 8, 8),
    (8, 0, 512),
    (9, 0, 0),
    (10, 33, 33),
    (11, 4, 4),
    (12, 4, 4),
];

/// A value that suits every type: text, and the number of BLAKE3 before a digest.
fn ones(length: usize) -> Vec<u8> {
    vec![1; length]
}

#[test]
fn an_option_of_a_length_that_it_cannot_have_is_malformed() {
    for (kind, least, most) in LENGTHS {
        for length in [least, most] {
            assert_ne!(read_options(&option(kind, &ones(length))), none(), "{kind}, {length}");
        }
        assert_malformed_options(&option(kind, &ones(most + 1)));
        assert_malformed_options(&option(kind, &ones(most.max(100) * 2)));
        for length in 0..least {
            assert_malformed_options(&option(kind, &ones(length)));
        }
    }
}

#[test]
fn an_option_that_is_cut_off_is_malformed() {
    for kind in (1..=12).chain([13, 0xFFFF]) {
        let whole = [option(1_000, b"before"), option(kind, &ones(33))].concat();
        for length in 11..whole.len() {
            assert_malformed_options(&whole[..length]);
        }
        assert_malformed_options(&hex(&format!("{kind:04X} FFFF 00")));
    }
}

#[test]
fn an_option_that_stands_there_twice_is_malformed() {
    let known = LENGTHS.map(|(kind, least, _)| option(kind, &ones(least)));
    for one in known.into_iter().chain([option(13, b""), option(0, b"x"), option(0xFFFF, b"")]) {
        let other = option(500, b"between");
        read_options(&[&one[..], &other].concat());
        assert_malformed_options(&[&one[..], &one].concat());
        assert_malformed_options(&[&one[..], &other, &one].concat());
        assert_malformed_options(&[&other[..], &one, &one].concat());
    }
    // With another value it is still the same option.
    assert_malformed_options(&[option(13, b"a"), option(13, b"b")].concat());
    assert_malformed_options(&[option(1, b"a"), option(1, b"b")].concat());
}

#[test]
fn entries_are_independent_of_each_other() {
    let title = option(1, b"same");
    let entry = [&(title.len() as u16).to_be_bytes(), &title[..]].concat();
    let body = [&[0, 0, 0, 3], &entry[..], &entry, &[0, 0]].concat();
    let same = Options { title: Some("same".into()), ..none() };
    let pdu = Pdu::ListReply { entries: vec![same.clone(), same, none()], more: false };
    let frame = decode_one(V2, Role::Client, raw(V2, 10, &body));
    assert_eq!(frame, Frame::Pdu { session_id: 7, pdu });
}

#[test]
fn entries_that_do_not_add_up_are_malformed() {
    for body in [
        // Too few entries, too many, and as many as nobody has memory for.
        "00000001",
        "00000000 0000",
        "00000002 0000",
        "00000001 0000 0000",
        "FFFFFFFF 0000 0000",
        // An entry that is longer than the body, and an option that is longer than its entry.
        "00000001 0006 0001 0001 61",
        "00000002 0004 0001 0001 0001 61",
        "00000001 0004 0001 0001 61",
    ] {
        assert_malformed(V2, Role::Client, 10, &hex(body));
    }
}

#[test]
fn a_text_that_is_not_utf_8_is_malformed() {
    for kind in [1, 5, 8] {
        for text in [&b"\xC3"[..], b"\xFF\xFE", b"ok\x80", b"\xED\xA0\x80"] {
            assert_malformed_options(&option(kind, text));
        }
    }
    // What is opaque may be anything.
    assert_eq!(read_options(&option(3, b"\xFF")).validator, Some(hex("FF")));
    assert_eq!(read_options(&option(6, b"\xFF")).token, Some(hex("FF")));
}

#[test]
fn unknown_options_are_skipped() {
    let title = Options { title: Some("a".into()), ..none() };
    for kind in (0..=u16::MAX).filter(|kind| !(1..=12).contains(kind)) {
        let options = [option(kind, b"\xFF\0\x01"), option(1, b"a")].concat();
        let frame = decode_one(V2, Role::Server, raw(V2, 9, &options));
        assert_eq!(frame, Frame::Pdu { session_id: 7, pdu: Pdu::List(title.clone()) });
    }
    let around = [option(13, b""), option(1, b"a"), option(0, &ones(8_000))].concat();
    assert_eq!(read_options(&around), title);
}

#[test]
fn digests_of_another_algorithm_are_ignored() {
    for algorithm in (0..=u8::MAX).filter(|algorithm| *algorithm != 1) {
        for length in [0, 20, 32, 64] {
            let value = [&[algorithm][..], &ones(length)].concat();
            assert_eq!(read_options(&option(10, &value)), none());
        }
    }
    assert_eq!(read_options(&option(10, &ones(33))).digest, Some([1; 32]));
}

/// 262,128 options in one PDU, none twice within its entry: to compare each with each would take
/// a client seconds.
#[test]
fn many_options_take_little_time() {
    let options: Vec<u8> = (0..16_383).flat_map(|kind| option(1_000 + kind, b"")).collect();
    let entry = [&(options.len() as u16).to_be_bytes(), &options[..]].concat();
    let body = [&[0, 0, 0, 16], &entry.repeat(16)[..]].concat();
    let began = std::time::Instant::now();
    let frame = decode_one(V2, Role::Client, raw(V2, 10, &body));
    let pdu = Pdu::ListReply { entries: vec![none(); 16], more: false };
    assert_eq!(frame, Frame::Pdu { session_id: 7, pdu });
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn long_pieces_of_a_payload_are_not_copied() {
    let whole = chunk(1, vec![7; 20 + 3 * 1_024]).encode(V1, 7);
    let first = whole.slice(..20 + 2_000);
    let second = whole.slice(2_020..2_020 + 20);
    let third = whole.slice(2_040..2_040 + 1_024);
    let fourth = whole.slice(3_064..);
    let pieces = [first.clone(), second, third.clone(), fourth];
    let (frames, _) = decode(V1, Role::Client, pieces);
    let [Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }] = &frames[..] else { panic!("{frames:?}") };
    let [a, b, c, d] = chunk.payload.pieces() else { panic!("{:?}", chunk.payload.pieces()) };
    assert_eq!((a.as_ptr(), a.len()), (first[20..].as_ptr(), 2_000));
    assert_eq!((c.as_ptr(), c.len()), (third.as_ptr(), 1_024));
    assert_eq!((b.len(), d.len()), (20, 48));
}

/// A peer that sends one byte a packet must cost a byte each, neither a packet nor a slice.
#[test]
fn dribbled_bytes_are_gathered() {
    let mut decoder = Decoder::new(V1, Role::Client);
    let mut frame = Ok(None);
    for byte in chunk(1, vec![7; 3_000]).encode(V1, 7) {
        assert_eq!(frame, Ok(None));
        let packet = Bytes::from(vec![byte; 1_200]);
        frame = decoder.decode(&mut packet.slice(..1));
        assert!(packet.is_unique());
    }
    let Ok(Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. })) = frame else { panic!("{frame:?}") };
    assert_eq!(chunk.payload.pieces(), [vec![7; 3_000]]);
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(V1), Just(V2)]
}

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn any_bytes(lengths: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), lengths).prop_map(Bytes::from))
}

/// Any options that version 2 can say; version 1 says none.
fn any_options(version: Version) -> BoxedStrategy<Options> {
    if version == V1 {
        return Just(none()).boxed();
    }
    let names = (prop::option::of(".{1,60}"), prop::option::of(".{0,60}"));
    let bytes = (any_bytes(1..=64), any_bytes(0..=4_096));
    let reason = prop::option::of(".{0,120}");
    (
        names,
        bytes,
        reason,
        any::<[Option<u64>; 3]>(),
        any::<[Option<u32>; 2]>(),
        any::<(bool, Option<Digest>)>(),
    )
        .prop_map(
            |((title, media_type), (validator, token), reason, longs, ints, (live, digest))| {
                let [start_offset, total_size, rate] = longs;
                let [retry_after, bitrate] = ints;
                Options {
                    title,
                    start_offset,
                    validator,
                    total_size,
                    media_type,
                    token,
                    rate,
                    reason,
                    live,
                    digest,
                    retry_after,
                    bitrate,
                }
            },
        )
        .boxed()
}

fn any_open(version: Version) -> impl Strategy<Value = Pdu> {
    let bitrates = prop::collection::vec(any::<u32>(), 0..=255);
    let open = (".{0,50}", ".{0,50}", bitrates, any::<u8>(), any::<u8>()).prop_map(
        |(codec, profile, bitrates, encryption, delivery)| OpenStream {
            codec,
            profile,
            bitrates,
            encryption,
            delivery,
        },
    );
    (open, any_options(version)).prop_map(|(open, options)| Pdu::OpenStream(open, options))
}

fn any_ack(version: Version) -> impl Strategy<Value = Pdu> {
    let ack =
        any::<[u32; 4]>().prop_map(|[bitrate, max_chunk_size, keepalive, session_timeout]| {
            OpenAck { bitrate, max_chunk_size, keepalive, session_timeout }
        });
    (ack, any_options(version)).prop_map(|(ack, options)| Pdu::OpenAck(ack, options))
}

/// Any PDU that is sent to this end.
fn any_pdu(version: Version, to: Role) -> BoxedStrategy<Pdu> {
    let reason = if version == V1 { Just(0).boxed() } else { any::<u16>().boxed() };
    let close = (reason, any_options(version))
        .prop_map(|(reason, options)| Pdu::Close(CloseReason(reason), options));
    let heartbeat = any::<(u64, bool)>().prop_map(move |(timestamp, echo)| Pdu::Heartbeat {
        timestamp,
        echo: echo && version == V2,
    });
    let both = prop_oneof![close, heartbeat];
    match to {
        Role::Client => {
            let nack = (any::<u16>(), any_options(version))
                .prop_map(|(code, options)| Pdu::OpenNack(code, options));
            let payload = prop::collection::vec(any::<u8>(), 0..5_000);
            let chunk = (any::<u32>(), payload).prop_map(|(seq, payload)| chunk(seq, payload));
            let entries = prop::collection::vec(any_options(version), 0..20);
            let reply = (entries, any::<bool>())
                .prop_map(|(entries, more)| Pdu::ListReply { entries, more });
            match version {
                V1 => prop_oneof![both, any_ack(version), nack, chunk].boxed(),
                V2 => prop_oneof![both, any_ack(version), nack, chunk, reply].boxed(),
            }
        }
        Role::Server => {
            let toggles = prop_oneof![Just(Pdu::Pause), Just(Pdu::Resume)];
            let list = any_options(version).prop_map(Pdu::List);
            match version {
                V1 => prop_oneof![both, any_open(version), toggles].boxed(),
                V2 => prop_oneof![both, any_open(version), toggles, list].boxed(),
            }
        }
    }
}

/// What a client may find on its stream, and what it is to make of it.
fn any_sent(version: Version) -> impl Strategy<Value = (Bytes, Frame)> {
    let body = |least| prop::collection::vec(any::<u8>(), least..2_000_usize);
    let pdu = (any_pdu(version, Role::Client), any::<u32>()).prop_map(move |(pdu, session_id)| {
        (pdu.encode(version, session_id), Frame::Pdu { session_id, pdu })
    });
    let foreign = prop_oneof![any_open(version), Just(Pdu::Pause), Just(Pdu::Resume)]
        .prop_map(move |pdu| (pdu.encode(version, 1), Frame::Skipped { kind: pdu.kind() as u8 }));
    let first_unknown = if version == V1 { 9 } else { 11 };
    let unknown = (prop_oneof![Just(0), first_unknown..=u8::MAX], body(1))
        .prop_map(move |(kind, body)| (raw(version, kind, &body), Frame::Skipped { kind }));
    let what = "bytes are left over after the last field";
    let (kind, least) = match version {
        V1 => (Kind::CloseStream, 1),
        V2 => (Kind::Heartbeat, 9),
    };
    let malformed = body(least).prop_map(move |body| {
        (raw(version, kind as u8, &body), Frame::Malformed(Error::Malformed { kind, what }))
    });
    prop_oneof![4 => pdu, 1 => foreign, 1 => unknown, 1 => malformed]
}

/// A version and some of what a client may find on a stream of it.
fn any_stream(
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = (Version, Vec<(Bytes, Frame)>)> {
    any_version().prop_flat_map(move |version| {
        (Just(version), prop::collection::vec(any_sent(version), count.clone()))
    })
}

/// Cuts bytes into pieces of these lengths, over and over.
fn split<'a>(bytes: &'a Bytes, lengths: &'a [usize]) -> impl Iterator<Item = Bytes> + 'a {
    let mut start = 0;
    lengths.iter().cycle().map_while(move |length| {
        let piece = bytes.slice(start.min(bytes.len())..(start + length).min(bytes.len()));
        start += length;
        (!piece.is_empty()).then_some(piece)
    })
}

fn any_lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        prop::collection::vec(prop_oneof![1..40_usize, 1_000..3_000_usize], 1..10)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_what_is_decoded(
        (version, role, pdu) in (any_version(), any_role())
            .prop_flat_map(|(version, role)| (Just(version), Just(role), any_pdu(version, role))),
        session_id: u32,
    ) {
        let frame = decode_one(version, role, pdu.encode(version, session_id));
        prop_assert_eq!(frame, Frame::Pdu { session_id, pdu });
    }

    #[test]
    fn options_may_stand_in_any_order_among_unknown_ones(
        options in any_options(V2),
        unknown in prop::collection::btree_map(13_u16.., prop::collection::vec(any::<u8>(), 0..9), 0..9),
        order in any::<prop::sample::Selector>(),
    ) {
        let bytes = Pdu::List(options.clone()).encode(V2, 0);
        let mut rest = &bytes[12..];
        let mut all: Vec<_> = unknown.iter().map(|(kind, value)| option(*kind, value)).collect();
        while !rest.is_empty() {
            let (one, after) = rest.split_at(4 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
            all.push(one.to_vec());
            rest = after;
        }
        let mut shuffled = vec![];
        while !all.is_empty() {
            let at = *order.select(&(0..all.len()).collect::<Vec<_>>());
            shuffled.extend(all.swap_remove(at));
        }
        prop_assert_eq!(read_options(&shuffled), options);
    }

    #[test]
    fn wherever_the_stream_is_split_the_frames_are_the_same(
        (version, sent) in any_stream(0..10),
        lengths in any_lengths(),
    ) {
        let (bytes, expected): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let stream = Bytes::from(bytes.concat());
        let (frames, error) = decode(version, Role::Client, split(&stream, &lengths));
        prop_assert_eq!(error, None);
        prop_assert_eq!(frames, expected);
    }

    /// Damaged streams and plain noise: nothing panics, and how they were split changes nothing.
    #[test]
    fn any_bytes_are_decoded_the_same_way_however_they_are_split(
        role in any_role(),
        (version, sent) in any_stream(0..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..100),
        lengths in any_lengths(),
    ) {
        let mut stream = BytesMut::new();
        sent.iter().for_each(|(bytes, _)| stream.put_slice(bytes));
        stream.put_slice(&noise);
        if !stream.is_empty() {
            for (at, byte) in damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        let stream = stream.freeze();
        let whole = decode(version, role, [stream.clone()]);
        prop_assert_eq!(decode(version, role, split(&stream, &lengths)), whole);
    }

    /// Noise behind a good header reaches the bodies' readers, which plain noise seldom does.
    #[test]
    fn any_body_leaves_the_stream_in_step(
        version in any_version(),
        role in any_role(),
        kind in 0..12_u8,
        body in prop::collection::vec(prop_oneof![4 => 0..13_u8, 1 => any::<u8>()], 0..300),
    ) {
        let (frames, error) = decode(version, role, [raw(version, kind, &body), beat_bytes(version)]);
        prop_assert_eq!((frames.len(), frames.last(), error), (2, Some(&beat()), None));
        // Options in no special order, and ones that are ignored, are written anew in another way.
        if let Frame::Pdu { pdu, session_id } = &frames[0] {
            let again = decode_one(version, role, pdu.encode(version, *session_id));
            prop_assert_eq!(&again, &frames[0]);
        }
    }
}
