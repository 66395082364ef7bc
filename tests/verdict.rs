//! What is said of the media in the end: where it is, and whether it was checked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Output;

use common::python::TheirServer;
use common::{Serve, assert_exit, events, media, named, quicstream};
use serde_json::Value;
use tempfile::TempDir;

const SIZE: usize = 1_000_000;

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = fs::read_dir(directory).unwrap().map(name);
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// The one `closed` of a play that printed JSON.
#[track_caller]
fn closed(output: &Output) -> Value {
    let events = events(output);
    let [closed] = named(&events, "closed")[..] else { panic!("{events:?}") };
    closed.clone()
}

/// The file server, of one file of random bytes.
fn serve_one() -> (Serve, Vec<u8>, TempDir) {
    let home = temporary();
    let (path, bytes) = media(home.path(), SIZE);
    // Version 1 is sent at this rate.
    let serve = Serve::start(["--media", path.to_str().unwrap(), "--bitrate", "100M"]);
    (serve, bytes, home)
}

#[test]
fn a_checked_file_is_said_to_be_one() {
    let (serve, bytes, _home) = serve_one();
    let dir = temporary();
    let play = |args: &[&str]| {
        let output = serve.play(args).current_dir(dir.path()).output().unwrap();
        assert_exit(&output, 0);
        output
    };
    let output = play(&["--json", "-o", "a.mp4"]);
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap().to_owned();
    let keys: Vec<_> = last.split('"').skip(1).step_by(2).filter(|key| key.len() > 1).collect();
    assert_eq!(
        keys,
        [
            "time",
            closed(&output)["time"].as_str().unwrap(),
            "event",
            "closed",
            "reason",
            "complete",
            "complete",
            "bytes",
            "chunks",
            "seconds",
            "bits_per_second",
            "file",
            "a.mp4",
            "digest",
            &hex(&bytes),
            "verified"
        ]
    );
    assert_eq!(closed(&output)["verified"], true);

    let short = &hex(&bytes)[..8];
    for (name, progress) in [("b.mp4", "plain"), ("c.mp4", "bar")] {
        let said = stderr(&play(&["-o", name, "--progress", progress]));
        let line = format!("saved {name}, 977 KiB, BLAKE3 {short}…, verified");
        assert!(said.contains(&line), "{progress}: {said}");
    }
    let output = play(&["-o", "-"]);
    assert!(output.stdout == bytes);
    let line = format!("written to stdout, 977 KiB, BLAKE3 {short}…, verified");
    assert!(stderr(&output).contains(&line), "{}", stderr(&output));
    assert_eq!(names(dir.path()), ["a.mp4", "b.mp4", "c.mp4"]);
}

#[test]
fn what_is_not_checked_is_said_not_to_be_and_why() {
    let (serve, bytes, _home) = serve_one();
    let dir = temporary();
    for (flags, skipped, why) in [
        (["--no-verify", "--no-continue"], 0, "--no-verify"),
        (["--start", "1000"], 1000, "--start"),
        (["--protocol", "1"], 0, "version 1"),
    ] {
        let flags = flags.into_iter().chain(["--bitrates", "4000000000"]);
        let flags: Vec<_> = flags.chain(["--pause-at", "0"]).collect();
        let play = |args: &[&str]| {
            let mut command = serve.play(args);
            let output = command.args(&flags).current_dir(dir.path()).output().unwrap();
            assert_exit(&output, 0);
            output
        };
        let closed = closed(&play(&["--json", "-o", "a.mp4"]));
        assert_eq!((&closed["complete"], &closed["verified"]), (&true.into(), &false.into()));
        assert_eq!(closed["file"], "a.mp4");
        assert!(closed["why"].as_str().unwrap().contains(why), "{closed}");
        assert!(fs::read(dir.path().join("a.mp4")).unwrap() == bytes[skipped..]);

        for (output, place) in [("b.mp4", "saved b.mp4, "), ("-", "written to stdout, ")] {
            let said = stderr(&play(&["-o", output]));
            let line = said.lines().find(|line| line.contains(place)).expect("it is said");
            assert!(line.contains("NOT verified: ") && line.contains(why), "{line}");
            assert!(!line.contains("BLAKE3"), "it was not computed: {line}");
        }
        fs::remove_file(dir.path().join("a.mp4")).unwrap();
        fs::remove_file(dir.path().join("b.mp4")).unwrap();
    }
}

