//! What viewers do to themselves and to each other: nothing is lost that is kept, and one that
//! stands still costs the others nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use crate::common::relay::Relay;
use crate::common::{self, assert_exit, events, named};
use crate::{Place, bytes, end, read};

/// More than the pipes and buffers between a server and a reader hold.
const MUCH: usize = 24_000_000;

#[test]
fn a_viewer_that_rests_for_longer_than_the_window_loses_nothing_of_what_is_recorded() {
    let recordings = tempfile::tempdir().unwrap();
    let record = ["--live-window", "1MiB", "--record", recordings.path().to_str().unwrap()];
    let mut place = Place::new(&record);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 10_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 5_000), bytes(0, 5_000));
    producer.write_all(&bytes(10_000, MUCH)).unwrap();
    assert!(read(&mut viewer, MUCH + 5_000) == bytes(5_000, MUCH + 5_000));
    // Whoever comes late begins at the beginning, too, or at any byte.
    for start in [0, 1_234_567] {
        let mut late = place.viewer(&["--start", &start.to_string()]);
        assert!(read(&mut late, 2_000_000) == bytes(start, 2_000_000));
        late.kill().unwrap();
        late.wait().unwrap();
    }
    drop(producer);
    end(viewer);
}

#[test]
fn what_was_recorded_is_whole_and_verified_after_the_end() {
    let recordings = tempfile::tempdir().unwrap();
    let record = recordings.path().to_str().unwrap();
    let mut place =
        Place::new(&["--live-window", "1MiB", "--live-linger", "0", "--record", record]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 5_000_000)).unwrap();
    drop(producer);
    assert_eq!(place.serve.wait_for("live_ended")["bytes"], 5_000_000);
    let out = place.out();
    let args = ["--start", "0", "--json", "-o", out.to_str().unwrap()];
    let whole = place.serve.play(args).output().unwrap();
    assert_exit(&whole, 0);
    assert!(fs::read(&out).unwrap() == bytes(0, 5_000_000));
    assert_eq!(named(&events(&whole), "closed")[0]["verified"], true);
    // It is an ordinary title where its directory is served.
    let archive = common::Serve::start(["--media", record]);
    let out = place.dir.path().join("archived");
    let args = ["--title", "cam.bin", "--json", "-o", out.to_str().unwrap()];
    let archived = archive.play(args).output().unwrap();
    assert_exit(&archived, 0);
    assert_eq!(named(&events(&archived), "closed")[0]["verified"], true);
}

