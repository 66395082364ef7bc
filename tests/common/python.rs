//! The aioquic peers: their environment, and their server.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::{assert_exit, events, media, next_event, quicstream};

/// The one version these peers were written for.
const AIOQUIC: &str = "aioquic==1.7.2";

/// The Python of a virtual environment with aioquic, which is made on first use. `None` if the
/// environment says to skip.
pub(crate) fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    if is_skipped() {
        return None;
    }
    Some(PYTHON.get_or_init(|| environment(&[AIOQUIC])))
}

/// Whether what needs the Python package index is not to be run.
pub(crate) fn is_skipped() -> bool {
    std::env::var_os("QUICSTREAM_SKIP_INTEROP").is_some_and(|value| value == "1")
}

/// The Python of a virtual environment with these packages, which is made on first use and called
/// by the first of them.
pub(crate) fn environment(packages: &[&str]) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(packages[0]);
    fs::create_dir_all(&home).unwrap();
    // Test processes may run beside each other.
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let python = home.join("venv/bin/python");
    let ready = home.join("ready");
    if !ready.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home.join("venv")));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
        File::create(ready).unwrap();
    }
    python
}

fn run(command: &mut Command) {
    let hint = "these tests need Python 3.11 or newer with venv, and the Python package index (or \
                set QUICSTREAM_SKIP_INTEROP=1 to do without the interoperability tests)";
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}: {hint}"));
    assert!(status.success(), "{command:?} failed: {hint}");
}

pub(crate) fn script(python: &Path, name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name);
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(path);
    command
}

/// The Python server, killed when the test ends.
pub(crate) struct TheirServer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    port: u64,
    dir: tempfile::TempDir,
    pub(crate) media: Vec<u8>,
}

impl TheirServer {
    /// Serves 1,000,000 bytes.
    pub(crate) fn start(name: &str, scenario: &str, args: &[&str]) -> Option<Self> {
        let python = python()?;
        let dir = tempfile::tempdir().unwrap();
        let (path, media) = media(dir.path(), 1_000_000);
        let made = quicstream(dir.path()).arg("gen-cert").output().unwrap();
        assert_exit(&made, 0);
        let mut child = script(python, name)
            .args(["--scenario", scenario])
            .args(args)
            .arg("--media")
            .arg(path)
            .arg("--cert")
            .arg(dir.path().join("cert.pem"))
            .arg("--key")
            .arg(dir.path().join("key.pem"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let listening = next_event(&mut stdout).expect("the server listens");
        let port = listening["port"].as_u64().unwrap();
        Some(Self { child, stdout, port, dir, media })
    }

    /// `play` from it, where its files are; trusts the certificate as its maker does.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = quicstream(self.dir.path());
        command.args(["play", "--port", &self.port.to_string()]).args(args);
        command
    }

    /// `play` from it into a file.
    pub(crate) fn play(&self, args: &[&str]) -> Output {
        self.command(&["--json", "-o", "out.mp4"]).args(args).output().unwrap()
    }

    /// `play --list` from it.
    pub(crate) fn list(&self, args: &[&str]) -> Output {
        self.command(&["--list"]).args(args).output().unwrap()
    }

    /// Where its files are, and those that `play` makes.
    pub(crate) fn port(&self) -> u16 {
        self.port.try_into().unwrap()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// `play` from it ends with this exit code and an error that says this, and publishes nothing.
    pub(crate) fn assert_found_out(&self, code: i32, says: &str) {
        let output = self.play(&["--connect-timeout", "2", "--retry-for", "2"]);
        assert_exit(&output, code);
        assert_eq!(self.received(), None, "it was published");
        let events = events(&output);
        let error = events.last().unwrap();
        assert_eq!((&error["event"], &error["exit"]), (&"error".into(), &code.into()));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }

    pub(crate) fn received(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join("out.mp4")).ok()
    }

    /// Every PDU of this type that it received.
    pub(crate) fn pdus(self, kind: &str) -> Vec<Value> {
        let events = self.events();
        events.into_iter().filter(|e| e["event"] == "pdu" && e["type"] == kind).collect()
    }

    /// Stops it and gives everything that it said.
    pub(crate) fn events(mut self) -> Vec<Value> {
        let pid = self.child.id().to_string();
        run(Command::new("kill").arg(pid));
        self.child.wait().unwrap();
        let lines = self.stdout.by_ref().lines().map(Result::unwrap);
        lines.map(|line| serde_json::from_str::<Value>(&line).unwrap()).collect()
    }
}

impl Drop for TheirServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
