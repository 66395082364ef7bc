//! `play` is killed or interrupted, and the same command goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{media, quicstream};
use crate::harness::*;

/// A play that is killed at a point, and another one that fetches the rest.
fn kill_and_continue(server: &Server, home: &Path, bytes: &[u8], point: u64) {
    let out = home.join(format!("{point}.mp4"));
    let mut play = Play::start(server.play_to(&out, &["--rate", RATE]));
    play.wait_for_bytes(point);
    play.signal("-KILL");
    assert_eq!(play.finish().code, None, "killed at {point}");
    assert!(!out.exists());
    let kept = recorded(&out);
    assert!(kept <= fs::metadata(beside(&out, "part")).unwrap().len());

    let played = Played::of(server.play_to(&out, &["--rate", "max"]));
    played.assert_exit(0);
    assert!(fs::read(&out).unwrap() == bytes, "killed at {point}");
    assert_eq!(played.received(), SIZE as u64 - kept, "only what was missing");
    let offsets: Vec<_> =
        played.named("continuing").iter().map(|event| event["offset"].as_u64()).collect();
    let said = [Some(kept)];
    assert_eq!(offsets, if kept > 0 { &said[..] } else { &[] });
    assert_nothing_beside(&out);
    fs::remove_file(out).unwrap();
}

/// Bytes of the part that are known to be on the disk.
fn recorded(out: &Path) -> u64 {
    let record = fs::read(beside(out, "part.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&record).unwrap()["bytes"].as_u64().unwrap()
}

fn at_random(count: usize, workers: usize) {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let server = Server::start(&path);
    side_by_side(workers, points(count), |point| {
        kill_and_continue(&server, home.path(), &bytes, point);
    });
}

#[test]
fn by_a_kill_and_the_next_one_fetches_only_what_is_missing() {
    at_random(4, 2);
}

#[test]
#[ignore = "takes a minute"]
fn by_a_kill_at_50_points() {
    at_random(50, 3);
}

/// The command that a stopped play says it is continued by.
fn advice(played: &Played) -> String {
    let line = played.stderr.lines().find_map(|line| line.split_once("to continue: "));
    line.unwrap_or_else(|| panic!("{}", played.stderr)).1.to_owned()
}

/// A play that is interrupted, with these flags.
fn interrupted(server: &Server, out: &Path, args: &[&str]) -> Played {
    let mut play = Play::start(server.play_to(out, &[&["--rate", RATE], args].concat()));
    play.wait_for_bytes(SIZE as u64 / 4);
    play.signal("-INT");
    let played = play.finish();
    played.assert_exit(130);
    assert!(!out.exists());
    assert!(fs::metadata(beside(out, "part")).unwrap().len() >= SIZE as u64 / 4);
    played
}

/// Runs the command that a stopped play printed.
fn run(advice: &str, server: &Server) -> Played {
    let mut shell = quicstream(server.state());
    let environment: Vec<_> = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    shell = Command::new("sh");
    shell.args(["-c", advice]).envs(environment).current_dir(server.state());
    Played::of(shell)
}

#[test]
fn by_an_interrupt_and_says_how_to_go_on() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let server = Server::start(&path);
    let out = home.path().join("it's 1 film.mp4");
    // A play that started over goes on, too, when it is continued.
    for flags in [&[][..], &["--no-continue"]] {
        let stopped = interrupted(&server, &out, flags);
        let kept = fs::metadata(beside(&out, "part")).unwrap().len();
        let played = run(&advice(&stopped), &server);
        played.assert_exit(0);
        assert_eq!(played.named("continuing")[0]["offset"], kept);
        assert_eq!(played.received(), SIZE as u64 - kept);
        assert!(fs::read(&out).unwrap() == bytes);
        assert_nothing_beside(&out);
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn and_starts_over_if_it_is_told_to() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let server = Server::start(&path);
    let out = home.path().join("out.mp4");
    interrupted(&server, &out, &[]);
    let played = Played::of(server.play_to(&out, &["--rate", "max", "--no-continue"]));
    played.assert_exit(0);
    assert!(played.named("continuing").is_empty());
    assert_eq!(played.received(), SIZE as u64);
    assert!(fs::read(&out).unwrap() == bytes);
    assert_nothing_beside(&out);
}

#[test]
fn and_another_start_is_another_play() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = media(home.path(), SIZE);
    let server = Server::start(&path);
    let out = home.path().join("out.mp4");
    for (first, second, from) in
        [("25%", "50%", SIZE / 2), ("25%", "0", 0), ("100", "10%", SIZE / 10)]
    {
        interrupted(&server, &out, &["--start", first]);
        let kept = fs::read(beside(&out, "part")).unwrap();
        let args = ["--rate", "max", "--start", second];
        let refused = Played::of(server.play_to(&out, &args));
        refused.assert_exit(1);
        assert!(refused.stderr.contains("--no-continue"), "{}", refused.stderr);
        assert!(fs::read(beside(&out, "part")).unwrap() == kept, "{first}, then {second}");
        let args = [&args[..], &["--no-continue"]].concat();
        Played::of(server.play_to(&out, &args)).assert_exit(0);
        assert!(fs::read(&out).unwrap() == bytes[from..], "{first}, then {second}");
        fs::remove_file(&out).unwrap();
    }
    interrupted(&server, &out, &["--start", "25%"]);
    let kept = fs::metadata(beside(&out, "part")).unwrap().len();
    let played = Played::of(server.play_to(&out, &["--rate", "max", "--start", "25%"]));
    assert_eq!(played.received(), SIZE as u64 * 3 / 4 - kept);
    assert!(fs::read(&out).unwrap() == bytes[SIZE / 4..]);
}
