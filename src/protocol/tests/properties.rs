//! What holds for any PDU and any bytes.

use proptest::prelude::*;

use super::options::{option, read_options};
use super::*;

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
        any::<[Option<u64>; 7]>(),
        any::<[Option<u32>; 4]>(),
        any::<(bool, bool, Option<Digest>)>(),
    )
        .prop_map(|((title, media_type), (validator, token), reason, longs, ints, flags)| {
            let [start_offset, total_size, rate, end_offset, modified, oldest, edge] = longs;
            let [retry_after, bitrate, header_length, start_ago] = ints;
            let (live, unverified, digest) = flags;
            let retry_with = modified.map(|number| format!("a:{number},b:1"));
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
                retry_with,
                bitrate,
                end_offset,
                header_length,
                oldest,
                edge,
                start_ago,
                modified,
                unverified,
            }
        })
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
            let edge = any::<(u64, u64)>().prop_map(|(edge, oldest)| Pdu::Edge { edge, oldest });
            match version {
                V1 => prop_oneof![both, any_ack(version), nack, chunk].boxed(),
                V2 => prop_oneof![both, any_ack(version), nack, chunk, reply, edge].boxed(),
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
    let first_unknown = if version == V1 { 9 } else { 12 };
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

/// The type of an option that nobody knows: none of the table.
fn unknown_option() -> impl Strategy<Value = u16> {
    (20_u16..).prop_filter("it is known", |kind| *kind != 32_769)
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
        unknown in prop::collection::btree_map(unknown_option(), prop::collection::vec(any::<u8>(), 0..9), 0..9),
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
