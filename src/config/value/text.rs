//! Names and addresses.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use super::{Invalid, MAX_LEN, Port, written};
use crate::transport;

/// The name of a codec or of a profile, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Name(String);

impl From<Name> for String {
    fn from(Name(text): Name) -> Self {
        text
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.len() {
            0..=MAX_LEN => Ok(Self(text.to_owned())),
            len => Err(Invalid(format!("{len} bytes given where at most {MAX_LEN} are taken"))),
        }
    }
}

impl TryFrom<Value> for Name {
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