#[test]
fn a_server_without_a_digest_leaves_a_file_unchecked() {
    let Some(server) = TheirServer::start("v2_server.py", "normal", &[]) else { return };
    let closed = closed(&server.play(&[]));
    assert_eq!((&closed["complete"], &closed["verified"]), (&true.into(), &false.into()));
    assert!(closed["why"].as_str().unwrap().contains("sent no digest"), "{closed}");
    assert_eq!(closed["digest"], hex(&server.media).as_str(), "it was computed");
    let output = server.command(&["-o", "other.mp4"]).output().unwrap();
    let short = &hex(&server.media)[..8];
    let line = format!("BLAKE3 {short}…, NOT verified: the server sent no digest");
    assert!(stderr(&output).contains(&line), "{}", stderr(&output));
}

#[test]
fn without_an_output_nothing_is_kept_and_it_is_said_how_to() {
    let state = temporary();
    let play = |args: &[&str]| {
        let mut command = quicstream(state.path());
        let output = command.args(["play", "--embedded", "--rate", "max", "--pause-at", "0"]);
        output.args(args).output().unwrap()
    };
    let closed = closed(&play(&["--json"]));
    assert_eq!((&closed["complete"], &closed["verified"]), (&true.into(), &Value::Null));
    assert!(closed.get("verified").is_some() && closed.get("file").is_none(), "{closed}");
    let said = stderr(&play(&[]));
    assert!(said.contains("nothing kept") && said.contains("-o FILE"), "{said}");
}

#[test]
fn a_partial_file_is_never_called_saved() {
    for (server, scenario, digest, why) in [
        ("v1_server.py", "cut", None, "not complete"),
        ("v2_server.py", "media-failed", None, "not complete"),
        ("v2_server.py", "bad-digest", Some("00"), "digest"),
    ] {
        let args: Vec<_> = digest.into_iter().flat_map(|digest| ["--digest", digest]).collect();
        let Some(server) = TheirServer::start(server, scenario, &args) else { return };
        let output = server.play(&["--progress", "plain"]);
        assert_exit(&output, 6);
        let closed = closed(&output);
        assert_eq!((&closed["complete"], &closed["verified"]), (&false.into(), &false.into()));
        assert_eq!(closed["file"], "out.mp4.part");
        assert!(closed["why"].as_str().unwrap().contains(why), "{closed}");
        assert!(!stderr(&output).contains("saved"), "{}", stderr(&output));
        assert_eq!(server.received(), None);
    }
}

#[test]
fn flags_that_rule_out_a_check_are_refused_where_one_is_required() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    for (flags, named) in [
        (["--start", "1000"], "--start"),
        (["--start", "25%"], "--start"),
        (["--no-verify", "--json"], "--no-verify"),
        (["--protocol", "1"], "--protocol 1"),
    ] {
        for by_flag in [true, false] {
            let state = temporary();
            let mut command = quicstream(state.path());
            command.args(["play", "--insecure", "--port", &port, "-o", "a.mp4"]).args(flags);
            match by_flag {
                true => command.arg("--require-digest"),
                false => command.env("QUICSTREAM_CLIENT_REQUIRE_DIGEST", "true"),
            };
            let output = command.output().unwrap();
            assert_exit(&output, 6);
            let said = stderr(&output);
            assert!(said.contains("--require-digest") && said.contains(named), "{said}");
            assert_eq!(names(state.path()), [""; 0]);
        }
    }
    let heard = silent.recv_from(&mut [0; 2000]).unwrap_err();
    assert_eq!(heard.kind(), ErrorKind::WouldBlock, "no packet was sent");
}

