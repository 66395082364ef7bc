//! Viewers that have one connection and never another.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quicstream::protocol::{CloseReason, Frame, OpenStream, Options, Pdu, Version};
use quicstream::transport::{
    Congestion, Connection, Connector, Incoming, Outgoing, TransportSettings, Trust,
};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::common::relay::Relay;

/// Bytes of the media.
pub(crate) const SIZE: usize = 300_000;

/// How often the port of each viewer changes: more often than s2n-quic follows is no use.
pub(crate) const REBINDS: u64 = 4;

/// How often a viewer says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(200);

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
        let mut viewer = Self { _connection: connection, outgoing, incoming };
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
        let mut heartbeats = interval(HEARTBEAT);
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

/// Has so many viewers watch through a relay that gives each of them a new port in mid-stream,
/// again and again. Returns what happened to those whose connection did not survive it.
pub(crate) async fn lost_by_rebinding(
    relay: &Arc<Relay>,
    viewers: usize,
    rate: u64,
) -> Vec<String> {
    let connector = Arc::new(connector());
    let turns = Arc::new(Semaphore::new(HANDSHAKES));
    let connected = Arc::new(Barrier::new(viewers));
    // How many have seen each part of the media; when the last has, the ports change.
    let parts: Arc<[_]> = (0..REBINDS).map(|_| AtomicUsize::new(0)).collect();
    let mut all = JoinSet::new();
    for _ in 0..viewers {
        let (connector, turns, connected) = (connector.clone(), turns.clone(), connected.clone());
        let (relay, parts) = (relay.clone(), parts.clone());
        all.spawn(async move {
            let turn = turns.acquire().await.unwrap();
            let connection = Viewer::connect(&connector, relay.port()).await;
            drop(turn);
            connected.wait().await;
            let mut viewer = match Viewer::open(connection?, rate).await {
                Ok(viewer) => viewer,
                Err(pdu) => return Err(pdu.to_string()),
            };
            let mut waits_for = parts.iter().enumerate().peekable();
            let over = viewer.watch(|total| {
                let is_seen = |part: usize| total >= SIZE * (part + 1) / (parts.len() + 2);
                while let Some((_, seen)) = waits_for.next_if(|(part, _)| is_seen(*part)) {
                    if seen.fetch_add(1, Ordering::Relaxed) + 1 == viewers {
                        relay.rebind();
                    }
                }
            });
            match over.await? {
                Pdu::Close(CloseReason::COMPLETE, _) => Ok(()),
                pdu => Err(pdu.to_string()),
            }
        });
    }
    all.join_all().await.into_iter().filter_map(Result::err).collect()
}
