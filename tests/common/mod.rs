//! What the tests of the executable share.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

pub(crate) mod ffmpeg;
pub(crate) mod pty;
pub(crate) mod python;
pub(crate) mod relay;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A server that is killed when the test ends.
pub(crate) struct Serve {
    args: Vec<OsString>,
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) port: u16,
    pub(crate) fingerprint: String,
    pub(crate) url: String,
    /// The event that says that it listens.
    pub(crate) listening: Value,
    state: tempfile::TempDir,
}

impl Serve {
    /// Starts `quicstream serve` on a free loopback port and waits until it is bound.
    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::start_as(|command| command, args)
    }

    /// The same, with the command changed before it is run.
    pub(crate) fn start_as<S: AsRef<OsStr>>(
        change: impl FnOnce(Command) -> Command,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let command = change(serve(state.path(), 0, &args));
        let (child, mut stdout) = spawn(command);
        let listening = next_event(&mut stdout).expect("the server says that it listens");
        assert_eq!(listening["event"], "listening", "{listening}");
        let address: std::net::SocketAddr = listening["addr"].as_str().unwrap().parse().unwrap();
        let fingerprint = listening["fingerprint"].as_str().unwrap().to_owned();
        let url = listening["url"].as_str().unwrap().to_owned();
        Self { args, child, stdout, port: address.port(), fingerprint, url, listening, state }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at its port, after a [`Serve::kill`].
    pub(crate) fn restart(&mut self) {
        // Somebody else's client may have been given the port meanwhile, for a moment.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (child, stdout) = spawn(serve(self.state.path(), self.port, &self.args));
            (self.child, self.stdout) = (child, stdout);
            if let Some(listening) = next_event(&mut self.stdout) {
                self.listening = listening;
                return;
            }
            self.wait();
            assert!(Instant::now() < deadline, "port {} is taken", self.port);
        }
    }

    /// The next event of its JSON.
    pub(crate) fn event(&mut self) -> Value {
        next_event(&mut self.stdout).expect("the server goes on")
    }

    /// The next event of this name; those before it are passed over.
    pub(crate) fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let event = self.event();
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.state.path().join("cert.pem")
    }

    /// `quicstream play` against it, trusting its certificate as the same user would.
    pub(crate) fn play<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = quicstream(self.state.path());
        command.args(["play", "--port", &self.port.to_string()]).args(args);
        command
    }

    /// Its stdin, where that was piped.
    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Its stderr, where that was piped.
    pub(crate) fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `quicstream serve` at a loopback port.
fn serve(state: &Path, port: u16, args: &[OsString]) -> Command {
    let mut command = quicstream(state);
    command.args(["serve", "--json", "--listen", &format!("127.0.0.1:{port}")]).args(args);
    command
}

fn spawn(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

/// The executable, shielded from the settings of whoever runs the tests.
pub(crate) fn quicstream(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quicstream"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUICSTREAM_") {
            command.env_remove(name);
        }
    }
    command
        .env("QUICSTREAM_STATE_DIR", state)
        .env("XDG_CONFIG_HOME", state)
        .current_dir(state)
        .stdin(Stdio::null());
    command
}

/// The next JSON line; `None` at the end.
pub(crate) fn next_event(lines: &mut impl BufRead) -> Option<Value> {
    let mut line = String::new();
    match lines.read_line(&mut line).unwrap() {
        0 => None,
        _ => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))),
    }
}

/// All JSON lines of a finished process.
pub(crate) fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of one name.
pub(crate) fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Fails with everything that a process said if it did not end as it should.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "\nstdout: {}\nstderr: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A media file of `size` bytes that repeats nothing.
pub(crate) fn media(directory: &Path, size: usize) -> (PathBuf, Vec<u8>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(size)
    .collect();
    let path = directory.join("media.mp4");
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}
