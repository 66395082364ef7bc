//! What the executable prints where no terminal is: JSON, lists, and lines in a file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs::File;
use std::io::{self, BufRead as _, PipeReader, Read as _};
use std::process::{Child, Command, Output, Stdio};

use common::{Serve, assert_exit, media, next_event, quicstream};
use rustix::io::ioctl_fionbio;
use serde_json::Value;

/// A pipe whose writing end does not block, as some parents give it to their children.
fn impatient_pipe() -> (PipeReader, Stdio) {
    let (read, write) = io::pipe().unwrap();
    ioctl_fionbio(&write, true).unwrap();
    (read, write.into())
}

fn full_disk() -> Stdio {
    File::create("/dev/full").unwrap().into()
}

/// Runs a program to the end, and gives its exit code and what it says on stderr.
fn run(mut command: Command) -> Output {
    command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

fn ended(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

/// Many titles with long names, whose list fits no pipe.
fn library() -> (tempfile::TempDir, Serve) {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        File::create(dir.path().join(format!("{number:0200}.mp4"))).unwrap();
    }
    let serve = Serve::start(["--media", dir.path().to_str().unwrap()]);
    (dir, serve)
}

#[test]
fn a_list_waits_for_a_pipe_that_does_not_block() {
    let (_dir, serve) = library();
    for (json, lines) in [(&["--list", "--json"][..], 1000), (&["--list"], 1001)] {
        let (mut read, write) = impatient_pipe();
        let mut play = serve.play(json);
        let child = play.stdout(write).spawn().unwrap();
        drop(play);
        let mut list = String::new();
        read.read_to_string(&mut list).unwrap();
        assert_eq!(list.lines().count(), lines);
        assert!(list.lines().all(|line| line.contains(".mp4") || line.starts_with("TITLE")));
        assert_eq!(ended(child), Some(0));
    }
}

#[test]
fn json_waits_for_a_pipe_that_does_not_block_and_says_what_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), 4 << 20);
    let mut serve = Serve::start([
        "--media",
        path.to_str().unwrap(),
        "--chunk-size",
        "1KiB",
        "--bitrate",
        "1000000000",
    ]);
    let (read, write) = impatient_pipe();
    // Media, then lines for each PDU among the JSON: more than a pipe and the queue behind it hold.
    let mut play = serve.play(["--json", "-v", "-o", "-", "--rate", "32000000"]);
    let child = play.stdout(Stdio::null()).stderr(write).spawn().unwrap();
    drop(play);
    serve.wait_for("session_closed");

    let lines: Vec<_> = io::read_to_string(read).unwrap().lines().map(String::from).collect();
    assert_eq!(ended(child), Some(0));
    let events: Vec<Value> =
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lost = events.iter().find(|event| event["event"] == "lost").expect("events were lost");
    assert!(lost["events"].as_u64().unwrap() > 0, "{lost}");
    assert_eq!(events.last().unwrap()["event"], "closed");
    assert!(lines.iter().any(|line| line.contains("read too slowly")));
}

#[test]
fn every_event_says_when() {
    let mut serve = Serve::start(["--bitrate", "100000000"]);
    let mut play = serve.play(["--json", "--rate", "max", "--pause-at", "0"]);
    let output = play.output().unwrap();
    assert_exit(&output, 0);
    let first = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let (time, name) = (event["time"].as_str().unwrap(), event["event"].as_str().unwrap());
        assert!(
            line.starts_with(&format!(r#"{{"t":{},"time":"{time}","event":"{name}""#, event["t"]))
        );
        // 2026-11-25T04:44:30.123Z
        let shape = time.replace(|char: char| char.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    };
    String::from_utf8(output.stdout).unwrap().lines().for_each(first);
    assert!(serve.wait_for("session_closed")["time"].is_string());
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let serve = Serve::start(["--bitrate", "100000000"]);
    let dir = tempfile::tempdir().unwrap();
    let commands = [
        serve.play(["--json", "--rate", "max", "--pause-at", "0"]),
        serve.play(["--json", "--list"]),
        serve.play(["--list"]),
        {
            let mut command = quicstream(dir.path());
            command.arg("gen-cert");
            command
        },
    ];
    for mut command in commands {
        command.stdout(full_disk());
        let output = run(command);
        assert_exit(&output, 1);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("No space left on device"), "{said}");
    }
    // With media on stdout, JSON is on stderr, and nothing is left to say it on.
    let mut play = serve.play(["--json", "-o", "-"]);
    assert_eq!(ended(play.stdout(Stdio::null()).stderr(full_disk()).spawn().unwrap()), Some(1));
}

#[test]
fn a_file_is_whole_though_json_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 1_000_000);
    let serve = Serve::start(["--media", path.to_str().unwrap()]);
    let out = dir.path().join("out");
    let mut play = serve.play(["--json", "-o", out.to_str().unwrap()]);
    play.stdout(full_disk());
    assert_exit(&run(play), 1);
    assert_eq!(std::fs::read(out).unwrap(), bytes);
}

#[test]
fn a_server_whose_json_cannot_be_written_says_so_and_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = quicstream(dir.path());
    command.args(["serve", "--json", "--progress", "plain", "--listen", "127.0.0.1:0"]);
    let mut serve = command.stdout(full_disk()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = io::BufReader::new(serve.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut wait_for = |text| said.find(|line| line.contains(text)).expect("the server goes on");
    wait_for("No space left on device");
    let listening = wait_for("listening on 127.0.0.1:");
    let port = listening.rsplit_once("127.0.0.1:").unwrap().1.split(',').next().unwrap();

    let mut play = quicstream(dir.path());
    play.args(["play", "--json", "--pause-at", "0", "--rate", "max", "--port", port]);
    let played = play.output().unwrap();
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert_exit(&played, 0);
}

#[test]
fn lines_in_a_file_say_when() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), 100_000);
    let serve = Serve::start(["--media", path.to_str().unwrap(), "--chunk-size", "4KiB"]);
    let mut play = serve.play(["--insecure", "--pause-at", "0"]);
    let output = run({
        play.stdout(Stdio::piped());
        play
    });
    assert_exit(&output, 0);
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    for line in said.lines() {
        let (time, text) = line.split_once(' ').unwrap();
        let shape = time.replace(|char: char| char.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00Z", "{line}");
        assert!(!text.is_empty());
    }
    for expected in ["WARN --insecure", "OPEN_ACK", "streaming chunk", "CLOSE_STREAM complete"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn json_that_nobody_reads_any_more_is_no_error() {
    let serve = Serve::start(["--bitrate", "100000000"]);
    let mut play = serve.play(["--json", "--rate", "max", "--pause-at", "0"]);
    let mut child = play.stdout(Stdio::piped()).spawn().unwrap();
    let mut events = io::BufReader::new(child.stdout.take().unwrap());
    next_event(&mut events).unwrap();
    drop(events);
    assert_eq!(ended(child), Some(0));
}
