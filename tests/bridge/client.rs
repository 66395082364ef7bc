//! A bridge under test, and a client of it that sees every byte.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::common::{Serve, next_event};

/// A bridge that is killed when the test ends.
pub(crate) struct Bridge {
    pub(crate) child: Child,
    events: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Bridge {
    pub(crate) fn to(serve: &Serve, args: &[&str]) -> Self {
        Self::of(serve.play(args))
    }

    /// Runs a command with `--http` and waits until it answers.
    pub(crate) fn of(mut command: Command) -> Self {
        command.args(["--http", "--json"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap());
        let ready = next_event(&mut events).expect("the bridge says where it is");
        assert_eq!(ready["event"], "bridge", "{ready}");
        Self { child, events, url: ready["url"].as_str().unwrap().to_owned() }
    }

    /// The next event of this name; those before it are passed over.
    pub(crate) fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let event = next_event(&mut self.events).expect("the bridge goes on");
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Where it listens, and the path that all others begin with.
    pub(crate) fn place(&self) -> (&str, &str) {
        let rest = self.url.strip_prefix("http://").unwrap();
        rest.split_at(rest.find('/').unwrap())
    }

    /// Sends a request for a path below the secret, and returns once its head has come.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let (host, secret) = self.place();
        let mut all = vec![("Host", host)];
        all.extend(headers);
        self.begin_raw(&format!("{method} {secret}{path}"), &all)
    }

    /// The same without anything that belongs to a good request.
    pub(crate) fn begin_raw(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = TcpStream::connect(self.place().0).unwrap();
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        Answer::read(stream)
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.begin("GET", path, headers).whole()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response, whose body may still be to come.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    stream: TcpStream,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let end = loop {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "no head: {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..read]);
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec(), stream }
    }

    /// A header's value; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = values.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value)
    }

    /// The number of bytes that were announced.
    pub(crate) fn length(&self) -> usize {
        self.header("content-length").parse().unwrap()
    }

    /// Reads so many bytes of the body at least.
    pub(crate) fn read_to(&mut self, length: usize) {
        let mut piece = vec![0; 64 * 1024];
        while self.body.len() < length {
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "the body ended after {} bytes", self.body.len());
            self.body.extend_from_slice(&piece[..read]);
        }
    }

    /// Reads to the end, whether or not it is the right one.
    pub(crate) fn whole(mut self) -> Self {
        let _ = self.stream.read_to_end(&mut self.body);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
