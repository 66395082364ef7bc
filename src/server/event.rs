//! What happens to a server.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::protocol::Version;
use crate::transport::Fingerprint;

/// Something that happened to a server.
///
/// Serializes to a JSON event. The names and the order of the keys are a contract with scripts.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event")]
pub enum ServeEvent {
    /// It is bound, and clients may come.
    #[serde(rename = "listening")]
    Listening {
        /// The address that it is bound to.
        addr: SocketAddr,
        /// SHA-256 of its certificate.
        fingerprint: Fingerprint,
        /// What it serves, in words.
        #[serde(skip)]
        media: String,
        /// The URL to play it by.
        url: String,
        /// Where metrics, health and readiness are, if anywhere.
        #[serde(skip_serializing_if = "Option::is_none")]
        admin: Option<SocketAddr>,
    },
    /// The first byte of a broadcast came.
    #[serde(rename = "live_started")]
    LiveStarted {
        /// What it is called.
        title: String,
    },
    /// A broadcast has ended.
    #[serde(rename = "live_ended")]
    LiveEnded {
        /// What it is called.
        title: String,
        /// Bytes of all of it.
        bytes: u64,
        /// Why.
        cause: String,
    },
    /// OPEN_ACK was sent.
    #[serde(rename = "session_opened")]
    Opened {
        /// The session id.
        session: u32,
        /// The client's address.
        peer: SocketAddr,
        /// The protocol version.
        #[serde(serialize_with = "number")]
        version: Version,
        /// The agreed bitrate, bit/s.
        bitrate: u32,
        /// The pace of the session, bit/s; 0 is unpaced.
        rate: u64,
        /// What is streamed, where it has a name.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The byte of the media at which it starts; `None` for the first byte of media without a
        /// title.
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<u64>,
        /// The name of the client's token.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// OPEN_NACK was sent.
    #[serde(rename = "session_refused")]
    Refused {
        /// The client's address.
        peer: SocketAddr,
        /// The title that was asked for, where one was named.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The OPEN_NACK code.
        code: u16,
        /// The code in words.
        reason: String,
        /// How many more of this code were sent to the address within a second, and not told of.
        #[serde(skip_serializing_if = "is_zero")]
        more: u64,
    },
    /// PAUSE_STREAM came.
    #[serde(rename = "session_paused")]
    Paused {
        /// The session id.
        session: u32,
        /// The last chunk that was sent.
        seq: u32,
    },
    /// RESUME_STREAM came.
    #[serde(rename = "session_resumed")]
    Resumed {
        /// The session id.
        session: u32,
        /// The last chunk that was sent.
        seq: u32,
    },
    /// The session is over.
    #[serde(rename = "session_closed")]
    Closed {
        /// The session id.
        session: u32,
        /// The client's address.
        peer: SocketAddr,
        /// Why, in words.
        reason: String,
        /// Media bytes sent.
        bytes: u64,
        /// Chunks sent.
        chunks: u64,
        /// Time since OPEN_ACK.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Serializes a duration as seconds, to the millisecond.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_millis() as f64 / 1000.0)
}

fn number<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(version.number())
}
