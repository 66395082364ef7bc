//! Real peers: aioquic, with a client and a server of version 1 that were written from the
//! protocol's text and share no code with this crate (`tests/interop/*.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;

use common::python::{TheirServer, python, script};
use common::{Serve, assert_exit, events, media, named};
use serde_json::Value;

/// What came of a scenario of the Python client against `serve`.
struct Played {
    events: Vec<Value>,
    received: Vec<u8>,
    media: Vec<u8>,
    closed: Option<Value>,
}

/// Plays 100,000 bytes in 13 chunks, at the origin client's 480,000 bit/s.
fn their_client(scenario: &str, serve_args: &[&str]) -> Option<Played> {
    let python = python()?;
    let dir = tempfile::tempdir().unwrap();
    let (path, media) = media(dir.path(), 100_000);
    let mut serve = Serve::start(
        ["--media", path.to_str().unwrap(), "--chunk-size", "8192"].iter().chain(serve_args),
    );
    let received = dir.path().join("received");
    let output = script(python, "v1_client.py")
        .args(["--port", &serve.port.to_string(), "--scenario", scenario, "--output"])
        .arg(&received)
        .arg("--ca")
        .arg(serve.certificate())
        .output()
        .unwrap();
    assert_exit(&output, 0);
    let events = events(&output);
    let opened = !named(&events, "ack").is_empty();
    let closed = opened.then(|| serve.wait_for("session_closed"));
    let received = fs::read(&received).unwrap_or_default();
    Some(Played { events, received, media, closed })
}

impl Played {
    #[track_caller]
    fn assert_whole(&self) {
        assert!(self.received == self.media, "{} bytes came", self.received.len());
        assert_eq!(named(&self.events, "close").len(), 1);
        let closed = self.closed.as_ref().unwrap();
        assert_eq!(closed["reason"], "complete", "{closed}");
        assert_eq!(closed["bytes"], 100_000);
        assert_eq!(closed["chunks"], 13);
    }

    fn nacks(&self) -> Vec<u64> {
        named(&self.events, "nack").iter().map(|nack| nack["code"].as_u64().unwrap()).collect()
    }
}

/// Their client gets every byte, whatever the scenario does on the way.
macro_rules! whole {
    ($($name:ident: $scenario:literal, $nacks:expr;)*) => {$(
        #[test]
        fn $name() {
            let Some(played) = their_client($scenario, &[]) else { return };
            played.assert_whole();
            assert_eq!(played.nacks(), $nacks as [u64; _]);
        }
    )*};
}

whole! {
    their_client_plays: "no-pause", [];
    their_client_pauses_like_the_origin: "normal", [];
    their_client_sends_single_bytes: "single-bytes", [];
    their_client_sends_many_pdus_at_once: "coalesced", [];
    their_client_tries_again_after_a_refusal: "bad-codec", [1];
    their_client_recovers_from_a_malformed_open: "malformed-open", [99];
    their_client_opens_twice: "double-open", [99];
    their_client_sends_an_unknown_type: "unknown-type", [];
    their_client_sends_a_chunk: "chunk-from-client", [];
}

#[test]
fn their_client_is_refused_what_does_not_exist() {
    for (scenario, code) in [("encryption", 2), ("multicast", 3), ("delivery-7", 99)] {
        let Some(played) = their_client(scenario, &[]) else { return };
        assert_eq!(played.nacks(), [code], "{scenario}");
    }
}

#[test]
fn their_client_is_cut_off_when_it_breaks_the_protocol() {
    for scenario in ["bad-version", "big-body", "bad-heartbeat"] {
        let Some(played) = their_client(scenario, &[]) else { return };
        let terminated = named(&played.events, "terminated");
        assert_eq!(terminated[0]["error_code"], 99, "{scenario}");
        let reason = played.closed.unwrap()["reason"].to_string();
        assert!(reason.contains("protocol violation"), "{scenario}: {reason}");
    }
}

#[test]
fn their_client_goes_silent_and_is_closed_after_the_session_timeout() {
    let Some(played) = their_client("silent", &["--keepalive", "1", "--session-timeout", "2"])
    else {
        return;
    };
    let seconds = named(&played.events, "timed_out")[0]["seconds"].as_f64().unwrap();
    assert!(seconds >= 1.9, "{seconds}");
    assert_eq!(played.closed.unwrap()["reason"], "session timeout");
}

#[test]
fn their_client_hears_heartbeats_while_paused() {
    let Some(played) = their_client("paused-heartbeats", &["--keepalive", "1"]) else { return };
    let heard = &named(&played.events, "during_pause")[0]["heartbeats"];
    assert!(heard.as_u64().unwrap() >= 1, "{heard}");
    played.assert_whole();
}

#[test]
fn their_client_has_its_heartbeats_answered() {
    let Some(played) = their_client("heartbeat", &[]) else { return };
    let counts = named(&played.events, "heartbeats")[0];
    let count = |name: &str| counts[name].as_u64().unwrap();
    // The last one may meet a session that has ended.
    assert!(count("answered") >= 1 && count("answered") + 1 >= count("sent"), "{counts}");
    played.assert_whole();
}

