//! The machines against the tables of the protocol, against their timers, and against each other.

mod client;
mod server;
mod simulation;

use std::time::Duration;

use crate::protocol::{Chunk, Error, Frame, Kind, OpenAck, OpenStream, Payload, Pdu};

const KEEPALIVE: Duration = Duration::from_secs(5);
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_CHUNK: usize = 4;

const ACK: OpenAck =
    OpenAck { bitrate: 8, max_chunk_size: MAX_CHUNK as u32, keepalive: 5, session_timeout: 30 };

/// The error of a body that is malformed.
const fn malformed(kind: Kind) -> Error {
    Error::Malformed { kind, what: "test" }
}

/// An error that ends the stream.
const VERSION: Error = Error::Version { got: 9, want: 1 };

fn pdu(pdu: Pdu) -> Frame {
    Frame::Pdu { session_id: 7, pdu }
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

/// The last moment before.
fn just_before(at: Duration) -> Duration {
    at - Duration::from_nanos(1)
}
