//! What coding and deciding cost: the decoder and the scanners of containers in bytes per second,
//! control PDUs and steps of the two machines in nanoseconds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect has failed"
)]

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quicstream::media::Scanner;
use quicstream::protocol::{
    Chunk, CloseReason, Decoder, Frame, OpenAck, OpenStream, Options, Payload, Pdu, Role, Version,
};
use quicstream::session::client::{ClientSession, Input as ClientInput};
use quicstream::session::server::{Delivery, Input as ServerInput, ServerSession, Timeouts};

const CHUNK: usize = 64 * 1024;
const CHUNKS: u32 = 16;
const SESSION: u32 = 1;
const KEEPALIVE: Duration = Duration::from_secs(5);
const TIMEOUTS: Timeouts = Timeouts {
    keepalive: KEEPALIVE,
    session: Duration::from_secs(30),
    stall: Duration::from_secs(30),
    pause: Duration::from_secs(900),
};

/// A stream of chunks in the pieces in which packets bring it.
fn chunks_in_pieces(piece: usize) -> Vec<Bytes> {
    let mut stream = BytesMut::new();
    for seq in 1..=CHUNKS {
        stream.extend_from_slice(&Chunk::prefix(Version::V2, SESSION, seq, CHUNK as u32));
        stream.resize(stream.len() + CHUNK, 0);
    }
    let mut stream = stream.freeze();
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        pieces.push(stream.split_to(piece.min(stream.len())));
    }
    pieces
}

fn decode_chunks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode chunks of 64 KiB");
    group.throughput(Throughput::Bytes(u64::from(CHUNKS) * CHUNK as u64));
    for (name, piece) in [("pieces of 1400 B", 1400), ("pieces of 8900 B", 8900)] {
        let pieces = chunks_in_pieces(piece);
        group.bench_function(name, |bencher| {
            let decode = |pieces: Vec<Bytes>| {
                let mut decoder = Decoder::new(Version::V2, Role::Client);
                let mut count = 0;
                for mut piece in pieces {
                    while let Some(frame) = decoder.decode(&mut piece).unwrap() {
                        black_box(&frame);
                        count += 1;
                    }
                }
                assert_eq!(count, CHUNKS);
            };
            bencher.iter_batched(|| pieces.clone(), decode, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn open() -> Pdu {
    let terms = OpenStream {
        codec: "h264".into(),
        profile: "baseline".into(),
        bitrates: vec![240_000, 500_000],
        ..OpenStream::default()
    };
    let title = Some("films/a film.mp4".into());
    Pdu::OpenStream(terms, Options { title, rate: Some(0), ..Options::default() })
}

fn ack() -> Pdu {
    let terms =
        OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };
    let options = Options {
        title: Some("films/a film.mp4".into()),
        start_offset: Some(0),
        validator: Some(Bytes::from_static(&[7; 32])),
        total_size: Some(1 << 30),
        media_type: Some("video/mp4".into()),
        rate: Some(0),
        digest: Some([7; 32]),
        ..Options::default()
    };
    Pdu::OpenAck(terms, options)
}

fn control_pdus(criterion: &mut Criterion) {
    let pdus = [
        ("OPEN_STREAM", open(), Role::Server),
        ("OPEN_ACK", ack(), Role::Client),
        ("PAUSE_STREAM", Pdu::Pause, Role::Server),
        ("HEARTBEAT", Pdu::Heartbeat { timestamp: 1, echo: false }, Role::Client),
        ("CLOSE_STREAM", Pdu::Close(CloseReason::COMPLETE, Options::default()), Role::Client),
    ];
    let mut group = criterion.benchmark_group("encode");
    for (name, pdu, _) in &pdus {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(pdu).encode(Version::V2, SESSION));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("decode");
    for (name, pdu, role) in &pdus {
        let bytes = pdu.encode(Version::V2, SESSION);
        let mut decoder = Decoder::new(Version::V2, *role);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| decoder.decode(&mut black_box(&bytes).clone()).unwrap().unwrap());
        });
    }
    group.finish();
}

