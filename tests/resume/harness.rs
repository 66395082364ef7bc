//! Servers that can be killed, and plays that are followed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Serve, next_event};

/// Bytes of the media that is interrupted at random points.
pub(crate) const SIZE: usize = 20_000_000;
/// The rate at which a play of it takes two seconds, bit/s.
pub(crate) const RATE: &str = "80000000";
/// The longest that any process may take; a test ends in time whatever happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that soon sees who is gone.
pub(crate) struct Server(Serve);

impl Server {
    pub(crate) fn start(media: &Path) -> Self {
        let args = ["--keepalive", "1", "--session-timeout", "3", "--media"].map(OsStr::new);
        Self(Serve::start(args.into_iter().chain([media.as_os_str()])))
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again, and tells when it was ready.
    pub(crate) fn restart(&mut self) -> Instant {
        self.0.restart();
        Instant::now()
    }

    /// `quicstream play` from it.
    pub(crate) fn play(&self, args: &[&str]) -> Command {
        self.0.play(["--json"].iter().chain(args))
    }

    /// `quicstream play -o FILE` from it.
    pub(crate) fn play_to(&self, out: &Path, args: &[&str]) -> Command {
        let mut command = self.play(args);
        command.arg("-o").arg(out);
        command
    }

    /// Where its state is, and that of who plays from it.
    pub(crate) fn state(&self) -> &Path {
        self.0.state()
    }
}

/// Kills a process that takes too long.
pub(crate) struct Watchdog(
    #[expect(dead_code, reason = "its end is what counts")] mpsc::Sender<()>,
);

impl Watchdog {
    pub(crate) fn of(child: &Child) -> Self {
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
pub(crate) struct Play {
    child: Child,
    events: BufReader<ChildStdout>,
    _watchdog: Watchdog,
}

/// What became of a play.
pub(crate) struct Played {
    pub(crate) code: Option<i32>,
    /// Its events from where nobody read them.
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Play {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        let _watchdog = Watchdog::of(&child);
        Self { child, events, _watchdog }
    }

    /// The next event of this name.
    pub(crate) fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let Some(event) = next_event(&mut self.events) else {
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("the play ended before {name}: {said}");
            };
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Waits until so many bytes have come, counted from the first.
    pub(crate) fn wait_for_bytes(&mut self, bytes: u64) {
        self.wait_for("accepted");
        while bytes > 0 && self.wait_for("chunk")["total"].as_u64().unwrap() < bytes {}
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn finish(mut self) -> Played {
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
    pub(crate) fn of(command: Command) -> Self {
        Play::start(command).finish()
    }

    #[track_caller]
    pub(crate) fn assert_exit(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{:?}\n{}", self.events, self.stderr);
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == name).collect()
    }

    /// The bytes that it received.
    pub(crate) fn received(&self) -> u64 {
        self.named("closed")[0]["bytes"].as_u64().unwrap()
    }
}

/// FILE.part or FILE.part.json.
pub(crate) fn beside(out: &Path, suffix: &str) -> PathBuf {
    out.with_added_extension(suffix)
}

#[track_caller]
pub(crate) fn assert_nothing_beside(out: &Path) {
    assert!(!beside(out, "part").exists() && !beside(out, "part.json").exists());
}

/// Looks at a file from its first moment on: it has to be whole then.
pub(crate) fn assert_whole_when_it_appears(out: &Path, bytes: &[u8], ended: &mpsc::Receiver<()>) {
    while !out.exists() {
        if ended.recv_timeout(Duration::from_millis(1)) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    assert!(fs::read(out).unwrap() == bytes, "it is whole as soon as it is there");
}

/// `count` points in the media, one at random in each of as many equal parts of it. Behind them is
/// enough that a test which hears late of one does not find the play over.
pub(crate) fn points(count: usize) -> VecDeque<u64> {
    let part = SIZE as f64 * 0.6 / count as f64;
    (0..count).map(|i| ((i as f64 + rand::random_range(0.0..1.0)) * part) as u64).collect()
}

/// Does something with each of the jobs, so many at a time.
pub(crate) fn side_by_side<T: Send>(workers: usize, jobs: VecDeque<T>, work: impl Fn(T) + Sync) {
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
pub(crate) struct Recoveries(pub(crate) Mutex<Vec<Duration>>);

impl Recoveries {
    pub(crate) fn add(&self, recovery: Duration) {
        self.0.lock().unwrap().push(recovery);
    }

    /// Prints them, sorted.
    pub(crate) fn print(self) {
        let mut all = self.0.into_inner().unwrap();
        all.sort();
        let total: Duration = all.iter().sum();
        println!("{} recoveries, mean {:.0?}: {all:.0?}", all.len(), total / all.len() as u32);
    }
}
