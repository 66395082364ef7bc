//! What goes on the wire.

use super::*;

#[test]
fn every_pdu_has_the_bytes_of_the_specification() {
    for (version, (role, pdu, session_id, bytes)) in samples() {
        assert_eq!(pdu.encode(version, session_id), hex(bytes), "encoding {version:?} {pdu}");
        assert_eq!(decode_one(version, role, hex(bytes)), Frame::Pdu { session_id, pdu });
    }
}

#[test]
fn the_examples_in_the_specification_are_what_it_says() {
    let blocks = include_str!("../wire.md").split("```").skip(1).step_by(2);
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
        (9, NackCode::NotKept),
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
