//! Names and words.

use std::convert::Infallible;
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use super::{Invalid, MAX_LEN, written};
use crate::protocol::Version;
use crate::transport::{BalancerKey, BalancerKeyError};
use crate::{server, transport};

/// A text of `MIN` to 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Text<const MIN: usize>(String);

impl<const MIN: usize> From<Text<MIN>> for String {
    fn from(Text(text): Text<MIN>) -> Self {
        text
    }
}

impl<const MIN: usize> FromStr for Text<MIN> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.len() {
            len if (MIN..=MAX_LEN).contains(&len) => Ok(Self(text.to_owned())),
            len => Err(Invalid(format!("{len} bytes given where {MIN} to {MAX_LEN} are taken"))),
        }
    }
}

impl<const MIN: usize> TryFrom<Value> for Text<MIN> {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["string"], "a text in quotes")?.parse()
    }
}

/// The name of a congestion controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Congestion(transport::Congestion);

impl FromStr for Congestion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "bbr" => Ok(Self(transport::Congestion::Bbr)),
            "cubic" => Ok(Self(transport::Congestion::Cubic)),
            _ => Err(Invalid::expected(format!("{text:?}"), "\"bbr\" or \"cubic\"")),
        }
    }
}

impl From<Congestion> for transport::Congestion {
    fn from(Congestion(controller): Congestion) -> Self {
        controller
    }
}

/// Who decides how fast a session is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pacing(server::Pacing);

impl FromStr for Pacing {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "client" => Ok(Self(server::Pacing::Client)),
            "bitrate" => Ok(Self(server::Pacing::Bitrate)),
            _ => Err(Invalid::expected(format!("{text:?}"), "\"client\" or \"bitrate\"")),
        }
    }
}

impl From<Pacing> for server::Pacing {
    fn from(Pacing(pacing): Pacing) -> Self {
        pacing
    }
}

/// The key of a balancer, or of what was meant to be one: whoever reads it says what is wrong
/// without showing the text, which may be nearly the key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub struct LbKey(Result<BalancerKey, BalancerKeyError>);

impl LbKey {
    /// The key.
    ///
    /// # Errors
    /// It is none.
    pub fn get(self) -> Result<BalancerKey, BalancerKeyError> {
        self.0
    }
}

impl FromStr for LbKey {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse()))
    }
}

impl From<Value> for LbKey {
    fn from(value: Value) -> Self {
        Self(value.as_str().ok_or(BalancerKeyError).and_then(str::parse))
    }
}

/// The number of a protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol(Version);

impl FromStr for Protocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let named = Version::ALL.into_iter().find(|version| version.number().to_string() == text);
        named.map(Self).ok_or_else(|| {
            let numbers = Version::ALL.iter().rev().map(|version| version.number().to_string());
            let numbers: Vec<_> = numbers.collect();
            Invalid::expected(text, format!("a version of the protocol: {}", numbers.join(" or ")))
        })
    }
}

impl From<Protocol> for Version {
    fn from(Protocol(version): Protocol) -> Self {
        version
    }
}