#[test]
fn their_client_closes_early() {
    let Some(played) = their_client("close-early", &[]) else { return };
    assert_eq!(named(&played.events, "close").len(), 1);
    assert_eq!(played.closed.unwrap()["reason"], "closed by the client");
}

#[test]
fn play_from_their_server() {
    for (scenario, args) in [
        ("normal", &[][..]),
        ("normal", &["--pause-at", "3", "--pause-for", "0.5"]),
        ("late-pause", &["--pause-at", "3", "--pause-for", "0.5"]),
        ("single-bytes", &[]),
        ("unknown-types", &[]),
    ] {
        let Some(server) = TheirServer::start("v1_server.py", scenario, &[]) else { return };
        let output = server.play(args);
        assert_exit(&output, 0);
        assert!(server.received().unwrap() == server.media, "{scenario}");
        let events = events(&output);
        let closed = named(&events, "closed")[0];
        assert_eq!((&closed["complete"], &closed["bytes"]), (&true.into(), &1_000_000.into()));
        assert_eq!(closed["chunks"], 16);
    }
}

#[test]
fn chunks_that_come_after_pause_count_and_are_kept() {
    let Some(server) = TheirServer::start("v1_server.py", "late-pause", &[]) else { return };
    let output = server.play(&["--pause-at", "3", "--pause-for", "0.5"]);
    let events = events(&output);
    assert_eq!(named(&events, "paused")[0]["seq"], 3);
    let resumed = named(&events, "resumed")[0]["seq"].as_u64().unwrap();
    assert!(resumed >= 8, "five at least came after PAUSE_STREAM: {resumed}");
    assert!(server.received().unwrap() == server.media);
}

#[test]
fn a_chunk_is_written_although_the_next_one_is_not_there() {
    let Some(server) = TheirServer::start("v1_server.py", "withheld", &["--keepalive", "1"]) else {
        return;
    };
    assert_exit(&server.play(&[]), 0);
    assert!(server.received().unwrap() == server.media);
}

#[test]
fn play_speaks_version_1_as_it_is_written() {
    let Some(server) = TheirServer::start("v1_server.py", "normal", &[]) else { return };
    assert_exit(&server.play(&["--pause-at", "2", "--pause-for", "0"]), 0);
    let opens = server.pdus("OPEN_STREAM");
    assert_eq!(opens.len(), 1);
    assert_eq!(opens[0]["codec"], "h264");
    assert_eq!(opens[0]["profile"], "baseline");
    assert_eq!(opens[0]["bitrates"], serde_json::json!([240_000, 500_000]));
    assert_eq!((&opens[0]["encryption"], &opens[0]["delivery"]), (&0.into(), &0.into()));
}

#[test]
fn play_heartbeats_at_the_interval_that_it_was_told() {
    let Some(server) = TheirServer::start("v1_server.py", "normal", &["--keepalive", "1"]) else {
        return;
    };
    assert_exit(&server.play(&["--pause-at", "2", "--pause-for", "2.5"]), 0);
    assert!(server.pdus("HEARTBEAT").len() >= 2);
}

/// A server that does wrong is found out, and nothing is published.
macro_rules! found_out {
    ($($name:ident: $scenario:literal, $code:literal, $says:literal;)*) => {$(
        #[test]
        fn $name() {
            let args = ["--keepalive", "1", "--timeout", "5"];
            let Some(server) = TheirServer::start("v1_server.py", $scenario, &args) else { return };
            server.assert_found_out($code, $says);
        }
    )*};
}

found_out! {
    a_server_that_stalls: "stall", 4, "stalled";
    a_server_that_refuses: "nack", 3, "unsupported codec";
    a_server_that_cuts_the_stream: "cut", 6, "without CLOSE_STREAM";
    a_server_that_resets_the_stream: "reset", 6, "without CLOSE_STREAM";
    a_server_that_disconnects: "disconnect", 4, "closed by the peer";
    a_server_that_leaves_a_gap: "gap", 6, "STREAM_CHUNK 4 arrived where 3 was due";
    a_server_that_repeats_a_chunk: "duplicate", 6, "STREAM_CHUNK 2 arrived where 3 was due";
    a_server_that_sends_too_much: "oversized", 6, "OPEN_ACK allowed";
    a_server_that_miscounts_a_payload: "bad-length", 6, "payload_length";
    a_server_of_another_version: "bad-version", 6, "protocol version 7";
    a_server_with_a_short_ack: "short-ack", 6, "malformed OPEN_ACK";
    a_server_that_does_not_answer: "silent", 4, "did not answer";
}

#[test]
fn a_stall_is_noticed_after_two_keepalives() {
    let Some(server) = TheirServer::start("v1_server.py", "stall", &["--keepalive", "1"]) else {
        return;
    };
    let output = server.play(&[]);
    let events = events(&output);
    let at = |name: &str| named(&events, name).last().unwrap()["t"].as_f64().unwrap();
    let waited = at("error") - at("chunk");
    // Those of this server, not the ten seconds of the defaults.
    assert!((1.5..8.0).contains(&waited), "{waited}");
}
