//! A play survives whatever happens to its server, its media and itself: what it delivers is one
//! unbroken stream of one media, or it ends with an error and keeps what came.
//!
//! The whole of "50 of 50" is `cargo test --test resume -- --ignored --nocapture`; it prints how
//! long each recovery took. `cargo test` does a few of the points.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Serve, assert_exit, media, next_event, quicstream};
use serde_json::Value;

/// Bytes of the media that is interrupted at random points.
const SIZE: usize = 20_000_000;
/// The rate at which a play of it takes two seconds, bit/s.
const RATE: &str = "80000000";
/// The longest that any process may take; a test ends in time whatever happens.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that can be killed and comes back on its port with its certificate.
struct Server {
    child: Child,
    state: PathBuf,
    media: PathBuf,
    port: u16,
}

impl Server {
    /// Starts one whose state is in `home`.
    fn start(home: &Path, media: &Path) -> Self {
        let state = home.join("state");
        fs::create_dir_all(&state).unwrap();
        let (child, port) = Self::spawn(&state, media, 0).expect("a free port");
        Self { child, state, media: media.to_owned(), port }
    }

    fn spawn(state: &Path, media: &Path, port: u16) -> Option<(Child, u16)> {
        let mut child = quicstream(state)
            .args(["serve", "--json", "--keepalive", "1", "--session-timeout", "3"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--media"])
            .arg(media)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The rest of its events fits into the pipe.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let Some(listening) = next_event(&mut stdout) else {
            child.wait().unwrap();
            return None;
        };
        child.stdout = Some(stdout.into_inner());
        let address: std::net::SocketAddr = listening["addr"].as_str().unwrap().parse().unwrap();
        Some((child, address.port()))
    }

    /// Ends it as a power cut would.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after a [`Server::kill`], and tells when it was ready.
    fn restart(&mut self) -> Instant {
        // Somebody else's client may have been given the port meanwhile, for a moment.
        let deadline = Instant::now() + PATIENCE;
        self.child = loop {
            match Self::spawn(&self.state, &self.media, self.port) {
                Some((child, _)) => break child,
                None => assert!(Instant::now() < deadline, "port {} is taken", self.port),
            }
        };
        Instant::now()
    }

    /// `quicstream play` from it.
    fn play(&self, args: &[&str]) -> Command {
        let mut command = quicstream(&self.state);
        command.args(["play", "--json", "--port", &self.port.to_string()]).args(args);
        command
    }

    /// `quicstream play -o FILE` from it.
    fn play_to(&self, out: &Path, args: &[&str]) -> Command {
        let mut command = self.play(args);
        command.arg("-o").arg(out);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a process that takes too long.
struct Watchdog(#[expect(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

impl Watchdog {
    fn of(child: &Child) -> Self {
        let pid = child.id().to_string();
        let (alive, ended) = mpsc::channel();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        Self(alive)
    }
}

/// A play to a file whose events are followed.
struct Play {
    child: Child,
    events: BufReader<ChildStdout>,
    _watchdog: Watchdog,
}

/// What became of a play.
struct Played {
    code: Option<i32>,
    /// Its events from where nobody read them.
    events: Vec<Value>,
    stderr: String,
}

impl Play {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        let _watchdog = Watchdog::of(&child);
        Self { child, events, _watchdog }
    }

    /// The next event of this name.
    fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let event = next_event(&mut self.events).unwrap_or_else(|| panic!("no {name}"));
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Waits until so many bytes have come, counted from the first.
    fn wait_for_bytes(&mut self, bytes: u64) {
        self.wait_for("accepted");
        while bytes > 0 && self.wait_for("chunk")["total"].as_u64().unwrap() < bytes {}
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn finish(mut self) -> Played {
        let mut events = Vec::new();
        while let Some(event) = next_event(&mut self.events) {
            events.push(event);
        }
        let output = self.child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Played { code: output.status.code(), events, stderr }
    }
}

impl Played {
    fn of(command: Command) -> Self {
        Play::start(command).finish()
    }

    #[track_caller]
    fn assert_exit(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{:?}\n{}", self.events, self.stderr);
    }

    fn named(&self, name: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == name).collect()
    }

    /// The bytes that it received.
    fn received(&self) -> u64 {
        self.named("closed")[0]["bytes"].as_u64().unwrap()
    }
}

/// FILE.part or FILE.part.json.
fn beside(out: &Path, suffix: &str) -> PathBuf {
    out.with_added_extension(suffix)
}

#[track_caller]
fn assert_nothing_beside(out: &Path) {
    assert!(!beside(out, "part").exists() && !beside(out, "part.json").exists());
}

/// Looks at a file from its first moment on: it has to be whole then.
fn assert_whole_when_it_appears(out: &Path, bytes: &[u8], ended: &mpsc::Receiver<()>) {
    while !out.exists() {
        if ended.recv_timeout(Duration::from_millis(1)) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    assert!(fs::read(out).unwrap() == bytes, "it is whole as soon as it is there");
}

/// `count` points in the media, one at random in each of as many equal parts of it.
fn points(count: usize) -> VecDeque<u64> {
    let part = SIZE as f64 * 0.97 / count as f64;
    (0..count).map(|i| ((i as f64 + rand::random_range(0.0..1.0)) * part) as u64).collect()
}

/// Does something with each of the jobs, so many at a time.
fn side_by_side<T: Send>(workers: usize, jobs: VecDeque<T>, work: impl Fn(T) + Sync) {
    let jobs = Mutex::new(jobs);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop_front() else { return };
                    work(job);
                }
            });
        }
    });
}

