//! The numbers that say why.

use std::fmt;

use strum::FromRepr;

use super::Version;

/// Why a server refused an OPEN_STREAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRepr, thiserror::Error)]
#[repr(u16)]
pub enum NackCode {
    /// The codec is not one that the server offers.
    #[error("unsupported codec")]
    UnsupportedCodec = 1,
    /// A second layer of encryption was asked for.
    #[error("unsupported encryption")]
    UnsupportedEncryption = 2,
    /// Multicast delivery was asked for.
    #[error("multicast unsupported")]
    MulticastUnsupported = 3,
    /// The server has no such title.
    #[error("no such title")]
    NoSuchTitle = 4,
    /// The client may not have it.
    #[error("not authorised")]
    NotAuthorised = 5,
    /// The validator no longer matches.
    #[error("the media has changed")]
    MediaChanged = 6,
    /// A limit is reached.
    #[error("busy")]
    Busy = 7,
    /// The start offset is past the end of the media.
    #[error("the start is past the end of the media")]
    PastTheEnd = 8,
    /// The start has left what a broadcast keeps.
    #[error("the start is not kept any more")]
    NotKept = 9,
    /// Malformed body, or an OPEN_STREAM out of order.
    #[error("protocol violation")]
    ProtocolViolation = 99,
}

impl NackCode {
    /// The code for a peer of this version: version 1 gets 99 for what it has no code for.
    pub fn to_wire(self, version: Version) -> u16 {
        match self {
            Self::NoSuchTitle
            | Self::NotAuthorised
            | Self::MediaChanged
            | Self::Busy
            | Self::PastTheEnd
            | Self::NotKept
                if version == Version::V1 =>
            {
                Self::ProtocolViolation as u16
            }
            code => code as u16,
        }
    }

    /// The cause that a code from the wire stands for, if it is known.
    pub fn from_wire(code: u16) -> Option<Self> {
        Self::from_repr(code)
    }
}

/// Why a session is closed. Version 1 does not say, which reads as [`CloseReason::COMPLETE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseReason(pub u16);

impl CloseReason {
    /// The media ended and every byte of it was sent.
    pub const COMPLETE: Self = Self(0);
    /// The client is done.
    pub const CLIENT: Self = Self(1);
    /// The server is shutting down; come back and resume.
    pub const SHUTDOWN: Self = Self(2);
    /// No PDU came for the session timeout.
    pub const TIMEOUT: Self = Self(3);
    /// The media became unreadable or changed.
    pub const MEDIA: Self = Self(4);
    /// A live viewer fell too far behind.
    pub const BEHIND: Self = Self(5);
    /// A limit of the server.
    pub const LIMIT: Self = Self(6);
    /// The client may not have it any more.
    pub const NOT_AUTHORISED: Self = Self(7);
    /// The peer broke the protocol.
    pub const VIOLATION: Self = Self(99);
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::COMPLETE => "complete",
            Self::CLIENT => "the client is done",
            Self::SHUTDOWN => "the server is shutting down",
            Self::TIMEOUT => "session timeout",
            Self::MEDIA => "the media became unreadable or changed",
            Self::BEHIND => "too far behind a live stream",
            Self::LIMIT => "a limit of the server",
            Self::NOT_AUTHORISED => "not authorised any more",
            Self::VIOLATION => "protocol violation",
            Self(code) => return write!(f, "reason {code}"),
        })
    }
}
