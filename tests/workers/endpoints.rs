//! Endpoints in this process, each of which tells what it does.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use quicstream::transport::{
    ActiveIdentity, Certificate, Connector, FirstLook, HandshakePolicy, Identity, Listener,
    ResetKey, Sockets, WorkerSocket, Workers,
};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::viewer::{Viewer, connector, raise_descriptor_limit, transport};

/// What one endpoint has done.
#[derive(Debug)]
struct Endpoint {
    first_look: FirstLook,
    looks: AtomicUsize,
    /// The most handshakes that it was told of.
    most_handshakes: AtomicUsize,
    accepted: AtomicUsize,
}

impl HandshakePolicy for Endpoint {
    fn first_look(&self, _: SocketAddr, handshakes: usize) -> FirstLook {
        self.most_handshakes.fetch_max(handshakes, Ordering::Relaxed);
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.first_look
    }
}

/// Starts endpoints on one port, which they return.
fn start(workers: u8, first_look: FirstLook) -> (u16, Vec<Arc<Endpoint>>) {
    let identity = Certificate::self_signed(&["localhost".into()], 1).unwrap();
    let identity = ActiveIdentity::new(&Identity::from(identity)).unwrap();
    let workers = Workers::Exactly(NonZeroU8::new(workers).unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let Sockets { first, others } = Sockets::bind(address, workers, None).unwrap();
    let mut port = 0;
    let start = |socket: WorkerSocket| {
        let [looks, most_handshakes, accepted] = [(); 3].map(|()| AtomicUsize::new(0));
        let endpoint = Arc::new(Endpoint { first_look, looks, most_handshakes, accepted });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let guard = runtime.enter();
        let (key, policy) = (ResetKey::random(), endpoint.clone());
        let listener = Listener::start(socket, &identity, &key, policy, &transport());
        drop(guard);
        let mut listener = listener.unwrap();
        port = listener.address().port();
        let accepting = endpoint.clone();
        thread::spawn(move || {
            runtime.block_on(async move {
                let mut connections = Vec::new();
                while let Some(connection) = listener.accept().await {
                    accepting.accepted.fetch_add(1, Ordering::Relaxed);
                    connections.push(connection);
                }
            });
        });
        endpoint
    };
    let endpoints = [first].into_iter().chain(others).map(start).collect();
    (port, endpoints)
}

/// Connects so many clients, each from a socket of its own, and waits until all are accepted.
/// Returns how many have come to each endpoint.
async fn connect(clients: usize, port: u16, endpoints: &[Arc<Endpoint>]) -> Vec<usize> {
    let connector = Arc::new(connector());
    let mut connecting = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..clients {
        if connecting.len() == 32 {
            connections.push(connecting.join_next().await.unwrap().unwrap());
        }
        let connector = connector.clone();
        connecting.spawn(async move { Viewer::connect(&connector, port).await.unwrap() });
    }
    connections.extend(connecting.join_all().await);
    loop {
        let accepted = counts(endpoints, |endpoint| &endpoint.accepted);
        if accepted.iter().sum::<usize>() >= clients {
            return accepted;
        }
        tokio::task::yield_now().await;
    }
}

fn counts(endpoints: &[Arc<Endpoint>], count: fn(&Endpoint) -> &AtomicUsize) -> Vec<usize> {
    endpoints.iter().map(|endpoint| count(endpoint).load(Ordering::Relaxed)).collect()
}

#[tokio::test]
async fn a_thousand_clients_are_spread_over_all_workers() {
    raise_descriptor_limit();
    let (port, endpoints) = start(4, FirstLook::Accept);
    let accepted = connect(1000, port, &endpoints).await;
    assert!(accepted.iter().all(|count| *count <= 325), "1.3 of the mean: {accepted:?}");
}

#[tokio::test]
async fn a_client_that_has_to_prove_its_address_comes_back_to_the_worker_that_asked_it() {
    let (port, endpoints) = start(8, FirstLook::ProveAddress);
    let accepted = connect(60, port, &endpoints).await;
    let asked = counts(&endpoints, |endpoint| &endpoint.looks);
    // Who waits long for the answer begins again, and is asked again.
    let come_back = accepted.iter().zip(&asked).all(|(accepted, asked)| accepted <= asked);
    assert!(come_back, "accepted {accepted:?}, asked {asked:?}");
}

#[tokio::test]
async fn handshakes_that_are_under_way_are_counted_over_all_workers() {
    let (port, endpoints) = start(4, FirstLook::Accept);
    let (connector, socket) = (connector(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for begun in 1..=20 {
        socket.send_to(&first_packet(&connector).await, ("127.0.0.1", port)).unwrap();
        while counts(&endpoints, |endpoint| &endpoint.looks).iter().sum::<usize>() < begun {
            tokio::task::yield_now().await;
        }
    }
    let seen = counts(&endpoints, |endpoint| &endpoint.most_handshakes);
    // One that is just being taken in may be missing.
    assert!(seen.iter().any(|count| (15..20).contains(count)), "{seen:?}");
}

#[tokio::test]
async fn handshakes_that_are_done_are_not_counted() {
    let (port, endpoints) = start(4, FirstLook::Accept);
    connect(20, port, &endpoints).await;
    endpoints.iter().for_each(|endpoint| endpoint.most_handshakes.store(0, Ordering::Relaxed));
    connect(1, port, &endpoints).await;
    assert_eq!(counts(&endpoints, |endpoint| &endpoint.most_handshakes), [0; 4]);
}

/// What a client begins a handshake with; nobody hears the rest of it.
async fn first_packet(connector: &Connector) -> Vec<u8> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut packet = vec![0; 2_000];
    tokio::select! {
        length = sink.recv(&mut packet) => packet.truncate(length.unwrap()),
        connected = Viewer::connect(connector, sink.local_addr().unwrap().port()) => {
            panic!("{:?}", connected.err())
        }
    }
    packet
}
