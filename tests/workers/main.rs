//! Several endpoints on one port, and several servers behind a balancer.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod balancer;
#[path = "../common/mod.rs"]
mod common;
mod endpoints;
mod viewer;

use std::path::Path;
use std::process::Stdio;

use balancer::Balancer;
use common::{Serve, assert_exit, media, quicstream};
use quicstream::protocol::{CloseReason, Pdu};
use tokio::task::JoinSet;
use viewer::{SIZE, Viewer, connector, lost_by_rebinding, raise_descriptor_limit};

/// The rate at which the media takes five seconds, bit/s.
const RATE: u64 = SIZE as u64 * 8 / 5;

/// So slow that it does not end.
const SLOW: u64 = 8_000;

/// The key of the servers behind a balancer.
const KEY: [u8; 16] = [0x5a; 16];

/// A server with so many workers.
fn serve(directory: &Path, workers: &str, args: &[&str]) -> Serve {
    let (path, _) = media(directory, SIZE);
    let path = path.to_str().unwrap();
    Serve::start([&["--workers", workers, "--chunk-size", "8KiB", path], args].concat())
}

/// Has viewers change their ports in mid-stream.
async fn assert_rebinding_viewers_complete(workers: &str, viewers: usize, rate: u64) {
    raise_descriptor_limit();
    let directory = tempfile::tempdir().unwrap();
    let serve = serve(directory.path(), workers, &["--max-per-address", "1000"]);
    let lost = lost_by_rebinding(serve.port, viewers, rate).await;
    assert!(lost.is_empty(), "{workers} workers: {} of {viewers} lost: {lost:?}", lost.len());
}

#[tokio::test]
async fn viewers_change_their_ports_with_1_worker() {
    assert_rebinding_viewers_complete("1", 40, RATE).await;
}

#[tokio::test]
async fn viewers_change_their_ports_with_2_workers() {
    assert_rebinding_viewers_complete("2", 40, RATE).await;
}

#[tokio::test]
async fn viewers_change_their_ports_with_4_workers() {
    assert_rebinding_viewers_complete("4", 40, RATE).await;
}

#[tokio::test]
async fn viewers_change_their_ports_with_8_workers() {
    assert_rebinding_viewers_complete("8", 40, RATE).await;
}

#[tokio::test]
#[ignore = "takes the machine for itself"]
async fn three_hundred_viewers_change_their_ports() {
    for workers in ["1", "2", "4", "8"] {
        assert_rebinding_viewers_complete(workers, 300, RATE / 8).await;
    }
}

/// Has viewers change their ports behind a balancer in front of three servers.
async fn assert_balanced_viewers_complete(key: Option<[u8; 16]>, viewers: usize, rate: u64) {
    raise_descriptor_limit();
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = media(directory.path(), SIZE);
    let start = |id: u8| {
        let id = format!("{id:02x}");
        let args = ["--workers", "2", "--lb-id", &id, "--max-per-address", "1000"];
        let key = key.map(|key| key.map(|byte| format!("{byte:02x}")).concat());
        let with_key = |mut command: std::process::Command| {
            command.envs(key.map(|key| ("QUICSTREAM_SERVER_LB_KEY", key)));
            command
        };
        Serve::start_as(
            with_key,
            args.into_iter().chain(["--chunk-size", "8KiB"]).chain([path.to_str().unwrap()]),
        )
    };
    let servers = [7, 0, 255].map(|id| (id, start(id)));
    let ports = servers.iter().map(|(id, serve)| (*id, serve.port)).collect();
    let port = Balancer { servers: ports, key }.start();
    let lost = lost_by_rebinding(port, viewers, rate).await;
    assert!(lost.is_empty(), "{} of {viewers} lost: {lost:?}", lost.len());
}

#[tokio::test]
async fn a_balancer_keeps_viewers_with_their_servers() {
    assert_balanced_viewers_complete(None, 30, RATE).await;
}

#[tokio::test]
async fn a_balancer_with_a_key_keeps_viewers_with_their_servers() {
    assert_balanced_viewers_complete(Some(KEY), 30, RATE).await;
}

