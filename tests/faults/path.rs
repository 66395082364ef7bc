//! A path on loopback that does to packets what it is told.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a packet may wait for a slow path before it is dropped.
const BUFFER: Duration = Duration::from_millis(200);

/// How much later a packet comes that is to be reordered.
const LATER: Duration = Duration::from_millis(8);

/// What is done to packets, each way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    /// The parts of them that are lost, changed, sent twice and sent later.
    pub(crate) loss: f64,
    pub(crate) corruption: f64,
    pub(crate) duplicate: f64,
    pub(crate) reorder: f64,
    /// One way.
    pub(crate) delay: Duration,
    /// 0 is without limit.
    pub(crate) bits_per_second: u64,
    /// The largest packet, with 28 bytes of headers of IPv4 and UDP.
    pub(crate) mtu: usize,
    /// Nothing gets to the server but the first packet of each client.
    pub(crate) deaf: bool,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        loss: 0.0,
        corruption: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        delay: Duration::ZERO,
        bits_per_second: 0,
        mtu: usize::MAX,
        deaf: false,
    };
}

/// A path to a server. It ends when it is dropped.
pub(crate) struct BadPath {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    faults: Mutex<Faults>,
    /// Bytes that came through from the server.
    bytes: AtomicU64,
    ended: AtomicBool,
}

impl BadPath {
    pub(crate) fn start(server: u16, faults: Faults, seed: u64) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = near.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            faults: Mutex::new(faults),
            bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let carrier = Carrier {
            near,
            server: ([127, 0, 0, 1], server).into(),
            far: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
            free_at: [Instant::now(); 2],
            queue: BinaryHeap::new(),
            count: 0,
            shared: shared.clone(),
        };
        let thread = Some(thread::spawn(move || carrier.run()));
        Self { port, shared, thread }
    }

    /// What clients take for the server's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Does this to packets from now on.
    pub(crate) fn set(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap() = faults;
    }

    /// Waits until so many bytes came through from the server.
    pub(crate) fn wait_for_bytes(&self, bytes: u64) {
        while self.shared.bytes.load(Ordering::Relaxed) < bytes {
            thread::yield_now();
        }
    }
}

impl Drop for BadPath {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// A packet, and when it arrives. Those of one time arrive in order.
type Due = Reverse<(Instant, u64, Packet)>;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    /// The client that it is from, or for.
    client: SocketAddr,
    to_server: bool,
    bytes: Vec<u8>,
}

struct Carrier {
    near: UdpSocket,
    server: SocketAddr,
    /// A socket towards the server for each client.
    far: HashMap<SocketAddr, UdpSocket>,
    random: StdRng,
    /// When the path has sent all that it has, each way.
    free_at: [Instant; 2],
    queue: BinaryHeap<Due>,
    count: u64,
    shared: Arc<Shared>,
}

impl Carrier {
    fn run(mut self) {
        self.near.set_nonblocking(true).unwrap();
        let mut buffer = vec![0; 65_536];
        while !self.shared.ended.load(Ordering::Relaxed) {
            self.wait();
            while let Ok((length, client)) = self.near.recv_from(&mut buffer) {
                self.take(Packet { client, to_server: true, bytes: buffer[..length].to_vec() });
            }
            let clients: Vec<_> = self.far.keys().copied().collect();
            for client in clients {
                while let Ok(length) = self.far[&client].recv(&mut buffer) {
                    self.take(Packet {
                        client,
                        to_server: false,
                        bytes: buffer[..length].to_vec(),
                    });
                }
            }
            self.deliver();
        }
    }

    /// Waits for a packet, or until one is due.
    fn wait(&self) {
        let idle = Duration::from_millis(20);
        let due = self.queue.peek().map(|Reverse((due, ..))| *due);
        let wait = due.map_or(idle, |due| due.saturating_duration_since(Instant::now()).min(idle));
        let mut sockets: Vec<_> = std::iter::once(&self.near)
            .chain(self.far.values())
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        let wait = Timespec::try_from(wait).unwrap();
        let _ = poll(&mut sockets, Some(&wait));
    }

    /// Takes a packet in, with whatever happens to it.
    fn take(&mut self, mut packet: Packet) {
        let faults = *self.shared.faults.lock().unwrap();
        let now = Instant::now();
        if self.random.random_bool(faults.loss) || packet.bytes.len() + 28 > faults.mtu {
            return;
        }
        if faults.deaf && packet.to_server && self.far.contains_key(&packet.client) {
            return;
        }
        let mut due = now + faults.delay;
        let bits = packet.bytes.len() as u64 * 8;
        if let Some(nanos) = (bits * 1_000_000_000).checked_div(faults.bits_per_second) {
            let free_at = &mut self.free_at[usize::from(packet.to_server)];
            let begins = (*free_at).max(now);
            if begins > now + BUFFER {
                return;
            }
            *free_at = begins + Duration::from_nanos(nanos);
            due = *free_at + faults.delay;
        }
        if self.random.random_bool(faults.corruption) && !packet.bytes.is_empty() {
            let at = self.random.random_range(0..packet.bytes.len());
            packet.bytes[at] ^= self.random.random_range(1..=u8::MAX);
        }
        if self.random.random_bool(faults.reorder) {
            due += LATER;
        }
        if self.random.random_bool(faults.duplicate) {
            let Packet { client, to_server, ref bytes } = packet;
            let copy = Packet { client, to_server, bytes: bytes.clone() };
            self.queue.push(Reverse((due, self.count, copy)));
            self.count += 1;
        }
        self.queue.push(Reverse((due, self.count, packet)));
        self.count += 1;
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self.queue.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, packet))) = self.queue.pop() else { return };
            let Packet { client, to_server, bytes } = packet;
            // A socket that refuses is one more loss.
            if to_server {
                let server = self.server;
                let far = self.far.entry(client).or_insert_with(|| {
                    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
                    far.connect(server).unwrap();
                    far.set_nonblocking(true).unwrap();
                    far
                });
                let _ = far.send(&bytes);
            } else if self.near.send_to(&bytes, client).is_ok() {
                self.shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        }
    }
}
