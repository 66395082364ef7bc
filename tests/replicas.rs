//! Several servers that have the same titles are one service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::relay::Relay;
use common::{Serve, assert_exit, media, named, next_event, quicstream};
use quicstream::client::{Link, LinkSettings, Remote};
use quicstream::protocol::Version;
use quicstream::transport::{Address, Congestion, TransportSettings, Trust};
use serde_json::Value;
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

/// A server of a copy of some media, as rsync makes it, with a certificate of its own.
struct Replica {
    serve: Serve,
    _dir: tempfile::TempDir,
}

impl Replica {
    fn start(of: &Path, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join(of.file_name().unwrap());
        fs::copy(of, &copy).unwrap();
        let modified = of.metadata().unwrap().modified().unwrap();
        fs::File::options().write(true).open(&copy).unwrap().set_modified(modified).unwrap();
        let own = ["--max-rate", "8M", "--media", copy.to_str().unwrap()];
        Self { serve: Serve::start(own.iter().chain(args)), _dir: dir }
    }

    fn server(&self) -> (u16, &str) {
        (self.serve.port, &self.serve.fingerprint)
    }
}

/// `play` from servers whose certificates are pinned.
fn play(state: &Path, servers: &[(u16, &str)], args: &[&str]) -> Command {
    let addresses: Vec<_> = servers.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
    let pins: Vec<_> = servers.iter().map(|(_, pin)| *pin).collect();
    let mut command = quicstream(state);
    command.args(["play", &addresses.join(","), "--pin", &pins.join(",")]).args(args);
    command
}

fn started(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let events = BufReader::new(child.stdout.take().unwrap());
    (child, events)
}

fn wait_for(events: &mut BufReader<ChildStdout>, name: &str) -> Value {
    loop {
        let event = next_event(events).expect("it goes on");
        if event["event"] == name {
            return event;
        }
    }
}

/// Kills the server that is in use, so often, while a file comes.
fn killed_in_turn(times: u64) {
    let dir = tempfile::tempdir().unwrap();
    let size = (times + 1) * 400_000;
    let (path, bytes) = media(dir.path(), size as usize);
    let mut servers = [Replica::start(&path, &[]), Replica::start(&path, &[])];
    let out = dir.path().join("out");
    let args = ["--json", "--retry-for", "60", "-o", out.to_str().unwrap()];
    let command = play(dir.path(), &servers.each_ref().map(Replica::server), &args);
    let (mut viewer, mut events) = started(command);
    let mut in_use = String::new();
    let mut total = 0;
    for time in 0..times {
        while total < (time + 1) * 400_000 {
            let event = next_event(&mut events).expect("it goes on");
            match event["event"].as_str() {
                Some("connected") => in_use = event["server"].as_str().unwrap().to_owned(),
                Some("chunk") => total = event["total"].as_u64().unwrap(),
                _ => {}
            }
        }
        let victim = servers.iter_mut().find(|one| in_use.ends_with(&one.serve.port.to_string()));
        let victim = &mut victim.unwrap().serve;
        victim.kill();
        victim.restart();
    }
    let closed = wait_for(&mut events, "closed");
    // As many bytes came as there are: none came twice.
    assert_eq!((&closed["verified"], &closed["bytes"]), (&true.into(), &size.into()), "{closed}");
    assert_eq!(viewer.wait().unwrap().code(), Some(0));
    assert!(fs::read(&out).unwrap() == bytes);
}

#[test]
fn servers_that_are_killed_in_turn_make_one_whole_file() {
    killed_in_turn(4);
}

#[test]
#[ignore = "takes a minute"]
fn servers_that_are_killed_fifty_times_make_one_whole_file() {
    killed_in_turn(50);
}

#[test]
fn a_server_that_ends_names_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 3_000_000);
    let other = Replica::start(&path, &[]);
    let peer = format!("127.0.0.1:{}", other.serve.port);
    let first = Replica::start(&path, &["--peers", &peer]);
    let out = dir.path().join("out");
    // The client knows the first alone, and both certificates.
    let pins = [first.server().1, other.server().1].join(",");
    let args = ["--json", "--retry-for", "20", "-o", out.to_str().unwrap()];
    let command = play(dir.path(), &[(first.serve.port, &pins)], &args);
    let (mut viewer, mut events) = started(command);
    wait_for(&mut events, "chunk");
    first.serve.signal("-TERM");
    assert_eq!(wait_for(&mut events, "connected")["server"], peer);
    assert_eq!(wait_for(&mut events, "closed")["verified"], true);
    assert_eq!(viewer.wait().unwrap().code(), Some(0));
    assert!(fs::read(&out).unwrap() == bytes);
}

#[test]
fn a_server_that_is_full_names_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 1_000_000);
    let other = Replica::start(&path, &[]);
    let peer = format!("127.0.0.1:{}", other.serve.port);
    let full = Replica::start(&path, &["--max-connections", "1", "--peers", &peer]);
    let pins = [full.server().1, other.server().1].join(",");
    let server = [(full.serve.port, pins.as_str())];
    let (mut holder, mut events) = started(play(dir.path(), &server, &["--json", "--rate", "1k"]));
    wait_for(&mut events, "accepted");
    // Without a second to wait.
    let out = dir.path().join("out");
    let args = ["--json", "--wait", "0", "-o", out.to_str().unwrap()];
    let output = play(dir.path(), &server, &args).output().unwrap();
    assert_exit(&output, 0);
    let events = common::events(&output);
    assert_eq!(named(&events, "connected").last().unwrap()["server"], peer);
    assert!(fs::read(&out).unwrap() == bytes);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_server_that_is_not_there_is_passed_over_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 100_000);
    let there = Replica::start(&path, &[]);
    // It takes packets, and says nothing.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = nobody.local_addr().unwrap().port();
    let out = dir.path().join("out");
    let servers = [(silent, there.server().1), there.server()];
    let output = play(dir.path(), &servers, &["-o", out.to_str().unwrap()]).output().unwrap();
    assert_exit(&output, 0);
    assert!(fs::read(&out).unwrap() == bytes);
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_has_fallen_silent() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), 100_000);
    let [first, second] = [(); 2].map(|()| Replica::start(&path, &["--idle-timeout", "3600"]));
    let way = Relay::start(first.serve.port);
    let address = |port| Address { host: "127.0.0.1".into(), port };
    let remote = Remote {
        addresses: vec![address(way.port()), address(second.serve.port)],
        trust: Trust::Insecure,
        name: None,
        transport: TransportSettings {
            mtu: 1500,
            congestion: Congestion::Bbr,
            idle_timeout: HOUR,
            socket_buffer: 1 << 20,
        },
    };
    let settings =
        LinkSettings { versions: vec![Version::V2], connect_timeout: HOUR, shared: true };
    let link = Link::new(&remote, settings).unwrap();
    link.titles(None).await.unwrap();
    way.set_blackhole(true);
    // The first of these wait for the hour, and are fewer than go over one connection.
    let mut asked = JoinSet::new();
    let answer = loop {
        if asked.len() < 10 {
            let link = link.clone();
            asked.spawn(async move { link.titles(None).await });
        }
        tokio::select! {
            Some(answer) = asked.join_next() => break answer.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    };
    assert_eq!(answer.unwrap().len(), 1);
}
