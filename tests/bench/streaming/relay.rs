//! A slow path over loopback: a UDP relay that delays datagrams and lets them through at a rate.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How much may wait for a link, as the time that it takes: what would wait longer is dropped.
const BACKLOG: Duration = Duration::from_millis(500);

/// How often a thread looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(100);

type Datagram = (Instant, Vec<u8>);

/// A path between one client and one server.
#[derive(Debug)]
pub(crate) struct Relay {
    /// What the client takes for the server.
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// A path of so many bit/s each way (0 is no limit), half of `round_trip` long.
    pub(crate) fn start(server: SocketAddr, rate: u64, round_trip: Duration) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = near.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        // Whoever was heard last: clients come one after the other.
        let client = Arc::new(Mutex::new(None));
        let link = Link { rate, delay: round_trip / 2, free: Instant::now() };

        let (up, down) = (channel(), channel());
        let (near_in, far_in) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (stop_up, stop_down, sender) = (stop.clone(), stop.clone(), client.clone());
        let note_client = move |from| *sender.lock().unwrap() = Some(from);
        thread::spawn(move || link.carry(&near_in, &up.0, &stop_up, note_client));
        thread::spawn(move || link.carry(&far_in, &down.0, &stop_down, |_| ()));
        thread::spawn(move || deliver(&up.1, &far, || Some(server)));
        thread::spawn(move || deliver(&down.1, &near, || *client.lock().unwrap()));
        Self { address, stop }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One direction.
#[derive(Debug, Clone, Copy)]
struct Link {
    rate: u64,
    delay: Duration,
    /// When it has let through all that came.
    free: Instant,
}

impl Link {
    /// Takes datagrams in and says when each comes out.
    fn carry(
        mut self,
        socket: &UdpSocket,
        out: &Sender<Datagram>,
        stop: &AtomicBool,
        heard: impl Fn(SocketAddr),
    ) {
        let mut buffer = vec![0; 65_536];
        socket.set_read_timeout(Some(IDLE)).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            heard(from);
            let now = Instant::now();
            if self.free.saturating_duration_since(now) > BACKLOG {
                continue;
            }
            let bits = length as u64 * 8;
            let takes = (bits * 1_000_000_000).checked_div(self.rate).unwrap_or(0);
            self.free = self.free.max(now) + Duration::from_nanos(takes);
            if out.send((self.free + self.delay, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }
}

/// Lets each datagram out when it is time.
fn deliver(
    datagrams: &Receiver<Datagram>,
    socket: &UdpSocket,
    peer: impl Fn() -> Option<SocketAddr>,
) {
    for (at, datagram) in datagrams {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if let Some(peer) = peer() {
            // A datagram that is lost because one end is gone is missed by nobody.
            let _ = socket.send_to(&datagram, peer);
        }
    }
}
