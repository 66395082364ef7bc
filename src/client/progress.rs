//! What a running session tells whoever watches it. Nothing here ever waits for the watcher.

use std::net::SocketAddr;
use std::time::Duration;

use crate::protocol::{OpenAck, OpenStream, Version};
use crate::session::client::Cause;
use crate::transport::Fingerprint;

/// Something that happened, in order.
#[derive(Debug, Clone)]
pub enum Event {
    /// The transport is up.
    Connected {
        /// The address that answered.
        server: SocketAddr,
        /// The protocol version that was agreed.
        version: Version,
        /// SHA-256 of the server's certificate.
        fingerprint: Fingerprint,
    },
    /// OPEN_STREAM was sent.
    Requested(OpenStream),
    /// OPEN_ACK came.
    Accepted {
        /// The session id that the server assigned.
        session: u32,
        /// The terms.
        ack: OpenAck,
    },
    /// A chunk came. At most 100 of these a second are made.
    Chunk {
        /// Its number.
        seq: u32,
        /// Bytes of payload.
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
        /// Who asked.
        cause: Cause,
    },
    /// RESUME_STREAM was sent.
    Resumed {
        /// The last chunk before it.
        seq: u32,
        /// How long the pause was.
        after: Duration,
    },
    /// CLOSE_STREAM came, or was sent and answered.
    Closed {
        /// Why, in words.
        reason: String,
        /// Whether the media is whole.
        complete: bool,
        /// Media bytes received.
        bytes: u64,
        /// Chunks received.
        chunks: u64,
        /// Time since OPEN_ACK.
        elapsed: Duration,
    },
}

/// What the session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// No OPEN_ACK yet.
    #[default]
    Connecting,
    /// Chunks arrive.
    Streaming,
    /// A pause that the user or the script asked for.
    Paused,
    /// A pause because the sink (a player, a pipe) takes nothing.
    WaitingForSink,
    /// Over.
    Closed,
}

/// The state of a session at one moment. Only the newest one is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    /// What the session is doing.
    pub phase: Phase,
    /// The last chunk that came; 0 before the first.
    pub seq: u32,
    /// Media bytes received.
    pub bytes: u64,
    /// The agreed bitrate, bit/s; 0 before OPEN_ACK.
    pub bitrate: u32,
    /// QUIC's smoothed round trip time, once there is one.
    pub rtt: Option<Duration>,
    /// Packets of ours that QUIC declared lost.
    pub lost_packets: u64,
}
