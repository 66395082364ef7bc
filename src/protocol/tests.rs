//! The wire, as a peer sees it.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

/// A HEARTBEAT, to show that a decoder is still in step.
const BEAT: &str = "01 08 0000 00000007 00000008  0000018BCFE56800";

/// Bytes from hex digits; blanks are for the reader.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A PDU of any type byte and body.
fn raw(kind: u8, body: &[u8]) -> Bytes {
    let header = Header { kind, session_id: 7, body_length: body.len() as u32 };
    [&header.encode(Version::V1), body].concat().into()
}

/// Only the header of a PDU, which announces this many bytes of body.
fn announcement(kind: u8, body_length: u32) -> Bytes {
    Bytes::from_owner(Header { kind, session_id: 7, body_length }.encode(Version::V1))
}

/// What a new decoder finds in these pieces, up to the error that ends the stream, if any.
fn decode(role: Role, pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Frame>, Option<Error>) {
    let mut decoder = Decoder::new(Version::V1, role);
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
fn decode_one(role: Role, bytes: Bytes) -> Frame {
    let (mut frames, error) = decode(role, [bytes]);
    assert_eq!((frames.len(), error), (1, None));
    frames.remove(0)
}

fn beat() -> Frame {
    Frame::Pdu { session_id: 7, pdu: Pdu::Heartbeat(1_700_000_000_000) }
}

fn open_stream() -> Pdu {
    Pdu::OpenStream(OpenStream {
        codec: "h264".into(),
        profile: "baseline".into(),
        bitrates: vec![240_000, 480_000],
        encryption: 0,
        delivery: 1,
    })
}

fn chunk(seq: u32, payload: impl Into<Bytes>) -> Pdu {
    Pdu::Chunk(Chunk { seq, payload: Payload::from(payload.into()) })
}

/// Every PDU with its bytes, written by hand from the specification.
fn samples() -> [(Role, Pdu, u32, &'static str); 8] {
    let ack =
        OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };
    [
        (
            Role::Server,
            open_stream(),
            0,
            "01 01 0000 00000000 0000001B  0004 68323634  0008 626173656C696E65
             02 0003A980 00075300  00 01",
        ),
        (
            Role::Client,
            Pdu::OpenAck(ack),
            0x3039,
            "01 02 0000 00003039 00000010  0007A120 00010000 00000005 0000001E",
        ),
        (Role::Client, Pdu::OpenNack(99), 0, "01 03 0000 00000000 00000002  0063"),
        (
            Role::Client,
            chunk(0x0102_0304, "hello"),
            u32::MAX,
            "01 04 0000 FFFFFFFF 0000000D  01020304 00000005 68656C6C6F",
        ),
        (Role::Server, Pdu::Pause, 12_345, "01 05 0000 00003039 00000000"),
        (Role::Server, Pdu::Resume, 12_345, "01 06 0000 00003039 00000000"),
        (Role::Client, Pdu::Close, 12_345, "01 07 0000 00003039 00000000"),
        (Role::Server, Pdu::Heartbeat(1_700_000_000_000), 7, BEAT),
    ]
}

#[test]
fn every_pdu_has_the_bytes_of_the_specification() {
    for (role, pdu, session_id, bytes) in samples() {
        assert_eq!(pdu.encode(Version::V1, session_id), hex(bytes), "encoding {pdu}");
        assert_eq!(decode_one(role, hex(bytes)), Frame::Pdu { session_id, pdu });
    }
}

#[test]
fn a_chunk_is_its_prefix_and_its_payload() {
    let prefix = Chunk::prefix(Version::V1, u32::MAX, 0x0102_0304, 5);
    let whole = chunk(0x0102_0304, "hello").encode(Version::V1, u32::MAX);
    assert_eq!(whole, [&prefix[..], b"hello"].concat());
}

#[test]
fn flags_and_the_reserved_byte_are_ignored() {
    let frame = decode_one(Role::Server, hex("01 05 FFFF 00003039 00000000"));
    assert_eq!(frame, Frame::Pdu { session_id: 12_345, pdu: Pdu::Pause });
}

#[test]
fn the_alpn_identifier_selects_the_version_exactly() {
    assert_eq!(Version::from_alpn(b"quic-stream-proto"), Some(Version::V1));
    for other in ["", "quic-stream-prot", "quic-stream-proto\0", "QUIC-STREAM-PROTO", "h3"] {
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
        (99, NackCode::ProtocolViolation),
    ]));
}

#[test]
fn what_does_not_fit_the_wire_is_cut() {
    let long = "ä".repeat(40_000);
    let open = OpenStream { codec: long, bitrates: vec![1; 300], ..OpenStream::default() };
    let bytes = Pdu::OpenStream(open).encode(Version::V1, 0);
    // A character of two bytes does not fit the last of 65,535.
    assert_eq!(bytes.len(), 12 + 2 + 65_534 + 2 + 1 + 255 * 4 + 2);
    assert_eq!(bytes[12..14], [0xFF, 0xFE]);
}

