//! What is read off the wire, and what is not.

use super::*;

/// The types that each end reads.
fn read_by(version: Version, role: Role) -> &'static [u8] {
    match (version, role) {
        (V1, Role::Client) => &[2, 3, 4, 7, 8],
        (V1, Role::Server) => &[1, 5, 6, 7, 8],
        (V2, Role::Client) => &[2, 3, 4, 7, 8, 10, 11],
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
