//! Servers that mean ill: `play` ends with an error, soon, and publishes nothing wrong.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quicstream::protocol::{Chunk, CloseReason, OpenAck, Options, Payload, Pdu, Version};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig, VarInt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::common::quicstream;

/// The session of all scripts, and the media that some of them pretend to have.
const SESSION: u32 = 7;
const MEDIA: &[u8] = b"what the media is";

/// What a bad server does after its last byte.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Finish,
    Reset,
    CloseConnection,
    Hang,
}

/// A server that answers every stream with the same bytes.
async fn bad_server(bytes: Vec<u8>, then: Then) -> SocketAddr {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![Version::V2.alpn().as_bytes().to_vec()];
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                    let _ = receive.read(&mut [0; 4096]).await;
                    let _ = send.write_all(&bytes).await;
                    match then {
                        Then::Finish => drop(send.finish()),
                        Then::Reset => drop(send.reset(VarInt::from_u32(99))),
                        Then::CloseConnection => connection.close(VarInt::from_u32(99), b"bad"),
                        Then::Hang => {}
                    }
                    // Kept open until the client leaves.
                    tokio::spawn(async move {
                        let _ = receive.read_to_end(1 << 20).await;
                        drop(send);
                    });
                }
            });
        }
    });
    address
}

fn pdus(pdus: Vec<Pdu>) -> Vec<u8> {
    pdus.into_iter().flat_map(|pdu| pdu.encode(Version::V2, SESSION).to_vec()).collect()
}

fn ack(size: u64) -> Pdu {
    let ack =
        OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 1, session_timeout: 3 };
    Pdu::OpenAck(ack, terms(size))
}

fn terms(size: u64) -> Options {
    Options {
        title: Some("a.bin".into()),
        start_offset: Some(0),
        total_size: Some(size),
        validator: Some(Bytes::from_static(b"v")),
        ..Options::default()
    }
}

fn chunk(seq: u32, bytes: &'static [u8]) -> Pdu {
    Pdu::Chunk(Chunk { seq, payload: Payload::from(Bytes::from_static(bytes)) })
}

fn close(reason: u16, digest: Option<[u8; 32]>) -> Pdu {
    Pdu::Close(CloseReason(reason), Options { digest, ..Options::default() })
}

