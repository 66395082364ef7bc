//! What happens while a client plays.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::verdict::Verdict;
use crate::protocol::{OpenStream, Version};
use crate::session::client::Cause;
use crate::transport::Fingerprint;

/// Something that happened while a client played.
///
/// Serializes to the JSON event of the same name. The names and the order of the keys are a
/// contract with scripts.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PlayEvent {
    /// The transport is up.
    Connected {
        /// The address that answered.
        server: SocketAddr,
        /// The protocol version that was agreed.
        #[serde(rename = "alpn", serialize_with = "alpn")]
        version: Version,
        /// SHA-256 of the server's certificate.
        fingerprint: Fingerprint,
    },
    /// OPEN_STREAM was sent. Not part of the JSON: serializing it fails.
    #[serde(skip)]
    Requested(OpenStream),
    /// OPEN_ACK came.
    Accepted {
        /// The session id that the server assigned.
        session: u32,
        /// The agreed bitrate, bit/s.
        bitrate: u32,
        /// The largest chunk, bytes.
        chunk_size: u32,
        /// The keepalive interval, seconds.
        keepalive: u32,
        /// The session timeout, seconds.
        timeout: u32,
        /// The title, where the server named it.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Bytes of the whole media, where the server said.
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// IANA media type, where the server said.
        #[serde(skip)]
        media_type: Option<String>,
        /// The byte of the media at which the first chunk starts; `None` for the first byte of
        /// media that the server said nothing of.
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<u64>,
        /// The pace of the server, bit/s; 0 is unpaced, `None` is the bitrate.
        #[serde(skip_serializing_if = "Option::is_none")]
        rate: Option<u64>,
    },
    /// An earlier play is continued.
    Continuing {
        /// Bytes that are in the file already.
        offset: u64,
    },
    /// The connection is lost, and will be tried again.
    Reconnecting {
        /// The number of the next try since the last progress, from 1.
        attempt: u32,
        /// The time until then.
        #[serde(serialize_with = "seconds")]
        delay: Duration,
        /// The byte of the media to go on from.
        offset: u64,
        /// Why it was lost.
        cause: String,
    },
    /// A chunk came. At most 100 of these a second are made.
    Chunk {
        /// Its sequence number.
        seq: u32,
        /// Bytes of its payload.
        bytes: u64,
        /// Media bytes received so far, this chunk included.
        total: u64,
        /// Chunks since the last such event that had none of their own.
        skipped: u64,
    },
    /// PAUSE_STREAM was sent.
    Paused {
        /// The last chunk before it.
        seq: u32,
        /// Who asked for it.
        #[serde(skip)]
        cause: Cause,
    },
    /// RESUME_STREAM was sent.
    Resumed {
        /// The last chunk before it.
        seq: u32,
        /// How long the pause was.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        after: Duration,
    },
    /// The play is over, after OPEN_ACK.
    Closed {
        /// Why, in words.
        reason: String,
        /// Whether the media is whole.
        complete: bool,
        /// Media bytes received.
        bytes: u64,
        /// Chunks received.
        chunks: u64,
        /// Time since the first OPEN_ACK.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
        /// The mean rate in that time.
        bits_per_second: u64,
        /// What became of the media.
        #[serde(flatten)]
        verdict: Verdict,
    },
}

/// The rate of `bytes` in `time`, bit/s; 0 where no time has passed.
pub(super) fn mean_rate(bytes: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { (bytes as f64 * 8.0 / seconds) as u64 } else { 0 }
}

/// Serializes a duration as seconds, to the millisecond.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_millis() as f64 / 1000.0)
}

fn alpn<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(version.alpn())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_rate_of_no_time_is_zero() {
        assert_eq!(mean_rate(125, Duration::from_secs(2)), 500);
        assert_eq!(mean_rate(125, Duration::ZERO), 0);
    }
}
