//! Who may come in. Asked before anything is kept of a peer.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::protocol::NackCode;
use crate::session::server::Refusal;
use crate::transport::{self, FirstLook, HandshakePolicy};

/// Seconds after which a client that found no place may try again.
const RETRY_AFTER: u32 = 2;

/// The part of all places that is kept for addresses that have none yet.
const RESERVED: usize = 10;

/// How long a client may acknowledge nothing before its place goes to its next connection.
const SILENCE: Duration = Duration::from_secs(2);

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

/// A connection, as those who give out places see it.
#[derive(Debug, Clone)]
pub(super) struct Occupant {
    pub(super) connection: Arc<dyn Liveness>,
    /// Cancelled when another connection of the same client gets its place.
    pub(super) replaced: CancellationToken,
}

/// Whether somebody is at the other end of a connection.
pub(super) trait Liveness: fmt::Debug + Send + Sync {
    /// Returns true if something was sent and nothing was acknowledged for two seconds.
    fn is_silent(&self) -> bool;

    /// Packets that were declared lost.
    fn lost_packets(&self) -> u64;
}

impl Liveness for transport::ConnectionHandle {
    fn is_silent(&self) -> bool {
        self.path().is_silent_for(SILENCE)
    }

    fn lost_packets(&self) -> u64 {
        self.path().lost_packets()
    }
}

/// The places of a server, over all of its endpoints.
#[derive(Debug)]
pub struct Admission {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    /// Clients without a place that are told so.
    turned_away: Arc<AtomicUsize>,
    first_packets: AtomicU64,
    retries: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    places: HashMap<u64, (IpAddr, Occupant)>,
    by_network: HashMap<IpAddr, Vec<u64>>,
    /// Packets lost by connections that have ended.
    lost_packets: u64,
}

impl Taken {
    fn free(&mut self, place: u64) {
        let Some((network, occupant)) = self.places.remove(&place) else { return };
        self.lost_packets += occupant.connection.lost_packets();
        if let Some(of_network) = self.by_network.get_mut(&network) {
            of_network.retain(|other| *other != place);
            if of_network.is_empty() {
                self.by_network.remove(&network);
            }
        }
    }

    /// The connection from a network whose client is silent: it may have come back on a new path.
    fn silent(&self, network: IpAddr) -> Option<u64> {
        let places = self.by_network.get(&network)?.iter().copied();
        let is_silent = |place: &u64| {
            self.places.get(place).is_some_and(|(_, occupant)| occupant.connection.is_silent())
        };
        places.into_iter().find(is_silent)
    }
}

impl Admission {
    /// All places are free.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            taken: Mutex::default(),
            turned_away: Arc::default(),
            first_packets: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    /// Gives a place to a connection; at a limit, that of one from the same address whose client
    /// is silent.
    ///
    /// # Errors
    /// There is none for it now.
    pub(super) fn connection(
        self: &Arc<Self>,
        peer: IpAddr,
        occupant: Occupant,
    ) -> Result<ConnectionPermit, Full> {
        let network = network(peer);
        let mut taken = self.taken();
        if let Err(full) = self.room(&taken, network) {
            let silent = taken.silent(network).ok_or(full)?;
            if let Some((_, occupant)) = taken.places.get(&silent) {
                occupant.replaced.cancel();
            }
            taken.free(silent);
            self.room(&taken, network)?;
        }
        let place = taken.next;
        taken.next += 1;
        taken.places.insert(place, (network, occupant));
        taken.by_network.entry(network).or_default().push(place);
        Ok(ConnectionPermit { admission: self.clone(), place })
    }

    fn room(&self, taken: &Taken, network: IpAddr) -> Result<(), Full> {
        let ConnectionLimits { max_connections, max_per_address } = self.limits;
        let from_network = taken.by_network.get(&network).map_or(0, Vec::len);
        let for_it = match from_network {
            0 => max_connections,
            _ => max_connections - max_connections / RESERVED,
        };
        match () {
            () if from_network >= max_per_address => Err(Full::ForAddress),
            () if taken.places.len() >= for_it => Err(Full::InAll),
            () => Ok(()),
        }
    }

    /// Counts a client that is told that there is no place, until what is returned is dropped.
    pub(super) fn turn_away(&self) -> TurnedAway {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        TurnedAway(self.turned_away.clone())
    }

    /// Connections that have a place.
    pub fn connections(&self) -> usize {
        self.taken().places.len()
    }

    /// Packets that were declared lost, of all connections.
    pub fn lost_packets(&self) -> u64 {
        let taken = self.taken();
        let open = taken.places.values().map(|(_, occupant)| occupant.connection.lost_packets());
        taken.lost_packets + open.sum::<u64>()
    }

    /// First packets of clients that were judged.
    pub fn first_packets(&self) -> u64 {
        self.first_packets.load(Ordering::Relaxed)
    }

