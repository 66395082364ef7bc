//! Who may come in. Asked before anything is kept of a peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::NackCode;
use crate::session::server::Refusal;
use crate::transport::{FirstLook, HandshakePolicy};

/// Seconds after which a client that found no place may try again.
const RETRY_AFTER: u32 = 2;

/// The part of all places that is kept for addresses that have none yet.
const RESERVED: usize = 10;

/// Bits of an IPv6 address that one subscriber is usually given.
const SUBSCRIBER_BITS: u32 = 64;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub max_connections: usize,
    /// From one IPv4 address or one IPv6 /64.
    pub max_per_address: usize,
}

/// The most clients without a place at once that hear why, where the server has few places.
const MIN_TURNED_AWAY: usize = 64;

/// Handshakes under way above which clients must prove their address, however many places there
/// are.
const MAX_UNPROVEN: usize = 512;

/// The places of a server, over all of its endpoints.
#[derive(Debug)]
pub struct Admission {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    /// Clients without a place that are told so.
    turned_away: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_network: HashMap<IpAddr, usize>,
}

impl Admission {
    /// All places are free.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, taken: Mutex::default(), turned_away: Arc::default() }
    }

    /// Counts a client that is told that there is no place, until what is returned is dropped.
    pub(super) fn turn_away(&self) -> TurnedAway {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        TurnedAway(self.turned_away.clone())
    }

    /// Gives a place to a connection.
    ///
    /// # Errors
    /// There is none for it now.
    pub(super) fn connection(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, Full> {
        let ConnectionLimits { max_connections, max_per_address } = self.limits;
        let network = network(peer);
        let mut taken = self.taken();
        let from_network = taken.by_network.get(&network).copied().unwrap_or_default();
        let for_it = match from_network {
            0 => max_connections,
            _ => max_connections - max_connections / RESERVED,
        };
        if from_network >= max_per_address {
            return Err(Full::ForAddress);
        }
        if taken.in_all >= for_it {
            return Err(Full::InAll);
        }
        taken.in_all += 1;
        *taken.by_network.entry(network).or_default() += 1;
        Ok(ConnectionPermit { admission: self.clone(), network })
    }

    fn release(&self, network: IpAddr) {
        let mut taken = self.taken();
        taken.in_all -= 1;
        if let Some(from_network) = taken.by_network.get_mut(&network) {
            *from_network -= 1;
            if *from_network == 0 {
                taken.by_network.remove(&network);
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandshakePolicy for Admission {
    /// Lets more clients in than there are places for: they are to hear why they get none, which
    /// takes a handshake.
    fn first_look(&self, _: SocketAddr, handshakes: usize) -> FirstLook {
        let places = self.limits.max_connections;
        let turned_away = self.turned_away.load(Ordering::Relaxed);
        if turned_away + handshakes.saturating_sub(places) >= MIN_TURNED_AWAY.max(places / RESERVED)
        {
            FirstLook::Refuse
        } else if handshakes >= (places / 4).clamp(1, MAX_UNPROVEN) {
            FirstLook::ProveAddress
        } else {
            FirstLook::Accept
        }
    }
}

/// A client that is told that there is no place for it.
#[derive(Debug)]
pub(super) struct TurnedAway(Arc<AtomicUsize>);

impl Drop for TurnedAway {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place for one connection, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    admission: Arc<Admission>,
    network: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.admission.release(self.network);
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// `max_connections` are open, or so many that the rest is for other addresses.
    #[error("too many connections: try again")]
    InAll,
    /// `max_per_address` of them come from there.
    #[error("too many connections from your address: try again")]
    ForAddress,
}

impl Full {
    /// The limit that was reached.
    pub(super) fn limit(self) -> &'static str {
        match self {
            Self::InAll => "max_connections",
            Self::ForAddress => "max_per_address",
        }
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Self {
            code: NackCode::Busy,
            reason: Some(full.to_string()),
            retry_after: Some(RETRY_AFTER),
        }
    }
}

/// What counts as one address: somebody with an IPv6 network has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << SUBSCRIBER_BITS)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, max_per_address: usize) -> Arc<Admission> {
        Arc::new(Admission::new(ConnectionLimits { max_connections, max_per_address }))
    }

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let admission = admission(1, 1);
        let permit = admission.connection(address(1)).unwrap();
        assert_eq!(admission.connection(address(2)).unwrap_err(), Full::InAll);
        drop(permit);
        let _permit = admission.connection(address(2)).unwrap();
        assert_eq!(admission.taken().by_network.len(), 1, "nothing is kept of who has left");
    }

    #[test]
    fn one_address_has_no_more_than_its_share() {
        let admission = admission(100, 2);
        let _permits = [(); 2].map(|()| admission.connection(address(1)).unwrap());
        assert_eq!(admission.connection(address(1)).unwrap_err(), Full::ForAddress);
        admission.connection(address(2)).unwrap();
    }

    #[test]
    fn the_last_tenth_is_for_addresses_that_have_none() {
        let admission = admission(10, 10);
        let _permits = [(); 9].map(|()| admission.connection(address(1)).unwrap());
        assert_eq!(admission.connection(address(1)).unwrap_err(), Full::InAll);
        let _last = admission.connection(address(2)).unwrap();
        assert_eq!(admission.connection(address(3)).unwrap_err(), Full::InAll);
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_so_is_a_mapped_one() {
        let admission = admission(10, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _permits = ["2001:db8::1", "2001:db8:0:1::1", "192.0.2.1"]
            .map(|text| admission.connection(address(text)).unwrap());
        for same in ["2001:db8::ffff", "2001:db8:0:1:8000::", "::ffff:192.0.2.1"] {
            assert_eq!(
                admission.connection(address(same)).unwrap_err(),
                Full::ForAddress,
                "{same}"
            );
        }
    }
}
