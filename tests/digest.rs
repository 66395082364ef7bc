//! Whole media is checked by a digest, and what has the same digest is the same media: while titles
//! wait for theirs, grow, are edited, copied and touched, and over restarts of the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;
#[allow(dead_code, reason = "this test uses a part of it")]
#[path = "resume/harness.rs"]
mod harness;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::python::{python, script};
use common::{Serve, assert_exit, events, media, named};
use harness::{Play, Played, Server, beside};
use serde_json::Value;

const SIZE: usize = 8 << 20;
/// Time to change it while it is streamed: two seconds.
const RATE: &str = "24000000";

/// Looks until `done` finds what it wants.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + harness::PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a file is so old that a server remembers its digest. Nobody can set a ctime.
fn settle(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let changed = Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
    wait_until("it is 2 s old", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.checked_sub(changed).is_some_and(|age| age > Duration::from_secs(2))
    });
}

/// A library of one title, and its bytes.
fn library(home: &Path, size: usize) -> (std::path::PathBuf, Vec<u8>) {
    let library = home.join("media");
    fs::create_dir(&library).unwrap();
    media(&library, size)
}

/// Writes over a file as `rsync --inplace -t` does: it is as long and as old as before.
fn edit(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_modified(modified).unwrap();
}

/// What `play -v` says of a PDU.
fn said<'a>(output: &'a Output, pdu: &str) -> Option<&'a str> {
    let stderr = std::str::from_utf8(&output.stderr).unwrap();
    stderr.lines().find(|line| line.contains(&format!("received {pdu}")))
}

#[test]
fn it_is_known_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = library(home.path(), 1_000_000);
    settle(&path);
    let mut server = Server::start(path.parent().unwrap());
    let kept = server.state().join("digests");
    let play = |server: &Server, name: &str| {
        let mut command = server.play_to(&home.path().join(name), &[]);
        command.arg("-v").output().unwrap()
    };
    let first = play(&server, "first");
    assert_exit(&first, 0);
    assert!(!said(&first, "OPEN_ACK").unwrap().contains("digest"), "not known yet");
    wait_until("it is written down", || kept.exists());
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    server.kill();
    server.restart();
    let digest = format!("digest {}", blake3::hash(&bytes));
    let second = play(&server, "second");
    assert_exit(&second, 0);
    assert!(said(&second, "OPEN_ACK").unwrap().contains(&digest));
}

#[test]
fn serve_does_without_a_place_for_it() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = library(home.path(), 1_000_000);
    settle(&path);
    let others = home.path().join("others");
    fs::write(&others, "others").unwrap();
    type Obstacle<'a> = &'a dyn Fn(&Path);
    let obstacles: [Obstacle<'_>; 4] = [
        &|kept| fs::create_dir(kept).unwrap(),
        &|kept| fs::write(kept, [0xff; 1000]).unwrap(),
        &|kept| symlink(&others, kept).unwrap(),
        &|kept| symlink("/dev/zero", kept).unwrap(),
    ];
    for (index, obstacle) in obstacles.iter().enumerate() {
        let media = [path.parent().unwrap()];
        let before = |command: Command| {
            obstacle(&command.get_current_dir().unwrap().join("digests"));
            command
        };
        let serve = Serve::start_as(before, media);
        let out = home.path().join(index.to_string());
        for _ in 0..2 {
            Played::of(serve.play(["--json", "-f", "-o", out.to_str().unwrap()])).assert_exit(0);
            assert!(fs::read(&out).unwrap() == bytes);
        }
    }
    assert_eq!(fs::read(&others).unwrap(), b"others");
}

