//! Who may watch: tokens, from the file to the end of a session, and where a secret must not be
//! seen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use common::{Serve, assert_exit, events, named, quicstream};

const SECRET: &str = "hunter2-of-the-living-room";
const OTHER: &str = "the-secret-of-the-cellar";

/// A server of two directories of titles, with its files.
struct Place {
    dir: tempfile::TempDir,
    serve: Serve,
}

impl Place {
    fn new(tokens: &str) -> Self {
        Self::with(tokens, &[])
    }

    fn with(tokens: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for title in ["films/a.mp4", "films/b.mp4", "private/c.mp4"] {
            let path = dir.path().join("media").join(title);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![7; 300_000]).unwrap();
        }
        let file = dir.path().join("tokens.toml");
        fs::write(&file, tokens).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let media = dir.path().join("media");
        let serve = Serve::start_as(
            |mut command| {
                command.args(["-v", "--tokens"]).arg(&file).arg("--media").arg(media).args(args);
                command.stderr(log);
                command
            },
            [""; 0],
        );
        Self { dir, serve }
    }

    fn tokens(&self) -> PathBuf {
        self.dir.path().join("tokens.toml")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A play that shows this secret.
    fn play(&self, secret: &str, args: &[&str]) -> Command {
        let mut command = self.serve.play(args);
        command.args(["--json"]).env("QUICSTREAM_TOKEN", secret);
        command
    }
}

fn living_room() -> String {
    format!("[living-room]\nsecret = \"{SECRET}\"\ntitles = [\"films/\"]\n")
}

/// The exit code, and the message of the error.
fn failure(output: &Output) -> (Option<i32>, String) {
    let events = events(output);
    let message = named(&events, "error")[0]["message"].as_str().unwrap().to_owned();
    (output.status.code(), message)
}

#[test]
fn a_token_is_good_for_its_titles_and_tells_nothing_of_others() {
    let place = Place::new(&living_room());
    let all = ["--rate", "max"];
    let args = [&all[..], &["--title", "films/a.mp4"]].concat();
    let output = place.play(SECRET, &args).output().unwrap();
    assert_exit(&output, 0);

    let refused = |title: &str, secret: &str| {
        let output = place.play(secret, &["--title", title]).output().unwrap();
        let (exit, message) = failure(&output);
        assert_eq!(exit, Some(3), "{message}");
        message.replace(title, "TITLE")
    };
    let forbidden = refused("private/c.mp4", SECRET);
    assert!(forbidden.contains("(OPEN_NACK 5)"), "{forbidden}");
    assert_eq!(refused("private/none.mp4", SECRET), forbidden, "which tells nothing");
    for secret in [OTHER, "hunter2-of-the-living-roo", ""] {
        assert_eq!(refused("films/a.mp4", secret), forbidden, "{secret:?}");
    }
    assert!(refused("films/none.mp4", SECRET).contains("no such title"));

    let list = place.serve.play(["--list"]).env("QUICSTREAM_TOKEN", SECRET).output().unwrap();
    assert_exit(&list, 0);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("films/b.mp4") && !list.contains("private"), "{list}");
    let list = place.serve.play(["--list"]).output().unwrap();
    assert_exit(&list, 3);
}

#[test]
fn version_1_has_no_tokens() {
    let place = Place::new(&living_room());
    let output = place.play(SECRET, &["--protocol", "1"]).output().unwrap();
    let (exit, message) = failure(&output);
    assert_eq!(exit, Some(3), "{message}");
    assert!(message.contains("99"), "{message}");
}