/// Recoveries, from the moment when the server was ready again to its OPEN_ACK.
#[derive(Default)]
struct Recoveries(Mutex<Vec<Duration>>);

impl Recoveries {
    fn add(&self, recovery: Duration) {
        self.0.lock().unwrap().push(recovery);
    }

    /// Prints them, sorted.
    fn print(self) {
        let mut all = self.0.into_inner().unwrap();
        all.sort();
        let total: Duration = all.iter().sum();
        println!("{} recoveries, mean {:.0?}: {all:.0?}", all.len(), total / all.len() as u32);
    }
}

mod the_server_is_killed {
    use super::*;

    /// A play during which the server is killed, and started again, at each of these points.
    fn play(points: &[u64], recoveries: &Recoveries) {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let mut server = Server::start(home.path(), &path);
        let out = home.path().join("out.mp4");
        let (playing, ended) = mpsc::channel();
        thread::scope(|scope| {
            let (appearing, expected) = (&out, &bytes);
            scope.spawn(move || assert_whole_when_it_appears(appearing, expected, &ended));
            let playing = playing;
            let mut play = Play::start(server.play_to(&out, &["--rate", RATE]));
            play.wait_for("accepted");
            let mut total = 0;
            for &point in points {
                while total < point {
                    total = play.wait_for("chunk")["total"].as_u64().unwrap();
                }
                server.kill();
                let ready = server.restart();
                let lost = play.wait_for("reconnecting");
                let offset = lost["offset"].as_u64().unwrap();
                let accepted = play.wait_for("accepted");
                recoveries.add(ready.elapsed());
                assert!(offset >= point, "{lost} at {point}");
                assert_eq!(accepted["start"], offset, "it goes on at the next byte");
            }
            let played = play.finish();
            drop(playing);
            played.assert_exit(0);
            assert_eq!(played.named("closed")[0]["complete"], true);
            assert_eq!(played.received(), SIZE as u64, "no byte came twice");
        });
        assert_nothing_beside(&out);
    }

    #[test]
    fn and_a_file_is_whole_and_not_published_before() {
        let points: Vec<_> = points(8).into();
        // Each play has its points from all parts of the media.
        let plays = (0..4).map(|play| [points[play], points[play + 4]]).collect();
        let recoveries = Recoveries::default();
        side_by_side(2, plays, |points: [u64; 2]| play(&points, &recoveries));
        recoveries.print();
    }

    #[test]
    #[ignore = "takes a minute"]
    fn at_50_points() {
        let recoveries = Recoveries::default();
        side_by_side(3, points(50), |point| play(&[point], &recoveries));
        assert_eq!(recoveries.0.lock().unwrap().len(), 50);
        recoveries.print();
    }

