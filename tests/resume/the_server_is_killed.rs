//! The server is killed, and started again or not.

use std::fs;
use std::io::{BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{media, next_event};
use crate::harness::*;

/// A play during which the server is killed, and started again, at each of these points.
fn play(points: &[u64], recoveries: &Recoveries) {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let mut server = Server::start(&path);
    let out = home.path().join("out.mp4");
    let (playing, ended) = mpsc::channel();
    thread::scope(|scope| {
        let (appearing, expected) = (&out, &bytes);
        scope.spawn(move || assert_whole_when_it_appears(appearing, expected, &ended));
        let playing = playing;
        let mut play = Play::start(server.play_to(&out, &["--rate", RATE]));
        play.wait_for("accepted");
        let mut total = 0;
        for &point in points {
            while total < point {
                total = play.wait_for("chunk")["total"].as_u64().unwrap();
            }
            server.kill();
            let ready = server.restart();
            let lost = play.wait_for("reconnecting");
            let offset = lost["offset"].as_u64().unwrap();
            let accepted = play.wait_for("accepted");
            recoveries.add(ready.elapsed());
            assert!(offset >= point, "{lost} at {point}");
            assert_eq!(accepted["start"], offset, "it goes on at the next byte");
        }
        let played = play.finish();
        drop(playing);
        played.assert_exit(0);
        assert_eq!(played.named("closed")[0]["complete"], true);
        assert_eq!(played.received(), SIZE as u64, "no byte came twice");
    });
    assert_nothing_beside(&out);
}

#[test]
fn and_a_file_is_whole_and_not_published_before() {
    let points: Vec<_> = points(8).into();
    // Each play has its points from all parts of the media.
    let plays = (0..4).map(|play| [points[play], points[play + 4]]).collect();
    let recoveries = Recoveries::default();
    side_by_side(2, plays, |points: [u64; 2]| play(&points, &recoveries));
    recoveries.print();
}

#[test]
#[ignore = "takes a minute"]
fn at_50_points() {
    let recoveries = Recoveries::default();
    side_by_side(3, points(50), |point| play(&[point], &recoveries));
    assert_eq!(recoveries.0.lock().unwrap().len(), 50);
    recoveries.print();
}

#[test]
fn and_a_player_on_stdout_sees_one_stream() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let mut server = Server::start(&path);
    let mut command = server.play(&["--rate", RATE, "-o", "-"]);
    let mut play = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _watchdog = Watchdog::of(&play);
    let mut events = BufReader::new(play.stderr.take().unwrap());
    let events = thread::spawn(move || {
        std::iter::from_fn(|| next_event(&mut events))
            .filter(|event| event["event"] == "reconnecting")
            .count()
    });
    let mut player = play.stdout.take().unwrap();
    let mut received = Vec::new();
    let points = points(2);
    for point in points {
        let missing = point.saturating_sub(received.len() as u64);
        (&mut player).take(missing).read_to_end(&mut received).unwrap();
        server.kill();
        server.restart();
    }
    player.read_to_end(&mut received).unwrap();
    assert_eq!(play.wait().unwrap().code(), Some(0));
    assert!(received == bytes, "{} of {SIZE} bytes", received.len());
    assert!(events.join().unwrap() >= 2);
}

#[test]
fn again_and_again_while_the_player_takes_nothing_and_that_is_no_outage() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let mut server = Server::start(&path);
    let mut command = server.play(&["--retry-for", "2", "-o", "-"]);
    let mut play = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _watchdog = Watchdog::of(&play);
    let mut events = BufReader::new(play.stderr.take().unwrap());
    let mut wait_for = |name: &str| loop {
        let event = next_event(&mut events).unwrap_or_else(|| panic!("no {name}"));
        assert_ne!(event["event"], "error", "{event}");
        if event["event"] == name {
            return event;
        }
    };
    wait_for("paused");
    // Each of these pauses begins after a second of silence: together they are longer than
    // what --retry-for allows without a byte.
    for _ in 0..3 {
        server.kill();
        server.restart();
        let lost = wait_for("reconnecting");
        assert_eq!(wait_for("accepted")["start"], lost["offset"]);
        wait_for("paused");
    }
    let mut received = Vec::new();
    play.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    assert!(received == bytes, "{} of {SIZE} bytes", received.len());
    assert_eq!(wait_for("closed")["complete"], true);
    assert_eq!(play.wait().unwrap().code(), Some(0));
}

/// A play whose server is killed in the middle of it for good.
fn abandoned(retry_for: &str) -> (Played, Duration) {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let mut server = Server::start(&path);
    let out = home.path().join("out.mp4");
    let args = ["--rate", RATE, "--retry-for", retry_for];
    let mut play = Play::start(server.play_to(&out, &args));
    play.wait_for_bytes(SIZE as u64 / 3);
    server.kill();
    let killed = Instant::now();
    let played = play.finish();
    let took = killed.elapsed();
    played.assert_exit(4);
    assert!(!out.exists());
    let part = fs::read(beside(&out, "part")).unwrap();
    assert!(part.len() > SIZE / 3 && bytes.starts_with(&part));
    assert!(played.stderr.contains("out.mp4.part"), "{}", played.stderr);
    (played, took)
}

#[test]
fn for_good_and_play_gives_up_in_time() {
    let (played, took) = abandoned("1");
    let tries = played.named("reconnecting");
    assert!(!tries.is_empty(), "{:?}", played.events);
    // Three seconds for the loss to be noticed, one for the tries; 120 are the default.
    assert!(took < Duration::from_secs(60), "{took:?}: {tries:?}");
}

#[test]
fn for_good_and_nobody_wants_to_wait() {
    let (played, took) = abandoned("0");
    assert!(played.named("reconnecting").is_empty());
    assert!(took < Duration::from_secs(60), "{took:?}");
}
