//! What is fuzzed. Each takes any bytes, and fails by a panic, a hang or memory that grows.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use quicstream::config::flags::{Global, Serve};
use quicstream::config::{self, Environment};
use quicstream::media::Scanner;
use quicstream::protocol::{Decoder, Frame, OpenStream, Options, Role, Version};
use quicstream::session::Time;
use quicstream::session::client::{self, ClientSession, Earlier, ScriptedPause};
use quicstream::session::server::{self, Delivery, Reason, ServerSession, Timeouts};

/// A target: it panics where it finds a fault.
pub(crate) type Target = fn(&[u8]);

/// Every target, and its name.
pub(crate) const ALL: [(&str, Target); 6] = [
    ("decoder", decoder),
    ("scanner", scanner),
    ("server", server_machine),
    ("client", client_machine),
    ("configuration", configuration),
    ("tokens", tokens),
];

/// Decodes bytes in pieces. What comes of them is the same however they are cut.
pub(crate) fn decoder(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let version = if choice & 1 == 0 { Version::V1 } else { Version::V2 };
    let role = if choice & 2 == 0 { Role::Client } else { Role::Server };
    let piece = usize::from(choice >> 2) + 1;
    let whole = frames(version, role, data, data.len().max(1));
    let pieces = frames(version, role, data, piece);
    assert_eq!(whole, pieces);
}

/// The frames in these bytes in words, up to the first error, which is the last.
fn frames(version: Version, role: Role, data: &[u8], piece: usize) -> Vec<String> {
    let mut decoder = Decoder::new(version, role);
    let mut frames = Vec::new();
    for piece in data.chunks(piece) {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => {
                    // What a log would say of it.
                    if let Frame::Pdu { pdu, .. } = &frame {
                        let _ = pdu.to_string();
                    }
                    frames.push(format!("{frame:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    frames.push(error.to_string());
                    return frames;
                }
            }
            if !input.has_remaining() {
                break;
            }
        }
    }
    frames
}

/// Scans bytes in pieces, as those of a broadcast. What is found is the same however they are cut.
pub(crate) fn scanner(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let whole = joins(data, data.len().max(1));
    let pieces = joins(data, usize::from(*choice) + 1);
    assert_eq!(whole, pieces);
    let (joins, _) = whole;
    assert!(joins.is_sorted_by(|(one, _), (next, _)| one < next));
    assert!(joins.last().is_none_or(|(last, _)| *last < data.len() as u64));
    assert!(joins.iter().all(|(_, header)| header.len() <= 1 << 20));
}

/// Where a decoder can begin in these bytes with which header, up to where they are refused.
fn joins(data: &[u8], piece: usize) -> (Vec<(u64, Bytes)>, bool) {
    let mut scanner = Scanner::default();
    let mut joins = Vec::new();
    let mut feed = |piece| {
        let join = |offset, header: &Bytes| joins.push((offset, header.clone()));
        scanner.feed(piece, join).is_ok()
    };
    let is_taken = data.chunks(piece).all(&mut feed);
    (joins, is_taken)
}

/// Bytes as a script: each step takes what it needs.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The frames of the next so many bytes.
    fn frames(
        &mut self,
        version: Version,
        role: Role,
    ) -> Vec<Result<Frame, quicstream::protocol::Error>> {
        let length = usize::from(self.byte().unwrap_or(0)).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        let mut decoder = Decoder::new(version, role);
        let mut input = Bytes::copy_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut input).transpose() {
            let failed = frame.is_err();
            frames.push(frame);
            if failed || !input.has_remaining() {
                break;
            }
        }
        frames
    }
}

const TIMEOUTS: Timeouts = Timeouts {
    keepalive: Duration::from_secs(5),
    session: Duration::from_secs(30),
    stall: Duration::from_secs(30),
    pause: Duration::from_secs(900),
};