    #[test]
    fn and_a_player_on_stdout_sees_one_stream() {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let mut server = Server::start(home.path(), &path);
        let mut command = server.play(&["--rate", RATE, "-o", "-"]);
        let mut play = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _watchdog = Watchdog::of(&play);
        let mut events = BufReader::new(play.stderr.take().unwrap());
        let events = thread::spawn(move || {
            std::iter::from_fn(|| next_event(&mut events))
                .filter(|event| event["event"] == "reconnecting")
                .count()
        });
        let mut player = play.stdout.take().unwrap();
        let mut received = Vec::new();
        let points = points(2);
        for point in points {
            let missing = point.saturating_sub(received.len() as u64);
            (&mut player).take(missing).read_to_end(&mut received).unwrap();
            server.kill();
            server.restart();
        }
        player.read_to_end(&mut received).unwrap();
        assert_eq!(play.wait().unwrap().code(), Some(0));
        assert!(received == bytes, "{} of {SIZE} bytes", received.len());
        assert!(events.join().unwrap() >= 2);
    }

    #[test]
    fn again_and_again_while_the_player_takes_nothing_and_that_is_no_outage() {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let mut server = Server::start(home.path(), &path);
        let mut command = server.play(&["--retry-for", "2", "-o", "-"]);
        let mut play = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _watchdog = Watchdog::of(&play);
        let mut events = BufReader::new(play.stderr.take().unwrap());
        let mut wait_for = |name: &str| loop {
            let event = next_event(&mut events).unwrap_or_else(|| panic!("no {name}"));
            assert_ne!(event["event"], "error", "{event}");
            if event["event"] == name {
                return event;
            }
        };
        wait_for("paused");
        // Each of these pauses begins after a second of silence: together they are longer than
        // what --retry-for allows without a byte.
        for _ in 0..3 {
            server.kill();
            server.restart();
            let lost = wait_for("reconnecting");
            assert_eq!(wait_for("accepted")["start"], lost["offset"]);
            wait_for("paused");
        }
        let mut received = Vec::new();
        play.stdout.take().unwrap().read_to_end(&mut received).unwrap();
        assert!(received == bytes, "{} of {SIZE} bytes", received.len());
        assert_eq!(wait_for("closed")["complete"], true);
        assert_eq!(play.wait().unwrap().code(), Some(0));
    }

    /// A play whose server is killed in the middle of it for good.
    fn abandoned(retry_for: &str) -> (Played, Duration) {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let mut server = Server::start(home.path(), &path);
        let out = home.path().join("out.mp4");
        let args = ["--rate", RATE, "--retry-for", retry_for];
        let mut play = Play::start(server.play_to(&out, &args));
        play.wait_for_bytes(SIZE as u64 / 3);
        server.kill();
        let killed = Instant::now();
        let played = play.finish();
        let took = killed.elapsed();
        played.assert_exit(4);
        assert!(!out.exists());
        let part = fs::read(beside(&out, "part")).unwrap();
        assert!(part.len() > SIZE / 3 && bytes.starts_with(&part));
        assert!(played.stderr.contains("out.mp4.part"), "{}", played.stderr);
        (played, took)
    }

    #[test]
    fn for_good_and_play_gives_up_in_time() {
        let (played, took) = abandoned("1");
        let tries = played.named("reconnecting");
        assert!(!tries.is_empty(), "{:?}", played.events);
        // Three seconds for the loss to be noticed, one for the tries.
        assert!(took < Duration::from_secs(7), "{took:?}: {tries:?}");
    }

