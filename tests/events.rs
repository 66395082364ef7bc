//! The names and the order of the keys of every JSON event: a contract with scripts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{media, quicstream};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// The keys of an object, in their order.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Keys, M::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// The keys of every event that was printed.
#[derive(Default)]
struct Printed(Vec<Vec<String>>);

impl Printed {
    fn add(&mut self, line: &str) -> Value {
        let event: Value = serde_json::from_str(line).unwrap();
        let Keys(mut keys) = serde_json::from_str(line).unwrap();
        assert_eq!(keys[..3], ["t", "time", "event"], "{line}");
        keys[2] = event["event"].as_str().unwrap().to_owned();
        self.0.push(keys.split_off(2));
        event
    }

    /// Compares with the name and the keys of each event. Those with a question mark may be
    /// missing, but not in all events of the name.
    fn assert_are(&self, contract: &[&str]) {
        let mut optional = HashSet::new();
        for keys in &self.0 {
            let of_name = |line: &&&str| line.split(' ').next() == Some(&keys[0]);
            let line = contract.iter().find(of_name).expect("a new event stands in the contract");
            let expected = line.split(' ').filter_map(|key| match key.strip_suffix('?') {
                None => Some(key),
                Some(key) if keys.iter().any(|printed| printed == key) => {
                    optional.insert((keys[0].clone(), key));
                    Some(key)
                }
                Some(_) => None,
            });
            assert_eq!(*keys, expected.collect::<Vec<_>>());
        }
        for line in contract {
            let (name, keys) = line.split_once(' ').unwrap();
            assert!(self.0.iter().any(|keys| keys[0] == name), "{name} was not printed");
            for key in keys.split(' ').filter_map(|key| key.strip_suffix('?')) {
                assert!(
                    optional.contains(&(name.to_owned(), key)),
                    "{name}: {key} was not printed"
                );
            }
        }
    }

    /// Takes lines up to and with the next event of this name.
    fn add_until(&mut self, name: &str, lines: &mut impl BufRead) -> Value {
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "there is no event {name}");
            let event = self.add(&line);
            if event["event"] == name {
                return event;
            }
        }
    }

    fn add_rest(&mut self, mut lines: impl Read) {
        io::read_to_string(&mut lines).unwrap().lines().for_each(|line| _ = self.add(line));
    }

    /// Runs a command to its end.
    fn add_all_of(&mut self, command: &mut Command) {
        let output = command.output().unwrap();
        self.add_rest(&output.stdout[..]);
    }
}

fn start(command: &mut Command) -> (Child, impl BufRead + use<>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn interrupt(child: &Child) {
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

fn play(home: &Path, port: &str, args: &str) -> Command {
    let mut command = quicstream(home);
    command.args(["play", "--json", "--port", port]);
    command.args(args.split_whitespace());
    command
}

#[test]
fn keys_keep_their_names_and_their_order() {
    let home = tempfile::tempdir().unwrap();
    media(home.path(), 256 << 10);
    let mut serve = quicstream(home.path());
    let flags =
        "serve --json --listen 127.0.0.1:0 --media media.mp4 --chunk-size 8KiB --bitrate 4M";
    let (mut server, mut served) = start(serve.args(flags.split(' ')));
    let (mut by_serve, mut by_play) = (Printed::default(), Printed::default());
    let listening = by_serve.add_until("listening", &mut served);
    let address = listening["addr"].as_str().unwrap().to_owned();
    let (_, port) = address.rsplit_once(':').unwrap();
    let play = |args: &str| play(home.path(), port, args);

    by_play.add_all_of(&mut play("--rate 4M --pause-at 3 --pause-for 0.01"));
    by_play.add_all_of(&mut play("--rate max -o whole.mp4"));
    by_play.add_all_of(&mut play("--no-verify --rate max -o unverified.mp4"));
    by_play.add_all_of(&mut play("--protocol 1 --bitrates 4000000"));
    by_play.add_all_of(&mut play("--title other.mp4"));
    let slow = "--rate 500000 --retry-for 1 -o part.mp4";
    let (mut player, mut played) = start(&mut play(slow));
    by_play.add_until("chunk", &mut played);
    interrupt(&player);
    by_play.add_rest(played);
    player.wait().unwrap();
    let (mut player, mut played) = start(&mut play(slow));
    by_play.add_until("chunk", &mut played);
    interrupt(&server);
    by_play.add_rest(played);
    by_serve.add_rest(served);
    player.wait().unwrap();
    server.wait().unwrap();

    by_play.assert_are(&[
        "connected server alpn fingerprint",
        "accepted session bitrate chunk_size keepalive timeout title? size? start? rate?",
        "chunk seq bytes total skipped",
        "paused seq",
        "resumed seq seconds",
        "continuing offset",
        "reconnecting attempt delay offset cause",
        "closed reason complete bytes chunks seconds bits_per_second file? digest? verified why?",
        "error message exit",
    ]);
    by_serve.assert_are(&[
        "listening addr fingerprint url",
        "session_refused peer title? code reason",
        "session_opened session peer version bitrate rate title start",
        "session_paused session seq",
        "session_resumed session seq",
        "session_closed session peer reason bytes chunks seconds",
    ]);
}
