//! A play goes on whatever happens to the path between it and its server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::python::TheirServer;
use common::relay::Relay;
use common::{Serve, assert_exit, events, media, named, next_event, quicstream};
use serde_json::Value;

/// Bytes of the media.
const SIZE: usize = 12_000_000;

fn serve(directory: &Path, args: &[&str]) -> (Serve, Vec<u8>) {
    let (path, bytes) = media(directory, SIZE);
    let args = [&["--media", path.to_str().unwrap()], args].concat();
    (Serve::start(args), bytes)
}

/// `play` through a relay into a file.
fn play(serve: &Serve, relay: &Relay, out: &Path, args: &[&str]) -> Command {
    let mut command = quicstream(out.parent().unwrap());
    let port = relay.port().to_string();
    command
        .args(["play", "--json", "--port", &port, "--pin", &serve.fingerprint, "-o"])
        .arg(out)
        .args(args);
    command
}

/// Follows a play to its end and gives all its events; `chunk` sees the total of each chunk.
fn follow(mut command: Command, mut chunk: impl FnMut(u64)) -> Vec<Value> {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut events = Vec::new();
    while let Some(event) = next_event(&mut stdout) {
        if event["event"] == "chunk" {
            chunk(event["total"].as_u64().unwrap());
        }
        events.push(event);
    }
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(0), "{:?}", events.last());
    events
}

#[test]
fn a_path_that_changes_more_often_than_the_transport_follows_costs_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (serve, bytes) = serve(dir.path(), &[]);
    let relay = Relay::start(serve.port);
    let out = dir.path().join("out");
    let mut next = 0;
    let events = follow(play(&serve, &relay, &out, &["--rate", "40M"]), |total| {
        if total > next {
            relay.rebind();
            next = total + 500_000;
        }
    });
    assert!(fs::read(&out).unwrap() == bytes);
    assert!(relay.ports() > 10, "{} ports", relay.ports());
    let moved = named(&events, "reconnecting");
    assert!(!moved.is_empty(), "the transport follows four changes");
    for event in moved {
        assert_eq!(event["delay"], 0.0, "{event}: it waited for the old connection to die");
    }
}

#[test]
fn an_outage_is_over_when_packets_come_through_again() {
    let dir = tempfile::tempdir().unwrap();
    let (serve, bytes) = serve(dir.path(), &[]);
    let relay = Relay::start(serve.port);
    let out = dir.path().join("out");
    let mut left = 2;
    let events = follow(play(&serve, &relay, &out, &["--rate", "80M"]), |total| {
        if left > 0 && total > SIZE as u64 / (left + 1) {
            left -= 1;
            relay.set_blackhole(true);
            // The outage itself, not a wait for anything.
            std::thread::sleep(Duration::from_millis(1_200));
            relay.set_blackhole(false);
        }
    });
    assert!(fs::read(&out).unwrap() == bytes);
    assert_eq!(left, 0);
    assert_eq!(named(&events, "closed")[0]["complete"], true);
}

#[test]
fn a_pause_that_is_longer_than_the_idle_timeout_is_kept_alive() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 500_000);
    let config = dir.path().join("config.toml");
    fs::write(&config, "[transport]\nidle_timeout = 1\n").unwrap();
    let config = config.to_str().unwrap();
    // The shorter of both sides' idle timeouts counts.
    let serve = Serve::start([
        "--keepalive",
        "10",
        "--session-timeout",
        "60",
        "--media",
        path.to_str().unwrap(),
    ]);
    let out = dir.path().join("out");
    let output = serve
        .play(["--config", config, "--json", "--pause-at", "1", "--pause-for", "3", "-o"])
        .arg(&out)
        .output()
        .unwrap();
    assert_exit(&output, 0);
    let events = events(&output);
    assert_eq!(named(&events, "resumed").len(), 1);
    assert!(named(&events, "reconnecting").is_empty(), "the connection was lost in the pause");
    assert!(fs::read(&out).unwrap() == bytes);
}

#[test]
fn media_that_is_touched_in_mid_play_is_still_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (serve, bytes) = serve(dir.path(), &[]);
    let relay = Relay::start(serve.port);
    let out = dir.path().join("out");
    // A digest of a younger file is not remembered, because it may still be written.
    std::thread::sleep(Duration::from_millis(2_100));
    let mut touched = false;
    let events = follow(play(&serve, &relay, &out, &["--rate", "40M"]), |total| {
        if !touched && total > 4_000_000 {
            touched = true;
            let file = fs::File::options().write(true).open(dir.path().join("media.mp4"));
            file.unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
    });
    assert!(fs::read(&out).unwrap() == bytes);
    assert!(!named(&events, "reconnecting").is_empty(), "the server noticed");
    assert_eq!(named(&events, "closed")[0]["verified"], true);
}

