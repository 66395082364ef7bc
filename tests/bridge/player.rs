//! `--player`, and how a bridge ends.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use crate::client::Bridge;
use crate::common::{Serve, assert_exit, media};

#[test]
fn a_player_gets_the_url_and_ends_the_bridge() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a b.mp4", "b.mp4"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let serve = Serve::start([dir.path()]);
    let out = dir.path().join("url");
    // No shell of ours splits it: a player is a program and its words.
    let command =
        |words: &str| format!("sh -c 'printf %s \"$*\" >\"$0\"' {} {words}", out.display());
    let url = |args: &[&str]| {
        assert_exit(&serve.play(args).output().unwrap(), 0);
        fs::read_to_string(&out).unwrap()
    };
    let all = url(&["--player", &command("")]);
    assert!(all.starts_with("http://127.0.0.1:") && all.ends_with("/playlist.m3u8"), "{all}");
    let one = url(&["--player", &command("--open={} -v"), "--title", "a b.mp4"]);
    assert!(one.starts_with("--open=http://") && one.ends_with("/t/a%20b.mp4 -v"), "{one}");

    for (player, code) in [("true", 0), ("false", 1), ("sh -c 'exit 9' x", 1)] {
        assert_exit(&serve.play(["--player", player]).output().unwrap(), code);
    }
    let missing = serve.play(["--player", "/no/such/player"]).output().unwrap();
    assert_exit(&missing, 1);
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(told.contains("cannot start the player /no/such/player"), "{told}");
    assert_exit(&serve.play(["--player", "mpv 'a"]).output().unwrap(), 2);
    assert_exit(&serve.play(["--player", "true", "--title", "c.mp4"]).output().unwrap(), 3);
    assert_exit(&serve.play(["--player", "true", "-o", "x"]).output().unwrap(), 2);
    assert_exit(&serve.play(["--http", "--protocol", "1"]).output().unwrap(), 2);
}

#[test]
fn where_the_server_failed_the_exit_code_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), 20_000_000);
    let serve = Serve::start([path.as_os_str()]);
    let player = format!(
        "python3 -c 'import os,sys,urllib.request\n\
         r = urllib.request.urlopen(sys.argv[1]); r.read(1000); os.kill({}, 9)\n\
         r.read()'",
        serve.pid()
    );
    let title = path.file_name().unwrap().to_str().unwrap();
    let patience = ["--retry-for", "1", "--connect-timeout", "1"];
    let mut play = serve.play(["--title", title, "--player", &player]);
    assert_exit(&play.args(patience).output().unwrap(), 4);
}

#[test]
fn a_player_sees_no_token_and_the_bridge_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 1000);
    let tokens = dir.path().join("tokens.toml");
    fs::write(&tokens, "[a]\nsecret = \"a-secret-of-a-test\"\n").unwrap();
    let serve = Serve::start(["--tokens", tokens.to_str().unwrap(), path.to_str().unwrap()]);
    let out = dir.path().join("environment");
    let player = format!("sh -c 'env >{}' x", out.display());
    let mut play = serve.play(["--player", &player]);
    let output = play.env("QUICSTREAM_TOKEN", "a-secret-of-a-test").output().unwrap();
    assert_exit(&output, 0);
    let environment = fs::read_to_string(&out).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("secret"), "{environment}");
    assert_exit(&serve.play(["--http"]).output().unwrap(), 3);
    let mut play = serve.play(["--progress", "none"]);
    play.env("QUICSTREAM_TOKEN", "a-secret-of-a-test");
    let bridge = Bridge::of(play);
    let title = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(bridge.get(&format!("t/{title}"), &[]).body, bytes);
}

#[test]
fn an_interrupt_is_the_usual_end() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), 1000);
    let serve = Serve::start([path.as_os_str()]);
    for signal in ["-INT", "-TERM"] {
        let mut bridge = Bridge::to(&serve, &[]);
        bridge.signal(signal);
        assert_eq!(bridge.child.wait().unwrap().code(), Some(0));
    }
    // A player that does not end by itself is ended.
    let mut play = serve.play(["--player", "sh -c 'exec sleep 1000' x", "--json"]);
    let mut child = play.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    crate::common::next_event(&mut stdout).unwrap();
    let pid = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The player is gone, too: it held the other end of stderr's pipe.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
}

#[test]
fn a_server_in_the_same_process_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut play = crate::common::quicstream(dir.path());
    play.args(["play", "--embedded"]);
    let bridge = Bridge::of(play);
    let titles = bridge.get("titles.json", &[]).json();
    let url = titles["titles"][0]["url"].as_str().unwrap();
    let clip = bridge.get(url, &[]);
    assert_eq!(clip.body, include_bytes!("../../assets/sample.mp4"));
    assert_eq!(clip.header("content-type"), "video/mp4");
}