/// A viewer who takes long.
fn watch(place: &Place, secret: &str) -> Child {
    let mut command = place.play(secret, &["--title", "films/a.mp4", "--bitrates", "8k"]);
    command.args(["--rate", "bitrate"]).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_token_that_is_removed_or_expires_ends_its_sessions() {
    let mut place = Place::new(&format!("{}[cellar]\nsecret = \"{OTHER}\"\n", living_room()));
    let first = watch(&place, SECRET);
    assert_eq!(place.serve.wait_for("session_opened")["token"], "living-room");
    let second = watch(&place, OTHER);
    assert_eq!(place.serve.wait_for("session_opened")["token"], "cellar");

    // What is no file of tokens changes nothing.
    fs::write(place.tokens(), "[living-room").unwrap();
    while !place.log().contains("stay good") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    fs::write(place.tokens(), format!("[cellar]\nsecret = \"{OTHER}\"\nexpires = 2099-01-01\n"))
        .unwrap();
    let ended = first.wait_with_output().unwrap();
    let (exit, message) = failure(&ended);
    assert_eq!(exit, Some(3), "{message}");
    assert!(message.contains("not authorised any more"), "{message}");
    assert_eq!(place.serve.wait_for("session_closed")["reason"], "not authorised any more");

    fs::write(place.tokens(), format!("[cellar]\nsecret = \"{OTHER}\"\nexpires = 2020-01-01\n"))
        .unwrap();
    place.serve.signal("-HUP");
    let ended = second.wait_with_output().unwrap();
    assert_eq!(failure(&ended).0, Some(3));
}

#[test]
fn a_token_is_for_so_many_connections_and_so_fast() {
    let tokens = format!("{}max_sessions = 1\nmax_rate = \"800k\"\n", living_room());
    let mut place = Place::new(&tokens);
    let mut first = place.play(SECRET, &["--title", "films/a.mp4", "--rate", "max", "-o", "a"]);
    let first = first.stdout(Stdio::piped()).spawn().unwrap();
    let opened = place.serve.wait_for("session_opened");
    assert_eq!(opened["rate"], 800_000);
    let output = place.play(SECRET, &["--title", "films/b.mp4"]).output().unwrap();
    let (exit, message) = failure(&output);
    assert_eq!(exit, Some(3));
    assert!(message.contains("(OPEN_NACK 7)") && message.contains("token"), "{message}");
    assert_exit(&first.wait_with_output().unwrap(), 0);
    assert_exit(&place.play(SECRET, &["--title", "films/b.mp4"]).output().unwrap(), 0);
}

#[test]
fn who_is_silent_makes_room_for_another_of_its_token() {
    let mut place = Place::new(&format!("{}max_sessions = 1\n", living_room()));
    let mut silent = watch(&place, SECRET);
    let session = place.serve.wait_for("session_opened")["session"].clone();
    let pid = rustix::process::Pid::from_child(&silent);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let args = ["--title", "films/b.mp4", "--rate", "max", "--wait", "60"];
    assert_exit(&place.play(SECRET, &args).output().unwrap(), 0);
    let closed = loop {
        let closed = place.serve.wait_for("session_closed");
        if closed["session"] == session {
            break closed;
        }
    };
    assert_eq!(closed["reason"], "replaced by a newer connection");
    silent.kill().unwrap();
    silent.wait().unwrap();
}

#[test]
fn no_secret_is_seen_anywhere() {
    let mut place = Place::new(&format!("{}[cellar]\nsecret = \"{OTHER}\"\n", living_room()));
    let file = place.dir.path().join("token");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let mut seen = String::new();
    for args in [
        &["--title", "films/a.mp4", "-o", "a", "--rate", "max"][..],
        &["--title", "private/c.mp4"],
        &["--list"],
        &["--title", "films/a.mp4", "--require-digest", "--start", "5"],
        &["--help"],
    ] {
        let mut command = place.serve.play(args);
        let output = command.args(["-v", "--token-file"]).arg(&file).output().unwrap();
        seen += &String::from_utf8(output.stdout).unwrap();
        seen += &String::from_utf8(output.stderr).unwrap();
    }
    // The command line that continues a play, too.
    let mut command = place.play(SECRET, &["--title", "films/b.mp4", "-v", "--bitrates", "8k"]);
    let child = command.args(["-o", "b", "--rate", "bitrate"]).stdout(Stdio::piped());
    let child = child.stderr(Stdio::piped()).spawn().unwrap();
    let mut opened = place.serve.wait_for("session_opened");
    while opened["title"] != "films/b.mp4" {
        seen += &opened.to_string();
        opened = place.serve.wait_for("session_opened");
    }
    let pid = child.id().to_string();
    let status = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    seen += &String::from_utf8(status).unwrap();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 130);
    seen += &String::from_utf8(output.stdout).unwrap();
    seen += &String::from_utf8(output.stderr).unwrap();
    seen += &place.log();
    assert!(seen.contains("living-room"), "{seen}");
    assert!(!seen.contains("hunter2") && !seen.contains(OTHER), "{seen}");
}

#[test]
fn what_is_no_file_of_tokens_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    for (text, says) in [
        (Some(format!("[a]\nsecret = \"{SECRET}\"\nsecret = 1\n")), "line"),
        (Some("[a]\n".into()), "neither secret nor sha256"),
        (None, "No such file"),
    ] {
        match text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let mut command = quicstream(dir.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--tokens"]).arg(&file);
        let output = command.output().unwrap();
        assert_exit(&output, 2);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("tokens.toml") && stderr.contains(says), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}