#[test]
fn a_short_title_has_it_beside_a_long_one_which_costs_nothing_when_nobody_plays_it() {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = library(home.path(), 2_000_000);
    let library = path.parent().unwrap();
    let long = library.join("long.mp4");
    File::create(&long).unwrap().set_len(64 << 30).unwrap();
    let serve = Serve::start([
        "--keepalive",
        "20",
        "--session-timeout",
        "60",
        "--media",
        library.to_str().unwrap(),
    ]);
    let out = |name| home.path().join(name).to_str().unwrap().to_owned();
    let long_out = out("long");
    let args = ["--title", "long.mp4", "--rate", "1000000", "--json", "-o", &long_out];
    let mut play = Play::start(serve.play(args));
    play.wait_for_bytes(1);

    let args = ["-v", "--title", "media.mp4", "-o", &out("short")];
    let output = serve.play(args).output().unwrap();
    assert_exit(&output, 0);
    let digest = format!("digest {}", blake3::hash(&bytes));
    assert!(said(&output, "CLOSE_STREAM").unwrap().contains(&digest), "{output:?}");

    let open = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", serve.pid())).unwrap();
        fds.filter(|fd| fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|it| it == long))
            .count()
    };
    assert!(open() > 0);
    play.signal("-INT");
    play.finish();
    wait_until("the file is closed, for its digest, too", || open() == 0);
}

/// A play in the middle of which something happens to the media.
fn played_while(
    args: &[&str],
    change: impl FnOnce(&Path, &[u8]),
) -> (Played, Vec<u8>, Option<Vec<u8>>) {
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = library(home.path(), SIZE);
    let server = Server::start(path.parent().unwrap());
    let out = home.path().join("out.mp4");
    let args = [&["--rate", RATE, "--title", "media.mp4", "--retry-for", "10"], args].concat();
    let mut play = Play::start(server.play_to(&out, &args));
    play.wait_for_bytes(SIZE as u64 / 8);
    change(&path, &bytes);
    let played = play.finish();
    assert_eq!(beside(&out, "part").exists(), !out.exists());
    (played, bytes, fs::read(&out).ok())
}

#[test]
fn a_title_that_grows_is_played_as_it_was_announced() {
    for args in [&[][..], &["--no-verify"]] {
        let (played, bytes, out) = played_while(args, |path, _| {
            let end = OpenOptions::new().append(true).open(path).unwrap();
            end.set_len(SIZE as u64 + 1_000_000).unwrap();
        });
        played.assert_exit(0);
        assert!(out.unwrap() == bytes);
    }
}

#[test]
fn a_title_that_is_rewritten_and_grows_is_found_out() {
    let (played, _, out) = played_while(&[], |path, old| {
        let new: Vec<u8> = old.iter().map(|byte| !byte).chain([0; 1000]).collect();
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(&new, 0).unwrap();
    });
    played.assert_exit(6);
    assert_eq!(out, None);
}

#[test]
fn an_edit_within_one_mtime_is_found_out() {
    let (played, _, out) = played_while(&[], |path, old| {
        edit(path, &old.iter().map(|byte| !byte).collect::<Vec<_>>());
    });
    played.assert_exit(6);
    assert_eq!(out, None);
}

#[test]
fn another_mode_or_name_is_no_change() {
    let (played, bytes, out) = played_while(&[], |path, _| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(path, path.with_file_name("link.mp4")).unwrap();
        fs::rename(path, path.with_file_name("renamed.mp4")).unwrap();
    });
    played.assert_exit(0);
    assert!(out.unwrap() == bytes);
}

#[test]
fn a_title_that_was_edited_within_one_mtime_is_played_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let (path, mut bytes) = library(home.path(), SIZE);
    settle(&path);
    let server = Server::start(path.parent().unwrap());
    let out = home.path().join("out.mp4");
    for _ in 0..3 {
        Played::of(server.play_to(&out, &["-f"])).assert_exit(0);
        assert!(fs::read(&out).unwrap() == bytes);
        bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3).wrapping_add(1));
        edit(&path, &bytes);
    }
}

/// A client of which nothing is known here, that has the beginning of some media.
struct Elsewhere<'a> {
    python: &'a Path,
    serve: &'a Serve,
    directory: &'a Path,
}

