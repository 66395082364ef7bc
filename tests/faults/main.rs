//! Paths that lose, corrupt, reorder, duplicate, delay and throttle what passes: whatever completes
//! is identical, and nothing wrong gets its name.
//!
//! `cargo test` does each kind in short. The whole, which takes minutes, is
//! `cargo test --test faults -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod path;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Serve, media};
use path::{BadPath, Faults};

/// A server behind a bad path.
struct Place {
    dir: tempfile::TempDir,
    serve: Serve,
    path: BadPath,
    bytes: Vec<u8>,
    seed: u64,
}

impl Place {
    fn new(size: usize, faults: Faults) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, bytes) = media(dir.path(), size);
        let serve = Serve::start([file.as_os_str()]);
        let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        let path = BadPath::start(serve.port, faults, seed);
        Self { dir, serve, path, bytes, seed }
    }

    fn out(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("out-{number}"))
    }

    fn play(&self, number: usize, args: &[&str]) -> Command {
        let mut command = common::quicstream(self.serve.certificate().parent().unwrap());
        let port = self.path.port().to_string();
        command.args(["play", "--port", &port, "--progress", "none", "--connect-timeout", "40"]);
        command.arg("-o").arg(self.out(number)).args(args).stderr(Stdio::null());
        command
    }

    /// Plays so often, four at a time, and returns how many completed.
    fn sessions(&self, count: usize, args: &[&str]) -> usize {
        let numbers: Vec<_> = (0..count).collect();
        let mut complete = 0;
        for four in numbers.chunks(4) {
            let plays: Vec<(usize, Child)> = four
                .iter()
                .map(|&number| (number, self.play(number, args).spawn().unwrap()))
                .collect();
            for (number, mut play) in plays {
                let code = play.wait().unwrap().code();
                self.assert_never_wrong(number, code);
                complete += usize::from(code == Some(0));
            }
        }
        complete
    }

    /// A file that has its name is the media.
    fn assert_never_wrong(&self, number: usize, code: Option<i32>) {
        match fs::read(self.out(number)) {
            Ok(got) => {
                assert!(
                    got == self.bytes,
                    "play {number} published what is wrong, SEED={}",
                    self.seed
                );
                assert_eq!(code, Some(0));
            }
            Err(_) => assert!(matches!(code, Some(4 | 6)), "play {number}: {code:?}"),
        }
    }

    fn assert_complete(&self, count: usize, args: &[&str]) {
        assert_eq!(self.sessions(count, args), count, "SEED={}", self.seed);
    }
}

const GOOD: Faults = Faults::NONE;

#[test]
fn thirty_percent_loss() {
    let place = Place::new(100_000, Faults { loss: 0.3, ..GOOD });
    place.assert_complete(4, &[]);
}

#[test]
fn a_handshake_that_takes_longer_than_a_client_waits_by_default() {
    let place = Place::new(100_000, Faults { deaf: true, ..GOOD });
    let mut play = place.play(0, &[]).spawn().unwrap();
    place.path.wait_for_bytes(1);
    // How long the way to the server is gone, not a wait for anything. The next packet after that
    // comes when as much time has passed again, at the latest.
    thread::sleep(Duration::from_secs(11));
    place.path.set(GOOD);
    let code = play.wait().unwrap().code();
    place.assert_never_wrong(0, code);
    assert_eq!(code, Some(0));
}

#[test]
fn thirty_percent_corruption() {
    let place = Place::new(100_000, Faults { corruption: 0.3, ..GOOD });
    place.assert_complete(4, &[]);
}

#[test]
fn loss_and_corruption_on_a_longer_way() {
    let delay = Duration::from_millis(15);
    let place = Place::new(2_000_000, Faults { loss: 0.02, corruption: 0.02, delay, ..GOOD });
    place.assert_complete(1, &[]);
}

#[test]
fn reordered_and_duplicated() {
    let place = Place::new(10_000_000, Faults { reorder: 0.1, duplicate: 0.05, ..GOOD });
    place.assert_complete(1, &[]);
}