fn frame(pdu: Pdu) -> Frame {
    Frame::Pdu { session_id: SESSION, pdu }
}

fn streaming_server() -> ServerSession {
    let server = ServerSession::new(Version::V2, TIMEOUTS, Duration::ZERO);
    let (server, _) = server.step(ServerInput::Frame(frame(open())), Duration::ZERO);
    server
        .step(
            ServerInput::Opened { session_id: SESSION, owes_digest: false, live: false },
            Duration::ZERO,
        )
        .0
}

fn streaming_client() -> ClientSession {
    let client = ClientSession::new(Version::V2, None, KEEPALIVE, Duration::ZERO);
    let Pdu::OpenStream(terms, options) = open() else { unreachable!() };
    let (client, _) = client.step(ClientInput::Connected(terms, options), Duration::ZERO);
    client.step(ClientInput::Frame(frame(ack())), Duration::ZERO).0
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    let now = Duration::from_secs(1);

    let server = streaming_server();
    group.bench_function("server, HEARTBEAT", |bencher| {
        let heartbeat = || ServerInput::Frame(frame(Pdu::Heartbeat { timestamp: 1, echo: false }));
        bencher.iter(|| black_box(server).step(black_box(heartbeat()), now));
    });
    group.bench_function("server, PAUSE_STREAM", |bencher| {
        bencher.iter(|| black_box(server).step(ServerInput::Frame(frame(Pdu::Pause)), now));
    });
    group.bench_function("server, Tick", |bencher| {
        bencher.iter(|| black_box(server).step(ServerInput::Tick(Delivery::default()), now));
    });

    let client = streaming_client();
    let chunk = Chunk { seq: 1, payload: Payload::from(Bytes::from_static(&[0; CHUNK])) };
    group.bench_function("client, STREAM_CHUNK", |bencher| {
        let input = || ClientInput::Frame(frame(Pdu::Chunk(chunk.clone())));
        let step = |input| black_box(client).step(input, now);
        bencher.iter_batched(input, step, BatchSize::SmallInput);
    });
    group.bench_function("client, Tick", |bencher| {
        bencher.iter(|| black_box(client).step(ClientInput::Tick, now));
    });
    group.finish();
}

/// Bytes that repeat nothing, and are as rare as each other.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Bytes of a frame of audio, of one of video, and of a stream.
const SOUND: usize = 200;
const PICTURE: usize = 20_000;
const STREAM: usize = 8 << 20;

fn mpegts() -> Vec<u8> {
    let tables = [
        &b"\x47\x40\0\x10\0\0\xb0\x0d\0\x01\xc1\0\0\0\x01\xf0\0\x2a\xb1\x04\xb2"[..],
        &b"\x47\x50\0\x10\0\x02\xb0\x12\0\x01\xc1\0\0\xe1\0\xf0\0\x1b\xe1\0\xf0\0\x15\xbd\x4d\x56"
            [..],
    ];
    let mut stream = tables.map(|table| [table, &[0xff; 188][table.len()..]].concat()).concat();
    // A key frame each 250 packets.
    for (index, payload) in noise(STREAM).chunks_exact(182).enumerate() {
        let first = index % 250 == 0;
        let flags = if first { [0x40, 0x40] } else { [0, 0] };
        stream.extend([0x47, 0x01 | flags[0], 0, 0x30, 1, flags[1]]);
        stream.extend(payload);
    }
    stream
}

fn mp4_box(kind: &[u8], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes(), kind, content].concat()
}

fn mp4() -> Vec<u8> {
    let mut stream = mp4_box(b"ftyp", b"iso5\0\0\0\0");
    stream.extend(mp4_box(b"moov", &mp4_box(b"mvex", &mp4_box(b"trex", &[0; 24]))));
    let moof = mp4_box(b"moof", &mp4_box(b"traf", &mp4_box(b"tfhd", &[0; 8])));
    for content in noise(STREAM).chunks(PICTURE) {
        stream.extend([&moof[..], &mp4_box(b"mdat", content)].concat());
    }
    stream
}