#[test]
fn a_required_check_that_cannot_be_made_publishes_nothing() {
    let Some(server) = TheirServer::start("v2_server.py", "normal", &[]) else { return };
    let output = server.play(&["--require-digest"]);
    assert_exit(&output, 6);
    let closed = closed(&output);
    assert_eq!((&closed["complete"], &closed["verified"]), (&false.into(), &false.into()));
    assert_eq!(closed["file"], "out.mp4.part");
    let events = events(&output);
    let message = events.last().unwrap()["message"].as_str().unwrap();
    for text in ["NOT verified", "--require-digest", "sent no digest", "out.mp4.part"] {
        assert!(message.contains(text), "{message}");
    }
    assert_eq!(server.received(), None);
    let part = server.directory().join("out.mp4.part");
    assert!(fs::read(&part).unwrap() == server.media);

    let output = server.command(&["-o", "-", "--require-digest"]).output().unwrap();
    assert_exit(&output, 6);
    assert!(output.stdout == server.media, "a pipe has had it all");
    assert!(stderr(&output).contains("written to stdout"), "{}", stderr(&output));

    // The same play, from a server that has the digest by now.
    let digest = hex(&server.media);
    let args = ["--digest", digest.as_str()];
    let Some(later) = TheirServer::start("v2_server.py", "normal", &args) else { return };
    let out = server.directory().join("out.mp4");
    let args = ["--json", "--require-digest", "-o", out.to_str().unwrap()];
    let output = later.command(&args).output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(named(&common::events(&output), "continuing").len(), 1);
    assert_eq!(self::closed(&output)["verified"], true);
    assert!(fs::read(&out).unwrap() == server.media);
}

#[test]
fn a_server_of_version_1_is_asked_for_nothing_where_a_check_is_required() {
    for output in [&["-o", "out.mp4"][..], &["-o", "-"], &["-O"], &[]] {
        let Some(server) = TheirServer::start("v1_server.py", "normal", &[]) else { return };
        let played = server.command(&["--require-digest"]).args(output).output().unwrap();
        assert_exit(&played, 6);
        assert!(played.stdout.is_empty());
        let said = stderr(&played);
        assert!(said.contains("version 1") && said.contains("--require-digest"), "{said}");
        assert_eq!(names(server.directory()), ["cert.pem", "key.pem", "media.mp4"]);
        assert!(server.pdus("OPEN_STREAM").is_empty());
    }
}

/// A library of two titles, of which one is in a directory.
fn serve_two() -> (Serve, Vec<u8>, TempDir) {
    let home = temporary();
    fs::create_dir(home.path().join("sub")).unwrap();
    let (_, bytes) = media(&home.path().join("sub"), SIZE);
    fs::write(home.path().join("other.mp4"), "other").unwrap();
    let serve = Serve::start(["--media", home.path().to_str().unwrap()]);
    (serve, bytes, home)
}

#[test]
fn the_title_names_the_file() {
    let (serve, bytes, _home) = serve_two();
    let dir = temporary();
    fs::create_dir_all(dir.path().join("x/y")).unwrap();
    let play = |args: &[&str]| {
        let output = serve.play(["--json"]).args(args).current_dir(dir.path()).output().unwrap();
        assert_exit(&output, 0);
        let events = events(&output);
        assert!(named(&events, "paused").is_empty(), "it has an output");
        closed(&output)["file"].as_str().unwrap().to_owned()
    };
    let title = ["--title", "sub/media.mp4"];
    for (args, file) in [
        (&["-O"][..], "media.mp4"),
        (&["-o", "x/"], "x/media.mp4"),
        (&["-o", "x/y"], "x/y/media.mp4"),
    ] {
        assert_eq!(play(&[&title, args].concat()), file);
        assert!(fs::read(dir.path().join(file)).unwrap() == bytes);
    }
    assert_eq!(play(&[&title[..], &["-f", "-O"]].concat()), "media.mp4");
}

