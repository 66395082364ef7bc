//! Health, readiness and metrics of a server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use common::{Serve, assert_exit};

/// A server with an admin address.
struct Place {
    serve: Serve,
    admin: String,
}

impl Place {
    fn new(args: &[&str]) -> Self {
        let serve = Serve::start([&["--admin", "127.0.0.1:0"], args].concat());
        let admin = serve.listening["admin"].as_str().unwrap().to_owned();
        Self { serve, admin }
    }

    /// The status and the body that a request is answered with.
    fn request(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The metrics by name and labels.
    fn metrics(&self) -> HashMap<String, f64> {
        let (status, text) = self.request("GET", "/metrics");
        assert_eq!(status, 200);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }
}

#[test]
fn what_happened_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (media, bytes) = common::media(dir.path(), 300_000);
    let mut place = Place::new(&[media.to_str().unwrap()]);
    assert_exit(&place.serve.play(["--rate", "max"]).output().unwrap(), 0);
    assert_exit(&place.serve.play(["--title", "none"]).output().unwrap(), 3);
    let mut paused = place.serve.play(["--pause-at", "1", "--pause-for", "600"]);
    let mut paused = paused.stderr(Stdio::null()).spawn().unwrap();
    place.serve.wait_for("session_paused");

    let metrics = place.metrics();
    let value = |name: &str| metrics.get(&format!("quicstream_{name}")).copied();
    assert_eq!(value("sessions_opened_total"), Some(2.0));
    assert_eq!(value("sessions_closed_total{reason=\"complete\"}"), Some(1.0));
    assert_eq!(value("sessions_refused_total{code=\"no such title\"}"), Some(1.0));
    assert_eq!(value("sessions{state=\"paused\"}"), Some(1.0));
    assert_eq!(value("connections"), Some(1.0));
    assert!(value("media_bytes_total") > Some(bytes.len() as f64), "{metrics:?}");
    assert!(value("open_descriptors") > Some(0.0));
    paused.kill().unwrap();
    paused.wait().unwrap();
}

#[test]
fn health_and_readiness_are_told_and_nothing_else() {
    let mut place = Place::new(&[]);
    assert_eq!(place.request("GET", "/health"), (200, "alive\n".into()));
    assert_eq!(place.request("GET", "/ready"), (200, "ready\n".into()));
    assert_eq!(place.request("HEAD", "/ready"), (200, String::new()));
    assert_eq!(place.request("POST", "/ready").0, 405);
    for path in ["/", "/metrics/", "/metrics/../etc/passwd", "*", "/%2e%2e"] {
        assert_eq!(place.request("GET", path).0, 404, "{path}");
    }

    // While it drains it is alive, and not ready.
    let mut stopped = place.serve.play(["--pause-at", "1", "--pause-for", "600"]);
    let mut stopped = stopped.stderr(Stdio::null()).spawn().unwrap();
    place.serve.wait_for("session_paused");
    let pid = stopped.id().to_string();
    let stop = std::process::Command::new("kill").args(["-STOP", &pid]).status();
    assert!(stop.unwrap().success());
    place.serve.signal("-TERM");
    while place.request("GET", "/ready").0 == 200 {}
    assert_eq!(place.request("GET", "/ready"), (503, "not ready\n".into()));
    assert_eq!(place.request("GET", "/health").0, 200);
    assert_eq!(place.serve.wait(), Some(0));
    stopped.kill().unwrap();
    stopped.wait().unwrap();
}

#[test]
fn a_client_that_says_nothing_keeps_nobody_out() {
    let place = Place::new(&[]);
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(&place.admin).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nX: ").unwrap();
        idle.push(stream);
    }
    assert_eq!(place.request("GET", "/health").0, 200);
    let mut stream = TcpStream::connect(&place.admin).unwrap();
    let _ = stream.write_all(&[b'a'; 200_000]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"));
    assert_eq!(place.request("GET", "/ready").0, 200);
}

#[test]
fn an_address_that_is_taken_is_said_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut command = common::quicstream(dir.path());
    let output = command.args(["serve", "--listen", "127.0.0.1:0", "--admin", &address]).output();
    let output = output.unwrap();
    assert_exit(&output, 1);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
}

#[test]
fn a_certificate_is_exchanged_while_sessions_run() {
    let mut place = Place::new(&["--generate", "4MiB"]);
    let fingerprint = place.serve.fingerprint.clone();
    let mut running = place.serve.play(["--rate", "bitrate", "--bitrates", "8k"]);
    let mut running = running.stderr(Stdio::null()).spawn().unwrap();
    place.serve.wait_for("session_opened");

    let pin = |fingerprint: &str| {
        let play = ["--rate", "max", "--pin", fingerprint, "--list"];
        place.serve.play(play).output().unwrap().status.code()
    };
    // A certificate without its key changes nothing.
    let cert = place.serve.certificate();
    let old = fs::read(&cert).unwrap();
    let made = tempfile::tempdir().unwrap();
    let [new_cert, new_key] = ["cert.pem", "key.pem"].map(|name| made.path().join(name));
    let mut make = common::quicstream(made.path());
    assert!(make.args(["gen-cert"]).output().unwrap().status.success());
    fs::write(&cert, fs::read(&new_cert).unwrap()).unwrap();
    place.serve.signal("-HUP");
    assert_eq!(pin(&fingerprint), Some(0));

    fs::write(cert.with_file_name("key.pem"), fs::read(&new_key).unwrap()).unwrap();
    place.serve.signal("-HUP");
    while pin(&fingerprint) == Some(0) {}
    assert_eq!(pin(&fingerprint), Some(5));
    assert!(running.try_wait().unwrap().is_none(), "running sessions feel nothing");
    assert_eq!(place.metrics()["quicstream_sessions{state=\"streaming\"}"], 1.0);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_ne!(old, fs::read(&cert).unwrap());
}

#[test]
fn a_service_manager_hears_that_it_is_ready_alive_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut serve = Serve::start_as(
        |mut command| {
            command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000");
            command
        },
        [""; 0],
    );
    let hear = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap().trim_end().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1");
    serve.signal("-TERM");
    while hear() != "STOPPING=1" {}
    assert_eq!(serve.wait(), Some(0));
}