    /// Clients that had to prove their address.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandshakePolicy for Admission {
    /// Lets more clients in than there are places for: they are to hear why they get none, which
    /// takes a handshake.
    fn first_look(&self, _: SocketAddr, handshakes: usize) -> FirstLook {
        self.first_packets.fetch_add(1, Ordering::Relaxed);
        let places = self.limits.max_connections;
        let turned_away = self.turned_away.load(Ordering::Relaxed);
        if turned_away + handshakes.saturating_sub(places) >= MIN_TURNED_AWAY.max(places / RESERVED)
        {
            FirstLook::Refuse
        } else if handshakes >= (places / 4).clamp(1, MAX_UNPROVEN) {
            self.retries.fetch_add(1, Ordering::Relaxed);
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
    place: u64,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.admission.taken().free(self.place);
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
            reason: Some(full.to_string()),
            retry_after: Some(RETRY_AFTER),
            ..NackCode::Busy.into()
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
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[derive(Debug, Default)]
    struct Client {
        is_silent: AtomicBool,
    }

    impl Liveness for Client {
        fn is_silent(&self) -> bool {
            self.is_silent.load(Ordering::Relaxed)
        }

        fn lost_packets(&self) -> u64 {
            1
        }
    }

    fn admission(max_connections: usize, max_per_address: usize) -> Arc<Admission> {
        Arc::new(Admission::new(ConnectionLimits { max_connections, max_per_address }))
    }

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn ask(admission: &Arc<Admission>, peer: IpAddr) -> Result<ConnectionPermit, Full> {
        let connection = Arc::<Client>::default();
        admission.connection(peer, Occupant { connection, replaced: CancellationToken::new() })
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let admission = admission(1, 1);
        let permit = ask(&admission, address(1)).unwrap();
        assert_eq!(ask(&admission, address(2)).unwrap_err(), Full::InAll);
        drop(permit);
        let _permit = ask(&admission, address(2)).unwrap();
        assert_eq!(admission.taken().by_network.len(), 1, "nothing is kept of who has left");
        assert_eq!((admission.connections(), admission.lost_packets()), (1, 2));
    }

    #[test]
    fn one_address_has_no_more_than_its_share() {
        let admission = admission(100, 2);
        let _permits = [(); 2].map(|()| ask(&admission, address(1)).unwrap());
        assert_eq!(ask(&admission, address(1)).unwrap_err(), Full::ForAddress);
        ask(&admission, address(2)).unwrap();
    }

    #[test]
    fn the_last_tenth_is_for_addresses_that_have_none() {
        let admission = admission(10, 10);
        let _permits = [(); 9].map(|()| ask(&admission, address(1)).unwrap());
        assert_eq!(ask(&admission, address(1)).unwrap_err(), Full::InAll);
        let _last = ask(&admission, address(2)).unwrap();
        assert_eq!(ask(&admission, address(3)).unwrap_err(), Full::InAll);
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_so_is_a_mapped_one() {
        let admission = admission(10, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _permits = ["2001:db8::1", "2001:db8:0:1::1", "192.0.2.1"]
            .map(|text| ask(&admission, address(text)).unwrap());
        for same in ["2001:db8::ffff", "2001:db8:0:1:8000::", "::ffff:192.0.2.1"] {
            assert_eq!(ask(&admission, address(same)).unwrap_err(), Full::ForAddress, "{same}");
        }
    }

    #[test]
    fn a_client_that_comes_back_gets_the_place_of_its_silent_connection() {
        let admission = admission(10, 1);
        let old = Arc::<Client>::default();
        let replaced = CancellationToken::new();
        let occupant = Occupant { connection: old.clone(), replaced: replaced.clone() };
        let permit = admission.connection(address(1), occupant).unwrap();
        assert_eq!(ask(&admission, address(1)).unwrap_err(), Full::ForAddress, "it is there");
        old.is_silent.store(true, Ordering::Relaxed);
        let _new = ask(&admission, address(1)).unwrap();
        assert!(replaced.is_cancelled());
        drop(permit);
        assert_eq!(admission.connections(), 1, "the old one had no place to give back");
    }

    #[test]
    fn first_packets_are_judged_by_how_many_there_are() {
        let look = |admission: &Admission, handshakes| {
            admission.first_look((address(1), 1).into(), handshakes)
        };
        let small = admission(50, 50);
        assert_eq!(look(&small, 11), FirstLook::Accept);
        assert_eq!(look(&small, 12), FirstLook::ProveAddress, "a quarter");
        assert_eq!(look(&admission(10_000, 1), 511), FirstLook::Accept);
        assert_eq!(look(&admission(10_000, 1), 512), FirstLook::ProveAddress);
        assert_eq!(look(&admission(1, 1), 0), FirstLook::Accept);
        let _turned_away = [(); 64].map(|()| small.turn_away());
        assert_eq!(look(&small, 0), FirstLook::Refuse);
        assert_eq!((small.first_packets(), small.retries()), (3, 1));
    }
}
