//! A server in trouble says so: it neither panics, nor calls its trouble "no such title", nor shows
//! a list that it could not make as an empty one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use common::{Serve, assert_exit, next_event, quicstream};

/// Descriptors of a server that has few: enough to start, and for a handful of titles.
const FEW: u32 = 40;

/// Titles that it cannot have open all at once.
const TITLES: usize = 30;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same command in a shell that sets limits before.
fn limited(limits: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => _ = shell.env(name, value),
            None => _ = shell.env_remove(name),
        }
    }
    shell.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    shell
}

/// A play that is opened and gets next to nothing.
struct Slow {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Slow {
    fn start(serve: &Serve, title: &str) -> Self {
        let args = ["--json", "--title", title, "--rate", "1000", "--pause-at", "0"];
        let mut child =
            serve.play(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Whether it is accepted; else it was told that the server is busy.
    fn is_accepted(&mut self) -> bool {
        while let Some(event) = next_event(&mut self.stdout) {
            if event["event"] == "accepted" {
                return true;
            }
            if event["event"] == "error" {
                let message = event["message"].as_str().unwrap();
                assert!(message.contains("busy (OPEN_NACK 7)"), "{message}");
            }
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(3));
        false
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // It closes its session, for which the server would wait else.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn a_server_without_descriptors_is_busy_and_still_has_its_list() {
    let library = tempfile::tempdir().unwrap();
    for title in 0..TITLES {
        fs::write(library.path().join(format!("{title:02}.mp4")), vec![0; 100_000]).unwrap();
    }
    let serve = Serve::start_as(
        |command| limited(&format!("ulimit -n {FEW}"), &command),
        ["--media", library.path().to_str().unwrap()],
    );
    let mut plays: Vec<_> =
        (0..TITLES).map(|title| Slow::start(&serve, &format!("{title:02}.mp4"))).collect();
    let accepted = plays.iter_mut().filter_map(|play| play.is_accepted().then_some(())).count();
    assert!((1..TITLES).contains(&accepted), "{accepted} of {TITLES}");

    let list = serve.play(["--list", "--json"]).output().unwrap();
    assert_exit(&list, 0);
    assert_eq!(list.stdout.lines().count(), TITLES);
    let absent = serve.play(["--title", "absent"]).output().unwrap();
    assert_exit(&absent, 3);
    assert!(stderr(&absent).contains("no such title"), "{}", stderr(&absent));

    // What was in the way goes, and a client that waits gets in.
    drop(plays);
    let late = serve.play(["--title", "29.mp4", "--rate", "max", "--wait", "60"]).output().unwrap();
    assert_exit(&late, 0);
}

#[test]
fn whatever_the_system_allows_nothing_panics_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let media = dir.path().join("media.mp4");
    fs::write(&media, "media").unwrap();
    let media = media.to_str().unwrap();
    for limit in [4, 6, 8, 10, 12, 16, 20, 24] {
        for args in [
            &["serve", "--listen", "127.0.0.1:nowhere", media][..],
            &["serve", "--listen", "192.0.2.1:9", media],
            &["play", "127.0.0.1:1", "--connect-timeout", "0.1"],
            &["play", "127.0.0.1:1", "--connect-timeout", "0.1", "-o", "out"],
            &["play", "127.0.0.1:1", "--connect-timeout", "0.1", "--list"],
            &["play", "localhost:1", "--connect-timeout", "0.1", "--json"],
        ] {
            let mut command = quicstream(dir.path());
            command.args(args);
            let output = limited(&format!("ulimit -n {limit}"), &command).output().unwrap();
            let said = stderr(&output);
            assert!(!said.contains("panicked"), "{limit}, {args:?}: {said}");
            let code = output.status.code().unwrap();
            // 127: not even its libraries can be loaded.
            assert!([1, 2, 4, 127].contains(&code), "{limit}, {args:?}: {code}, {said}");
            assert!(!said.is_empty(), "{limit}, {args:?}");
        }
    }
}

#[test]
fn a_list_that_cannot_be_made_is_not_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    let library = home.path().join("library");
    fs::create_dir(&library).unwrap();
    fs::write(library.join("a.mp4"), "media").unwrap();
    let serve = Serve::start(["--media", library.to_str().unwrap()]);
    assert_exit(&serve.play(["--title", "a.mp4", "--rate", "max"]).output().unwrap(), 0);

    fs::remove_dir_all(&library).unwrap();
    for args in [&["--list"][..], &["--title", "a.mp4"], &[]] {
        let output = serve.play(args).output().unwrap();
        assert_exit(&output, 3);
        assert!(stderr(&output).contains("(OPEN_NACK 7)"), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn one_name_that_is_no_title_does_not_empty_the_list() {
    let library = tempfile::tempdir().unwrap();
    let name = |bytes: &[u8]| {
        use std::os::unix::ffi::OsStrExt;
        library.path().join(std::ffi::OsStr::from_bytes(bytes))
    };
    for file in [&b"a.mp4"[..], b"\xff.mp4", b"b.mp4.part", b"b.mp4.part.json", b".hidden"] {
        fs::write(name(file), "media").unwrap();
    }
    let long = "d".repeat(200);
    fs::create_dir_all(library.path().join(&long).join(&long)).unwrap();
    fs::write(library.path().join(&long).join(&long).join("c.mp4"), "media").unwrap();
    std::os::unix::fs::symlink("loop", library.path().join("loop")).unwrap();

    let serve = Serve::start(["--media", library.path().to_str().unwrap()]);
    for _ in 0..2 {
        let list = serve.play(["--list", "--json"]).output().unwrap();
        assert_exit(&list, 0);
        let text = String::from_utf8(list.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("a.mp4"), "{text}");
    }
    for title in ["b.mp4.part", "b.mp4.part.json", ".hidden"] {
        assert_exit(&serve.play(["--title", title]).output().unwrap(), 3);
    }
}

/// A client that does not acknowledge the end would keep the server for seconds.
#[test]
fn a_second_signal_ends_a_server_at_once() {
    let mut serve = Serve::start(["--bitrate", "500000"]);
    let mut play = Slow::start(&serve, "sample.mp4");
    assert!(play.is_accepted());
    let stopped = |signal: &str| {
        let pid = play.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    };
    stopped("-STOP");
    serve.signal("-TERM");
    serve.signal("-INT");
    // Two signals of one kind may count as one, and one may end it before the other comes.
    assert!(matches!(serve.wait(), Some(130 | 0)));
    stopped("-CONT");
}

#[test]
fn a_full_log_is_no_sudden_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut serve = Serve::start_as(
        |command| {
            // In blocks of 512 or 1,024 bytes: enough for the certificate, and for little more.
            let mut limited = limited("ulimit -f 4", &command);
            limited.stderr(log);
            limited
        },
        ["-v"],
    );
    for _ in 0..6 {
        assert_exit(
            &serve.play(["--bitrates", "1000000000", "--rate", "max"]).output().unwrap(),
            0,
        );
    }
    let length = fs::metadata(dir.path().join("log")).unwrap().len();
    assert!((2_048..=4_096).contains(&length), "{length}");
    serve.signal("-TERM");
    assert_eq!(serve.wait(), Some(0));
}

#[test]
fn a_file_that_may_not_grow_is_a_failure_that_says_so() {
    let serve = Serve::start(["--generate", "4MiB"]);
    let dir = tempfile::tempdir().unwrap();
    let mut play = serve.play(["--rate", "max", "-o", "out"]);
    play.current_dir(dir.path());
    let output = limited("ulimit -f 1000", &play).output().unwrap();
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("File too large"), "{}", stderr(&output));
    assert!(!Path::new(&dir.path().join("out")).exists());
}
