//! A relay by composition: `play ORIGIN -o - | serve --live NAME`. Its viewers stay, whatever happens
//! to the origin.

use std::io::Write as _;
use std::process::{Child, Stdio};

use crate::common::relay::Relay;
use crate::common::{Serve, quicstream};
use crate::{Place, bytes, read};

/// A relay of the origin that the network leads to.
struct Relayed {
    feed: Child,
    serve: Serve,
    _state: tempfile::TempDir,
}

impl Relayed {
    fn start(network: &Relay) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut play = quicstream(state.path());
        play.args(["play", "--port", &network.port().to_string(), "--insecure", "--wait", "20"]);
        play.args(["--title", "cam.bin", "--start", "0", "-o", "-", "--progress", "none"]);
        play.args(["--connect-timeout", "1"]);
        let mut feed = play.stdout(Stdio::piped()).spawn().unwrap();
        let media = feed.stdout.take().unwrap();
        let mut serve = Serve::start_as(
            |mut command| {
                command.stdin(media);
                command
            },
            ["--live", "cam.bin"],
        );
        serve.wait_for("live_started");
        Self { feed, serve, _state: state }
    }

    fn viewer(&self) -> Child {
        let mut play = self.serve.play(["--start", "0", "--retry-for", "0", "-o", "-"]);
        play.args(["--progress", "none"]).stdout(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        let _ = self.feed.kill();
        let _ = self.feed.wait();
    }
}

#[test]
fn the_viewers_of_a_relay_stay_while_it_has_lost_its_origin() {
    let mut origin = Place::new(&[]);
    let mut producer = origin.producer();
    producer.write_all(&bytes(0, 50_000)).unwrap();
    origin.serve.wait_for("live_started");
    let network = Relay::start(origin.serve.port);
    let relayed = Relayed::start(&network);
    let mut viewers = [relayed.viewer(), relayed.viewer()];
    for viewer in &mut viewers {
        assert_eq!(read(viewer, 50_000), bytes(0, 50_000));
    }
    network.set_blackhole(true);
    producer.write_all(&bytes(50_000, 500_000)).unwrap();
    // Long enough for the relay to take its origin for lost, and to try to get it back.
    std::thread::sleep(std::time::Duration::from_secs(5));
    network.set_blackhole(false);
    producer.write_all(&bytes(550_000, 50_000)).unwrap();
    for viewer in &mut viewers {
        assert!(read(viewer, 550_000) == bytes(50_000, 550_000));
    }
    end(viewers);
}

#[test]
fn the_viewers_of_a_relay_stay_when_its_origin_is_killed_and_starts_again() {
    let mut origin = Place::new(&[]);
    let mut producer = origin.producer();
    producer.write_all(&bytes(0, 50_000)).unwrap();
    origin.serve.wait_for("live_started");
    let network = Relay::start(origin.serve.port);
    let relayed = Relayed::start(&network);
    let mut viewers = [relayed.viewer(), relayed.viewer()];
    for viewer in &mut viewers {
        assert_eq!(read(viewer, 50_000), bytes(0, 50_000));
    }
    let mut second = Place::new(&[]);
    let mut producer = second.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    second.serve.wait_for("live_started");
    origin.serve.signal("-KILL");
    network.lead_to(second.serve.port);
    // What is joined anew begins somewhere, and goes on from there.
    let mut at = 1_000;
    let writer = std::thread::spawn(move || {
        while producer.write_all(&bytes(at, 1_000)).is_ok() {
            at += 1_000;
            std::thread::yield_now();
        }
    });
    for viewer in &mut viewers {
        let got = read(viewer, 100_000);
        assert!(got.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 251));
    }
    end(viewers);
    drop((relayed, second));
    writer.join().unwrap();
}

fn end(viewers: [Child; 2]) {
    for mut viewer in viewers {
        viewer.kill().unwrap();
        viewer.wait().unwrap();
    }
}
