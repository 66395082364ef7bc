//! Broadcasts: media that grows while it is watched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod operators;
mod producers;
mod relay;
mod viewers;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Serve, assert_exit, events, named};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Byte `at` of what the producers of these tests send.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn bytes(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(byte).collect()
}

/// A server of a FIFO, and the producer's end of it.
struct Place {
    dir: tempfile::TempDir,
    serve: Serve,
}

impl Place {
    fn new(args: &[&str]) -> Self {
        Self::with(args, |_| ())
    }

    /// The same, with the command changed before it is run.
    fn with(args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let live = format!("cam.bin={}", fifo.display());
        let args = [&["--live", &live, "--keepalive", "1"], args].concat();
        let serve = Serve::start_as(
            |mut command| {
                change(&mut command);
                command
            },
            args,
        );
        Self { dir, serve }
    }

    fn fifo(&self) -> PathBuf {
        self.dir.path().join("fifo")
    }

    /// A producer. Opening the FIFO waits for the server, which is there.
    fn producer(&self) -> fs::File {
        fs::File::options().write(true).open(self.fifo()).unwrap()
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Waits until the server has this byte of the broadcast: until then it is refused.
    fn wait_for_byte(&mut self, at: usize) {
        let start = at.to_string();
        let has_come = || {
            let mut viewer = self.viewer(&["--start", &start]);
            let has_come = viewer.stdout.as_mut().unwrap().read(&mut [0]).unwrap() > 0;
            end(viewer);
            has_come
        };
        while !has_come() {}
        self.serve.wait_for("session_opened");
    }

    /// A viewer that writes to a pipe.
    fn viewer(&self, args: &[&str]) -> Child {
        let mut play = self.serve.play(args);
        play.args(["-o", "-", "--progress", "none"]).stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// Reads so many bytes of what a viewer gets.
fn read(viewer: &mut Child, length: usize) -> Vec<u8> {
    let mut got = vec![0; length];
    viewer.stdout.as_mut().unwrap().read_exact(&mut got).unwrap();
    got
}

fn end(mut viewer: Child) {
    viewer.kill().unwrap();
    viewer.wait().unwrap();
}

#[test]
fn a_broadcast_is_watched_from_its_newest_byte_or_its_first_and_is_checked_at_the_end() {
    let mut place = Place::new(&["--live-linger", "0"]);
    let early = place.serve.play(["--title", "cam.bin"]).output().unwrap();
    assert_exit(&early, 3);
    assert!(String::from_utf8_lossy(&early.stderr).contains("OPEN_NACK 7"));

    let mut producer = place.producer();
    producer.write_all(&bytes(0, 100_000)).unwrap();
    assert_eq!(place.serve.wait_for("live_started")["title"], "cam.bin");
    let list = place.serve.play(["--list", "--json"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains(r#""live":true"#) && list.contains(r#""size":null"#), "{list}");
    place.wait_for_byte(99_999);

    let out = place.out();
    let mut whole = place.serve.play(["--start", "0", "--json", "-o", out.to_str().unwrap()]);
    let whole = whole.stdout(Stdio::piped()).spawn().unwrap();
    let mut newest = place.viewer(&[]);
    for start in [Some(0), Some(100_000)] {
        let opened = place.serve.wait_for("session_opened");
        assert!([Some(0), Some(100_000)].contains(&opened["start"].as_u64()), "{start:?} {opened}");
    }
    for piece in 0..10 {
        producer.write_all(&bytes(100_000 + piece * 1_000, 1_000)).unwrap();
    }
    assert_eq!(read(&mut newest, 10_000), bytes(100_000, 10_000));
    drop(producer);
    let ended = place.serve.wait_for("live_ended");
    assert_eq!(
        (ended["bytes"].as_u64(), ended["title"].as_str()),
        (Some(110_000), Some("cam.bin"))
    );
    assert_eq!(newest.wait().unwrap().code(), Some(0));
    let whole = whole.wait_with_output().unwrap();
    assert_exit(&whole, 0);
    assert!(fs::read(&out).unwrap() == bytes(0, 110_000));
    let events = events(&whole);
    assert_eq!(named(&events, "closed")[0]["verified"], true, "{events:?}");
}

#[test]
fn what_is_not_kept_any_more_is_refused_and_a_pause_within_what_is_kept_loses_nothing() {
    let mut place = Place::new(&["--live-window", "1MiB"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 3_000_000)).unwrap();
    place.wait_for_byte(2_999_999);
    let mut viewer = place.viewer(&["--start", "2500000"]);
    assert_eq!(read(&mut viewer, 1_000), bytes(2_500_000, 1_000));
    let gone = place.serve.play(["--start", "5", "-o", "-"]).output().unwrap();
    assert_exit(&gone, 3);
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(told.contains("OPEN_NACK 9") && told.contains("kept from byte"), "{told}");
    let future = place.serve.play(["--start", "3000001", "-o", "-"]).output().unwrap();
    assert_exit(&future, 3);
    // Nobody reads for a while: the media waits.
    producer.write_all(&bytes(3_000_000, 500_000)).unwrap();
    assert_eq!(read(&mut viewer, 999_000), bytes(2_501_000, 999_000));
    viewer.kill().unwrap();
    viewer.wait().unwrap();
}

#[test]
fn at_a_quiet_edge_viewers_stay() {
    let mut place = Place::new(&["--session-timeout", "3"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--retry-for", "0"]);
    place.serve.wait_for("session_opened");
    // Twice as long as makes a stalled server: this is the quiet, not a wait for anything.
    std::thread::sleep(std::time::Duration::from_secs(5));
    producer.write_all(&bytes(1_000, 1_000)).unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(1_000, 1_000));
    // A viewer goes away without trouble.
    viewer.kill().unwrap();
    viewer.wait().unwrap();
    let closed = place.serve.wait_for("session_closed");
    assert_ne!(closed["reason"], "complete", "{closed}");
}

#[test]
fn a_server_that_comes_back_has_another_broadcast_which_a_player_joins() {
    let mut place = Place::new(&[]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let relay = common::relay::Relay::start(place.serve.port);
    let mut command = common::quicstream(place.serve.certificate().parent().unwrap());
    command.args(["play", "--port", &relay.port().to_string(), "--insecure", "--start", "0"]);
    command.args(["-o", "-", "--progress", "none"]);
    let mut viewer = command.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    let mut other = Place::new(&[]);
    let mut other_producer = other.producer();
    other_producer.write_all(&bytes(0, 500)).unwrap();
    other.serve.wait_for("live_started");
    place.serve.signal("-KILL");
    relay.lead_to(other.serve.port);
    // The newest byte of the other is where it joins: what comes after that.
    let mut got = [0; 1];
    let writer = std::thread::spawn(move || {
        let mut at = 500;
        while other_producer.write_all(&bytes(at, 100)).is_ok() {
            at += 100;
            std::thread::yield_now();
        }
    });
    viewer.stdout.as_mut().unwrap().read_exact(&mut got).unwrap();
    viewer.kill().unwrap();
    viewer.wait().unwrap();
    drop(other);
    writer.join().unwrap();
}

#[test]
fn a_viewer_that_joins_gets_the_header_and_what_comes_from_a_key_frame_on() {
    let formats =
        ["mpegts", "mp4 -movflags frag_keyframe+empty_moov+default_base_moof", "matroska"];
    for format in formats {
        let Some(mut ffmpeg) = common::ffmpeg::ffmpeg() else { return };
        ffmpeg.args(["-f", "lavfi", "-i", "testsrc2=size=192x108:rate=25", "-t", "3"]);
        ffmpeg.args(["-c:v", "libx264", "-g", "25", "-f"]).args(format.split(' ')).arg("pipe:");
        let media = ffmpeg.output().unwrap().stdout;
        let mut joins = Vec::new();
        let mut scanner = quicstream::media::Scanner::default();
        scanner.feed(&media, |offset, header| joins.push((offset, header.clone()))).unwrap();
        let (offset, header) = joins.pop().unwrap();
        assert!(joins.len() > 1 && !header.is_empty());

        let mut place = Place::new(&[]);
        let mut producer = place.producer();
        producer.write_all(&media).unwrap();
        place.serve.wait_for("live_started");
        place.wait_for_byte(media.len() - 1);
        let joined = [&header, &media[offset as usize..]].concat();
        for args in [&[][..], &["--protocol", "1"]] {
            let mut viewer = place.viewer(args);
            assert_eq!(place.serve.wait_for("session_opened")["start"], offset);
            assert!(read(&mut viewer, 1_500) == joined[..1_500]);
            end(viewer);
        }
    }
}

#[test]
fn all_of_a_broadcast_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let recordings = dir.path().join("recordings");
    let mut place = Place::new(&[
        "--live-linger",
        "0",
        "--live-window",
        "1MiB",
        "--record",
        recordings.to_str().unwrap(),
    ]);
    for round in 0..2 {
        let mut producer = place.producer();
        producer.write_all(&bytes(round, 3_000_000)).unwrap();
        drop(producer);
        place.serve.wait_for("live_ended");
    }
    // The disk may be a moment behind.
    let recorded = || fs::read(recordings.join("cam.bin")).unwrap_or_default();
    while recorded() != bytes(1, 3_000_000) {}
    let older = fs::read_dir(&recordings).unwrap().map(|entry| entry.unwrap().path());
    let older: Vec<_> = older.filter(|path| !path.ends_with("cam.bin")).collect();
    assert_eq!(older.len(), 1);
    assert!(fs::read(&older[0]).unwrap() == bytes(0, 3_000_000));
}

#[test]
fn version_1_and_browsers_watch_too() {
    let mut place = Place::new(&[]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--protocol", "1"]);
    place.serve.wait_for("session_opened");
    let mut play = place.serve.play(["--http", "--json"]);
    let mut bridge = play.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(bridge.stdout.take().unwrap());
    let url = common::next_event(&mut lines).unwrap()["url"].as_str().unwrap().to_owned();
    let (host, secret) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut http = std::net::TcpStream::connect(host).unwrap();
    write!(http, "GET /{secret}t/cam.bin HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-\r\n\r\n")
        .unwrap();
    place.serve.wait_for("session_opened");
    place.serve.wait_for("session_opened");
    producer.write_all(&bytes(1_000, 1_000)).unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(1_000, 1_000));
    let mut answer = Vec::new();
    while !answer.ends_with(&bytes(1_900, 100)) && !answer.ends_with(b"\r\n")
        || answer.len() < 1_200
    {
        let mut piece = [0; 4096];
        let read = http.read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    let head = String::from_utf8_lossy(&answer[..200]).to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok") && !head.contains("content-length"), "{head}");
    for child in [&mut viewer, &mut bridge] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