#[test]
fn each_end_reads_what_is_sent_to_it_and_skips_the_rest() {
    for (role, read) in [(Role::Client, [2, 3, 4, 7, 8]), (Role::Server, [1, 5, 6, 7, 8])] {
        for kind in 0..=u8::MAX {
            let (frames, error) = decode(role, [raw(kind, b"whatever it is"), hex(BEAT)]);
            assert_eq!((frames.len(), error), (2, None), "type {kind}");
            assert_eq!(frames[0] != Frame::Skipped { kind }, read.contains(&kind), "type {kind}");
            assert_eq!(frames[1], beat(), "after type {kind}");
        }
    }
}

#[test]
fn a_body_that_is_skipped_is_not_kept() {
    let mut decoder = Decoder::new(Version::V1, Role::Server);
    let skipped = decoder.decode(&mut announcement(4, 8_008));
    assert_eq!(skipped, Ok(Some(Frame::Skipped { kind: 4 })), "known before its body is there");
    for _ in 0..2 {
        let piece = Bytes::from(vec![1; 4_004]);
        assert_eq!(decoder.decode(&mut piece.clone()), Ok(None));
        assert!(piece.is_unique());
    }
    assert_eq!(decoder.decode(&mut hex(BEAT)), Ok(Some(beat())));
}

#[test]
fn a_header_of_another_version_is_an_error() {
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        let bytes = [&[version], &hex(BEAT)[1..]].concat().into();
        let error = Error::Version { got: version, want: 1 };
        assert_eq!(decode(Role::Server, [bytes]), (vec![], Some(error)));
    }
}

#[test]
fn a_body_over_the_limit_is_an_error_before_it_arrives() {
    let control: [(_, &[u8]); 2] =
        [(Role::Client, &[2, 3, 7, 8]), (Role::Server, &[1, 5, 6, 7, 8])];
    for (role, control) in control {
        for kind in 0..=u8::MAX {
            let limit = if control.contains(&kind) { 16_384 } else { 1_048_584 };
            let (_, error) = decode(role, [announcement(kind, limit)]);
            assert_eq!(error, None, "type {kind} at its limit");
            for length in [limit + 1, u32::MAX] {
                let (frames, error) = decode(role, [announcement(kind, length)]);
                assert_eq!(
                    (frames, error),
                    (vec![], Some(Error::BodyTooLong { kind, length, limit }))
                );
            }
        }
    }
}

/// Asserts that a body is refused as malformed, and that the PDU after it is read.
fn assert_malformed(role: Role, of: u8, body: &[u8]) {
    let (frames, error) = decode(role, [raw(of, body), hex(BEAT)]);
    let [Frame::Malformed(Error::Malformed { kind, .. }), next] = &frames[..] else {
        panic!("type {of}, {body:?}: {frames:?}, {error:?}")
    };
    assert_eq!((*kind as u8, next, error), (of, &beat(), None));
}

#[test]
fn a_body_that_is_too_short_or_too_long_is_malformed() {
    for (role, pdu, _, bytes) in samples() {
        let body = &hex(bytes)[12..];
        for short in 0..body.len() {
            assert_malformed(role, pdu.kind() as u8, &body[..short]);
        }
        assert_malformed(role, pdu.kind() as u8, &[body, &[0]].concat());
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
        assert_malformed(Role::Server, 1, &hex(body));
    }
}

#[test]
fn a_chunk_whose_lengths_disagree_is_malformed() {
    for length in ["00000004", "00000006", "00000000", "0000000D", "FFFFFFFF"] {
        let body = hex(&format!("00000001 {length} 68656C6C6F"));
        assert_malformed(Role::Client, 4, &body);
    }
}

#[test]
fn long_pieces_of_a_payload_are_not_copied() {
    let whole = chunk(1, vec![7; 20 + 3 * 1_024]).encode(Version::V1, 7);
    let first = whole.slice(..20 + 2_000);
    let second = whole.slice(2_020..2_020 + 20);
    let third = whole.slice(2_040..2_040 + 1_024);
    let fourth = whole.slice(3_064..);
    let pieces = [first.clone(), second, third.clone(), fourth];
    let (frames, _) = decode(Role::Client, pieces);
    let [Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }] = &frames[..] else { panic!("{frames:?}") };
    let [a, b, c, d] = chunk.payload.pieces() else { panic!("{:?}", chunk.payload.pieces()) };
    assert_eq!((a.as_ptr(), a.len()), (first[20..].as_ptr(), 2_000));
    assert_eq!((c.as_ptr(), c.len()), (third.as_ptr(), 1_024));
    assert_eq!((b.len(), d.len()), (20, 48));
}

