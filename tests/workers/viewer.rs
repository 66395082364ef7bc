//! Viewers that have one connection and never another.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quicstream::protocol::{CloseReason, Frame, OpenStream, Options, Pdu, Version};
use quicstream::transport::{
    Congestion, Connection, Connector, Incoming, Outgoing, TransportSettings, Trust,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::common::relay::Relay;

/// Bytes of the media.
pub(crate) const SIZE: usize = 300_000;

/// How often the port of each viewer changes: more often than s2n-quic follows is no use.
const REBINDS: u64 = 4;

/// After how many bytes it changes.
const EVERY: u64 = SIZE as u64 / 10;

/// How often a viewer says that it is there while the media comes: often enough that each of its ports
/// is used.
const HEARTBEATS: u64 = 25;

/// Handshakes at a time.
const HANDSHAKES: usize = 32;

pub(crate) fn transport() -> TransportSettings {
    TransportSettings {
        mtu: 1500,
        congestion: Congestion::Bbr,
        idle_timeout: Duration::from_secs(60),
        socket_buffer: 1 << 20,
    }
}

pub(crate) fn connector() -> Connector {
    let patience = Duration::from_secs(60);
    Connector::new(&transport(), &Trust::Insecure, &[Version::V2], patience, 1).unwrap()
}

/// A session that is granted.
pub(crate) struct Viewer {
    _connection: Connection,
    outgoing: Outgoing,
    incoming: Incoming,
    heartbeat: Duration,
}

impl Viewer {
    pub(crate) async fn connect(connector: &Connector, port: u16) -> Result<Connection, String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connected = connector.connect(server, "localhost").await;
        connected.map(|(connection, _)| connection).map_err(|error| error.to_string())
    }

    /// Asks for the only title, at so many bit/s.
    pub(crate) async fn open(connection: Connection, rate: u64) -> Result<Self, Pdu> {
        let (outgoing, incoming) = connection.open_stream().await.unwrap();
        let heartbeat = Duration::from_millis(SIZE as u64 * 8_000 / rate / HEARTBEATS);
        let heartbeat = heartbeat.min(Duration::from_secs(5));
        let mut viewer = Self { _connection: connection, outgoing, incoming, heartbeat };
        let options = Options { rate: Some(rate), unverified: true, ..Options::default() };
        let open = OpenStream { codec: "h264".into(), ..OpenStream::default() };
        viewer.send(&Pdu::OpenStream(open, options)).await;
        match viewer.incoming.frame().await.unwrap() {
            Some(Frame::Pdu { session_id, pdu: Pdu::OpenAck(..) }) => {
                viewer.outgoing.set_session_id(session_id);
                Ok(viewer)
            }
            Some(Frame::Pdu { pdu, .. }) => Err(pdu),
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, pdu: &Pdu) {
        self.outgoing.queue(pdu);
        self.outgoing.drain().await.unwrap();
    }

    /// Watches to the end, and returns why it came; `seen` is told how many bytes there are.
    pub(crate) async fn watch(&mut self, mut seen: impl FnMut(usize)) -> Result<Pdu, String> {
        let mut heartbeats = interval(self.heartbeat);
        // Many at once are too many for a server.
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut total = 0;
        loop {
            let frame = tokio::select! {
                frame = self.incoming.frame() => frame.map_err(|error| error.to_string())?,
                _ = heartbeats.tick() => {
                    self.outgoing.queue_heartbeat();
                    self.outgoing.drain().await.map_err(|error| error.to_string())?;
                    continue;
                }
            };
            match frame {
                Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }) => {
                    total += chunk.payload.pieces().iter().map(|piece| piece.len()).sum::<usize>();
                    seen(total);
                }
                Some(Frame::Pdu { pdu: pdu @ Pdu::Close(..), .. }) => return Ok(pdu),
                Some(_) => {}
                None => return Err(format!("the end after {total} bytes")),
            }
        }
    }
}

/// Has so many viewers watch, each through a relay that gives it a new port in mid-stream, again
/// and again. Returns what happened to those whose connection did not survive it.
pub(crate) async fn lost_by_rebinding(server: u16, viewers: usize, rate: u64) -> Vec<String> {
    let connector = Arc::new(connector());
    let turns = Arc::new(Semaphore::new(HANDSHAKES));
    let mut all = JoinSet::new();
    for _ in 0..viewers {
        let (connector, turns) = (connector.clone(), turns.clone());
        all.spawn(async move {
            let relay = Relay::start(server);
            let turn = turns.acquire().await.unwrap();
            let connection = Viewer::connect(&connector, relay.port()).await?;
            let mut viewer = Viewer::open(connection, rate).await.map_err(|pdu| pdu.to_string())?;
            drop(turn);
            let mut rebinds = 0;
            let over = viewer.watch(|total| {
                // Each of its ports is used.
                let is_known = relay.ports() == rebinds + 1;
                if is_known && rebinds < REBINDS && total as u64 >= (rebinds + 1) * EVERY {
                    relay.rebind();
                    rebinds += 1;
                }
            });
            match over.await? {
                Pdu::Close(CloseReason::COMPLETE, _) => Ok(relay.ports()),
                pdu => Err(pdu.to_string()),
            }
        });
    }
    let (kept, lost): (Vec<_>, Vec<_>) = all.join_all().await.into_iter().partition(Result::is_ok);
    // On a busy machine the bytes of some come at once, and their last port too late.
    let ports: Vec<_> = kept.into_iter().flatten().collect();
    assert!(ports.iter().all(|ports| *ports > 1), "a port never changed: {ports:?}");
    assert!(ports.iter().sum::<u64>() >= ports.len() as u64 * REBINDS, "too few: {ports:?}");
    lost.into_iter().filter_map(Result::err).collect()
}

/// Lets this process have as many sockets as it takes.
pub(crate) fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
