//! Clients that make no sense, one after the other, on one server.

use std::fs;

use quicstream::protocol::{Chunk, CloseReason, Frame, OpenAck, Options, Payload, Pdu, Version};

use crate::attacker::{Attacker, Stream, heartbeat, open_stream, output, unpaced};
use crate::common::{Serve, assert_exit};

/// Bytes that a client may send as a whole stream.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let open = open_stream(unpaced()).encode(Version::V2, 0).to_vec();
    let changed = |at: usize, byte: u8| {
        let mut bytes = open.clone();
        bytes[at] = byte;
        bytes
    };
    let long = |length: u32| {
        let mut bytes = heartbeat().encode(Version::V2, 0).to_vec();
        let end = bytes.len() - 8;
        bytes.truncate(end);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let pdu = |pdu: Pdu| pdu.encode(Version::V2, 0).to_vec();
    let ack = OpenAck { bitrate: 1, max_chunk_size: 1, keepalive: 0, session_timeout: 0 };
    let chunk = Chunk { seq: 1, payload: Payload::from(bytes::Bytes::from_static(b"chunk")) };
    let title = |title: &str| Options { title: Some(title.into()), ..Options::default() };
    vec![
        ("nothing", vec![]),
        ("a byte", vec![2]),
        ("zeros", vec![0; 100_000]),
        ("ones", vec![0xff; 100_000]),
        ("text", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a cut header", open[..5].to_vec()),
        ("a cut body", open[..open.len() - 1].to_vec()),
        ("another version", changed(0, 9)),
        ("version 1 in version 2", open_stream(unpaced()).encode(Version::V1, 0).to_vec()),
        ("an unknown type", changed(1, 200)),
        ("a body of 4 GiB", long(u32::MAX)),
        ("a body over the limit", long(1 << 20)),
        ("OPEN_ACK", pdu(Pdu::OpenAck(ack, Options::default()))),
        ("OPEN_NACK", pdu(Pdu::OpenNack(7, Options::default()))),
        ("STREAM_CHUNK", pdu(Pdu::Chunk(chunk))),
        ("LIST_REPLY", pdu(Pdu::ListReply { entries: vec![], more: true })),
        ("EDGE", pdu(Pdu::Edge { edge: 1, oldest: 0 })),
        ("CLOSE_STREAM", pdu(Pdu::Close(CloseReason(1_000), Options::default()))),
        ("PAUSE_STREAM", pdu(Pdu::Pause)),
        ("RESUME_STREAM", pdu(Pdu::Resume)),
        ("an echo of nothing", pdu(Pdu::Heartbeat { timestamp: u64::MAX, echo: true })),
        ("another session's", heartbeat().encode(Version::V2, 12_345).to_vec()),
        ("an empty title", pdu(open_stream(title("")))),
        ("a title of dots", pdu(open_stream(title("../../../etc/passwd")))),
        ("a title with a NUL", pdu(open_stream(title("a\0b")))),
        ("the longest title", pdu(open_stream(title(&"a/".repeat(127))))),
        ("a start past the end", {
            pdu(open_stream(Options { start_offset: Some(u64::MAX), ..Options::default() }))
        }),
        ("a rate of everything", {
            pdu(open_stream(Options { rate: Some(u64::MAX), ..Options::default() }))
        }),
        ("another's validator", {
            let validator = Some(bytes::Bytes::from_static(&[7; 64]));
            let start_offset = Some(1);
            pdu(open_stream(Options { validator, start_offset, ..Options::default() }))
        }),
        ("the longest token", {
            let token = Some(bytes::Bytes::from(vec![7; 4096]));
            pdu(open_stream(Options { token, ..Options::default() }))
        }),
        ("OPEN_STREAM twice", [open.clone(), open.clone()].concat()),
        (
            "all at once",
            [&open[..], &pdu(Pdu::Pause), &pdu(Pdu::List(Options::default()))].concat(),
        ),
    ]
}

/// Descriptors that a process has open.
fn descriptors(serve: &Serve) -> usize {
    fs::read_dir(format!("/proc/{}/fd", serve.pid())).unwrap().count()
}

/// Memory of a process, bytes.
fn memory(serve: &Serve) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// How a client leaves after it has sent something.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    /// It ends its side of the stream, and hears the server out.
    InOrder,
    /// It resets the stream and wants to hear no more.
    Reset,
    /// It closes the connection.
    Closed,
    /// It is gone without a word.
    Silently,
}

async fn attack(serve: &Serve, bytes: &[u8], leaves: Leaves) {
    let attacker = Attacker::connect(serve).await;
    let mut stream = attacker.stream().await;
    // The server may have heard enough before the end.
    let _ = stream.send.write_all(bytes).await;
    leave(&attacker, &mut stream, leaves).await;
}

async fn leave(attacker: &Attacker, stream: &mut Stream, leaves: Leaves) {
    match leaves {
        Leaves::InOrder => {
            let _ = stream.send.finish();
            let hear_out = stream.receive.read_to_end(8 << 20);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(200), hear_out).await;
        }
        Leaves::Reset => {
            let _ = stream.send.reset(7_u32.into());
            let _ = stream.receive.stop(7_u32.into());
        }
        Leaves::Closed => attacker.connection.close(9_u32.into(), b"enough"),
        Leaves::Silently => {}
    }
}

