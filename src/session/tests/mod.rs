//! The machines against the tables of the protocol, against their timers, and against each other.

mod client;
mod hostile_server;
mod reconnect;
mod server;
mod simulation;

use std::time::Duration;

use crate::protocol::Version::{V1, V2};
use crate::protocol::{
    Chunk, CloseReason, Error, Frame, Kind, OpenAck, OpenStream, Options, Payload, Pdu, Version,
};
use crate::session::server::{Delivery, Input as ServerInput, Timeouts};

const KEEPALIVE: Duration = Duration::from_secs(5);
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_CHUNK: usize = 4;

/// Of these timers only those of version 1 run out.
const TIMEOUTS: Timeouts =
    Timeouts { keepalive: KEEPALIVE, session: SESSION_TIMEOUT, stall: NEVER, pause: NEVER };

const NEVER: Duration = Duration::from_secs(1_000_000);

const ACK: OpenAck =
    OpenAck { bitrate: 8, max_chunk_size: MAX_CHUNK as u32, keepalive: 5, session_timeout: 30 };

/// The error of a body that is malformed.
const fn malformed(kind: Kind) -> Error {
    Error::Malformed { kind, what: "test" }
}

/// An error that ends the stream.
const VERSION: Error = Error::Version { got: 9, want: 1 };

/// What a type byte is called in a log.
fn name_of(kind: u8) -> &'static str {
    const NAMES: [&str; 11] = [
        "OPEN_STREAM",
        "OPEN_ACK",
        "OPEN_NACK",
        "STREAM_CHUNK",
        "PAUSE_STREAM",
        "RESUME_STREAM",
        "CLOSE_STREAM",
        "HEARTBEAT",
        "LIST",
        "LIST_REPLY",
        "EDGE",
    ];
    let known = usize::from(kind).checked_sub(1).and_then(|position| NAMES.get(position));
    known.copied().unwrap_or("a PDU of unknown type")
}

/// What the sessions of the tests are assigned.
const SESSION: u32 = 7;

/// A PDU of that session.
fn pdu(pdu: Pdu) -> Frame {
    Frame::Pdu { session_id: SESSION, pdu }
}

/// No options.
fn none() -> Options {
    Options::default()
}

/// One PDU of every kind, those with variants in each. Chunk 2 is the one that is due at a client.
fn every_pdu() -> Vec<Pdu> {
    vec![
        Pdu::OpenStream(open(), asked()),
        Pdu::OpenAck(ACK, granted()),
        Pdu::OpenNack(7, try_later()),
        chunk(2),
        Pdu::Pause,
        Pdu::Resume,
        Pdu::Close(CloseReason::COMPLETE, none()),
        Pdu::Close(CloseReason::SHUTDOWN, try_later()),
        Pdu::Close(CloseReason(1_000), none()),
        Pdu::Heartbeat { timestamp: 1, echo: false },
        Pdu::Heartbeat { timestamp: 1, echo: true },
        Pdu::List(none()),
        Pdu::ListReply { entries: vec![granted()], more: false },
        Pdu::Edge { edge: 2, oldest: 1 },
    ]
}

fn asked() -> Options {
    Options { title: Some("a".into()), start_offset: Some(3), ..none() }
}

fn granted() -> Options {
    Options { title: Some("a".into()), total_size: Some(9), ..none() }
}

fn try_later() -> Options {
    Options { retry_after: Some(60), ..Options::reason("full") }
}

fn open() -> OpenStream {
    OpenStream { codec: "h264".into(), ..OpenStream::default() }
}

/// The payload that the tests give chunk `seq`.
fn payload(seq: u32) -> Payload {
    Payload::from(bytes::Bytes::copy_from_slice(&seq.to_be_bytes()))
}

fn chunk(seq: u32) -> Pdu {
    Pdu::Chunk(Chunk { seq, payload: payload(seq) })
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A tick of a server whose client has everything.
const fn server_tick() -> ServerInput {
    ServerInput::Tick(Delivery { acknowledged: 0, outstanding: false, chunk: 0 })
}

/// The last moment before.
fn just_before(at: Duration) -> Duration {
    at - Duration::from_nanos(1)
}
