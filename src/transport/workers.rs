//! Several endpoints on one port: the workers of a server.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::available_parallelism;

use super::Error;
use super::connection_id::{ConnectionIds, Steering, Worker};
use super::quic_lb::{LoadBalancing, ServerIdEncoder};

/// The most workers of a server: with more of them, some would have twice as many of the 256 values
/// of a connection id's byte as others.
pub const MAX_WORKERS: u8 = 64;

/// How many endpoints a server has on its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that the process may use, where packets can be steered; else one.
    Auto,
    /// So many, at most [`MAX_WORKERS`].
    Exactly(NonZeroU8),
}

impl Workers {
    /// One.
    pub const ONE: Self = Self::Exactly(NonZeroU8::MIN);

    fn count(self) -> NonZeroU8 {
        match self {
            Self::Auto => {
                let cores = available_parallelism().map_or(1, NonZeroUsize::get);
                let cores = u8::try_from(cores).unwrap_or(MAX_WORKERS).min(MAX_WORKERS);
                NonZeroU8::new(cores).unwrap_or(NonZeroU8::MIN)
            }
            Self::Exactly(count) => count,
        }
    }
}

/// The sockets of a port, one for each worker.
#[derive(Debug)]
pub struct Sockets {
    /// The first worker's.
    pub first: WorkerSocket,
    /// Those of the others.
    pub others: Vec<WorkerSocket>,
}

/// The socket of one worker, and what it has to know of the others.
#[derive(Debug)]
pub struct WorkerSocket {
    pub(super) socket: UdpSocket,
    pub(super) address: SocketAddr,
    pub(super) worker: Worker,
    pub(super) server_id: Option<ServerIdEncoder>,
    /// Handshakes that are under way, over all workers.
    pub(super) handshakes: Arc<AtomicUsize>,
}

impl Sockets {
    /// Binds the address once for each worker; port 0 picks a free one.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address cannot be had, [`Error::Steering`] if the system does not
    /// steer packets to one worker of several, and [`Error::Setting`] if `load_balancing` cannot be
    /// used.
    pub fn bind(
        address: SocketAddr,
        workers: Workers,
        load_balancing: Option<&LoadBalancing>,
    ) -> Result<Self, Error> {
        let server_id = load_balancing.map(ServerIdEncoder::new).transpose()?;
        let position = ConnectionIds::position(server_id.as_ref());
        let bind_error = |source| Error::Bind { address, source };
        // Bound alone: an address that is in use must not be shared with whoever uses it.
        let first = UdpSocket::bind(address).map_err(bind_error)?;
        let address = first.local_addr().map_err(bind_error)?;
        let steering = Steering { position, workers: workers.count() };
        let (steering, others) = match group::join(&first, address, steering) {
            Ok(others) => (steering, others),
            Err(_) if workers == Workers::Auto => {
                group::leave(&first).map_err(bind_error)?;
                (Steering { position, workers: NonZeroU8::MIN }, Vec::new())
            }
            Err(source) => return Err(Error::Steering { workers: workers.count(), source }),
        };
        let handshakes = Arc::<AtomicUsize>::default();
        let with = |(socket, index)| WorkerSocket {
            socket,
            address,
            worker: Worker { index, steering },
            server_id: server_id.clone(),
            handshakes: handshakes.clone(),
        };
        Ok(Self {
            first: with((first, 0)),
            others: others.into_iter().zip(1..).map(with).collect(),
        })
    }
}

/// Sockets that share an address by SO_REUSEPORT, of which the kernel picks one for each packet.
#[cfg(target_os = "linux")]
mod group {
    use nix::libc::{sock_filter, sock_fprog};
    use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

    use super::{SocketAddr, Steering, UdpSocket, io};

    /// Loads a byte of the datagram.
    const LOAD_BYTE: u16 = 0x30;
    /// Jumps if one of these bits is set.
    const JUMP_IF_SET: u16 = 0x45;
    /// Jumps.
    const JUMP: u16 = 0x05;
    /// Takes the remainder of a division.
    const MODULO: u16 = 0x94;
    /// Returns the index of a socket, which count in the order in which they were bound.
    const RETURN: u16 = 0x16;

    /// The bit of the first byte that tells a long header (RFC 8999, section 5.1).
    const LONG_HEADER: u32 = 0x80;
    /// Where the destination connection id of a long header begins.
    const LONG_ID: u32 = 6;
    /// That of a short one.
    const SHORT_ID: u32 = 1;

