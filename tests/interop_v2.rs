//! Real peers of version 2: an aioquic client and server that share no code with this crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::path::Path;

use common::python::{TheirServer, python, script};
use common::{Serve, assert_exit, events, media, named};
use serde_json::Value;

const SIZE: u64 = 1_000_000;

/// What came of a scenario of the Python client against `serve`.
struct Played {
    events: Vec<Value>,
    received: Vec<u8>,
    media: Vec<u8>,
}

/// Plays the title `media.mp4` of a library of two.
fn their_client(scenario: &str, args: &[&str]) -> Option<Played> {
    let python = python()?;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let (_, media) = media(&root, SIZE as usize);
    fs::write(root.join("other.txt"), "other").unwrap();
    fs::write(dir.path().join("canary.mp4"), "canary").unwrap();
    let serve = Serve::start(["--keepalive", "1", "--media", root.to_str().unwrap()]);
    let titles = dir.path().join("titles.json");
    fs::write(&titles, serde_json::to_vec(&hostile_titles(dir.path())).unwrap()).unwrap();
    let received = dir.path().join("received");
    let mut client = script(python, "v2_client.py");
    if !args.contains(&"--title") {
        client.args(["--title", "media.mp4"]);
    }
    let output = client
        .args(["--port", &serve.port.to_string(), "--scenario", scenario, "--titles"])
        .arg(titles)
        .args(args)
        .arg("--output")
        .arg(&received)
        .arg("--ca")
        .arg(serve.certificate())
        .output()
        .unwrap();
    assert_exit(&output, 0);
    let received = fs::read(&received).unwrap_or_default();
    Some(Played { events: events(&output), received, media })
}

/// Two hundred ways to ask for what is not a title.
fn hostile_titles(outside: &Path) -> Vec<String> {
    let canary = outside.join("canary.mp4").display().to_string();
    let mut titles = vec![
        canary.clone(),
        format!("/{canary}"),
        format!("//{canary}"),
        "/etc/passwd".into(),
        "/proc/self/root/etc/passwd".into(),
        "/dev/zero".into(),
        ".".into(),
        "..".into(),
        "/".into(),
        "./media.mp4".into(),
        "media.mp4/".into(),
        "media.mp4/.".into(),
        "/media.mp4".into(),
        "media.mp4\0".into(),
        "media.mp4\0.txt".into(),
        "%2e%2e/canary.mp4".into(),
        "..\\canary.mp4".into(),
        "media.mp4 ".into(),
        "MEDIA.MP4".into(),
        "\u{ff0e}\u{ff0e}/canary.mp4".into(),
    ];
    for depth in 1..=30 {
        titles.push(format!("{}canary.mp4", "../".repeat(depth)));
        titles.push(format!("{}canary.mp4", "./../".repeat(depth)));
        titles.push(format!("{}canary.mp4", "..//".repeat(depth)));
        titles.push(format!("root/{}canary.mp4", "../".repeat(depth)));
        titles.push(format!("{}{canary}", "../".repeat(depth)));
        titles.push(format!("{}etc/passwd", "../".repeat(depth)));
    }
    titles.retain(|title| title.len() <= 255);
    assert!(titles.len() >= 190, "{}", titles.len());
    titles
}

impl Played {
    #[track_caller]
    fn assert_whole(&self) {
        assert!(self.received == self.media, "{} bytes came", self.received.len());
        assert_eq!(named(&self.events, "close").last().unwrap()["reason"], 0);
    }

    fn nacks(&self) -> Vec<u64> {
        named(&self.events, "nack").iter().map(|nack| nack["code"].as_u64().unwrap()).collect()
    }
}

#[test]
fn their_client_gets_everything_that_there_is_to_know() {
    let Some(played) = their_client("normal", &["--rate", "0"]) else { return };
    played.assert_whole();
    let ack = named(&played.events, "ack")[0];
    assert_eq!((&ack["title"], &ack["size"]), (&"media.mp4".into(), &SIZE.into()));
    assert_eq!((&ack["media_type"], &ack["rate"]), (&"video/mp4".into(), &0.into()));
    let digest = named(&played.events, "close")[0]["digest"].as_str().or(ack["digest"].as_str());
    assert_eq!(digest.unwrap(), blake3::hash(&played.media).to_hex().as_str());
}

