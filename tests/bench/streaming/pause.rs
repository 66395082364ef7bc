//! What still comes after a viewer has asked for silence.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quicstream::protocol::{Chunk, Frame, OpenStream, Options, Pdu, Version};
use quicstream::transport::{Congestion, Connector, Incoming, TransportSettings, Trust};
use serde_json::json;
use tokio::time::timeout_at;

use crate::bare::CHUNK;
use crate::relay::Relay;
use crate::session::Trouble;
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};
use crate::{Scale, say};

/// What the transport keeps of an unpaced session, in chunks (`SEND_BUFFER` of the transport), and
/// one that the buffer had begun to take.
const SEND_BUFFER_CHUNKS: f64 = (1024 * 1024 / CHUNK + 1) as f64;

/// For how long to look at what comes.
const WATCH: Duration = Duration::from_secs(3);

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    let media = site.sparse("pause.mp4", 4 << 30);
    let server = site.serve(&media, 1500, &[]);
    let sample = |address, rate: u64, before: Duration| -> Vec<[f64; 2]> {
        (0..scale.pauses).map(|_| probe(site, address, rate, before)).collect()
    };
    let column = |samples: &[[f64; 2]], index: usize| samples.iter().map(|it| it[index]).collect();

    let second = Duration::from_secs(1);
    let unpaced = sample(server.address, 0, second);
    let what = "chunks more than a round trip after PAUSE_STREAM, unpaced, loopback";
    table.row(what, "chunks", column(&unpaced, 0), Target::AtMost(SEND_BUFFER_CHUNKS));
    let paced = sample(server.address, 8_000_000, second);
    let what = "the same, paced at 8 Mbit/s";
    table.row(what, "chunks", column(&paced, 0), Target::AtMost(1.0));

    let relay = slow_link(&server);
    let slow = sample(relay.address, 0, second * 3);
    let what = "last data after PAUSE_STREAM, unpaced, link of 4 Mbit/s and 50 ms";
    table.row(what, "s", column(&slow, 1), Target::AtMost(0.5));
}

fn slow_link(server: &Serving) -> Relay {
    Relay::start(server.address, 4_000_000, Duration::from_millis(50))
}

/// Chunks that came more than a round trip after PAUSE_STREAM, and how many seconds after it the last of them did.
fn probe(site: &Site, address: SocketAddr, rate: u64, before: Duration) -> [f64; 2] {
    let args = [address.to_string(), rate.to_string(), before.as_millis().to_string()];
    let command = site.role("probe-pause", &args.each_ref().map(String::as_str));
    let process = site.start_client(&command);
    let (_, paused) = process.event("paused", before + WATCH + SOON);
    [number(&paused, "chunks"), number(&paused, "last")]
}

/// The viewer: streams for a time, pauses, and counts what arrives when the server can have heard
/// of it.
pub(crate) async fn watch(
    site: &Site,
    server: SocketAddr,
    rate: u64,
    before: Duration,
) -> Result<(), Trouble> {
    let settings = TransportSettings {
        mtu: 1500,
        congestion: Congestion::Bbr,
        idle_timeout: SOON,
        socket_buffer: 4 * 1024 * 1024,
    };
    let trust = Trust::Ca(site.cert());
    let connector = Connector::new(&settings, &trust, &[Version::V2], Duration::from_secs(10), 1)?;
    let (connection, _) = connector.connect(server, "localhost").await?;
    let (mut outgoing, mut incoming) = connection.open_stream().await?;
    let terms = OpenStream { codec: "h264".into(), ..OpenStream::default() };
    let options = Options { rate: Some(rate), unverified: true, ..Options::default() };
    outgoing.queue(&Pdu::OpenStream(terms, options));
    outgoing.drain().await?;
    let Some(Frame::Pdu { session_id, pdu: Pdu::OpenAck(..) }) = incoming.frame().await? else {
        return Err("no OPEN_ACK".into());
    };
    outgoing.set_session_id(session_id);

    let pause = Instant::now() + before;
    while next_chunk(&mut incoming, pause).await?.is_some() {}
    outgoing.queue(&Pdu::Pause);
    outgoing.drain().await?;
    let paused = Instant::now();
    let round_trip = connection.handle().path().rtt().ok_or("no round trip was measured")?;
    let (mut chunks, mut last) = (0, Duration::ZERO);
    while next_chunk(&mut incoming, paused + WATCH).await?.is_some() {
        last = paused.elapsed();
        chunks += u32::from(last > round_trip);
    }
    say(&json!({"event": "paused", "chunks": chunks, "last": last.as_secs_f64()}));
    Ok(())
}

/// The next chunk; `None` if none came until `end`.
async fn next_chunk(incoming: &mut Incoming, end: Instant) -> Result<Option<Chunk>, Trouble> {
    loop {
        match timeout_at(end.into(), incoming.frame()).await {
            Ok(Ok(Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }))) => return Ok(Some(chunk)),
            Ok(Ok(Some(Frame::Pdu { pdu: Pdu::Heartbeat { .. }, .. }))) => {}
            Ok(other) => return Err(format!("unexpected: {other:?}").into()),
            Err(_) => return Ok(None),
        }
    }
}