#[tokio::test]
async fn nonsense_costs_nobody_anything() {
    let serve = Serve::start(["--generate", "1MiB"]);
    let good = || output(serve.play(["--rate", "max"]));
    assert_exit(&good().await, 0);
    let (before, memory_before) = (descriptors(&serve), memory(&serve));
    for leaves in [Leaves::InOrder, Leaves::Reset, Leaves::Closed, Leaves::Silently] {
        for (name, bytes) in streams() {
            attack(&serve, &bytes, leaves).await;
            if name == "all at once" {
                assert_exit(&good().await, 0);
            }
        }
    }
    assert_exit(&good().await, 0);
    // The last session may still be closing.
    while descriptors(&serve) > before {
        tokio::task::yield_now().await;
    }
    let grown = memory(&serve).saturating_sub(memory_before);
    assert!(grown < 100 << 20, "{grown} bytes");
}

#[tokio::test]
async fn more_streams_than_allowed_wait_and_unidirectional_ones_do_not_exist() {
    let serve = Serve::start(["--generate", "1MiB"]);
    let attacker = Attacker::connect(&serve).await;
    let mut streams = Vec::new();
    let open = async {
        loop {
            let mut stream = attacker.connection.open_bi().await.unwrap();
            stream.0.write_all(&heartbeat().encode(Version::V2, 0)).await.unwrap();
            streams.push(stream);
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(300), open).await;
    assert!((1..=16).contains(&streams.len()), "{}", streams.len());
    let uni =
        tokio::time::timeout(std::time::Duration::from_millis(100), attacker.connection.open_uni());
    assert!(uni.await.is_err());
    assert_exit(&output(serve.play(["--rate", "max"])).await, 0);
}

/// Ten thousand sessions one after the other, each over a connection of twenty.
#[tokio::test]
#[ignore = "takes a minute"]
async fn a_server_stays_what_it_was() {
    let serve = Serve::start(["--generate", "256KiB"]);
    let mut after_a_tenth = 0;
    let before = descriptors(&serve);
    for connection in 0..500 {
        let attacker = Attacker::connect(&serve).await;
        for _ in 0..20 {
            let mut stream = attacker.stream().await;
            stream.open(unpaced()).await;
            while stream.next().await.is_some() {}
        }
        attacker.connection.close(0_u32.into(), b"");
        if connection == 49 {
            after_a_tenth = memory(&serve);
        }
    }
    let drift = memory(&serve).saturating_sub(after_a_tenth);
    println!(
        "10,000 sessions: memory {} KiB after 1,000, and {drift} bytes more at the end",
        after_a_tenth / 1024
    );
    assert!(drift < 5 << 20, "{drift} bytes");
    // The last connection may still be closing.
    while descriptors(&serve) > before {
        tokio::task::yield_now().await;
    }
}

/// A packet of MPEG-TS.
fn packet(pid: u16, random_access: bool, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![0x47, 0x40 | high, low];
    packet.extend_from_slice(if random_access { &[0x30, 1, 0x40] } else { &[0x10] });
    packet.extend_from_slice(payload);
    packet.resize(188, 0xff);
    packet
}

/// A table of MPEG-TS behind its pointer, with its CRC.
fn table(section: &[u8]) -> Vec<u8> {
    let crc = section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    [&[0], section, &crc.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_header_counts_in_no_offset_however_little_is_wanted_behind_it() {
    let mut serve = Serve::start_as(
        |mut command| {
            command.stdin(std::process::Stdio::piped());
            command
        },
        ["--live", "cam.ts"],
    );
    let pat = table(&[0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]);
    let pmt = table(&[2, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0]);
    let header = [packet(0, false, &pat), packet(0x1000, false, &pmt)].concat();
    let key_frame = packet(0x100, true, b"a key frame");
    let mut stdin = serve.stdin();
    // A packet is one when the next begins.
    let next = packet(0x100, false, b"more");
    std::io::Write::write_all(&mut stdin, &[&header[..], &key_frame, &next].concat()).unwrap();
    serve.wait_for("live_started");
    for wanted in [1, 5, 188] {
        let attacker = Attacker::connect(&serve).await;
        let mut stream = attacker.stream().await;
        let end = header.len() + wanted;
        let options = Options {
            start_ago: Some(0),
            end_offset: Some(end as u64),
            unverified: true,
            ..Options::default()
        };
        let granted = stream.open(options).await;
        let Pdu::OpenAck(_, terms) = granted else { panic!("{granted}") };
        assert_eq!((terms.start_offset, terms.header_length), (Some(376), Some(376)));
        let mut got = Vec::new();
        while let Some(Frame::Pdu { pdu, .. }) = stream.next().await {
            match pdu {
                Pdu::Chunk(chunk) => got.extend(chunk.payload.pieces().concat()),
                Pdu::Close(reason, _) => assert_eq!(reason, CloseReason::COMPLETE),
                other => panic!("{other}"),
            }
        }
        assert!(got == [&header[..], &key_frame[..wanted]].concat(), "{wanted}: {}", got.len());
    }
}