/// A server that speaks only version 1 cannot go on in the middle. What came so far stays as it is.
#[test]
fn a_server_of_version_1_that_takes_over_begins_nothing_anew() {
    let Some(old) = TheirServer::start("v1_server.py", "normal", &[]) else { return };
    for output in ["-", "out"] {
        let dir = tempfile::tempdir().unwrap();
        let (serve, bytes) = serve(dir.path(), &["--keepalive", "1", "--session-timeout", "4"]);
        let relay = Relay::start(serve.port);
        let log = dir.path().join("log");
        fs::write(&log, "log\n").unwrap();
        let mut command = quicstream(dir.path());
        command.args(["play", "--json", "--insecure", "--rate", "20M", "-o", output]);
        command.args(["--port", &relay.port().to_string()]).current_dir(dir.path());
        // Where stdout carries media, JSON goes to stderr.
        command.stdout(fs::File::options().append(true).open(&log).unwrap());
        command.stderr(Stdio::piped());
        if output != "-" {
            command.stdout(Stdio::null()).args(["--progress", "plain", "-v"]);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let is_chunk =
            |line: &String| line.contains("\"chunk\"") || line.contains("received STREAM_CHUNK");
        assert!(lines.any(|line| is_chunk(&line)));
        relay.lead_to(old.port());
        let said: Vec<_> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(6), "{output}: {said:?}");
        assert!(said.iter().any(|line| line.contains("version 1")), "{output}: {said:?}");
        if output == "-" {
            let written = fs::read(&log).unwrap();
            assert!(written.starts_with(b"log\n") && bytes.starts_with(&written[4..]));
            assert!(written.len() > 4);
        } else {
            let part = fs::read(dir.path().join("out.part")).unwrap();
            assert!(!part.is_empty() && bytes.starts_with(&part));
        }
    }
}

/// What an outage and a path that changes often cost, for people to read.
#[test]
#[ignore = "takes minutes, and prints figures"]
fn figures() {
    let dir = tempfile::tempdir().unwrap();
    let (serve, bytes) = serve(dir.path(), &[]);
    let bytes_per_second = 1_000_000;
    for every in [3_000, 500] {
        let relay = Relay::start(serve.port);
        let out = dir.path().join(format!("out{every}"));
        let mut rebound = Instant::now();
        let mut last = Instant::now();
        let mut gaps = Vec::new();
        let began = Instant::now();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (relay, done) = (&relay, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                    if rebound.elapsed() >= Duration::from_millis(every) {
                        relay.rebind();
                        rebound = Instant::now();
                    }
                }
            });
            let rate = (bytes_per_second * 8).to_string();
            follow(play(&serve, relay, &out, &["--rate", &rate]), |_| {
                gaps.push(last.elapsed());
                last = Instant::now();
            });
            done.store(true, Ordering::Relaxed);
        });
        assert!(fs::read(&out).unwrap() == bytes);
        gaps.sort();
        let share = SIZE as f64 / bytes_per_second as f64 / began.elapsed().as_secs_f64();
        let longest: Vec<_> = gaps.iter().rev().take(5).collect();
        println!("port changes every {every} ms: {share:.2} of the rate, longest gaps {longest:?}");
    }
    for outage in [12, 20] {
        let relay = Relay::start(serve.port);
        let out = dir.path().join(format!("out{outage}s"));
        let mut ended = None;
        let mut again = None;
        follow(play(&serve, &relay, &out, &["--rate", "20M"]), |total| {
            if ended.is_none() && total > 3_000_000 {
                relay.set_blackhole(true);
                std::thread::sleep(Duration::from_secs(outage));
                relay.set_blackhole(false);
                ended = Some((Instant::now(), total));
            } else if let Some((at, before)) = ended
                && again.is_none()
                // What was in the pipe of events comes first.
                && total > before + 400_000
            {
                again = Some(at.elapsed());
            }
        });
        assert!(fs::read(&out).unwrap() == bytes);
        println!("an outage of {outage} s: media again {again:?} after its end");
    }
}
