//! Names and addresses of hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use super::{Invalid, Port, written};
use crate::transport;

/// A DNS name or an IP address, as a certificate carries it; an IPv6 address may stand in square
/// brackets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CertificateName(String);

impl From<CertificateName> for String {
    fn from(CertificateName(text): CertificateName) -> Self {
        text
    }
}

impl FromStr for CertificateName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bare = without_brackets(text).filter(|bare| bare.parse::<Ipv6Addr>().is_ok());
        let name = bare.or_else(|| transport::is_server_name(text).then_some(text));
        name.map(|name| Self(name.to_owned())).ok_or_else(|| no_host(text))
    }
}

/// A host to connect to: a DNS name or an IP address. A link-local IPv6 address needs the
/// interface it is reached through, `fe80::1%eth0`. An IPv6 address may stand in square brackets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(String);

impl From<Host> for String {
    fn from(Host(text): Host) -> Self {
        text
    }
}

impl FromStr for Host {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let address = without_brackets(text).unwrap_or(text);
        let (ip, interface) = split_interface(address);
        let Ok(ip) = ip.parse::<Ipv6Addr>() else {
            return CertificateName::from_str(text).map(|CertificateName(name)| Self(name));
        };
        match (ip.is_unicast_link_local(), interface) {
            (true, None) => Err(Invalid(format!(
                "{address} is a link-local address: name the interface that leads to it, such as \
                 {address}%eth0"
            ))),
            (false, Some(_)) => Err(Invalid(format!(
                "{text:?} names an interface, which only a link-local address (fe80::...) needs: \
                 leave it out"
            ))),
            (true, Some(interface)) if !is_interface(interface) => Err(Invalid(format!(
                "{text:?} does not end with the name of an interface: a port goes behind \
                 brackets, as in [fe80::1%eth0]:9000"
            ))),
            _ => Ok(Self(address.to_owned())),
        }
    }
}

/// Where to listen: an IP address and a port, or a port on every address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Listen(SocketAddr);

impl Listen {
    const EXPECTED: &str = "an IP address and a port, such as 0.0.0.0:9000 or [::]:9000; also \
                            localhost:9000, :9000 or 9000";
}

impl From<Listen> for SocketAddr {
    fn from(Listen(address): Listen) -> Self {
        address
    }
}

/// Where a bridge listens: as [`Listen`], but a port alone is one of loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpListen(SocketAddr);

impl From<HttpListen> for SocketAddr {
    fn from(HttpListen(address): HttpListen) -> Self {
        address
    }
}

impl FromStr for HttpListen {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            Ok(port) => Ok(Self((Ipv4Addr::LOCALHOST, port).into())),
            Err(_) => text.parse::<Listen>().map(|Listen(address)| Self(address)),
        }
    }
}

impl FromStr for Listen {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let whole = || text.parse().ok();
        let parts = || {
            let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
            let port: u16 = port.parse().ok()?;
            let ip: IpAddr = match host {
                "" => Ipv4Addr::UNSPECIFIED.into(),
                "localhost" => Ipv4Addr::LOCALHOST.into(),
                // The system knows the number of the interface; no name server is asked.
                host => return (scoped(host)?, port).to_socket_addrs().ok()?.next(),
            };
            Some(SocketAddr::new(ip, port))
        };
        let address = whole().or_else(parts).map(Self);
        address.ok_or_else(|| Invalid::expected(format!("{text:?}"), Self::EXPECTED))
    }
}

impl TryFrom<Value> for Listen {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer", "string"], Self::EXPECTED)?.parse()
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
        let is_whole = split_interface(text).0.parse::<Ipv6Addr>().is_ok() || text.ends_with(']');
        match text.rsplit_once(':') {
            Some((host, port)) if !is_whole => {
                Ok(Self { host: host.parse()?, port: Some(port.parse()?) })
            }
            _ => Ok(Self { host: text.parse()?, port: None }),
        }
    }
}

fn without_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

/// An address, and the interface after its `%`.
fn split_interface(address: &str) -> (&str, Option<&str>) {
    address.split_once('%').map_or((address, None), |(ip, interface)| (ip, Some(interface)))
}

/// The link-local address in brackets, with its interface.
fn scoped(host: &str) -> Option<&str> {
    let address = without_brackets(host)?;
    let (ip, interface) = split_interface(address);
    let ip: Ipv6Addr = ip.parse().ok()?;
    (ip.is_unicast_link_local() && interface.is_some_and(is_interface)).then_some(address)
}

fn is_interface(name: &str) -> bool {
    !name.is_empty() && !name.contains(|char: char| char.is_whitespace() || ":/%".contains(char))
}

fn no_host(text: &str) -> Invalid {
    Invalid::expected(format!("{text:?}"), "a DNS name or an IP address")
}