/// A peer that sends one byte a packet must cost a byte each, neither a packet nor a slice.
#[test]
fn dribbled_bytes_are_gathered() {
    let mut decoder = Decoder::new(Version::V1, Role::Client);
    let mut frame = Ok(None);
    for byte in chunk(1, vec![7; 3_000]).encode(Version::V1, 7) {
        assert_eq!(frame, Ok(None));
        let packet = Bytes::from(vec![byte; 1_200]);
        frame = decoder.decode(&mut packet.slice(..1));
        assert!(packet.is_unique());
    }
    let Ok(Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. })) = frame else { panic!("{frame:?}") };
    assert_eq!(chunk.payload.pieces(), [vec![7; 3_000]]);
}

fn any_open() -> impl Strategy<Value = Pdu> {
    let bitrates = prop::collection::vec(any::<u32>(), 0..=255);
    (".{0,50}", ".{0,50}", bitrates, any::<u8>(), any::<u8>()).prop_map(
        |(codec, profile, bitrates, encryption, delivery)| {
            Pdu::OpenStream(OpenStream { codec, profile, bitrates, encryption, delivery })
        },
    )
}

fn any_ack() -> impl Strategy<Value = Pdu> {
    any::<[u32; 4]>().prop_map(|[bitrate, max_chunk_size, keepalive, session_timeout]| {
        Pdu::OpenAck(OpenAck { bitrate, max_chunk_size, keepalive, session_timeout })
    })
}

/// Any PDU that is sent to this end.
fn any_pdu(to: Role) -> BoxedStrategy<Pdu> {
    let both = prop_oneof![Just(Pdu::Close), any::<u64>().prop_map(Pdu::Heartbeat)];
    match to {
        Role::Client => {
            let nack = any::<u16>().prop_map(Pdu::OpenNack);
            let payload = prop::collection::vec(any::<u8>(), 0..5_000);
            let chunk = (any::<u32>(), payload).prop_map(|(seq, payload)| chunk(seq, payload));
            prop_oneof![both, any_ack(), nack, chunk].boxed()
        }
        Role::Server => prop_oneof![both, any_open(), Just(Pdu::Pause), Just(Pdu::Resume)].boxed(),
    }
}

/// What a client may find on its stream, and what it is to make of it.
fn any_sent() -> impl Strategy<Value = (Bytes, Frame)> {
    let body = || prop::collection::vec(any::<u8>(), 1..2_000);
    let pdu = (any_pdu(Role::Client), any::<u32>()).prop_map(|(pdu, session_id)| {
        (pdu.encode(Version::V1, session_id), Frame::Pdu { session_id, pdu })
    });
    let foreign = prop_oneof![any_open(), Just(Pdu::Pause), Just(Pdu::Resume)]
        .prop_map(|pdu| (pdu.encode(Version::V1, 1), Frame::Skipped { kind: pdu.kind() as u8 }));
    let unknown = (prop_oneof![Just(0), 9..=u8::MAX], body())
        .prop_map(|(kind, body)| (raw(kind, &body), Frame::Skipped { kind }));
    let what = "bytes are left over after the last field";
    let malformed = body().prop_map(move |body| {
        (raw(7, &body), Frame::Malformed(Error::Malformed { kind: Kind::CloseStream, what }))
    });
    prop_oneof![4 => pdu, 1 => foreign, 1 => unknown, 1 => malformed]
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
        (role, pdu) in prop_oneof![Just(Role::Client), Just(Role::Server)]
            .prop_flat_map(|role| (Just(role), any_pdu(role))),
        session_id: u32,
    ) {
        let frame = decode_one(role, pdu.encode(Version::V1, session_id));
        prop_assert_eq!(frame, Frame::Pdu { session_id, pdu });
    }

    #[test]
    fn wherever_the_stream_is_split_the_frames_are_the_same(
        sent in prop::collection::vec(any_sent(), 0..10),
        lengths in any_lengths(),
    ) {
        let (bytes, expected): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let stream = Bytes::from(bytes.concat());
        let (frames, error) = decode(Role::Client, split(&stream, &lengths));
        prop_assert_eq!(error, None);
        prop_assert_eq!(frames, expected);
    }

    /// Damaged streams and plain noise: nothing panics, and how they were split changes nothing.
    #[test]
    fn any_bytes_are_decoded_the_same_way_however_they_are_split(
        role in prop_oneof![Just(Role::Client), Just(Role::Server)],
        sent in prop::collection::vec(any_sent(), 0..6),
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
        let whole = decode(role, [stream.clone()]);
        prop_assert_eq!(decode(role, split(&stream, &lengths)), whole);
    }
}
