//! Objects as titles, from a real S3 server on loopback, behind a proxy that counts and makes
//! trouble.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod digests;
#[allow(dead_code, reason = "this test uses a part of it")]
#[path = "../resume/harness.rs"]
mod harness;
mod http;
mod lists;
mod plays;
mod proxy;
mod trouble;

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use serde_json::json;

use common::{Serve, next_event, python};
use harness::Play;
use http::Message;
use proxy::Proxy;

/// What the store is made of.
const PACKAGES: [&str; 3] = ["moto[s3]==5.1.5", "flask==3.1.3", "flask-cors==6.0.5"];

/// What the store takes for a signature: it does not look.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                             SignedHeaders=host, Signature=none";

const MIB: usize = 1 << 20;

/// One store for all tests of the process, which ends with it.
struct Store {
    _child: Child,
    port: u16,
    commands: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects/store.py");
    let mut child = Command::new(python::environment(&PACKAGES))
        .arg(script)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stdout = BufReader::new(stdout);
    let listening = next_event(&mut stdout).expect("the store listens");
    let port = listening["port"].as_u64().unwrap().try_into().unwrap();
    Store { _child: child, port, commands: Mutex::new((stdin, stdout)) }
});

/// A bucket of a test, its proxy, and a directory for what is played.
struct Bucket {
    name: &'static str,
    proxy: Proxy,
    home: tempfile::TempDir,
}

impl Bucket {
    /// One with these objects of one byte.
    fn with(name: &'static str, keys: &[String]) -> Self {
        let mut commands = STORE.commands.lock().unwrap();
        writeln!(commands.0, "{}", json!({"bucket": name, "keys": keys})).unwrap();
        next_event(&mut commands.1).expect("they are made");
        drop(commands);
        Self { name, proxy: Proxy::start(STORE.port), home: tempfile::tempdir().unwrap() }
    }

    fn new(name: &'static str) -> Self {
        Self::with(name, &[])
    }

    fn ask(&self, method: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
        let length = body.len().to_string();
        let always = [
            ("Host", "localhost"),
            ("Authorization", AUTHORIZATION),
            ("Content-Type", "video/mp4"),
            ("Content-Length", &length),
        ];
        let headers = always.iter().chain(headers);
        let headers = headers.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let start = format!("{method} /{}/{key} HTTP/1.1", self.name);
        Message { start, headers, body: body.to_vec() }.ask(STORE.port)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.put_with(key, bytes, &[]);
    }

    fn put_with(&self, key: &str, bytes: &[u8], headers: &[(&str, &str)]) {
        let answer = self.ask("PUT", key, headers, bytes);
        assert!(answer.start.contains(" 200 "), "{answer:?}");
    }

    /// What is stored at this key.
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.ask("GET", key, &[], &[]);
        answer.start.contains(" 200 ").then_some(answer.body)
    }

    /// A server of what is beneath `prefix`.
    fn serve(&self, prefix: &str, args: &[&str]) -> Serve {
        let media = format!("s3://{}/{prefix}", self.name);
        let args = [&["--media", &media], args].concat();
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        Serve::start_as(|command| self.knows_store(command, log), args)
    }

    /// The environment of a command that is to use this bucket, and no other store.
    fn knows_store(&self, mut command: Command, log: File) -> Command {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().to_uppercase();
            if name.starts_with("AWS_") || name.ends_with("_PROXY") {
                command.env_remove(&name).env_remove(name.to_lowercase());
            }
        }
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.proxy.port))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stderr(log);
        command
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }

    /// What servers have said to people.
    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    /// A play of a title to [`Bucket::out`].
    fn play(&self, serve: &Serve, title: &str, args: &[&str]) -> Play {
        let mut command = serve.play(["--json", "--title", title]);
        command.args(args).arg("-o").arg(self.out());
        Play::start(command)
    }
}

/// Bytes that repeat nothing, and others for another `seed`.
fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed << 32);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}
