//! The values that settings take.
//!
//! Each is read from text, which serves flags and environment variables, and from a TOML value,
//! which serves files; both ways check the same range.

mod address;
mod live;
mod locator;
mod number;
mod player;
mod servers;
mod text;

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

pub use address::{Address, CertificateName, Host, HttpListen, Listen};
pub use live::Live;
pub use locator::{Locator, url};
pub use number::{BitRate, Rate, Seconds, Size, Start, Whole, Workers};
pub use player::PlayerCommand;
pub use servers::{Peer, Pins, Servers};
pub use text::{Congestion, LbKey, Pacing, Protocol, Text};

/// A port to connect to.
pub type Port = Whole<u16, 1, { u16::MAX as u64 }>;
/// The name of a codec or of a profile.
pub type Name = Text<0>;
/// The name of media in a server's library.
pub type Title = Text<1>;
/// Bytes of a made-up media file.
pub type GenerateSize = Size<u64, 1, { 1 << 50 }>;
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

/// What is wrong with a text, as its parser says it.
pub(super) fn invalid(error: impl fmt::Display) -> Invalid {
    Invalid(error.to_string())
}

/// Reads texts of a file as flags and variables are read.
macro_rules! read_as_text {
    ($($type:ty),*) => {
        $(impl TryFrom<String> for $type {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        })*
    };
}

read_as_text!(CertificateName, Congestion, Host, Pacing);

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
    /// These values; `None` where there are none.
    pub fn of(values: Vec<T>) -> Option<Self> {
        (!values.is_empty()).then_some(Self(values))
    }

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
