//! The values that settings take.
//!
//! Each is read from text, which serves flags and environment variables, and from a TOML value,
//! which serves files; both ways check the same range.

mod address;
mod locator;
mod number;
mod text;

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use crate::protocol::MAX_CHUNK_SIZE;
use crate::transport::{MAX_MTU, MIN_MTU};

pub use address::{Address, CertificateName, Host, Listen};
pub use locator::{Locator, url};
pub use number::{BitRate, Rate, Seconds, Size, Start, Whole};
pub use text::{Congestion, Pacing, Protocol, Text};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const PIB: u64 = 1 << 50;

/// Bit/s.
pub type Bitrate = BitRate<u32, 1, { u32::MAX as u64 }>;
/// The most bit/s of a session, or 0.
pub type MaxRate = BitRate<u64, 0, { u64::MAX }>;
/// Bytes of media in a chunk.
pub type ChunkSize = Size<u32, 1, { MAX_CHUNK_SIZE as u64 }>;
/// Bytes of media kept in memory; a smaller cache could not hold one block of a file.
pub type CacheSize = Size<u64, MIB, PIB>;
/// Bytes of a made-up media file.
pub type GenerateSize = Size<u64, 1, PIB>;
/// Bytes of a socket buffer.
pub type SocketBuffer = Size<u32, { 64 * KIB }, { 64 * MIB }>;
/// Seconds between heartbeats.
pub type Keepalive = Whole<u64, 1, 3600>;
/// Seconds without a PDU.
pub type SessionTimeout = Whole<u64, 1, 86_400>;
/// Seconds without a packet.
pub type IdleTimeout = Whole<u64, 1, 3600>;
/// Connections at once.
pub type MaxConnections = Whole<usize, 1, { u32::MAX as u64 }>;
/// A port to connect to.
pub type Port = Whole<u16, 1, { u16::MAX as u64 }>;
/// A chunk's number, or 0.
pub type PauseAt = Whole<u32, 0, { u32::MAX as u64 }>;
/// How long a pause is.
pub type PauseFor = Seconds<0, 86_400_000>;
/// How long to wait for a server.
pub type ConnectTimeout = Seconds<1, 3_600_000>;
/// How long to try to get a lost connection back.
pub type RetryFor = Seconds<0, 86_400_000>;
/// The name of a codec or of a profile.
pub type Name = Text<0>;
/// The name of media in a server's library.
pub type Title = Text<1>;
/// The largest UDP payload to try, bytes.
pub type Mtu = Whole<u16, { MIN_MTU as u64 }, { MAX_MTU as u64 }>;
/// How long a certificate is valid.
pub type Days = Whole<u32, 1, 36_500>;

/// The longest text that OPEN_STREAM takes, bytes, and the most bitrates, whose count is one byte.
const MAX_LEN: usize = 255;

/// A value is not what its setting takes; the text says what that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(super) String);

impl Invalid {
    fn expected(given: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self(format!("{given} is not {expected}"))
    }
}

/// The text of a TOML value, where it is of one of these types.
fn written(value: Value, types: &[&str], expected: impl fmt::Display) -> Result<String, Invalid> {
    match value {
        _ if !types.contains(&value.type_str()) => Err(Invalid::expected(value, expected)),
        Value::String(text) => Ok(text),
        number => Ok(number.to_string()),
    }
}

/// 1 to 255 values: an array in a file, separated by commas in text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value", bound(deserialize = "T: TryFrom<Value, Error = Invalid>"))]
pub struct List<T>(Vec<T>);

impl<T> List<T> {
    /// The values.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    fn bounded(values: Vec<T>) -> Result<Self, Invalid> {
        match values.len() {
            1..=MAX_LEN => Ok(Self(values)),
            len => Err(Invalid(format!("{len} values given where 1 to {MAX_LEN} are taken"))),
        }
    }
}

impl<T: FromStr<Err = Invalid>> FromStr for List<T> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::bounded(text.split(',').map(|value| value.trim().parse()).collect::<Result<_, _>>()?)
    }
}

impl<T: TryFrom<Value, Error = Invalid>> TryFrom<Value> for List<T> {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        match value {
            // One error for the whole array puts its key, not one element's line, in the message.
            Value::Array(values) => {
                Self::bounded(values.into_iter().map(T::try_from).collect::<Result<_, _>>()?)
            }
            other => Err(Invalid::expected(other, "a list in square brackets")),
        }
    }
}
