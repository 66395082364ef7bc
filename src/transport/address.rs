//! Whom to connect to, and from where.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::{fmt, io};

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