/// Drives the server's machine with whatever a client may send, at any time.
pub(crate) fn server_machine(data: &[u8]) {
    let mut script = Script(data);
    let version = if script.byte().unwrap_or(0) & 1 == 0 { Version::V1 } else { Version::V2 };
    let mut machine = ServerSession::new(version, TIMEOUTS, Time::ZERO);
    let mut now = Time::ZERO;
    while let Some(byte) = script.byte() {
        now += Duration::from_millis(u64::from(byte >> 4) * 500);
        let inputs = match byte & 15 {
            0 => vec![server::Input::PeerFinished],
            1 => vec![server::Input::Opened { session_id: 7, owes_digest: false, live: false }],
            2 => vec![server::Input::Opened { session_id: 7, owes_digest: true, live: false }],
            3 => vec![server::Input::Listed],
            4 => vec![server::Input::DigestResolved],
            5 => vec![server::Input::End(Reason::Complete)],
            6 => vec![server::Input::End(Reason::Shutdown)],
            7 => vec![server::Input::Delivered],
            8 => vec![server::Input::Tick(Delivery::default())],
            _ => script
                .frames(version, Role::Server)
                .into_iter()
                .map(|frame| frame.map_or_else(server::Input::Violation, server::Input::Frame))
                .collect(),
        };
        for input in inputs {
            let was_closed = machine.state() == server::State::Closed;
            let (next, action) = machine.step(input, now);
            machine = next;
            assert!(!was_closed || action.is_none(), "nothing happens after the end");
            if machine.state() == server::State::Closed {
                assert_eq!(machine.deadline(), None);
            }
        }
    }
}

/// Drives the client's machine with whatever a server may send, at any time.
pub(crate) fn client_machine(data: &[u8]) {
    let mut script = Script(data);
    let choice = script.byte().unwrap_or(0);
    let version = if choice & 1 == 0 { Version::V1 } else { Version::V2 };
    let pause = ScriptedPause { at: 3, length: Duration::from_secs(2) };
    let pause = (choice & 2 != 0).then_some(pause);
    let answer_within = Duration::from_secs(10);
    let mut machine = ClientSession::new(version, pause, answer_within, Time::ZERO);
    if choice & 4 != 0 {
        machine = machine.resuming(Earlier { position: 9, ..Earlier::default() });
    }
    let mut now = Time::ZERO;
    while let Some(byte) = script.byte() {
        now += Duration::from_millis(u64::from(byte >> 4) * 500);
        let inputs = match byte & 15 {
            0 => vec![client::Input::StreamEnded],
            1 => vec![client::Input::Connected(OpenStream::default(), Options::default())],
            2 => vec![client::Input::TogglePause],
            3 => vec![client::Input::SinkFull],
            4 => vec![client::Input::SinkReady],
            5 => vec![client::Input::Stop],
            6 => vec![client::Input::Tick],
            _ => script
                .frames(version, Role::Client)
                .into_iter()
                .map(|frame| frame.map_or_else(client::Input::Violation, client::Input::Frame))
                .collect(),
        };
        for input in inputs {
            let was_closed = machine.state() == client::State::Closed;
            let (next, actions) = machine.step(input, now);
            machine = next;
            assert!(!was_closed || actions.iter().all(Option::is_none));
            if machine.state() == client::State::Closed {
                assert_eq!(machine.deadline(), None);
            }
        }
    }
}

/// Reads any text as a configuration file.
pub(crate) fn configuration(data: &[u8]) {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(Environment::capture);
    let path = file("configuration", data);
    let global = Global { config: Some(path), ..Global::default() };
    match config::serve(&global, &Serve::default(), environment) {
        Ok(config) => drop(config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Reads any text as a file of tokens.
pub(crate) fn tokens(data: &[u8]) {
    let path = file("tokens", data);
    if let Err(error) = config::read_tokens(&path) {
        assert!(!error.to_string().is_empty());
    }
}

/// A file with these bytes, of this process and target alone.
fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("quicstream-fuzz-{name}-{}", std::process::id()));
    fs::write(&path, data).expect("a temporary file can be written");
    path
}