fn webm() -> Vec<u8> {
    let element = |id: &[u8], content: &[u8]| {
        [id, &(content.len() as u32 | 0x1000_0000).to_be_bytes(), content].concat()
    };
    let mut stream = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"webm"));
    stream.extend(b"\x18\x53\x80\x67\xff");
    let track = [element(b"\xd7", &[1]), element(b"\x83", &[1])].concat();
    stream.extend(element(b"\x16\x54\xae\x6b", &element(b"\xae", &track)));
    for (index, frame) in noise(STREAM).chunks(SOUND).enumerate() {
        if index % 250 == 0 {
            stream.extend(b"\x1f\x43\xb6\x75\xff");
            stream.extend(element(b"\xa3", &[0x81, 0, 0, 0x80]));
        }
        stream.extend(element(b"\xa3", &[b"\x82\0\0\x80", frame].concat()));
    }
    stream
}

fn ogg() -> Vec<u8> {
    let page = |flags: u8, granule: u64, packets: &[&[u8]]| {
        let lengths: Vec<_> = packets.iter().map(|packet| packet.len() as u8).collect();
        let head = [&b"OggS\0"[..], &[flags], &granule.to_le_bytes(), &[0; 12]].concat();
        [head, vec![lengths.len() as u8], lengths, packets.concat()].concat()
    };
    let mut stream = [page(2, 0, &[b"OpusHead"]), page(0, 0, &[b"OpusTags"])].concat();
    for packets in noise(STREAM).chunks(SOUND).collect::<Vec<_>>().chunks(50) {
        stream.extend(page(0, 1, packets));
    }
    stream
}

fn adts() -> Vec<u8> {
    let length = (SOUND + 7) as u8;
    let head = [0xff, 0xf1, 0x50, 0x40, length >> 3, length << 5 | 0x1f, 0xfc];
    noise(STREAM).chunks_exact(SOUND).flat_map(|frame| [&head, frame].concat()).collect()
}

fn mp3() -> Vec<u8> {
    // 64 kbit/s.
    let head = [0xff, 0xfb, 0x50, 0xc0];
    noise(STREAM).chunks_exact(204).flat_map(|frame| [&head, frame].concat()).collect()
}

fn annexb(sets: &[&[u8]], key: &[u8], other: &[u8]) -> Vec<u8> {
    let nal = |content: &[u8]| [&[0, 0, 0, 1], content].concat();
    let mut stream = Vec::new();
    for (index, slice) in noise(STREAM).chunks(PICTURE).enumerate() {
        let (sets, head) = if index % 25 == 0 { (sets, key) } else { (&[][..], other) };
        stream.extend(sets.iter().flat_map(|set| nal(set)));
        // A slice has no start code in it.
        let slice: Vec<_> = slice.iter().map(|byte| byte | 0x04).collect();
        stream.extend(nal(&[head, &slice].concat()));
    }
    stream
}

fn scan(criterion: &mut Criterion) {
    let h264: [&[u8]; 2] = [b"\x67\x64\0\x0c\xac\xd9", b"\x68\xeb\xe3"];
    let sequence = [&b"\x42\x01\x01"[..], &[1; 12], b"\xa0\x80"].concat();
    let h265: [&[u8]; 3] = [b"\x40\x01\x0c", &sequence, b"\x44\x01\xc1"];
    let streams = [
        ("mpegts", mpegts()),
        ("mp4", mp4()),
        ("webm", webm()),
        ("ogg", ogg()),
        ("adts", adts()),
        ("mp3", mp3()),
        ("h264", annexb(&h264, b"\x65\x88", b"\x41\x9a")),
        ("h265", annexb(&h265, b"\x26\x01\xaf", b"\x02\x01\xd0")),
    ];
    let mut group = criterion.benchmark_group("scan");
    for (name, stream) in &streams {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let (mut scanner, mut joins) = (Scanner::default(), 0);
                for piece in stream.chunks(CHUNK) {
                    scanner.feed(piece, |_, _| joins += 1).unwrap();
                }
                assert!(joins > 10);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = decode_chunks, scan, control_pdus, steps
}
criterion_main!(benches);