#[tokio::test]
#[ignore = "takes the machine for itself, for two minutes"]
async fn a_balancer_keeps_a_thousand_viewers_with_their_servers() {
    assert_balanced_viewers_complete(Some(KEY), 1000, RATE / 20).await;
}

#[tokio::test]
async fn limits_hold_over_all_workers_and_all_hear_of_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let places = 20;
    let mut serve = serve(directory.path(), "4", &["--max-per-address", &places.to_string()]);
    let connector = connector();
    let mut viewers = JoinSet::new();
    for _ in 0..places {
        let connection = Viewer::connect(&connector, serve.port).await.unwrap();
        let mut viewer = Viewer::open(connection, SLOW).await.unwrap_or_else(|pdu| panic!("{pdu}"));
        viewers.spawn(async move { viewer.watch(|_| ()).await });
    }
    // Whichever worker they come to.
    for _ in 0..8 {
        let connection = Viewer::connect(&connector, serve.port).await.unwrap();
        let Err(refusal) = Viewer::open(connection, SLOW).await else { panic!("granted") };
        assert!(refusal.to_string().contains("your address"), "{refusal}");
    }
    serve.signal("-TERM");
    while let Some(over) = viewers.join_next().await {
        let over = over.unwrap().unwrap();
        assert!(matches!(over, Pdu::Close(CloseReason::SHUTDOWN, _)), "{over}");
    }
    assert_eq!(tokio::task::spawn_blocking(move || serve.wait()).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_restart_with_other_workers_resets_the_connections_of_the_ones_before() {
    let directory = tempfile::tempdir().unwrap();
    let start = |workers: &str, port: u16| {
        let in_directory = |mut command: std::process::Command| {
            command.env("QUICSTREAM_STATE_DIR", directory.path());
            command
        };
        let port = port.to_string();
        Serve::start_as(in_directory, ["--workers", workers, "--port", &port])
    };
    let mut serve = start("4", 0);
    let port = serve.port;
    let connector = connector();
    let mut viewers = JoinSet::new();
    for _ in 0..12 {
        let connection = Viewer::connect(&connector, port).await.unwrap();
        let mut viewer = Viewer::open(connection, SLOW).await.unwrap_or_else(|pdu| panic!("{pdu}"));
        viewers.spawn(async move { viewer.watch(|_| ()).await });
    }
    serve.signal("-KILL");
    serve.wait();
    let _serve = start("3", port);
    while let Some(over) = viewers.join_next().await {
        let error = over.unwrap().unwrap_err();
        assert!(error.contains("reset"), "{error}");
    }
}

#[test]
fn an_address_that_a_server_has_is_not_shared() {
    let directory = tempfile::tempdir().unwrap();
    for (there, comes) in [("2", "2"), ("2", "1"), ("1", "2")] {
        let serve = serve(directory.path(), there, &[]);
        let listen = format!("127.0.0.1:{}", serve.port);
        let mut second = quicstream(directory.path());
        second.args(["serve", "--workers", comes, "--listen", &listen]);
        let output = second.stdin(Stdio::null()).output().unwrap();
        assert_exit(&output, 1);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&listen) && stderr.contains("in use"), "{stderr}");
    }
}

#[test]
fn what_all_workers_do_is_counted_together() {
    use std::io::{Read as _, Write as _};

    let directory = tempfile::tempdir().unwrap();
    let mut serve = serve(directory.path(), "8", &["--admin", "127.0.0.1:0"]);
    let plays = 12;
    for _ in 0..plays {
        assert_exit(&serve.play(["--rate", "max", "--pause-at", "0"]).output().unwrap(), 0);
    }
    let ids: Vec<_> =
        (0..plays).map(|_| serve.wait_for("session_closed")["session"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=plays).collect::<Vec<_>>());
    let admin = serve.listening["admin"].as_str().unwrap();
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    for line in ["handshakes_begun_total 12", "connections_total 12", "sessions_opened_total 12"] {
        assert!(metrics.contains(&format!("\nquicstream_{line}\n")), "{line}: {metrics}");
    }
}
