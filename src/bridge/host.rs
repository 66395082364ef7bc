//! Whom a request is addressed to. A page elsewhere can have a name of its own lead here (DNS
//! rebinding), but not a name that is ours.

use std::net::{IpAddr, SocketAddr};

use hyper::http::uri::Authority;

/// Whether a Host header is one that a user of this address types.
pub(super) fn is_ours(host: &str, bound: SocketAddr) -> bool {
    // A host has no user before it.
    let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else {
        return false;
    };
    if authority.host() != host && authority.port_u16().is_none() {
        return false;
    }
    let name = authority.host().to_ascii_lowercase();
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    match literal.parse::<IpAddr>() {
        Ok(address) => bound.ip().is_unspecified() || address == bound.ip(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_else_can_have_lead_here() {
        let bound = |host: &str, address: &str| is_ours(host, address.parse().unwrap());
        for host in ["127.0.0.1", "127.0.0.1:80", "localhost:9", "LocalHost", "a.b.localhost:1"] {
            assert!(bound(host, "127.0.0.1:80"), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.2",
            "[::1]",
            "evil@localhost",
            "localhost:a",
            "127.0.0.1/x",
            ".",
        ] {
            assert!(!bound(host, "127.0.0.1:80"), "{host}");
        }
        assert!(bound("[::1]:80", "[::1]:80"));
        assert!(!bound("[::2]:80", "[::1]:80"));
        assert!(bound("192.0.2.7:80", "0.0.0.0:80"));
        assert!(!bound("media.example", "0.0.0.0:80"));
    }
}