#[test]
fn the_server_says_the_title_where_nobody_else_does() {
    let (serve, bytes, _home) = serve_one();
    let dir = temporary();
    let play = |args: &[&str]| serve.play(args).current_dir(dir.path()).output().unwrap();
    let output = play(&["-O", "--json"]);
    assert_exit(&output, 0);
    assert_eq!(closed(&output)["file"], "media.mp4");
    assert!(fs::read(dir.path().join("media.mp4")).unwrap() == bytes);

    let output = play(&["-O"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("media.mp4 exists; add --force"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("OPEN_ACK"), "no media was asked for");

    let (serve, _, _home) = serve_two();
    let output = serve.play(["-O"]).current_dir(dir.path()).output().unwrap();
    assert_exit(&output, 2);
    let said = stderr(&output);
    assert!(said.contains("--title NAME") && said.contains("sub/media.mp4"), "{said}");
    assert_eq!(names(dir.path()), ["media.mp4"]);
}

#[test]
fn what_stands_in_the_way_of_a_file_is_found_before_the_server_is_asked() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let state = temporary();
    fs::write(state.path().join("a.mp4"), "mine").unwrap();
    for (args, code, says) in [
        (&["--title", "x/a.mp4", "-O"][..], 1, "--force"),
        (&["--title", "x/a.mp4", "-o", "."], 1, "--force"),
        (&["--title", "x/a.mp4", "-o", "new/"], 1, "new/"),
        (&["-o", "new/"], 1, "new/"),
        (&["-o", "a.mp4/"], 1, "a.mp4/"),
        (&["-O", "-o", "b.mp4"], 2, "cannot be used with"),
        (&["-O", "--protocol", "1"], 2, "-O needs version 2"),
        (&["-O", "--list"], 2, "cannot be used with"),
    ] {
        let mut command = quicstream(state.path());
        command.args(["play", "--insecure", "--port", &port]).args(args);
        let output = command.output().unwrap();
        assert_exit(&output, code);
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert_eq!(names(state.path()), ["a.mp4"]);
    }
    assert_eq!(fs::read(state.path().join("a.mp4")).unwrap(), b"mine");
    let heard = silent.recv_from(&mut [0; 2000]).unwrap_err();
    assert_eq!(heard.kind(), ErrorKind::WouldBlock, "no packet was sent");
}

#[test]
fn a_hostile_title_names_a_plain_file_in_the_directory() {
    for (title, name) in [
        ("../../evil.mp4", "evil.mp4"),
        ("/tmp/evil.mp4", "evil.mp4"),
        ("..", "_."),
        (".bashrc", "_bashrc"),
        ("x/-rf", "_rf"),
        ("a\n\x1b[2J.mp4", "a__[2J.mp4"),
        ("out.part", "out_part"),
        ("out.part.json", "out_part.json"),
    ] {
        let args = ["--title", title];
        let Some(server) = TheirServer::start("v2_server.py", "normal", &args) else { return };
        let into = server.directory().join("into");
        fs::create_dir(&into).unwrap();
        let output = server.command(&["-o", "into"]).output().unwrap();
        assert_exit(&output, 0);
        assert_eq!(names(&into), [name], "{title:?}");
        assert!(fs::read(into.join(name)).unwrap() == server.media);
        assert_eq!(names(server.directory()), ["cert.pem", "into", "key.pem", "media.mp4"]);
    }
}

#[test]
fn a_server_of_version_1_has_no_title_to_name_a_file_by() {
    let Some(server) = TheirServer::start("v1_server.py", "normal", &[]) else { return };
    let output = server.command(&["-O"]).output().unwrap();
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("-o FILE"), "{}", stderr(&output));
}

#[test]
fn the_help_has_the_exit_codes() {
    let state = temporary();
    for args in [&["--help"][..], &["play", "--help"], &["help", "play"]] {
        let output = quicstream(state.path()).args(args).output().unwrap();
        assert_exit(&output, 0);
        let help = String::from_utf8_lossy(&output.stdout);
        for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  6  ", "  130  "] {
            assert!(help.lines().any(|line| line.starts_with(code)), "{args:?} {code}");
        }
    }
}
