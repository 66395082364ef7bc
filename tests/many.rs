//! Several titles in one go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{Serve, assert_exit, events};

/// A server of these titles, and a directory for what is fetched.
fn place(titles: &[&str]) -> (tempfile::TempDir, Serve) {
    let dir = tempfile::tempdir().unwrap();
    for title in titles {
        let path = dir.path().join("media").join(title);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, title.repeat(50_000)).unwrap();
    }
    fs::create_dir(dir.path().join("out")).unwrap();
    let serve = Serve::start([dir.path().join("media")]);
    (dir, serve)
}

/// The files below a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path()).iter().map(|path| format!("{name}/{path}"))),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

#[test]
fn titles_patterns_and_all_go_below_a_directory() {
    let titles = ["a.mp4", "b.mp4", "films/a.mp4", "films/b.mp4", "films/x/c.mp4"];
    let (dir, serve) = place(&titles);
    let out = dir.path().join("out");
    let fetch = |args: &[&str], wanted: &[&str]| {
        let output = serve.play([args, &["-o", out.to_str().unwrap()]].concat()).output().unwrap();
        assert_exit(&output, 0);
        assert_eq!(files(&out), wanted);
        for title in wanted {
            assert!(fs::read(out.join(title)).unwrap() == title.repeat(50_000).as_bytes());
        }
        fs::remove_dir_all(&out).unwrap();
        fs::create_dir(&out).unwrap();
    };
    fetch(&["--title", "a.mp4", "--title", "films/b.mp4"], &["a.mp4", "films/b.mp4"]);
    fetch(&["--title", "films/*"], &["films/a.mp4", "films/b.mp4"]);
    fetch(&["--title", "**/a.mp4"], &["a.mp4", "films/a.mp4"]);
    fetch(&["--all"], &titles);
    // One title is what it always was.
    let one = serve.play(["--title", "films/a.mp4", "-o", out.to_str().unwrap()]).output().unwrap();
    assert_exit(&one, 0);
    assert_eq!(files(&out), ["a.mp4"]);
}

#[test]
fn each_session_comes_to_its_end_in_order() {
    let titles = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"];
    let (dir, mut serve) = place(&titles);
    let out = dir.path().join("out");
    let output = serve.play(["--all", "-o", out.to_str().unwrap()]).output().unwrap();
    assert_exit(&output, 0);
    for _ in titles {
        assert_eq!(serve.wait_for("session_closed")["reason"], "complete");
    }
}

#[test]
fn what_cannot_be_is_said_before_anything_is_fetched() {
    let (dir, serve) = place(&["a.mp4", "A.mp4", "b"]);
    let out = dir.path().join("out");
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = serve.play(args).current_dir(dir.path()).output().unwrap();
        assert_exit(&output, code);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(words), "{told}");
        assert_eq!(files(&out), [""; 0]);
    };
    refused(&["--all", "-o", "out/"], 1, "would both be out/a.mp4");
    refused(&["--title", "x*", "-o", "out"], 3, "no such title \"x*\"");
    refused(&["--title", "a.mp4", "--title", "c", "-o", "out"], 3, "no such title \"c\"");
    refused(&["--title", "[a", "-o", "out"], 2, "unclosed");
    refused(&["--title", "a.mp4", "--title", "b"], 2, "-o DIR/");
    refused(&["--title", "a.mp4", "--title", "b", "-o", "file"], 2, "-o DIR/");
    refused(&["--title", "a.mp4", "--title", "b", "-o", "none/"], 1, "none");
    refused(&["--title", "*", "-o", "out", "--start", "5"], 2, "--start");
    refused(&["--all"], 2, "--output");
}

#[test]
fn one_that_fails_leaves_the_others_and_gives_its_exit_code() {
    let (dir, serve) = place(&["a.mp4", "b.mp4", "c.mp4"]);
    let out = dir.path().join("out");
    fs::write(out.join("b.mp4"), "mine").unwrap();
    let play = || serve.play(["--all", "--json", "-o", out.to_str().unwrap()]).output().unwrap();
    let output = play();
    assert_exit(&output, 1);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("b.mp4") && told.contains("exists"), "{told}");
    assert_eq!(files(&out), ["a.mp4", "b.mp4", "c.mp4"]);
    assert_eq!(fs::read(out.join("b.mp4")).unwrap(), b"mine");
    let events = events(&output);
    let mut closed: Vec<_> = common::named(&events, "closed")
        .iter()
        .map(|event| (event["of"].as_str().unwrap().to_owned(), event["verified"].clone()))
        .collect();
    closed.sort_by(|a, b| a.0.cmp(&b.0));
    let verified = serde_json::Value::Bool(true);
    assert_eq!(closed, [("a.mp4".into(), verified.clone()), ("c.mp4".into(), verified)]);
    assert_eq!(common::named(&events, "error").len(), 1);
}

#[test]
fn a_file_has_the_date_of_its_media() {
    let (dir, serve) = place(&["a.mp4"]);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_250);
    let media = fs::File::options().append(true).open(dir.path().join("media/a.mp4")).unwrap();
    media.set_modified(long_ago).unwrap();
    let out = dir.path().join("out/a.mp4");
    assert_exit(&serve.play(["-o", out.to_str().unwrap()]).output().unwrap(), 0);
    assert_eq!(fs::metadata(&out).unwrap().modified().unwrap(), long_ago);
}
