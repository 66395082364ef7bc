//! Child processes: pinned to a core, heard line by line, measured through /proc, and killed when
//! they are dropped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The core of servers, and that of clients.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Core {
    Server = 0,
    Client = 1,
}

/// How much is asked for before other work of the machine, which is not what is to be measured.
/// Without the right to it, `nice` only says so.
const NICENESS: &str = "-15";

/// Whether processes can be kept on a core of their own.
pub(crate) fn can_pin() -> bool {
    let quiet = Command::new("taskset").args(["-c", "0,1", "true"]).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A process that prints events as JSON lines.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<(Instant, Value)>,
    last: Arc<Last>,
    pub(crate) spawned: Instant,
}

/// Figures as of the last line: a process that has ended has none any more.
#[derive(Debug, Default)]
struct Last {
    peak: AtomicU64,
    cpu: AtomicU64,
}

impl Last {
    fn note(&self, pid: u32) {
        self.peak.fetch_max(status(pid, "VmHWM").unwrap_or(0), Ordering::Relaxed);
        self.cpu.fetch_max(cpu(pid).unwrap_or(0), Ordering::Relaxed);
    }
}

impl Process {
    /// Starts it on a core, or on any.
    pub(crate) fn start(command: &Command, core: Option<Core>) -> Self {
        let mut command = preferred(command, core);
        let spawned = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        let last = Arc::new(Last::default());
        let (pid, seen) = (child.id(), last.clone());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let now = Instant::now();
                seen.note(pid);
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send((now, value)).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, last, spawned }
    }

    /// The next event of a name, and when it came; others are passed over.
    pub(crate) fn event(&self, name: &str, patience: Duration) -> (Instant, Value) {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (at, value) = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(error) => panic!("no event {name:?} within {patience:?}: {error}"),
            };
            assert!(name == "error" || value["event"] != "error", "{value}");
            if value["event"] == name {
                return (at, value);
            }
        }
    }

    /// Waits for its end, which must be a success.
    pub(crate) fn finish(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(Instant::now() < deadline, "a process does not end within {patience:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The most memory it has had resident until its last line, or until now while it runs, bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.last.note(self.child.id());
        self.last.peak.load(Ordering::Relaxed)
    }

    /// The memory it has resident, bytes.
    pub(crate) fn resident(&self) -> u64 {
        status(self.child.id(), "VmRSS").unwrap()
    }

    /// The time it has had of a core until its last line, or until now while it runs.
    pub(crate) fn cpu(&self) -> Duration {
        self.last.note(self.child.id());
        Duration::from_nanos(self.last.cpu.load(Ordering::Relaxed))
    }
}

impl Process {
    /// The time that each of its threads has had of a core, by name.
    pub(crate) fn threads(&self) -> BTreeMap<String, Duration> {
        let mut threads = BTreeMap::new();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        for task in tasks.map_while(Result::ok) {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let time = Duration::from_nanos(nanoseconds(&task).unwrap_or(0));
            *threads.entry(name.trim().to_owned()).or_default() += time;
        }
        threads
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of /proc/PID/status, in bytes.
fn status(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The time that the threads of a process have had of a core: the kernel's nanoseconds, which are
/// finer than the ticks of utime and stime and the same sum, but for threads that have ended.
fn cpu(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.map_while(Result::ok);
    Some(threads.filter_map(|thread| nanoseconds(&thread)).sum())
}

fn nanoseconds(thread: &fs::DirEntry) -> Option<u64> {
    let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
    schedstat.split(' ').next()?.parse().ok()
}

/// The same command behind `nice` and `taskset`, which become it: the process id is that of the
/// command.
fn preferred(command: &Command, core: Option<Core>) -> Command {
    let mut preferred = Command::new("nice");
    preferred.args(["-n", NICENESS]);
    if let Some(core) = core {
        preferred.args(["taskset", "-c", &(core as u8).to_string()]);
    }
    preferred.arg(command.get_program());
    dress(preferred, command)
}

fn dress(mut copy: Command, original: &Command) -> Command {
    copy.args(original.get_args());
    for (name, value) in original.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    copy
}