#[test]
fn their_client_lists_and_opens_on_one_stream() {
    for scenario in ["list", "list-then-open"] {
        let Some(played) = their_client(scenario, &["--rate", "0"]) else { return };
        let entries = named(&played.events, "entry");
        let titles: Vec<_> = entries.iter().map(|entry| entry["title"].clone()).collect();
        assert_eq!(titles, ["media.mp4", "other.txt"]);
        assert_eq!(entries[0]["size"], SIZE);
    }
}

#[test]
fn their_client_resumes_where_it_stopped() {
    let Some(played) = their_client("resume", &["--rate", "2000000"]) else { return };
    played.assert_whole();
    assert!(named(&played.events, "ack")[1]["start"].as_u64().unwrap() > 0);
}

#[test]
fn their_client_is_refused_what_it_cannot_have() {
    for (scenario, codes) in [
        ("wrong-validator", &[6][..]),
        ("past-end", &[8]),
        ("no-such-title", &[4]),
        ("duplicate-option", &[99]),
        ("truncated-option", &[99]),
        ("bad-codec", &[1]),
    ] {
        let Some(played) = their_client(scenario, &["--rate", "0"]) else { return };
        assert_eq!(played.nacks(), codes, "{scenario}");
    }
}

#[test]
fn hostile_titles_are_all_refused_alike() {
    let mut reasons = std::collections::BTreeSet::new();
    let mut count = 0;
    for batch in 0.. {
        let batch = batch.to_string();
        let Some(played) = their_client("hostile-titles", &["--batch", &batch]) else { return };
        let nacks = named(&played.events, "nack");
        if nacks.is_empty() {
            break;
        }
        assert!(nacks.iter().all(|nack| nack["code"] == 4), "{nacks:?}");
        assert!(named(&played.events, "ack").is_empty());
        reasons.extend(nacks.iter().map(|nack| nack["reason"].to_string()));
        count += nacks.len();
    }
    assert!(count >= 190);
    assert_eq!(reasons.len(), 1, "a reason tells titles apart: {reasons:?}");
}

#[test]
fn their_client_uses_another_session_id() {
    let Some(played) = their_client("wrong-session", &["--rate", "500000"]) else { return };
    assert_eq!(named(&played.events, "terminated")[0]["error_code"], 99);
}

#[test]
fn their_client_sends_options_that_nobody_knows() {
    let Some(played) = their_client("unknown-options", &["--rate", "0"]) else { return };
    played.assert_whole();
}

#[test]
fn their_client_has_its_heartbeats_echoed() {
    let Some(played) = their_client("echo", &["--rate", "4000000"]) else { return };
    let counts = named(&played.events, "heartbeats")[0];
    assert!(counts["answered"].as_u64().unwrap() >= 1, "{counts}");
}

#[test]
fn their_client_closes_early() {
    let Some(played) = their_client("early-close", &["--rate", "2000000"]) else { return };
    assert_eq!(named(&played.events, "close").len(), 1);
}

/// Our player gets every byte from their server exactly once, whatever happens on the way; the
/// number says how many sessions that takes.
macro_rules! whole {
    ($($name:ident: $scenario:literal, $sessions:literal;)*) => {$(
        #[test]
        fn $name() {
            let args = ["--keepalive", "1", "--timeout", "5"];
            let Some(server) = TheirServer::start("v2_server.py", $scenario, &args) else { return };
            let output = server.play(&["--connect-timeout", "2"]);
            assert_exit(&output, 0);
            assert!(server.received().unwrap() == server.media);
            let events = events(&output);
            assert_eq!(named(&events, "connected")[0]["alpn"], "quicstream/2");
            assert_eq!(named(&events, "accepted").len(), $sessions);
            let closed = named(&events, "closed")[0];
            assert_eq!((&closed["complete"], &closed["bytes"]), (&true.into(), &SIZE.into()));
        }
    )*};
}

whole! {
    a_server_that_is_normal: "normal", 1;
    a_server_with_options_that_nobody_knows: "unknown-options", 1;
    a_server_that_sends_single_bytes: "single-bytes", 1;
    a_server_that_shuts_down_and_comes_back: "shutdown", 2;
    a_server_that_drops_the_connection: "drop", 2;
    a_server_that_vanishes: "vanish", 2;
    a_server_that_cuts_the_stream: "cut", 2;
    a_server_that_resets_the_stream: "reset", 2;
    a_server_that_stalls: "stall", 2;
    a_server_that_is_busy_for_a_while: "busy-later", 2;
    a_server_that_takes_the_connection_for_unused: "unused", 1;
}