/// What a server may answer an OPEN_STREAM with. None of it is good.
fn scripts() -> Vec<(&'static str, Vec<u8>)> {
    let size = MEDIA.len() as u64;
    let right = *blake3::hash(MEDIA).as_bytes();
    let granted = |options: Options| {
        let ack = OpenAck { bitrate: 1, max_chunk_size: 65_536, keepalive: 1, session_timeout: 3 };
        Pdu::OpenAck(ack, options)
    };
    let after_ack = |rest: Vec<u8>| [pdus(vec![ack(size)]), rest].concat();
    let other_session = Pdu::Heartbeat { timestamp: 1, echo: false }.encode(Version::V2, 8);
    let mut header_of_4_gib = pdus(vec![chunk(1, b"x")]);
    header_of_4_gib.truncate(12);
    header_of_4_gib[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    vec![
        ("nothing", vec![]),
        ("a byte", vec![2]),
        ("zeros", vec![0; 100_000]),
        ("ones", vec![0xff; 100_000]),
        ("text", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("OPEN_ACK and nothing", pdus(vec![ack(size)])),
        ("OPEN_ACK twice", pdus(vec![ack(size), ack(size)])),
        ("OPEN_NACK of a code that nobody knows", pdus(vec![Pdu::OpenNack(12_345, terms(1))])),
        ("a chunk before OPEN_ACK", pdus(vec![chunk(1, MEDIA)])),
        ("CLOSE_STREAM first", pdus(vec![close(0, None)])),
        ("half of the media", pdus(vec![ack(size), chunk(1, &MEDIA[..5]), close(0, Some(right))])),
        ("more than was announced", pdus(vec![ack(3), chunk(1, MEDIA), close(0, None)])),
        ("another digest", pdus(vec![ack(size), chunk(1, MEDIA), close(0, Some([7; 32]))])),
        (
            "other bytes",
            pdus(vec![ack(size), chunk(1, b"what the media iS"), close(0, Some(right))]),
        ),
        ("a gap", pdus(vec![ack(size), chunk(1, &MEDIA[..5]), chunk(3, &MEDIA[5..])])),
        ("a chunk twice", pdus(vec![ack(size), chunk(1, MEDIA), chunk(1, MEDIA)])),
        ("chunk 0", pdus(vec![ack(size), chunk(0, MEDIA)])),
        ("chunks of nothing", after_ack(pdus((1..2_000).map(|seq| chunk(seq, b"")).collect()))),
        ("another session's", after_ack(other_session.to_vec())),
        ("a chunk of 4 GiB", after_ack(header_of_4_gib)),
        ("a chunk that is cut", after_ack(pdus(vec![chunk(1, MEDIA)])[..20].to_vec())),
        (
            "an unknown type for ever",
            after_ack([2, 200, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0].repeat(5_000)),
        ),
        ("heartbeats and nothing else", {
            after_ack(pdus(vec![Pdu::Heartbeat { timestamp: 1, echo: false }; 5_000]))
        }),
        ("a list for ever", {
            let entries = vec![terms(1)];
            pdus(vec![Pdu::ListReply { entries, more: true }; 1_000])
        }),
        ("a start that was not asked for", {
            pdus(vec![granted(Options { start_offset: Some(5), ..terms(size) }), chunk(1, MEDIA)])
        }),
        ("a size of everything", {
            pdus(vec![granted(terms(u64::MAX)), chunk(1, MEDIA), close(0, None)])
        }),
        ("a title that is a path", {
            let title = Some("../../../../tmp/evil".to_owned());
            pdus(vec![granted(Options { title, ..terms(size) }), chunk(1, &MEDIA[..3])])
        }),
        ("a title that moves the cursor", {
            let title = Some("\u{1b}[2J\u{1b}[31mred\r\n".to_owned());
            pdus(vec![granted(Options { title, ..terms(size) }), chunk(1, &MEDIA[..3])])
        }),
        ("no time at all", {
            let ack = OpenAck { bitrate: 0, max_chunk_size: 0, keepalive: 0, session_timeout: 0 };
            pdus(vec![Pdu::OpenAck(ack, terms(size)), chunk(1, MEDIA)])
        }),
        ("all the time there is", {
            let all = u32::MAX;
            let ack =
                OpenAck { bitrate: all, max_chunk_size: all, keepalive: all, session_timeout: all };
            pdus(vec![Pdu::OpenAck(ack, terms(size)), chunk(1, &MEDIA[..3]), close(3, None)])
        }),
        ("a client's own words", pdus(vec![Pdu::Pause, Pdu::Resume, Pdu::List(terms(1))])),
        ("a reason that nobody knows", pdus(vec![ack(size), close(1_000, None)])),
    ]
}

/// Plays from a bad server and returns the exit code.
async fn play(server: SocketAddr, out: &Path) -> (Option<i32>, String) {
    let mut command = quicstream(out.parent().unwrap());
    command.args(["play", &server.to_string(), "--insecure", "--title", "a.bin", "-o"]).arg(out);
    command.args(["--retry-for", "0", "--connect-timeout", "2"]);
    command.stdout(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn nothing_that_a_server_says_is_taken_for_the_media() {
    let dir = tempfile::tempdir().unwrap();
    let mut plays = tokio::task::JoinSet::new();
    for (number, (name, bytes)) in scripts().into_iter().enumerate() {
        let then = match number % 4 {
            0 => Then::Finish,
            1 => Then::Reset,
            2 => Then::CloseConnection,
            _ => Then::Hang,
        };
        let home = dir.path().join(number.to_string());
        fs::create_dir(&home).unwrap();
        plays.spawn(async move {
            let server = bad_server(bytes, then).await;
            let out = home.join("out.bin");
            let began = Instant::now();
            let (code, said) = play(server, &out).await;
            // Nobody is kept for much longer than the timeouts.
            let took = began.elapsed();
            assert!(took < Duration::from_secs(100), "{name}: {took:?}");
            assert!(!out.exists(), "{name} was published");
            assert!(matches!(code, Some(1 | 3 | 4 | 6)), "{name}, {then:?}: {code:?}, {said}");
            assert!(!said.contains("panicked") && !said.contains('\u{1b}'), "{name}: {said:?}");
        });
    }
    let mut scripts = 0;
    while let Some(played) = plays.join_next().await {
        played.unwrap();
        scripts += 1;
    }
    assert!(scripts >= 30);
    assert!(!Path::new("/tmp/evil").exists());
}
