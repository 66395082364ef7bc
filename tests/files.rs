//! What a play does with the files of the user: it touches none that is not its own, and publishes
//! only what it wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::python::TheirServer;
use common::{Serve, assert_exit, events, media, next_event, quicstream};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

/// Bytes of the media.
const SIZE: usize = 4_000_000;

struct Site {
    serve: Serve,
    bytes: Vec<u8>,
    /// Where files are played to.
    dir: tempfile::TempDir,
    _library: tempfile::TempDir,
}

impl Site {
    /// Serves `media.mp4`, and `other.mp4`, which is shorter.
    fn start() -> Self {
        let library = tempfile::tempdir().unwrap();
        let (_, bytes) = media(library.path(), SIZE);
        fs::write(library.path().join("other.mp4"), &bytes[7..SIZE / 2]).unwrap();
        let serve = Serve::start(["--media", library.path().to_str().unwrap()]);
        Self { serve, bytes, dir: tempfile::tempdir().unwrap(), _library: library }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `play --title media.mp4 -o out`, and more.
    fn play(&self, args: &[&str]) -> Output {
        self.command(&[&["--title", "media.mp4", "-o", "out"], args].concat()).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.serve.play(["--progress", "none"]);
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// Leaves a partial file of `media.mp4`, and gives its bytes.
    fn leave_part(&self) -> Vec<u8> {
        let args = ["--title", "media.mp4", "-o", "out", "--json", "--rate", "20M"];
        let mut child = self.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap());
        while next_event(&mut events).unwrap()["event"] != "chunk" {}
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        while next_event(&mut events).is_some() {}
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let part = fs::read(self.path("out.part")).unwrap();
        assert!(!part.is_empty() && part.len() < SIZE);
        part
    }

    /// Does something to the files in the middle of a play, which is told by its events.
    fn meddle(&self, args: &[&str], meddle: impl FnOnce()) -> (Option<i32>, Vec<Value>) {
        let usual = ["--title", "media.mp4", "-o", "out", "--json", "--rate", "40M"];
        let args = [&usual[..], args].concat();
        let mut child = self.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut meddle = Some(meddle);
        let mut events = Vec::new();
        while let Some(event) = next_event(&mut stdout) {
            if event["total"].as_u64().is_some_and(|total| total > 300_000)
                && let Some(meddle) = meddle.take()
            {
                meddle();
            }
            events.push(event);
        }
        (child.wait().unwrap().code(), events)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_says(output: &Output, code: i32, says: &str) {
    assert_exit(output, code);
    assert!(stderr(output).contains(says), "{says:?} is not in: {}", stderr(output));
}

#[test]
fn a_part_of_somebody_else_is_never_touched_before_media_comes() {
    let site = Site::start();
    fs::write(site.path("out.part"), "theirs").unwrap();
    let is_kept = || fs::read(site.path("out.part")).unwrap() == b"theirs";
    assert_says(&site.play(&[]), 1, "--force");
    assert!(is_kept());
    assert_says(&site.play(&["--no-continue"]), 1, "--force");
    assert!(is_kept());
    // Nobody listens there.
    let nobody = quicstream(site.dir.path())
        .args(["play", "127.0.0.1:1", "--connect-timeout", "0.2", "-o", "out", "-f"])
        .output()
        .unwrap();
    assert_exit(&nobody, 4);
    assert!(is_kept());
    assert_exit(&site.command(&["--title", "typo", "-o", "out", "-f"]).output().unwrap(), 3);
    assert!(is_kept());

    assert_exit(&site.play(&["-f"]), 0);
    assert!(fs::read(site.path("out")).unwrap() == site.bytes);
    assert!(!site.path("out.part").exists());
}

#[test]
fn nothing_but_a_regular_file_is_opened_and_no_link_is_followed() {
    let site = Site::start();
    fs::write(site.path("precious"), "precious").unwrap();
    let link = |name: &str| symlink("precious", site.path(name)).unwrap();
    let fifo = |name: &str| mkfifoat(CWD, site.path(name), Mode::from_raw_mode(0o600)).unwrap();
    let zero = |name: &str| symlink("/dev/zero", site.path(name)).unwrap();
    let dir = |name: &str| fs::create_dir(site.path(name)).unwrap();
    let hard = |name: &str| fs::hard_link(site.path("precious"), site.path(name)).unwrap();
    for name in ["out.part", "out.part.json"] {
        let make: [&dyn Fn(&str); 5] = [&link, &fifo, &zero, &dir, &hard];
        for make in make {
            make(name);
            let before = fs::symlink_metadata(site.path(name)).unwrap();
            for flags in [&[][..], &["--no-continue"]] {
                let output = site.play(flags);
                assert_exit(&output, 1);
                assert!(stderr(&output).contains(name), "{}", stderr(&output));
            }
            let after = fs::symlink_metadata(site.path(name)).unwrap();
            assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
            assert_eq!(fs::read(site.path("precious")).unwrap(), b"precious");
            if before.is_dir() {
                fs::remove_dir(site.path(name)).unwrap();
            } else {
                fs::remove_file(site.path(name)).unwrap();
            }
        }
    }
    // Where a record is drafted, nothing is followed either.
    link("out.part.json~");
    assert_exit(&site.play(&[]), 0);
    assert_eq!(fs::read(site.path("precious")).unwrap(), b"precious");
}

#[test]
fn a_part_survives_mistakes() {
    let site = Site::start();
    let part = site.leave_part();
    let pin = ["AB"; 32].join(":");
    for (args, code, says) in [
        (&["--title", "typo"][..], 1, "--no-continue"),
        (&["--title", "other.mp4"], 1, "--no-continue"),
        (&["--title", "media.mp4", "--start", "5"], 1, "--no-continue"),
        (&["--title", "media.mp4", "--pin", &pin], 5, "pinned"),
        (&["--protocol", "1"], 6, "version 1"),
    ] {
        let output = site.command(&[args, &["-o", "out"]].concat()).output().unwrap();
        assert_says(&output, code, says);
        assert!(fs::read(site.path("out.part")).unwrap() == part, "{args:?}");
        assert!(site.path("out.part.json").exists(), "{args:?}");
    }
    // A title that is not there is no reason to replace it, even where that is allowed.
    for flags in [&["--no-continue"][..], &["-f"]] {
        let args = [&["--title", "typo", "-o", "out"], flags].concat();
        assert_exit(&site.command(&args).output().unwrap(), 3);
        assert!(fs::read(site.path("out.part")).unwrap() == part, "{flags:?}");
    }
    let output = site.play(&["--json"]);
    assert_exit(&output, 0);
    assert!(fs::read(site.path("out")).unwrap() == site.bytes);
    let continuing = events(&output).into_iter().find(|event| event["event"] == "continuing");
    assert_eq!(continuing.unwrap()["offset"], part.len());
    let left = fs::read_dir(site.dir.path()).unwrap().count();
    assert_eq!(left, 1, "only the file is left");
}

#[test]
fn a_part_of_other_media_gives_way_only_where_that_is_said() {
    for flag in ["--no-continue", "-f"] {
        let site = Site::start();
        site.leave_part();
        let args = ["--title", "other.mp4", "-o", "out", flag];
        assert_exit(&site.command(&args).output().unwrap(), 0);
        assert!(fs::read(site.path("out")).unwrap() == site.bytes[7..SIZE / 2]);
    }
}

#[test]
fn a_server_of_version_1_takes_nothing_away() {
    let Some(server) = TheirServer::start("v1_server.py", "normal", &[]) else { return };
    let site = Site::start();
    let part = site.leave_part();
    let home = server.directory();
    for name in ["out.part", "out.part.json"] {
        fs::copy(site.path(name), home.join(name)).unwrap();
    }
    let output = server.command(&["-o", "out"]).output().unwrap();
    assert_exit(&output, 6);
    assert!(stderr(&output).contains("version 1"), "{}", stderr(&output));
    assert!(fs::read(home.join("out.part")).unwrap() == part);
}

#[test]
fn a_file_that_somebody_else_changed_meanwhile_is_not_published() {
    let site = Site::start();
    let part = site.path("out.part");
    let open = || fs::File::options().write(true).open(&part).unwrap();
    let meddle: [(&str, &dyn Fn()); 5] = [
        ("removed", &|| fs::remove_file(&part).unwrap()),
        ("replaced", &|| {
            fs::remove_file(&part).unwrap();
            fs::write(&part, "theirs").unwrap();
        }),
        ("moved", &|| fs::rename(&part, site.path("moved")).unwrap()),
        ("truncated", &|| open().set_len(1_000).unwrap()),
        ("lengthened", &|| {
            let mut file = fs::File::options().append(true).open(&part).unwrap();
            file.write_all(b"more").unwrap();
        }),
    ];
    for (what, meddle) in meddle {
        for flags in [&[][..], &["--no-verify"]] {
            let (code, events) = site.meddle(flags, meddle);
            assert_eq!(code, Some(1), "{what}: {:?}", events.last());
            let message = events.last().unwrap()["message"].as_str().unwrap();
            assert!(message.contains("by another program"), "{what}: {message}");
            assert!(!site.path("out").exists(), "{what} and published");
            let is_part_there = site.path("out.part").exists();
            assert_eq!(site.path("out.part.json").exists(), is_part_there, "{what}");
            for entry in fs::read_dir(site.dir.path()).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }
}

#[test]
fn a_file_that_appears_meanwhile_is_kept_and_the_media_too() {
    let site = Site::start();
    let (code, events) = site.meddle(&[], || fs::write(site.path("out"), "theirs").unwrap());
    assert_eq!(code, Some(1));
    let message = events.last().unwrap()["message"].as_str().unwrap();
    assert!(message.contains("complete in out.part"), "{message}");
    assert!(message.contains("to finish: mv -i -- out.part out"), "{message}");
    assert_eq!(fs::read(site.path("out")).unwrap(), b"theirs");
    assert!(fs::read(site.path("out.part")).unwrap() == site.bytes);
}

#[test]
fn what_is_behind_the_recorded_bytes_is_not_trusted() {
    let site = Site::start();
    let part = site.leave_part();
    for flags in [&[][..], &["--no-verify"]] {
        let mut file = fs::File::options().append(true).open(site.path("out.part")).unwrap();
        file.write_all(&vec![0; SIZE]).unwrap();
        assert_exit(&site.play(flags), 0);
        assert!(fs::read(site.path("out")).unwrap() == site.bytes, "{flags:?}");
        fs::remove_file(site.path("out")).unwrap();
        site.leave_part();
    }
    // Less than was recorded is no part of ours any more.
    fs::write(site.path("out.part"), &part[..10]).unwrap();
    assert_says(&site.play(&[]), 1, "--force");
    assert_eq!(fs::read(site.path("out.part")).unwrap(), part[..10]);
}

#[test]
fn what_cannot_be_published_is_said_before_anything_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    fs::write(dir.path().join("there"), "old").unwrap();
    let long = "x".repeat(256);
    for (output, says) in [
        ("dangling", "symbolic link"),
        ("newdir/", "newdir/"),
        ("newdir/out", "newdir/out"),
        ("there/out", "there/out"),
        ("there", "--force"),
        (&long, "File name too long"),
    ] {
        // Nobody listens there; a name without a title cannot be opened before.
        let args =
            ["play", "127.0.0.1:1", "--connect-timeout", "0.2", "--title", "a", "-o", output];
        let refused = quicstream(dir.path()).args(args).output().unwrap();
        assert_says(&refused, 1, says);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was made");
}

#[test]
fn long_names_and_links_to_files_work() {
    let site = Site::start();
    for name in ["ä".repeat(125), "x".repeat(250), "x".repeat(255)] {
        let output = site.command(&["--title", "media.mp4", "-o", &name]).output().unwrap();
        assert_exit(&output, 0);
        assert!(fs::read(site.path(&name)).unwrap() == site.bytes);
        fs::remove_file(site.path(&name)).unwrap();
    }
    fs::create_dir(site.path("elsewhere")).unwrap();
    fs::write(site.path("elsewhere/target"), "old").unwrap();
    symlink("elsewhere/target", site.path("out")).unwrap();
    assert_says(&site.play(&[]), 1, "--force");
    assert_exit(&site.play(&["-f"]), 0);
    assert!(site.path("out").symlink_metadata().unwrap().is_symlink(), "it is followed");
    assert!(fs::read(site.path("elsewhere/target")).unwrap() == site.bytes);
    assert_eq!(fs::read_dir(site.path("elsewhere")).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode() {
    let site = Site::start();
    for mode in [0o600, 0o640, 0o755] {
        fs::write(site.path("out"), "old").unwrap();
        fs::set_permissions(site.path("out"), fs::Permissions::from_mode(mode)).unwrap();
        assert_exit(&site.play(&["-f"]), 0);
        assert_eq!(fs::metadata(site.path("out")).unwrap().mode() & 0o777, mode);
        assert!(fs::read(site.path("out")).unwrap() == site.bytes);
    }
}

#[test]
fn nothing_is_left_by_a_failure_that_brought_nothing() {
    let site = Site::start();
    let failures: [&[&str]; 3] =
        [&["--title", "typo"], &["--start", "99999999"], &["--codec", "no"]];
    for args in failures {
        let args = [args, &["-o", "out"]].concat();
        let output = site.command(&args).output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        assert_eq!(fs::read_dir(site.dir.path()).unwrap().count(), 0, "{args:?}");
    }
}

#[test]
fn standard_output_has_many_names_and_may_be_non_blocking() {
    let site = Site::start();
    symlink("/dev/stdout", site.path("link")).unwrap();
    for name in ["-", "/dev/stdout", "/dev/fd/1", "link"] {
        // Appended to a log, it is not truncated.
        fs::write(site.path("log"), "log\n").unwrap();
        let log = fs::File::options().append(true).open(site.path("log")).unwrap();
        let args = ["--title", "media.mp4", "-o", name];
        let status = site.command(&args).stdout(log).status().unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
        let written = fs::read(site.path("log")).unwrap();
        assert!(written.starts_with(b"log\n") && written[4..] == site.bytes, "{name}");
    }

    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut command = site.command(&["--title", "media.mp4", "-o", "-"]);
    let mut child = command.stdout(Stdio::from(writer)).spawn().unwrap();
    drop(command);
    let mut received = Vec::new();
    fs::File::from(reader).read_to_end(&mut received).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(received == site.bytes);
}

#[test]
fn two_plays_do_not_write_one_file() {
    let site = Site::start();
    let second = std::cell::Cell::new(None);
    let (code, _) = site.meddle(&[], || second.set(Some(site.play(&[]))));
    assert_eq!(code, Some(0));
    assert_says(&second.take().unwrap(), 1, "another play");
    assert!(fs::read(site.path("out")).unwrap() == site.bytes);
}

/// Only root can mount; elsewhere there is nothing to see.
#[test]
fn a_file_with_something_mounted_over_it_is_found_out_before() {
    let site = Site::start();
    fs::write(site.path("out"), "old").unwrap();
    fs::write(site.path("mounted"), "mounted").unwrap();
    let script = "mount --bind mounted out || exit 77; exec \"$@\"";
    let play = site.command(&["--title", "media.mp4", "-o", "out", "-f"]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(play.get_program()).args(play.get_args());
    command.current_dir(site.dir.path());
    for (name, value) in play.get_envs() {
        match value {
            Some(value) => _ = command.env(name, value),
            None => _ = command.env_remove(name),
        }
    }
    let Ok(output) = command.output() else { return };
    if output.status.code() == Some(77) || stderr(&output).contains("unshare") {
        return;
    }
    assert_says(&output, 1, "mounted");
    assert_eq!(fs::read(Path::new(&site.path("out"))).unwrap(), b"old");
}
