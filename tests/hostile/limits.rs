//! What a client may take, and what happens to one that takes more.

use quicstream::protocol::{CloseReason, Frame, NackCode, Options, Pdu, Version};

use crate::attacker::{
    Attacker, Stream, first_packet, heartbeat, open_stream, output, unpaced, window,
};
use crate::common::{Serve, assert_exit};

const LIMIT: u64 = CloseReason::LIMIT.0 as u64;

fn serve(args: &[&str]) -> Serve {
    Serve::start([&["--generate", "4MiB"], args].concat())
}

/// Whoever means well is served as if nothing had been.
async fn assert_serves(serve: &Serve) {
    assert_exit(&output(serve.play(["--rate", "max"])).await, 0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_whatever_it_says() {
    let mut serve = serve(&["--stall-timeout", "0.5", "--keepalive", "1"]);
    // One that stops in the middle of the media, and one that leaves its end unread.
    for (start, window_size) in [(0, 65_536), (4 * 1024 * 1024 - 300_000, 100_000)] {
        let attacker = Attacker::with(&serve, Version::V2, window(window_size)).await.unwrap();
        let mut stream = attacker.stream().await;
        stream.open(Options { start_offset: Some(start), ..unpaced() }).await;
        let beats = async {
            loop {
                stream.send(&heartbeat()).await;
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        let closed = tokio::task::spawn_blocking(move || (serve.wait_for("session_closed"), serve));
        let event;
        tokio::select! {
            closed = closed => (event, serve) = closed.unwrap(),
            () = beats => unreachable!(),
        }
        assert_eq!(event["reason"], "the client takes nothing", "from {start}");
    }
    assert_serves(&serve).await;
}

#[tokio::test]
async fn a_pause_is_not_for_ever() {
    let serve = serve(&["--max-pause", "0.3"]);
    let attacker = Attacker::connect(&serve).await;
    let mut stream = attacker.stream().await;
    stream.open(Options::default()).await;
    stream.send(&Pdu::Pause).await;
    let closed = loop {
        if let Frame::Pdu { pdu: Pdu::Close(reason, options), .. } = stream.next().await.unwrap() {
            break (reason, options.reason);
        }
    };
    assert_eq!(closed, (CloseReason::LIMIT, Some("paused for too long".into())));
    assert_serves(&serve).await;
}

#[tokio::test]
async fn a_flood_of_pdus_ends_the_connection() {
    let serve = serve(&[]);
    let unknown = |stream: &Stream| {
        let mut pdu = heartbeat().encode(Version::V2, stream.id).to_vec();
        pdu[1] = 200;
        pdu
    };
    for opened in [false, true] {
        for kind in ["heartbeats", "pauses", "lists", "unknown"] {
            let attacker = Attacker::connect(&serve).await;
            let mut stream = attacker.stream().await;
            if opened {
                stream.open(Options::default()).await;
            }
            for number in 0..=100 {
                match kind {
                    "heartbeats" => stream.send(&heartbeat()).await,
                    "pauses" if number % 2 == 0 => stream.send(&Pdu::Pause).await,
                    "pauses" => stream.send(&Pdu::Resume).await,
                    "lists" => stream.send(&Pdu::List(Options::default())).await,
                    _ => _ = stream.send.write_all(&unknown(&stream)).await,
                }
            }
            assert_eq!(attacker.closed().await, LIMIT, "{kind}, {opened}");
        }
    }
    assert_serves(&serve).await;
}

#[tokio::test]
async fn a_flood_over_several_streams_is_one_flood() {
    let serve = serve(&[]);
    let attacker = Attacker::connect(&serve).await;
    let mut streams = [attacker.stream().await, attacker.stream().await];
    for _ in 0..51 {
        for stream in &mut streams {
            stream.send(&heartbeat()).await;
        }
    }
    assert_eq!(attacker.closed().await, LIMIT);
}

#[tokio::test]
async fn who_asks_in_vain_too_often_is_let_go() {
    let serve = serve(&[]);
    let nowhere = Options { title: Some("nowhere".into()), ..Options::default() };
    let malformed = {
        let mut pdu = open_stream(Options::default()).encode(Version::V2, 0).to_vec();
        let last = pdu.len() - 1;
        pdu[last] = 0xff;
        pdu
    };
    for kind in ["refused", "malformed"] {
        let attacker = Attacker::connect(&serve).await;
        let mut stream = attacker.stream().await;
        for _ in 0..17 {
            match kind {
                "refused" => stream.send(&open_stream(nowhere.clone())).await,
                _ => _ = stream.send.write_all(&malformed).await,
            }
        }
        assert_eq!(attacker.closed().await, LIMIT, "{kind}");
    }
    assert_serves(&serve).await;
}

#[tokio::test]
async fn a_connection_is_for_a_session() {
    let serve = serve(&["--open-timeout", "0.3"]);
    // Whether or not it says something.
    let silent = Attacker::connect(&serve).await;
    let listing = Attacker::connect(&serve).await;
    let mut stream = listing.stream().await;
    stream.send(&Pdu::List(Options::default())).await;
    let beating = Attacker::connect(&serve).await;
    let mut stream = beating.stream().await;
    tokio::select! {
        code = beating.closed() => assert_eq!(code, LIMIT),
        () = async {
            for _ in 0..90 {
                stream.send(&heartbeat()).await;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            std::future::pending().await
        } => {}
    }
    assert_eq!((silent.closed().await, listing.closed().await), (LIMIT, LIMIT));

    // One that had a session is kept: its user may seek.
    let seeking = Attacker::connect(&serve).await;
    let mut stream = seeking.stream().await;
    stream.open(unpaced()).await;
    while stream.next().await.is_some() {}
    let another = Attacker::connect(&serve).await;
    another.closed().await;
    let ack = seeking.stream().await.open(unpaced()).await;
    assert!(matches!(ack, Pdu::OpenAck(..)), "{ack}");
}

#[tokio::test]
async fn a_list_that_takes_longer_than_a_session_may_comes_whole() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..350 {
        std::fs::write(directory.path().join(format!("{number:03}.mp4")), "x").unwrap();
    }
    let directory = directory.path().to_str().unwrap();
    // Four replies, of which the rate lets one go in half a second.
    let limits = ["--open-timeout", "0.3", "--max-rate", "256k"];
    let serve = Serve::start([&["--media", directory], &limits[..]].concat());
    let attacker = Attacker::connect(&serve).await;
    let mut stream = attacker.stream().await;
    stream.send(&Pdu::List(Options::default())).await;
    let mut titles = 0;
    loop {
        match stream.next().await {
            Some(Frame::Pdu { pdu: Pdu::ListReply { entries, more }, .. }) => {
                titles += entries.len();
                if !more {
                    break;
                }
            }
            other => panic!("{other:?} after {titles} titles"),
        }
    }
    assert_eq!(titles, 350);
    assert_eq!(attacker.closed().await, LIMIT, "and then it is for a session");
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share_and_hears_why() {
    let serve = serve(&["--max-per-address", "2"]);
    let open = async |version| {
        let attacker = Attacker::with(&serve, version, |_| ()).await.unwrap();
        let answer = attacker.stream().await.open(Options::default()).await;
        (attacker, answer)
    };
    let first = open(Version::V2).await;
    let _second = open(Version::V2).await;
    let (_, Pdu::OpenNack(code, options)) = open(Version::V2).await else { panic!("granted") };
    assert_eq!((code, options.retry_after), (NackCode::Busy as u16, Some(2)));
    let (_, Pdu::OpenNack(code, _)) = open(Version::V1).await else { panic!("granted") };
    assert_eq!(code, 99);

    // A place is free again within a moment.
    first.0.connection.close(0_u32.into(), b"");
    assert_exit(&output(serve.play(["--wait", "30", "--rate", "max"])).await, 0);
}

#[tokio::test]
async fn handshakes_that_never_end_keep_nobody_out() {
    let serve = serve(&["--max-connections", "50", "--max-per-address", "50"]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // First packets of handshakes that are not gone on with: quinn makes them, and nobody reads
    // the answers.
    for _ in 0..60 {
        let initial = initial_packet().await;
        socket.send_to(&initial, ("127.0.0.1", serve.port)).unwrap();
    }
    assert_serves(&serve).await;
}

/// The first packet of a client, caught on a socket of ours.
async fn initial_packet() -> Vec<u8> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut packet = vec![0; 2_000];
    tokio::select! {
        length = sink.recv(&mut packet) => packet.truncate(length.unwrap()),
        () = first_packet(sink.local_addr().unwrap()) => panic!("nobody answered"),
    }
    packet
}

#[tokio::test]
async fn a_thousand_sessions_hear_that_the_server_ends() {
    let mut serve = serve(&["--max-per-address", "100"]);
    let mut attackers = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..67 {
        let attacker = Attacker::connect(&serve).await;
        for _ in 0..15 {
            let mut stream = attacker.stream().await;
            // So slow that they last, and cost little.
            let slow = Options { rate: Some(8_000), unverified: true, ..Options::default() };
            let granted = stream.open(slow).await;
            assert!(matches!(granted, Pdu::OpenAck(..)), "{granted}");
            streams.push(stream);
        }
        let mut sixteenth = attacker.stream().await;
        let refused = sixteenth.open(Options::default()).await;
        assert!(matches!(refused, Pdu::OpenNack(7, _)), "a stream is kept for LIST: {refused}");
        attackers.push(attacker);
    }
    serve.signal("-TERM");
    for mut stream in streams {
        let closed = loop {
            let frame = stream.next().await.expect("the end is said");
            if let Frame::Pdu { pdu: Pdu::Close(reason, _), .. } = frame {
                break reason;
            }
        };
        assert_eq!(closed, CloseReason::SHUTDOWN);
    }
    assert_eq!(tokio::task::spawn_blocking(move || serve.wait()).await.unwrap(), Some(0));
}