    /// Binds the sockets of the other workers, and steers packets between all of them.
    pub(super) fn join(
        first: &UdpSocket,
        address: SocketAddr,
        steering: Steering,
    ) -> io::Result<Vec<UdpSocket>> {
        let others = steering.workers.get() - 1;
        if others == 0 {
            return Ok(Vec::new());
        }
        sockopt::set_socket_reuseport(first, true)?;
        let sockets: Vec<_> = (0..others).map(|_| bind(address)).collect::<io::Result<_>>()?;
        let mut program = program(steering);
        let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        setsockopt(first, AttachReusePortCbpf, &program)?;
        Ok(sockets)
    }

    /// Lets nobody join any more.
    pub(super) fn leave(first: &UdpSocket) -> io::Result<()> {
        Ok(sockopt::set_socket_reuseport(first, false)?)
    }

    fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket =
            rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        Ok(socket.into())
    }

    /// A classic BPF program that finds the socket of the worker that a packet is for.
    fn program(steering: Steering) -> [sock_filter; 7] {
        let line = |code, k| sock_filter { code, jt: 0, jf: 0, k };
        let position = steering.position as u32;
        [
            line(LOAD_BYTE, 0),
            sock_filter { code: JUMP_IF_SET, jt: 0, jf: 2, k: LONG_HEADER },
            line(LOAD_BYTE, LONG_ID + position),
            line(JUMP, 1),
            line(LOAD_BYTE, SHORT_ID + position),
            line(MODULO, steering.workers.get().into()),
            line(RETURN, 0),
        ]
    }
}

/// Systems that do not let a program steer.
#[cfg(not(target_os = "linux"))]
mod group {
    use super::{SocketAddr, Steering, UdpSocket, io};

    pub(super) fn join(
        _: &UdpSocket,
        _: SocketAddr,
        steering: Steering,
    ) -> io::Result<Vec<UdpSocket>> {
        match steering.workers.get() {
            1 => Ok(Vec::new()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn leave(_: &UdpSocket) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn bind(address: SocketAddr, workers: u8, server_id: Option<&str>) -> Result<Sockets, Error> {
        let server_id = server_id.and_then(|server_id| server_id.parse().ok());
        let load_balancing = server_id.map(|server_id| LoadBalancing { server_id, key: None });
        let workers = Workers::Exactly(NonZeroU8::new(workers).unwrap_or(NonZeroU8::MIN));
        Sockets::bind(address, workers, load_balancing.as_ref())
    }

    fn anywhere() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    #[test]
    fn packets_come_to_the_worker_that_their_connection_id_names() {
        for (server_id, position) in [(None, 0), (Some("01"), 7), (Some("01fe"), 7)] {
            let Sockets { first, others } = bind(anywhere(), 5, server_id).unwrap();
            let workers: Vec<_> = [first].into_iter().chain(others).collect();
            assert!(workers.iter().all(|worker| worker.address == workers[0].address));
            let headers = [(0x40, 1), (0xc0, 6)].into_iter().cycle();
            for (byte, (first_byte, id_at)) in (0..=255).step_by(7).zip(headers) {
                let id = [byte; 8];
                let mut packet = [255; 60];
                packet[0] = first_byte;
                packet[id_at + position] = byte;
                // Each from a port of its own, which would have it go anywhere.
                let client = UdpSocket::bind(anywhere()).unwrap();
                client.send_to(&packet, workers[0].address).unwrap();
                let owner = workers.iter().find(|worker| worker.worker.owns(&id)).unwrap();
                owner.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let (_, from) = owner.socket.recv_from(&mut packet).unwrap();
                assert_eq!(from, client.local_addr().unwrap());
            }
        }
    }

    #[test]
    fn an_address_in_use_is_shared_with_nobody() {
        for (there, comes) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let sockets = bind(anywhere(), there, None).unwrap();
            let error = bind(sockets.first.address, comes, None).unwrap_err();
            let Error::Bind { source, .. } = error else { panic!("{error}") };
            assert_eq!(source.kind(), io::ErrorKind::AddrInUse, "{comes} after {there}");
        }
    }

    #[test]
    fn there_is_a_worker_for_every_core_and_at_least_one() {
        let cores = available_parallelism().unwrap().get();
        let Sockets { others, .. } = Sockets::bind(anywhere(), Workers::Auto, None).unwrap();
        assert_eq!(1 + others.len(), cores.min(MAX_WORKERS.into()));
    }
}