#[test]
fn without_a_recording_one_that_rested_too_long_joins_anew() {
    let mut place = Place::new(&["--live-window", "1MiB"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 10_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut play = place.serve.play(["--start", "0", "-o", "-", "--progress", "plain"]);
    let mut viewer = play.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(read(&mut viewer, 5_000), bytes(0, 5_000));
    producer.write_all(&bytes(10_000, MUCH)).unwrap();
    // It goes on with what was under way, and then where it can.
    let (mut got, mut at) = (Vec::new(), MUCH + 10_000);
    let writer = std::thread::spawn(move || {
        while producer.write_all(&bytes(at, 1_000)).is_ok() {
            at += 1_000;
            std::thread::yield_now();
        }
    });
    let is_anew = |got: &[u8]| got.windows(2).any(|pair| pair[1] != (pair[0] + 1) % 251);
    while !is_anew(&got) {
        got.extend(read(&mut viewer, 100_000));
    }
    let mut told = BufReader::new(viewer.stderr.take().unwrap()).lines().map(Result::unwrap);
    told.find(|line| line.contains("bytes of the broadcast are missing here")).unwrap();
    end(viewer);
    drop(place);
    writer.join().unwrap();
}

/// A player that rests after 5,000 bytes, while more comes than the server keeps; and the producer.
fn resting_player() -> (Place, fs::File, Child) {
    let mut place = Place::new(&["--live-window", "1MiB", "--live-linger", "0"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 10_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut play = place.serve.play(["--start", "0", "-o", "-", "--json"]);
    let mut viewer = play.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(read(&mut viewer, 5_000), bytes(0, 5_000));
    producer.write_all(&bytes(10_000, MUCH)).unwrap();
    (place, producer, viewer)
}

#[test]
fn what_has_a_hole_is_not_called_whole() {
    let (_place, mut producer, mut viewer) = resting_player();
    // It joins anew and waits for more.
    let stderr = BufReader::new(viewer.stderr.take().unwrap());
    let mut stdout = viewer.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let mut lines = stderr.lines().map(Result::unwrap);
    lines.find(|line| line.contains("are missing here")).unwrap();
    producer.write_all(&bytes(MUCH + 10_000, 1_000)).unwrap();
    drop(producer);
    let closed = lines.find(|line| line.contains(r#""event":"closed""#)).unwrap();
    let closed: serde_json::Value = serde_json::from_str(&closed).unwrap();
    assert_eq!((&closed["complete"], &closed["verified"]), (&false.into(), &false.into()));
    assert_eq!(closed["why"], "parts of the broadcast are missing", "{closed}");
    let got = 5_000 + reader.join().unwrap().unwrap();
    assert_eq!(closed["bytes"], got, "all that was written");
    assert_eq!(viewer.wait().unwrap().code(), Some(6));
}

#[test]
fn a_broadcast_that_ended_while_its_player_rested_is_not_waited_for() {
    let (mut place, producer, viewer) = resting_player();
    drop(producer);
    place.serve.wait_for("live_ended");
    let output = viewer.wait_with_output().unwrap();
    assert_exit(&output, 6);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(r#""why":"parts of the broadcast are missing""#), "{told}");
}

#[test]
fn a_player_that_joins_anew_is_as_patient_as_ever() {
    let mut place = Place::new(&[]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let relay = Relay::start(place.serve.port);
    let mut command = common::quicstream(place.serve.certificate().parent().unwrap());
    command.args(["play", "--port", &relay.port().to_string(), "--insecure", "--start", "0"]);
    command.args(["-o", "-", "--json", "--connect-timeout", "2"]);
    let mut viewer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    // Its producer has not come yet: at first there is nothing to join.
    let other = Place::new(&[]);
    place.serve.signal("-KILL");
    relay.lead_to(other.serve.port);
    let stderr = BufReader::new(viewer.stderr.take().unwrap());
    let mut lines = stderr.lines().map(Result::unwrap);
    lines.find(|line| line.contains("OPEN_NACK 7")).unwrap();
    let mut other_producer = other.producer();
    other_producer.write_all(&bytes(0, 500)).unwrap();
    lines.find(|line| line.contains(r#""event":"accepted""#)).unwrap();
    other_producer.write_all(&bytes(500, 500)).unwrap();
    assert_eq!(read(&mut viewer, 500), bytes(500, 500));
    end(viewer);
}

#[test]
fn the_printed_command_goes_on_with_a_joined_broadcast() {
    let mut place = Place::new(&["--live-linger", "0"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 5_000)).unwrap();
    place.serve.wait_for("live_started");
    let out = place.out();
    let play = |args: &[&str]| {
        let mut play = place.serve.play(["--title", "cam.bin", "-o", out.to_str().unwrap()]);
        play.args(args);
        play
    };
    let mut first = play(&["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(first.stdout.take().unwrap());
    let mut next = |name: &str| loop {
        let event = common::next_event(&mut events).unwrap();
        if event["event"] == name {
            return event;
        }
    };
    next("accepted");
    producer.write_all(&bytes(5_000, 5_000)).unwrap();
    next("chunk");
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    first.wait().unwrap();
    let second = play(&[]).stdout(Stdio::piped()).spawn().unwrap();
    producer.write_all(&bytes(10_000, 5_000)).unwrap();
    drop(producer);
    assert_exit(&second.wait_with_output().unwrap(), 0);
    assert!(fs::read(&out).unwrap() == bytes(5_000, 10_000));
}

#[test]
fn a_viewer_that_is_stopped_holds_up_nobody_and_goes_on_at_its_byte() {
    let mut place = Place::new(&[]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewers: Vec<_> = (0..10).map(|_| place.viewer(&["--start", "0"])).collect();
    for viewer in &mut viewers {
        assert_eq!(read(viewer, 1_000), bytes(0, 1_000));
    }
    let signal = |viewer: &std::process::Child, name| {
        let pid = rustix::process::Pid::from_child(viewer);
        rustix::process::kill_process(pid, name).unwrap();
    };
    signal(&viewers[3], rustix::process::Signal::STOP);
    producer.write_all(&bytes(1_000, 9_000_000)).unwrap();
    for (_, viewer) in viewers.iter_mut().enumerate().filter(|(index, _)| *index != 3) {
        assert!(read(viewer, 9_000_000) == bytes(1_000, 9_000_000));
    }
    signal(&viewers[3], rustix::process::Signal::CONT);
    assert!(read(&mut viewers[3], 9_000_000) == bytes(1_000, 9_000_000));
    for viewer in &mut viewers {
        viewer.kill().unwrap();
        viewer.wait().unwrap();
    }
}

#[test]
fn a_file_that_misses_a_part_is_not_called_whole() {
    let mut place = Place::new(&["--live-window", "1MiB", "--live-linger", "0"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 100_000)).unwrap();
    place.serve.wait_for("live_started");
    let relay = Relay::start(place.serve.port);
    let out = place.out();
    let (mut viewer, mut lines) = recording_viewer(&place, &relay);
    wait_for(&mut lines, "chunk");
    relay.set_blackhole(true);
    producer.write_all(&bytes(100_000, 3_000_000)).unwrap();
    wait_for(&mut lines, "reconnecting");
    relay.set_blackhole(false);
    assert_eq!(viewer.wait().unwrap().code(), Some(6));
    assert!(!out.exists());
}

/// A viewer that keeps a broadcast from its first byte on, over a network, and its events.
fn recording_viewer(place: &Place, relay: &Relay) -> (Child, BufReader<ChildStdout>) {
    let mut play = common::quicstream(place.serve.certificate().parent().unwrap());
    play.args(["play", "--port", &relay.port().to_string(), "--insecure", "--start", "0"]);
    play.args(["--json", "--connect-timeout", "1", "-o", place.out().to_str().unwrap()]);
    let mut viewer = play.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(viewer.stdout.take().unwrap());
    (viewer, lines)
}

fn wait_for(lines: &mut BufReader<ChildStdout>, name: &str) {
    while common::next_event(lines).unwrap()["event"] != *name {}
}

#[test]
fn a_viewer_that_loses_the_network_resumes_at_the_byte_and_its_file_is_verified() {
    let mut place = Place::new(&["--live-linger", "0"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 100_000)).unwrap();
    place.serve.wait_for("live_started");
    let relay = Relay::start(place.serve.port);
    let out = place.out();
    let (mut viewer, mut lines) = recording_viewer(&place, &relay);
    wait_for(&mut lines, "chunk");
    relay.set_blackhole(true);
    producer.write_all(&bytes(100_000, 400_000)).unwrap();
    wait_for(&mut lines, "reconnecting");
    relay.set_blackhole(false);
    producer.write_all(&bytes(500_000, 500_000)).unwrap();
    drop(producer);
    place.serve.wait_for("live_ended");
    assert_eq!(viewer.wait().unwrap().code(), Some(0));
    assert!(fs::read(&out).unwrap() == bytes(0, 1_000_000));
}

#[test]
fn a_producer_may_send_as_it_likes() {
    let mut place = Place::new(&["--live-linger", "5"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    let mut at = 1;
    for (length, pieces) in [(1, 300), (1_000_000, 3), (7, 200), (70_000, 20)] {
        for _ in 0..pieces {
            producer.write_all(&bytes(at, length)).unwrap();
            at += length;
        }
        // The next one comes in its place.
        producer = place.producer();
    }
    assert!(read(&mut viewer, at) == bytes(0, at));
    end(viewer);
}