    #[test]
    fn for_good_and_nobody_wants_to_wait() {
        let (played, took) = abandoned("0");
        assert!(played.named("reconnecting").is_empty());
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

mod play_is_stopped {
    use super::*;

    /// A play that is killed at a point, and another one that fetches the rest.
    fn kill_and_continue(server: &Server, home: &Path, bytes: &[u8], point: u64) {
        let out = home.join(format!("{point}.mp4"));
        let mut play = Play::start(server.play_to(&out, &["--rate", RATE]));
        play.wait_for_bytes(point);
        play.signal("-KILL");
        assert_eq!(play.finish().code, None, "killed at {point}");
        assert!(!out.exists());
        let kept = fs::metadata(beside(&out, "part")).unwrap().len();

        let played = Played::of(server.play_to(&out, &["--rate", "max"]));
        played.assert_exit(0);
        assert!(fs::read(&out).unwrap() == bytes, "killed at {point}");
        assert_eq!(played.received(), SIZE as u64 - kept, "only what was missing");
        let offsets: Vec<_> =
            played.named("continuing").iter().map(|event| event["offset"].as_u64()).collect();
        let said = [Some(kept)];
        assert_eq!(offsets, if kept > 0 { &said[..] } else { &[] });
        assert_nothing_beside(&out);
        fs::remove_file(out).unwrap();
    }

    fn at_random(count: usize, workers: usize) {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let server = Server::start(home.path(), &path);
        side_by_side(workers, points(count), |point| {
            kill_and_continue(&server, home.path(), &bytes, point);
        });
    }

    #[test]
    fn by_a_kill_and_the_next_one_fetches_only_what_is_missing() {
        at_random(4, 2);
    }

    #[test]
    #[ignore = "takes a minute"]
    fn by_a_kill_at_50_points() {
        at_random(50, 3);
    }

    /// The command that a stopped play says it is continued by.
    fn advice(played: &Played) -> String {
        let line = played.stderr.lines().find_map(|line| line.split_once("to continue: "));
        line.unwrap_or_else(|| panic!("{}", played.stderr)).1.to_owned()
    }

    /// A play that is interrupted, with these flags.
    fn interrupted(server: &Server, out: &Path, args: &[&str]) -> Played {
        let mut play = Play::start(server.play_to(out, &[&["--rate", RATE], args].concat()));
        play.wait_for_bytes(SIZE as u64 / 4);
        play.signal("-INT");
        let played = play.finish();
        played.assert_exit(130);
        assert!(!out.exists());
        assert!(fs::metadata(beside(out, "part")).unwrap().len() >= SIZE as u64 / 4);
        played
    }

    /// Runs the command that a stopped play printed.
    fn run(advice: &str, server: &Server) -> Played {
        let mut shell = quicstream(&server.state);
        let environment: Vec<_> = shell
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        shell = Command::new("sh");
        shell.args(["-c", advice]).envs(environment).current_dir(&server.state);
        Played::of(shell)
    }

    #[test]
    fn by_an_interrupt_and_says_how_to_go_on() {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let server = Server::start(home.path(), &path);
        let out = home.path().join("it's 1 film.mp4");
        // A play that started over goes on, too, when it is continued.
        for flags in [&[][..], &["--no-continue"]] {
            let stopped = interrupted(&server, &out, flags);
            let kept = fs::metadata(beside(&out, "part")).unwrap().len();
            let played = run(&advice(&stopped), &server);
            played.assert_exit(0);
            assert_eq!(played.named("continuing")[0]["offset"], kept);
            assert_eq!(played.received(), SIZE as u64 - kept);
            assert!(fs::read(&out).unwrap() == bytes);
            assert_nothing_beside(&out);
            fs::remove_file(&out).unwrap();
        }
    }

    #[test]
    fn and_starts_over_if_it_is_told_to() {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let server = Server::start(home.path(), &path);
        let out = home.path().join("out.mp4");
        interrupted(&server, &out, &[]);
        let played = Played::of(server.play_to(&out, &["--rate", "max", "--no-continue"]));
        played.assert_exit(0);
        assert!(played.named("continuing").is_empty());
        assert_eq!(played.received(), SIZE as u64);
        assert!(fs::read(&out).unwrap() == bytes);
        assert_nothing_beside(&out);
    }

    #[test]
    fn and_another_start_is_another_play() {
        let home = tempfile::tempdir().unwrap();
        let (path, bytes) = media(home.path(), SIZE);
        let server = Server::start(home.path(), &path);
        let out = home.path().join("out.mp4");
        for (first, second, from) in
            [("25%", "50%", SIZE / 2), ("25%", "0", 0), ("100", "10%", SIZE / 10)]
        {
            interrupted(&server, &out, &["--start", first]);
            let played = Played::of(server.play_to(&out, &["--rate", "max", "--start", second]));
            played.assert_exit(0);
            assert!(fs::read(&out).unwrap() == bytes[from..], "{first}, then {second}");
            fs::remove_file(&out).unwrap();
        }
        interrupted(&server, &out, &["--start", "25%"]);
        let kept = fs::metadata(beside(&out, "part")).unwrap().len();
        let played = Played::of(server.play_to(&out, &["--rate", "max", "--start", "25%"]));
        assert_eq!(played.received(), SIZE as u64 * 3 / 4 - kept);
        assert!(fs::read(&out).unwrap() == bytes[SIZE / 4..]);
    }
}

mod the_media_changes {
    use super::*;

    /// Eight blocks of the server's cache, which is at most two ahead of a play.
    const SIZE: usize = 8 << 20;
    /// Time to change it while it is streamed: two seconds.
    const RATE: &str = "24000000";

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Change {
        /// By another file.
        Replaced {
            size: usize,
        },
        /// The same file, other bytes.
        Overwritten {
            size: usize,
        },
        Truncated,
        Deleted,
    }

    const CHANGES: [Change; 6] = [
        Change::Replaced { size: SIZE },
        Change::Replaced { size: SIZE + 1 },
        Change::Overwritten { size: SIZE },
        Change::Overwritten { size: SIZE + 1 },
        Change::Truncated,
        Change::Deleted,
    ];

    impl Change {
        /// What is there after the change of a file of these bytes.
        fn outcome(self, old: &[u8]) -> Option<Vec<u8>> {
            match self {
                Self::Replaced { size } | Self::Overwritten { size } => {
                    Some(old.iter().map(|byte| !byte).cycle().take(size).collect())
                }
                Self::Truncated => Some(old[..SIZE * 7 / 8].to_vec()),
                Self::Deleted => None,
            }
        }

        /// Changes a file to its outcome.
        fn make(self, path: &Path, outcome: &[u8]) {
            let open = || OpenOptions::new().write(true).open(path).unwrap();
            match self {
                Self::Replaced { .. } => {
                    let draft = path.with_extension("new");
                    fs::write(&draft, outcome).unwrap();
                    fs::rename(draft, path).unwrap();
                }
                Self::Overwritten { .. } => open().write_all(outcome).unwrap(),
                Self::Truncated => open().set_len(outcome.len() as u64).unwrap(),
                Self::Deleted => fs::remove_file(path).unwrap(),
            }
        }
    }

    /// A play in the middle of which the media changes, while its server is there or while it is
    /// not.
    fn change(change: Change, away: bool) {
        let home = tempfile::tempdir().unwrap();
        let library = home.path().join("media");
        fs::create_dir(&library).unwrap();
        let (path, old) = media(&library, SIZE);
        let new = change.outcome(&old);
        let mut server = Server::start(home.path(), &library);
        let out = home.path().join("out.mp4");
        let mut play = Play::start(server.play_to(&out, &["--rate", RATE, "--title", "media.mp4"]));
        play.wait_for_bytes(SIZE as u64 / 8);
        if away {
            server.kill();
        }
        change.make(&path, new.as_deref().unwrap_or_default());
        if away {
            server.restart();
        }
        let played = play.finish();

        // An open file stays what it was, whatever becomes of its name.
        if !away && matches!(change, Change::Replaced { .. } | Change::Deleted) {
            played.assert_exit(0);
            assert!(fs::read(&out).unwrap() == old, "{change:?}");
            assert_nothing_beside(&out);
            return;
        }
        let code = if new.is_some() { 6 } else { 3 };
        let assert_kept = |played: &Played| {
            played.assert_exit(code);
            assert!(!out.exists(), "{change:?}");
            let part = fs::read(beside(&out, "part")).unwrap();
            assert!(part.len() >= SIZE / 8 && old.starts_with(&part), "{change:?}");
            assert!(played.stderr.contains("out.mp4.part"), "{}", played.stderr);
        };
        assert_kept(&played);
        let again = |flags: &[&str]| {
            let args = [&["--rate", "max", "--title", "media.mp4"], flags].concat();
            Played::of(server.play_to(&out, &args))
        };
        let second = again(&[]);
        assert_kept(&second);
        if let Some(new) = new {
            assert!(second.stderr.contains("--no-continue"), "{}", second.stderr);
            again(&["--no-continue"]).assert_exit(0);
            assert!(fs::read(&out).unwrap() == new, "{change:?}");
            assert_nothing_beside(&out);
        }
    }

    #[test]
    fn while_it_is_streamed() {
        side_by_side(3, CHANGES.into(), |kind| change(kind, false));
    }

    #[test]
    fn while_the_server_is_away() {
        side_by_side(3, CHANGES.into(), |kind| change(kind, true));
    }
}

/// Pauses are made by a key, so the player is driven as the executable drives it.
mod a_pause_survives_the_server {
    use std::net::SocketAddr;
    use std::sync::{Arc, mpsc as mpsc_std};

    use quicstream::client::{self, Event, Outcome, Sink, Start, Target};
    use quicstream::media::Library;
    use quicstream::protocol::{OpenStream, Version};
    use quicstream::server::{self, Pacing, Sessions};
    use quicstream::session::Offer;
    use quicstream::transport::{Address, Congestion, Identity, Listener, Settings, Trust};
    use tokio::runtime;
    use tokio::sync::{mpsc, oneshot, watch};
    use tokio::time::timeout;

    use super::*;

    const SIZE: usize = 2_000_000;

    fn transport() -> Settings {
        Settings {
            mtu: 1500,
            congestion: Congestion::Bbr,
            idle_timeout: Duration::from_secs(30),
            socket_buffer: 1 << 20,
        }
    }

    fn offers() -> server::Settings {
        let offer = Offer {
            codecs: vec!["h264".into()],
            bitrate: 1_000_000,
            chunk_size: 16_384,
            keepalive: Duration::from_secs(1),
            session_timeout: Duration::from_secs(3),
        };
        server::Settings { offer, max_connections: 10, max_rate: 0, pacing: Pacing::Client }
    }

    fn identity(home: &Path) -> Identity {
        Identity::load_or_create(&home.join("cert.pem"), &home.join("key.pem")).unwrap()
    }

    /// A server in this process, which is gone without a word when its runtime is.
    struct Server {
        address: SocketAddr,
        events: mpsc::UnboundedReceiver<server::Event>,
        alive: oneshot::Sender<()>,
        thread: thread::JoinHandle<()>,
    }

    impl Server {
        /// Starts one with the certificate and the media that are in `home`.
        fn start(address: SocketAddr, home: &Path) -> Self {
            let identity = identity(home);
            let library = Arc::new(Library::new(Some(&home.join("media.mp4")), 1 << 26).unwrap());
            let (ready, bound) = mpsc_std::channel();
            let (alive, killed) = oneshot::channel::<()>();
            let (report, events) = mpsc::unbounded_channel();
            let report = move |event| report.send(event).unwrap_or_default();
            let thread = thread::spawn(move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _guard = runtime.enter();
                let deadline = Instant::now() + PATIENCE;
                let listener = loop {
                    match Listener::bind(address, &identity, &transport(), 10) {
                        Ok(listener) => break listener,
                        Err(error) => assert!(Instant::now() < deadline, "{error}"),
                    }
                };
                ready.send(listener.address()).unwrap();
                let sessions = Arc::<Sessions>::default();
                let forever = std::future::pending();
                let serving = server::serve(listener, library, offers(), sessions, report, forever);
                runtime.block_on(async {
                    tokio::select! {
                        () = serving => {}
                        _ = killed => {}
                    }
                });
            });
            Self { address: bound.recv().unwrap(), events, alive, thread }
        }

        fn kill(self) {
            drop(self.alive);
            self.thread.join().unwrap();
        }

        /// Waits until a session begins at a byte; then, if it is paused, and at once.
        async fn session(&mut self, paused: bool) -> u64 {
            let start = match self.events.recv().await {
                Some(server::Event::Opened { start, .. }) => start,
                other => panic!("{other:?}"),
            };
            if paused {
                let next = self.events.recv().await;
                assert!(matches!(next, Some(server::Event::Paused { .. })), "{next:?}");
            }
            start
        }
    }

    fn settings() -> client::Settings {
        client::Settings {
            open: OpenStream { codec: "h264".into(), ..OpenStream::default() },
            script: None,
            connect_timeout: Duration::from_secs(10),
            versions: Version::ALL.to_vec(),
            title: None,
            start: Start::Byte(0),
            rate: client::Rate::BitsPerSecond(8_000_000),
            retry_for: PATIENCE,
            verify: true,
        }
    }

    /// Waits for an event that `take` wants.
    async fn until<E, T>(
        events: &mut mpsc::UnboundedReceiver<E>,
        take: impl Fn(&E) -> Option<T>,
    ) -> T {
        loop {
            if let Some(taken) = take(&events.recv().await.expect("it goes on")) {
                return taken;
            }
        }
    }

    #[tokio::test]
    async fn and_the_play_goes_on_when_the_user_wants() {
        let home = tempfile::tempdir().unwrap();
        let (_, bytes) = media(home.path(), SIZE);
        let mut server = Server::start("127.0.0.1:0".parse().unwrap(), home.path());
        let address = server.address;

        let whom = client::Server {
            address: Address { host: "127.0.0.1".into(), port: address.port() },
            trust: Trust::Pin(identity(home.path()).fingerprint()),
            name: None,
            transport: transport(),
        };
        let out = home.path().join("out.mp4");
        let target = Target::File { path: out.clone(), overwrite: false, resume: true };
        let sink = Sink::open(&target).unwrap();
        let (steer, commands) = mpsc::unbounded_channel();
        let (report, mut events) = mpsc::unbounded_channel();
        let playing = tokio::spawn(async move {
            let (publish, _) = watch::channel(client::Snapshot::default());
            let report = |event| report.send(event).unwrap_or_default();
            client::play(&whom, &settings(), sink, commands, publish, report).await
        });

        let session = async {
            assert_eq!(server.session(false).await, 0);
            until(&mut events, |event| match event {
                Event::Chunk { total, .. } => (*total > SIZE as u64 / 4).then_some(()),
                _ => None,
            })
            .await;
            steer.send(client::Command::TogglePause).unwrap();
            until(&mut server.events, |event| {
                matches!(event, server::Event::Paused { .. }).then_some(())
            })
            .await;
            for _ in 0..2 {
                server.kill();
                server = Server::start(address, home.path());
                let lost = until(&mut events, |event| match event {
                    Event::Reconnecting { offset, .. } => Some(*offset),
                    _ => None,
                })
                .await;
                assert_eq!(server.session(true).await, lost, "it goes on at the next byte");
            }
            assert!(!out.exists());
            steer.send(client::Command::TogglePause).unwrap();
            let next = server.events.recv().await;
            assert!(matches!(next, Some(server::Event::Resumed { .. })), "{next:?}");
            let outcome = playing.await.unwrap().unwrap();
            server.kill();
            outcome
        };
        let outcome = timeout(PATIENCE, session).await.expect("it comes to its end");
        assert_eq!(outcome, Outcome::Complete);
        assert!(fs::read(&out).unwrap() == bytes);
        assert_nothing_beside(&out);
    }
}

#[test]
fn twenty_thousand_titles_are_listed_and_a_new_one_is_found_at_once() {
    const TITLES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    for i in 0..TITLES {
        // The names come in no order.
        fs::write(
            dir.path().join(format!("{:08x}.mp4", (i as u32).wrapping_mul(2_654_435_761))),
            "x",
        )
        .unwrap();
    }
    let serve = Serve::start(["--media", dir.path().to_str().unwrap()]);
    let list = || {
        let output: Output = serve.play(["--list", "--json"]).output().unwrap();
        assert_exit(&output, 0);
        common::events(&output)
            .into_iter()
            .map(|entry| entry["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let titles = list();
    assert_eq!(titles.len(), TITLES);
    assert!(titles.is_sorted());
    fs::write(dir.path().join("new.mp4"), "new").unwrap();
    assert_eq!(list().len(), TITLES + 1);
    let output = serve.play(["--title", "new.mp4", "-o", "-"]).output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(output.stdout, b"new");
}
