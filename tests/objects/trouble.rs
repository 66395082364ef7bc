//! Stores that are slow, fail, throttle, or change what they have.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Serve, assert_exit, quicstream};
use crate::harness::assert_nothing_beside;
use crate::proxy::{Fate, Gate};
use crate::{Bucket, MIB, bytes};

/// Why a session ended whose media did.
const FAILED: &str = "the media became unreadable or changed";

#[test]
fn what_is_replaced_in_mid_play_is_never_mixed() {
    let bucket = Bucket::new("replaced");
    let (media, other) = (bytes(1, 6 * MIB), bytes(2, 6 * MIB));
    bucket.put("a.mp4", &media);
    let mut serve = bucket.serve("", &[]);
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    bucket.proxy.rule(move |request| match request.range {
        Some((start, _)) if start >= 2 * MIB as u64 => Fate::Held(held.clone()),
        _ => Fate::Answered,
    });
    let mut play = bucket.play(&serve, "a.mp4", &["--rate", "24M"]);
    play.wait_for_bytes(64 * 1024);
    gate.wait_for_one();
    bucket.put("a.mp4", &other);
    gate.open();
    let played = play.finish();
    played.assert_exit(6);
    assert!(!bucket.out().exists(), "nothing false is published");
    assert_eq!(serve.wait_for("session_closed")["reason"], FAILED);
    let refused = serve.wait_for("session_refused");
    assert_eq!(refused["code"], 6, "{refused}");
    assert!(bucket.log().contains("changed while it was streamed"), "{}", bucket.log());

    let played = bucket.play(&serve, "a.mp4", &["--no-continue"]).finish();
    played.assert_exit(0);
    assert!(fs::read(bucket.out()).unwrap() == other);
    assert_nothing_beside(&bucket.out());
}

#[test]
fn troubles_that_pass_are_hidden() {
    let bucket = Bucket::new("passing");
    let media = bytes(3, 5 * MIB);
    bucket.put("a.mp4", &media);
    let serve = bucket.serve("", &[]);
    bucket.proxy.rule(|request| match request.before {
        0 => Fate::Refused(503),
        1 => Fate::Refused(429),
        // Each cut costs the part that it is in some of the time that it may take.
        2 if request.is_media() && request.range.is_some_and(|(start, _)| start == 0) => {
            Fate::Cut(300_000)
        }
        _ => Fate::Answered,
    });
    bucket.play(&serve, "a.mp4", &[]).finish().assert_exit(0);
    assert!(fs::read(bucket.out()).unwrap() == media);
    assert!(!bucket.log().contains("the media failed"), "{}", bucket.log());
}

#[test]
fn a_slow_store_is_waited_for() {
    let bucket = Bucket::new("slow");
    let media = bytes(4, 2 * MIB);
    bucket.put("a.mp4", &media);
    let serve = bucket.serve("", &[]);
    bucket.proxy.rule(|request| match request.is_media() {
        true => Fate::Slow(Duration::from_millis(40)),
        false => Fate::Answered,
    });
    bucket.play(&serve, "a.mp4", &[]).finish().assert_exit(0);
    assert!(fs::read(bucket.out()).unwrap() == media);
    assert_eq!(bucket.proxy.requests(|request| request.is_media() && request.before > 0).len(), 0);
}

#[test]
fn a_store_that_refuses_for_good_makes_the_server_busy() {
    let bucket = Bucket::new("down");
    bucket.put("a.mp4", &bytes(5, MIB));
    let mut serve = bucket.serve("", &[]);
    for status in [503, 403] {
        bucket.proxy.rule(move |_| Fate::Refused(status));
        let played = serve.play(["--json", "--title", "a.mp4"]).output().unwrap();
        assert_exit(&played, 3);
        assert_eq!(serve.wait_for("session_refused")["code"], 7);
        let list = serve.play(["--list"]).output().unwrap();
        assert_exit(&list, 3);
        assert_eq!(serve.wait_for("session_refused")["code"], 7);
    }
    assert!(bucket.log().contains("refused for now"), "{}", bucket.log());
    assert!(bucket.log().contains("503"), "the cause: {}", bucket.log());
    bucket.proxy.rule(|_| Fate::Answered);
    assert_exit(&serve.play(["--json", "--title", "gone.mp4"]).output().unwrap(), 3);
    assert_eq!(serve.wait_for("session_refused")["code"], 4);
}

#[test]
fn a_store_that_fails_for_good_in_mid_play_ends_the_session_with_the_cause_in_the_log() {
    let bucket = Bucket::new("failing");
    bucket.put("a.mp4", &bytes(6, 4 * MIB));
    let mut serve = bucket.serve("", &[]);
    bucket.proxy.rule(|request| match request.range {
        Some((start, _)) if request.is_media() && start >= MIB as u64 => Fate::Refused(500),
        _ => Fate::Answered,
    });
    let played = bucket.play(&serve, "a.mp4", &["--retry-for", "0"]).finish();
    assert_ne!(played.code, Some(0));
    assert_eq!(serve.wait_for("session_closed")["reason"], FAILED);
    assert!(bucket.log().contains("500"), "{}", bucket.log());
    assert!(!bucket.out().exists());
}

#[test]
fn a_bucket_that_is_not_there_is_said_at_the_start() {
    let bucket = Bucket::new("there");
    let start = |url: &str| {
        let log = tempfile::tempfile().unwrap();
        let command = quicstream(bucket.home.path());
        let mut command: Command = bucket.knows_store(command, log);
        command
            .args(["serve", "--listen", "127.0.0.1:0", url])
            .stderr(std::process::Stdio::piped());
        let output = command.output().unwrap();
        assert_exit(&output, 1);
        String::from_utf8(output.stderr).unwrap()
    };
    let said = start("s3://nowhere-at-all/films");
    assert!(
        said.contains("no such bucket") && said.contains("s3://nowhere-at-all/films"),
        "{said}"
    );
    assert!(start("s3:///films").contains("names no bucket"));
    bucket.proxy.rule(|_| Fate::Refused(403));
    let mut forbidden = bucket.serve("films", &[]);
    forbidden.signal("-TERM");
    assert_eq!(forbidden.wait(), Some(0));
    assert!(bucket.log().contains("403"), "{}", bucket.log());
    bucket.proxy.rule(|_| Fate::Answered);
    let empty: Serve = bucket.serve("films", &[]);
    let played = empty.play(["--json"]).output().unwrap();
    assert!(String::from_utf8(played.stderr).unwrap().contains("no titles"));
}
