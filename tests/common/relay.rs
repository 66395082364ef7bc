//! A NAT on loopback between clients and a server, which can change its ports and swallow packets.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// How often a thread looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(50);

/// Each client has a port of its own at the server's side.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    near: SocketAddr,
}

struct Shared {
    near: UdpSocket,
    server: Mutex<SocketAddr>,
    ports: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    is_blackhole: AtomicBool,
    clients: AtomicU64,
}

impl Relay {
    /// Starts one in front of the server on this port.
    pub(crate) fn start(server: u16) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        near.set_read_timeout(Some(IDLE)).unwrap();
        let address = near.local_addr().unwrap();
        let shared = Arc::new(Shared {
            near,
            server: Mutex::new(([127, 0, 0, 1], server).into()),
            ports: Mutex::default(),
            is_blackhole: AtomicBool::new(false),
            clients: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || carry_up(&weak));
        Self { shared, near: address }
    }

    /// What clients take for the server's port.
    pub(crate) fn port(&self) -> u16 {
        self.near.port()
    }

    /// Gives every client a new port at the server's side, as a NAT that lost its memory does.
    pub(crate) fn rebind(&self) {
        self.shared.ports.lock().unwrap().clear();
    }

    /// Leads to another server from now on.
    pub(crate) fn lead_to(&self, server: u16) {
        self.shared.server.lock().unwrap().set_port(server);
        self.rebind();
    }

    /// Swallows every packet from now on, or no more.
    pub(crate) fn set_blackhole(&self, is_blackhole: bool) {
        self.shared.is_blackhole.store(is_blackhole, Ordering::Relaxed);
    }

    /// How many ports it has had at the server's side.
    pub(crate) fn ports(&self) -> u64 {
        self.shared.clients.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// The port of a client at the server's side.
    fn port(self: &Arc<Self>, client: SocketAddr) -> Arc<UdpSocket> {
        let mut ports = self.ports.lock().unwrap();
        let port = ports.entry(client).or_insert_with(|| {
            let port = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
            port.connect(*self.server.lock().unwrap()).unwrap();
            port.set_read_timeout(Some(IDLE)).unwrap();
            self.clients.fetch_add(1, Ordering::Relaxed);
            let (weak, shared) = (Arc::downgrade(&port), Arc::downgrade(self));
            thread::spawn(move || carry_down(&weak, &shared, client));
            port
        });
        port.clone()
    }

    fn lets_through(&self, received: io::Result<usize>) -> Option<usize> {
        received.ok().filter(|_| !self.is_blackhole.load(Ordering::Relaxed))
    }
}

fn carry_up(shared: &Weak<Shared>) {
    let mut buffer = vec![0; 65_536];
    while let Some(shared) = shared.upgrade() {
        let Ok((length, client)) = shared.near.recv_from(&mut buffer) else { continue };
        if let Some(length) = shared.lets_through(Ok(length)) {
            // A server that is gone is for the client to find out.
            let _ = shared.port(client).send(&buffer[..length]);
        }
    }
}

fn carry_down(port: &Weak<UdpSocket>, shared: &Weak<Shared>, client: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while let (Some(port), Some(shared)) = (port.upgrade(), shared.upgrade()) {
        if let Some(length) = shared.lets_through(port.recv(&mut buffer)) {
            let _ = shared.near.send_to(&buffer[..length], client);
        }
    }
}
