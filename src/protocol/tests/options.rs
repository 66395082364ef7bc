//! What version 2 adds to bodies.

use super::*;

/// An option as it stands in a body.
pub(super) fn option(kind: u16, value: &[u8]) -> Vec<u8> {
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
pub(super) fn read_options(options: &[u8]) -> Options {
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
const LENGTHS: [(u16, usize, usize); 19] = [
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
    (13, 8, 8),
    (14, 4, 4),
    (15, 8, 8),
    (16, 8, 8),
    (17, 4, 4),
    (18, 1, 1_024),
    (19, 8, 8),
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
    for kind in (1..=19).chain([20, 0xFFFF]) {
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
    for one in known.into_iter().chain([option(20, b""), option(0, b"x"), option(0xFFFF, b"")]) {
        let other = option(500, b"between");
        read_options(&[&one[..], &other].concat());
        assert_malformed_options(&[&one[..], &one].concat());
        assert_malformed_options(&[&one[..], &other, &one].concat());
        assert_malformed_options(&[&other[..], &one, &one].concat());
    }
    // With another value it is still the same option.
    assert_malformed_options(&[option(20, b"a"), option(20, b"b")].concat());
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
    for kind in (0..=u16::MAX).filter(|kind| !matches!(kind, 1..=19)) {
        let options = [option(kind, b"\xFF\0\x01"), option(1, b"a")].concat();
        let frame = decode_one(V2, Role::Server, raw(V2, 9, &options));
        assert_eq!(frame, Frame::Pdu { session_id: 7, pdu: Pdu::List(title.clone()) });
    }
    assert!(read_options(&option(0x8001, b"")).unverified, "an addition that is known");
    let around = [option(20, b""), option(1, b"a"), option(0, &ones(8_000))].concat();
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

/// 262,128 options in one PDU, none twice within its entry. To compare each with each would take
/// this test, and any client, minutes.
#[test]
fn many_options_are_no_attack() {
    let options: Vec<u8> = (0..16_383).flat_map(|kind| option(1_000 + kind, b"")).collect();
    let entry = [&(options.len() as u16).to_be_bytes(), &options[..]].concat();
    let body = [&[0, 0, 0, 16], &entry.repeat(16)[..]].concat();
    let frame = decode_one(V2, Role::Client, raw(V2, 10, &body));
    let pdu = Pdu::ListReply { entries: vec![none(); 16], more: false };
    assert_eq!(frame, Frame::Pdu { session_id: 7, pdu });
}
