//! What coding and deciding cost: the decoder in bytes per second, control PDUs and steps of the
//! two machines in nanoseconds.
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

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = decode_chunks, control_pdus, steps
}
criterion_main!(benches);
