//! Many requests at once, requests that are dropped, and a server that dies.

use std::thread;

use crate::client::Bridge;
use crate::common::python::TheirServer;
use crate::common::{Serve, assert_exit, media};

const SIZE: usize = 20_000_000;

/// The value of a metric of a server.
fn metric(serve: &Serve, name: &str) -> f64 {
    use std::io::{Read, Write};
    let admin = serve.listening["admin"].as_str().unwrap();
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("quicstream_{name} ")));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn many_requests_share_a_connection_and_a_stalled_reader_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), SIZE);
    let serve = Serve::start(["--admin", "127.0.0.1:0", path.to_str().unwrap()]);
    let bridge = Bridge::to(&serve, &[]);
    let title = format!("t/{}", path.file_name().unwrap().to_str().unwrap());
    // Nobody reads their bodies.
    let stalled: Vec<_> = (0..10).map(|_| bridge.begin("GET", &title, &[])).collect();
    for start in [0, SIZE / 2, SIZE - 1_000_000] {
        let range = format!("bytes={start}-{}", start + 999_999);
        let answer = bridge.get(&title, &[("Range", &range)]);
        assert!(answer.status == 206 && answer.body == bytes[start..start + 1_000_000]);
    }
    assert_eq!(metric(&serve, "connections"), 1.0);
    let link = bridge.get("link.json", &[]).json();
    assert_eq!((link["state"].as_str(), link["requests"].as_u64()), (Some("connected"), Some(10)));
    // More than one connection has streams for.
    let more: Vec<_> = (0..10).map(|_| bridge.begin("GET", &title, &[])).collect();
    assert!(more.iter().all(|answer| answer.status == 200));
    assert_eq!(metric(&serve, "connections"), 2.0);
    // What was stalled goes on.
    for answer in stalled.into_iter().chain(more).take(3) {
        assert!(answer.whole().body == bytes);
    }
}

#[test]
fn a_request_that_is_dropped_ends_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), SIZE);
    let serve = Serve::start(["--admin", "127.0.0.1:0", path.to_str().unwrap()]);
    let bridge = Bridge::to(&serve, &[]);
    let title = format!("t/{}", path.file_name().unwrap().to_str().unwrap());
    for start in 0..100 {
        let range = format!("bytes={start}-");
        let mut answer = bridge.begin("GET", &title, &[("Range", &range)]);
        assert_eq!(answer.status, 206, "{}", answer.head);
        answer.read_to(1000);
        assert!(bytes[start..].starts_with(&answer.body));
    }
    // A session that did not end would stay as long as it heartbeats.
    while metric(&serve, "sessions{state=\"streaming\"}")
        + metric(&serve, "sessions{state=\"paused\"}")
        > 0.0
    {
        thread::yield_now();
    }
    // Nor does more than the link's own connection.
    while metric(&serve, "connections") > 1.0 {
        thread::yield_now();
    }
    assert_eq!(metric(&serve, "limits_total{limit=\"too_many_pdus\"}"), 0.0);
}

#[test]
fn a_bridge_that_ends_ends_its_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), SIZE);
    let mut serve = Serve::start([&path]);
    let bridge = Bridge::to(&serve, &[]);
    let title = format!("t/{}", path.file_name().unwrap().to_str().unwrap());
    // Nobody reads its body.
    let answer = bridge.begin("GET", &title, &[]);
    assert_eq!(answer.status, 200);
    bridge.signal("-INT");
    // The bridge asks what a title is before, which takes no bytes of it.
    let closed = loop {
        let closed = serve.wait_for("session_closed");
        if closed["bytes"] != 0 {
            break closed;
        }
    };
    assert_eq!(closed["reason"], "closed by the client");
}

#[test]
fn a_body_goes_on_at_the_byte_when_the_server_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), SIZE);
    let mut serve = Serve::start([&path]);
    let bridge = Bridge::to(&serve, &[]);
    let title = format!("t/{}", path.file_name().unwrap().to_str().unwrap());
    let mut answers: Vec<_> =
        (0..3).map(|i| bridge.begin("GET", &title, &[("Range", &format!("bytes={i}-"))])).collect();
    answers.iter_mut().for_each(|answer| answer.read_to(100_000));
    serve.kill();
    serve.restart();
    for (i, answer) in answers.into_iter().enumerate() {
        assert!(answer.whole().body == bytes[i..], "{i}");
    }
    // A link that was quiet meanwhile is good again, too.
    serve.kill();
    serve.restart();
    assert!(bridge.get(&title, &[]).body == bytes);
}

#[test]
fn a_connection_that_the_server_gave_up_fails_no_request() {
    for args in [&[][..], &["--retry-for", "0"], &["--title", "media.mp4"]] {
        let Some(server) = TheirServer::start("v2_server.py", "tired", &[]) else { return };
        let bridge = Bridge::of(server.command(args));
        let answer = bridge.begin("HEAD", "t/media.mp4", &[]).whole();
        assert_eq!(answer.status, 200, "{args:?}");
        let answer = bridge.get("titles.json", &[]);
        assert_eq!(answer.status, 200, "{args:?}: {}", String::from_utf8_lossy(&answer.body));
        for _ in 0..3 {
            let answer = bridge.get("t/media.mp4", &[]);
            assert!(answer.body == server.media, "{args:?}: {}", answer.status);
        }
    }
}

#[test]
fn a_server_that_stays_away_cuts_the_body_and_later_is_a_504() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), SIZE);
    let mut serve = Serve::start([path.as_os_str()]);
    let title = format!("t/{}", path.file_name().unwrap().to_str().unwrap());
    let patience = ["--retry-for", "1", "--connect-timeout", "1"];
    let bridge = Bridge::to(&serve, &patience);
    let mut answer = bridge.begin("GET", &title, &[]);
    answer.read_to(100_000);
    serve.signal("-KILL");
    serve.wait();
    let answer = answer.whole();
    assert!(answer.body.len() < answer.length() && bytes.starts_with(&answer.body));
    assert_eq!(bridge.get(&title, &[]).status, 504);
    assert_eq!(bridge.begin("HEAD", &title, &[]).whole().status, 504);
    assert_eq!(bridge.get("titles.json", &[]).status, 504);
    assert_eq!(bridge.get("link.json", &[]).status, 200);
    // At the start it is a failure of the command.
    let output = serve.play(["--http", "--connect-timeout", "1"]).output().unwrap();
    assert_exit(&output, 4);
}
