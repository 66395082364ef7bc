//! Several servers of one service.

use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use super::{Address, Invalid, written};
use crate::transport::{self, Fingerprint};

/// Servers that have the same titles, separated by commas: at least one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Servers(Vec<Address>);

impl Servers {
    /// Only this one.
    pub fn one(address: Address) -> Self {
        Self(vec![address])
    }

    /// This one, and others.
    pub fn of(first: Address, Self(others): Self) -> Self {
        Self(std::iter::once(first).chain(others).collect())
    }

    /// All of them, in the order given.
    pub fn into_vec(self) -> Vec<Address> {
        self.0
    }

    /// The port, where there is one server and it was given.
    pub fn port(&self) -> Option<u16> {
        match &*self.0 {
            [only] => only.port.map(|port| port.get()),
            _ => None,
        }
    }
}

impl FromStr for Servers {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.split(',').map(|server| server.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Servers {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

/// Fingerprints, separated by commas: at least one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pins(Vec<Fingerprint>);

impl Pins {
    /// All of them.
    pub fn into_vec(self) -> Vec<Fingerprint> {
        self.0
    }
}

impl FromStr for Pins {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let pin = |pin: &str| pin.trim().parse().map_err(super::invalid);
        text.split(',').map(pin).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Pins {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

/// Another server that has the same titles, with its port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Peer(transport::Address);

impl Peer {
    const EXPECTED: &str = "a host and a port, such as b.example:9000";
}

impl From<Peer> for transport::Address {
    fn from(Peer(address): Peer) -> Self {
        address
    }
}

impl FromStr for Peer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let address = text.parse().map(Self);
        address.map_err(|_| Invalid::expected(format!("{text:?}"), Self::EXPECTED))
    }
}

impl TryFrom<Value> for Peer {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["string"], Self::EXPECTED)?.parse()
    }
}
