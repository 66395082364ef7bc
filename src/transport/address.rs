//! Whom to connect to, and from where.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::{fmt, io};

use super::certificate::is_server_name;

/// Who to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

impl Address {
    /// The name to expect in the certificate: the host without the interface of `fe80::1%eth0`.
    pub fn certificate_name(&self) -> &str {
        self.host.split_once('%').map_or(&self.host, |(address, _)| address)
    }
}

/// A text is not a host and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a host and a port")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    /// `HOST:PORT`, where an IPv6 address stands in square brackets.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(AddressError)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(ip) => Some(ip).filter(|ip| ip.parse::<Ipv6Addr>().is_ok()),
            None => Some(host).filter(|host| is_server_name(host) && !host.contains(':')),
        };
        Ok(Self { host: host.ok_or(AddressError)?.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Where to send to `peer` from. s2n-quic keeps no interface of a link-local address, but a socket
/// that is bound to the interface's own address sends through it.
pub(super) fn local_address(peer: SocketAddr) -> io::Result<SocketAddr> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    if !matches!(peer, SocketAddr::V6(peer) if peer.scope_id() != 0) {
        return Ok(any);
    }
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    let mut local = socket.local_addr()?;
    local.set_port(0);
    Ok(local)
}