/// A server that does wrong is found out, and nothing is published.
macro_rules! found_out {
    ($($name:ident: $scenario:literal, $code:literal, $says:literal;)*) => {$(
        #[test]
        fn $name() {
            let Some(server) = TheirServer::start("v2_server.py", $scenario, &[]) else { return };
            server.assert_found_out($code, $says);
        }
    )*};
}

found_out! {
    an_option_that_stands_there_twice: "duplicate-option", 6, "twice";
    an_option_that_is_cut: "truncated-option", 6, "longer than the body";
    a_digest_that_is_short: "short-digest", 6, "length";
    a_chunk_of_another_session: "wrong-session", 6, "on the stream of session";
    a_size_that_is_wrong: "wrong-size", 6, "bytes of media came";
    a_digest_that_is_wrong: "bad-digest", 6, "digest";
    a_digest_that_is_wrong_at_the_end: "bad-digest-close", 6, "digest";
    a_session_that_starts_elsewhere: "wrong-start", 6, "starts at byte 0";
    media_that_changed_meanwhile: "changed", 6, "has changed";
    media_that_is_gone: "gone", 3, "no such title";
    media_that_failed: "media-failed", 6, "unreadable or changed";
    a_server_at_its_limit: "limit", 4, "limit";
    a_server_that_sends_more_than_it_announced: "too-much", 6, "were left of the announced size";
    a_chunk_that_is_empty: "empty-chunk", 6, "is empty";
    a_server_that_brings_a_byte_in_each_session: "trickle", 4, "closed by the peer";
    a_server_that_answers_nothing: "mute", 4, "did not answer OPEN_STREAM within 2 s";
    a_server_that_is_busy: "busy", 3, "busy";
}

#[test]
fn an_interrupted_file_is_kept_and_named() {
    let Some(server) = TheirServer::start("v2_server.py", "changed", &[]) else { return };
    let output = server.play(&[]);
    let events = events(&output);
    assert!(events.last().unwrap()["message"].to_string().contains("out.mp4.part"));
}

#[test]
fn a_long_list_comes_whole_and_sorted_by_nobody_else() {
    let Some(server) = TheirServer::start("v2_server.py", "list-many", &[]) else { return };
    let output = server.list(&["--json"]);
    assert_exit(&output, 0);
    assert_eq!(events(&output).len(), 5_000);
    let Some(server) = TheirServer::start("v2_server.py", "list-bad", &[]) else { return };
    assert_exit(&server.list(&[]), 6);
}

#[test]
fn a_list_that_does_not_end_is_no_list() {
    for (scenario, trouble) in [
        ("list-endless", "does not end: gave up after 32 MiB"),
        ("list-crowded", "too many entries"),
    ] {
        let Some(server) = TheirServer::start("v2_server.py", scenario, &[]) else { return };
        // The server takes its time over so much.
        let output = server.list(&["--connect-timeout", "60"]);
        assert_exit(&output, 6);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(trouble), "{scenario}: {said}");
    }
}

#[test]
fn a_list_that_cannot_be_had_is_a_failure_that_says_why() {
    for (scenario, code, says) in [
        ("list-refused", 3, "busy"),
        ("mute", 4, "did not answer LIST within 1 s; --connect-timeout waits longer"),
    ] {
        let Some(server) = TheirServer::start("v2_server.py", scenario, &[]) else { return };
        let output = server.list(&["--connect-timeout", "1"]);
        assert_exit(&output, code);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{scenario}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_server_that_is_busy_at_first_is_waited_for_if_that_is_wanted() {
    let Some(server) = TheirServer::start("v2_server.py", "busy", &[]) else { return };
    let output = server.play(&["--wait", "30"]);
    assert_exit(&output, 0);
    assert!(server.received().unwrap() == server.media);
    assert_eq!(named(&events(&output), "reconnecting").len(), 1);
}

#[test]
fn no_common_version_is_an_error_of_its_own() {
    let Some(server) = TheirServer::start("v1_server.py", "normal", &[]) else { return };
    let output = server.play(&["--protocol", "2"]);
    assert_exit(&output, 5);
}
