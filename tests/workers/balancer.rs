//! A balancer that knows QUIC-LB, and nothing of connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
use tokio::net::UdpSocket;
use tokio::runtime::Builder;

/// The only configuration: server IDs of one byte, nonces of five.
#[derive(Clone)]
pub(crate) struct Balancer {
    /// The server ID and the port of each server.
    pub(crate) servers: Vec<(u8, u16)>,
    pub(crate) key: Option<[u8; 16]>,
}

impl Balancer {
    /// Starts it on a thread of its own and returns its port.
    pub(crate) fn start(self) -> u16 {
        let near = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        near.set_nonblocking(true).unwrap();
        let port = near.local_addr().unwrap().port();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { self.carry_up(UdpSocket::from_std(near).unwrap()).await });
        });
        port
    }

    async fn carry_up(self, near: UdpSocket) {
        let near = Arc::new(near);
        let mut ports = HashMap::new();
        let mut packet = vec![0; 65_536];
        // What comes back of a port that is gone is an error of the next packet's.
        loop {
            let Ok((length, client)) = near.recv_from(&mut packet).await else { continue };
            let packet = &packet[..length];
            let server = self.route(packet, client);
            if let Entry::Vacant(place) = ports.entry((client, server)) {
                let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                far.connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry_down(far.clone(), near.clone(), client));
                place.insert(far);
            }
            let _ = ports[&(client, server)].send(packet).await;
        }
    }

    /// The port of the server that a packet is for: the one in its connection id, else any, but
    /// always the same for a client.
    fn route(&self, packet: &[u8], client: SocketAddr) -> u16 {
        let named = self.server_id(packet);
        let named = self.servers.iter().find(|(id, _)| Some(*id) == named);
        let mut hasher = DefaultHasher::new();
        client.hash(&mut hasher);
        let any = self.servers[hasher.finish() as usize % self.servers.len()];
        named.unwrap_or(&any).1
    }

    fn server_id(&self, packet: &[u8]) -> Option<u8> {
        let id_at = if packet.first()? & 0x80 == 0 { 1 } else { 6 };
        let &[first, l0, l1, l2, r0, r1, r2] = packet.get(id_at..)?.first_chunk()?;
        let (left, right) = ([l0, l1, l2], [r0, r1, r2]);
        match self.key {
            _ if first >> 5 != 0 => None,
            None => Some(l0),
            Some(key) => {
                let left = xor(left, mask(key, right, 4));
                let right = xor(right, mask(key, left, 3));
                Some(xor(left, mask(key, right, 2))[0])
            }
        }
    }
}

/// What one half of a server ID and its nonce adds to the other in one pass.
fn mask(key: [u8; 16], [a, b, c]: [u8; 3], pass: u8) -> [u8; 3] {
    let mut block = [a, b, c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, pass];
    let key = UnboundCipherKey::new(&AES_128, &key).unwrap();
    EncryptingKey::ecb(key).unwrap().encrypt(&mut block).unwrap();
    [block[0], block[1], block[2]]
}

fn xor(one: [u8; 3], other: [u8; 3]) -> [u8; 3] {
    std::array::from_fn(|index| one[index] ^ other[index])
}

async fn carry_down(far: Arc<UdpSocket>, near: Arc<UdpSocket>, client: SocketAddr) {
    let mut packet = vec![0; 65_536];
    loop {
        let Ok(length) = far.recv(&mut packet).await else { continue };
        let _ = near.send_to(&packet[..length], client).await;
    }
}