impl Elsewhere<'_> {
    const START: usize = 300_000;

    fn asks(&self, args: &[&str]) -> (Vec<Value>, Vec<u8>) {
        let received = self.directory.join("received");
        let _ = fs::remove_file(&received);
        let mut client: Command = script(self.python, "v2_client.py");
        let output = client
            .args(["--port", &self.serve.port.to_string(), "--title", "media.mp4", "--rate", "0"])
            .args(args)
            .arg("--output")
            .arg(&received)
            .arg("--ca")
            .arg(self.serve.certificate())
            .output()
            .unwrap();
        assert_exit(&output, 0);
        (events(&output), fs::read(&received).unwrap_or_default())
    }

    /// Asks for the rest of what has this validator and digest; what it is given or refused.
    fn goes_on(&self, validator: &str, digest: Option<&str>) -> Result<(Value, Vec<u8>), u64> {
        let start = Self::START.to_string();
        let mut args = vec!["--scenario", "elsewhere", "--start", &start, "--validator", validator];
        args.extend(digest.iter().flat_map(|digest| ["--digest", *digest]));
        let (events, received) = self.asks(&args);
        match named(&events, "ack").first() {
            Some(ack) => Ok(((*ack).clone(), received)),
            None => Err(named(&events, "nack").last().unwrap()["code"].as_u64().unwrap()),
        }
    }
}

#[test]
fn a_play_goes_on_wherever_the_media_has_the_same() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = library(home.path(), 1_000_000);
    let serve = Serve::start(["--media", path.parent().unwrap().to_str().unwrap()]);
    let client = Elsewhere { python, serve: &serve, directory: home.path() };
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let other = blake3::hash(b"other").to_hex().to_string();

    // A replica, which has not computed it.
    let (ack, rest) = client.goes_on("abcd", Some(&digest)).unwrap();
    assert!(rest == bytes[Elsewhere::START..]);
    let validator = ack["validator"].as_str().unwrap().to_owned();
    assert_ne!(validator, "abcd", "the server's own");
    assert_eq!(client.goes_on("abcd", Some(&other)).unwrap_err(), 6);
    assert_eq!(client.goes_on("abcd", None).unwrap_err(), 6);
    assert!(client.goes_on(&validator, None).unwrap().1 == rest);

    // Now that it is known, another one shows although the validator is the same.
    settle(&path);
    client.goes_on("abcd", Some(&digest)).unwrap();
    assert_eq!(client.goes_on(&validator, Some(&other)).unwrap_err(), 6);

    // Touched: by the digest, or by what this server knows of the validator.
    File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    settle(&path);
    for digest in [Some(&*digest), None] {
        let (ack, after) = client.goes_on(&validator, digest).unwrap();
        assert!(after == rest);
        assert_eq!(ack["validator"] == validator, digest.is_none());
    }

    // Edited: neither.
    fs::write(&path, vec![1; bytes.len()]).unwrap();
    for digest in [Some(&*digest), None] {
        assert_eq!(client.goes_on(&validator, digest).unwrap_err(), 6);
    }
}

#[test]
fn an_edit_within_one_mtime_is_joined_to_nothing() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = library(home.path(), 1_000_000);
    let serve = Serve::start(["--media", path.parent().unwrap().to_str().unwrap()]);
    let client = Elsewhere { python, serve: &serve, directory: home.path() };
    let (events, _) = client.asks(&["--scenario", "normal"]);
    let validator = named(&events, "ack")[0]["validator"].as_str().unwrap().to_owned();
    let digest = blake3::hash(&bytes).to_hex().to_string();
    edit(&path, &vec![1; bytes.len()]);
    assert_eq!(client.goes_on(&validator, None).unwrap_err(), 6);
    assert_eq!(client.goes_on(&validator, Some(&digest)).unwrap_err(), 6);

    edit(&path, &bytes);
    assert!(client.goes_on(&validator, Some(&digest)).unwrap().1 == bytes[Elsewhere::START..]);
}
