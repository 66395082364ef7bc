//! The twelve bytes before every body.

use strum::{FromRepr, IntoStaticStr};

use super::Error;

/// Length of a header on the wire, in bytes.
pub const HEADER_LEN: usize = 12;

/// A protocol version. TLS settles it, by ALPN, once per connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The origin's protocol, byte for byte.
    V1,
    /// Everything of version 1, and options, strict session ids, reasons and a catalogue.
    V2,
}

impl Version {
    /// Every version this crate speaks, newest first: the order in which a client offers them.
    pub const ALL: [Self; 2] = [Self::V2, Self::V1];

    /// The ALPN identifier that selects this version.
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::V1 => "quic-stream-proto",
            Self::V2 => "quicstream/2",
        }
    }

    /// The version that an ALPN identifier selects, if it is one of ours.
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.alpn().as_bytes() == alpn)
    }

    /// The number that stands in the first byte of every header.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// The type byte of the PDUs that this crate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
pub enum Kind {
    /// OPEN_STREAM, client to server.
    OpenStream = 1,
    /// OPEN_ACK, server to client.
    OpenAck = 2,
    /// OPEN_NACK, server to client.
    OpenNack = 3,
    /// STREAM_CHUNK, server to client.
    StreamChunk = 4,
    /// PAUSE_STREAM, client to server.
    PauseStream = 5,
    /// RESUME_STREAM, client to server.
    ResumeStream = 6,
    /// CLOSE_STREAM, both ways.
    CloseStream = 7,
    /// HEARTBEAT, both ways.
    Heartbeat = 8,
    /// LIST, client to server, since version 2.
    List = 9,
    /// LIST_REPLY, server to client, since version 2.
    ListReply = 10,
    /// EDGE, server to client, since version 2.
    Edge = 11,
}

impl Kind {
    /// The kind that a type byte stands for, if it is known to any version.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::from_repr(byte)
    }

    /// The first version that knows it.
    pub const fn since(self) -> Version {
        match self {
            Self::List | Self::ListReply | Self::Edge => Version::V2,
            _ => Version::V1,
        }
    }

    /// The name in the protocol's own spelling.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The one flag there is: HEARTBEAT is an echo, or more LIST_REPLY follow.
pub(super) const FLAG: u8 = 1;

/// A decoded header. The reserved byte is sent 0 and ignored, and so are flags in version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type byte as it came; it may be one that nobody knows.
    pub kind: u8,
    /// Bit 0 means what the PDU says; the others are ignored.
    pub flags: u8,
    /// The session this PDU says it belongs to.
    pub session_id: u32,
    /// Bytes of body that follow.
    pub body_length: u32,
}

impl Header {
    /// The header as it goes on the wire.
    pub fn encode(self, version: Version) -> [u8; HEADER_LEN] {
        let [s0, s1, s2, s3] = self.session_id.to_be_bytes();
        let [b0, b1, b2, b3] = self.body_length.to_be_bytes();
        [version.number(), self.kind, self.flags, 0, s0, s1, s2, s3, b0, b1, b2, b3]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Error::Version`] if the version byte is not that of the connection.
    pub fn decode(bytes: [u8; HEADER_LEN], version: Version) -> Result<Self, Error> {
        let [number, kind, flags, _reserved, s0, s1, s2, s3, b0, b1, b2, b3] = bytes;
        if number != version.number() {
            return Err(Error::Version { got: number, want: version.number() });
        }
        Ok(Self {
            kind,
            flags: if version == Version::V1 { 0 } else { flags },
            session_id: u32::from_be_bytes([s0, s1, s2, s3]),
            body_length: u32::from_be_bytes([b0, b1, b2, b3]),
        })
    }
}