#[test]
fn a_way_as_long_as_to_a_satellite_and_back() {
    let place = Place::new(100_000, Faults { delay: Duration::from_millis(750), ..GOOD });
    place.assert_complete(1, &[]);
}

#[test]
fn a_path_that_becomes_narrow_in_mid_stream() {
    let place = Place::new(3_000_000, GOOD);
    let mut play = place.play(0, &["--rate", "16M"]).spawn().unwrap();
    place.path.wait_for_bytes(1_000_000);
    place.path.set(Faults { mtu: 1280, ..GOOD });
    let code = play.wait().unwrap().code();
    place.assert_never_wrong(0, code);
    assert_eq!(code, Some(0));
}

#[test]
fn a_rate_that_falls_and_rises() {
    let megabits = |rate: u64| Faults { bits_per_second: rate * 1_000_000, ..GOOD };
    let place = Place::new(3_000_000, megabits(10));
    let mut play = place.play(0, &[]).spawn().unwrap();
    place.path.wait_for_bytes(1_000_000);
    place.path.set(megabits(2));
    place.path.wait_for_bytes(1_500_000);
    place.path.set(megabits(10));
    let code = play.wait().unwrap().code();
    place.assert_never_wrong(0, code);
    assert_eq!(code, Some(0));
}

/// Swallows everything for so long, so often, while a play goes on.
fn outages(place: &Place, times: usize, length: Duration, args: &[&str]) -> Option<i32> {
    let mut play = place.play(0, args).spawn().unwrap();
    for time in 0..times {
        place.path.wait_for_bytes(200_000 * (time as u64 + 1));
        place.path.set(Faults { loss: 1.0, ..GOOD });
        // This is the outage, not a wait for anything.
        thread::sleep(length);
        place.path.set(GOOD);
    }
    let code = play.wait().unwrap().code();
    place.assert_never_wrong(0, code);
    code
}

#[test]
fn a_short_outage() {
    let place = Place::new(1_000_000, GOOD);
    assert_eq!(outages(&place, 1, Duration::from_secs(1), &["--rate", "4M"]), Some(0));
}

#[test]
#[ignore = "takes minutes"]
fn the_whole() {
    let report = |what: &str, complete: usize, of: usize, began: Instant| {
        println!("{what}: {complete} of {of} in {:.0} s", began.elapsed().as_secs_f64());
        assert_eq!(complete, of, "{what}");
    };
    for (what, faults) in [
        ("30 % loss", Faults { loss: 0.3, ..GOOD }),
        ("30 % corruption", Faults { corruption: 0.3, ..GOOD }),
    ] {
        let began = Instant::now();
        let place = Place::new(100_000, faults);
        report(what, place.sessions(50, &[]), 50, began);
    }
    let outage = |what: &str, size, times, seconds, args: &[&str], wanted| {
        let began = Instant::now();
        let place = Place::new(size, GOOD);
        let code = outages(&place, times, Duration::from_secs(seconds), args);
        report(what, usize::from(code == Some(wanted)), 1, began);
    };
    outage("blackhole 2 s, three times", 2_000_000, 3, 2, &["--rate", "4M"], 0);
    outage("blackhole 20 s", 1_000_000, 1, 20, &["--rate", "4M"], 0);
    outage("blackhole 40 s", 1_000_000, 1, 40, &["--rate", "4M"], 0);
    outage("blackhole 40 s, version 1", 1_000_000, 1, 40, &["--protocol", "1"], 4);

    let began = Instant::now();
    let delay = Duration::from_millis(50);
    let place = Place::new(10_000_000, Faults { loss: 0.05, delay, ..GOOD });
    let complete = place.sessions(1, &["--rate", "4M"]);
    let rate = place.bytes.len() as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e6;
    println!("5 % loss at 100 ms, 4 Mbit/s offered: {rate:.2} Mbit/s");
    report("5 % loss at 100 ms", complete, 1, began);
}
