//! As much of HTTP/1.1 as a store and its clients speak here.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

/// A request, or an answer, as it is on the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a message; `None` where there is none any more. That to HEAD has no body.
    pub(crate) fn read(from: &mut impl BufRead, to_head: bool) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut message = Self { start: lines.swap_remove(0), headers, body: Vec::new() };
        let length = message.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !to_head {
            message.body.resize(length, 0);
            from.read_exact(&mut message.body)?;
        }
        Ok(Some(message))
    }

    /// The first line and the headers.
    pub(crate) fn head(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.start, headers.collect::<String>())
    }

    /// Sends this as a request of its own connection, and returns the answer.
    pub(crate) fn ask(&self, port: u16) -> Self {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut request = self.clone();
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("connection"));
        request.headers.push(("Connection".into(), "close".into()));
        connection.write_all(request.head().as_bytes()).unwrap();
        connection.write_all(&request.body).unwrap();
        let to_head = self.start.starts_with("HEAD");
        let mut answer =
            Self::read(&mut BufReader::new(connection), to_head).unwrap().expect("an answer");
        answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("connection"));
        answer
    }
}
