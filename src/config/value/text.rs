//! Names and addresses.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use super::{Invalid, MAX_LEN, Port, written};
use crate::protocol::Version;
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

/// A DNS name or an IP address; an IPv6 address may stand in square brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl From<Host> for String {
    fn from(Host(text): Host) -> Self {
        text
    }
}

impl FromStr for Host {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let (name, valid) = match bare {
            Some(bare) => (bare, bare.parse::<Ipv6Addr>().is_ok()),
            None => (text, transport::is_server_name(text)),
        };
        let name = valid.then(|| Self(name.to_owned()));
        name.ok_or_else(|| Invalid::expected(format!("{text:?}"), "a DNS name or an IP address"))
    }
}

/// Where to listen: an IP address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl From<Listen> for SocketAddr {
    fn from(Listen(address): Listen) -> Self {
        address
    }
}

impl FromStr for Listen {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = "an IP address and a port, such as 0.0.0.0:9000 or [::]:9000";
        text.parse().map(Self).map_err(|_| Invalid::expected(format!("{text:?}"), expected))
    }
}

/// A host, and a port where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whom to connect to.
    pub host: Host,
    /// At which port.
    pub port: Option<Port>,
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // A bare IPv6 address is full of colons, and none of them stands before a port.
        let is_whole = text.parse::<Ipv6Addr>().is_ok() || text.ends_with(']');
        match text.rsplit_once(':') {
            Some((host, port)) if !is_whole => {
                Ok(Self { host: host.parse()?, port: Some(port.parse()?) })
            }
            _ => Ok(Self { host: text.parse()?, port: None }),
        }
    }
}

/// The name of a congestion controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
