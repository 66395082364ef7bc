//! What still comes after a viewer has asked for silence.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quicstream::protocol::{Chunk, Frame, Pdu};
use serde_json::json;

use crate::bare::CHUNK;
use crate::relay::Relay;
use crate::session::{Session, Trouble};
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};
use crate::{Scale, bare, say};

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
    let what = "chunks after PAUSE_STREAM, unpaced, loopback";
    table.row(what, "chunks", column(&unpaced, 0), Target::AtMost(SEND_BUFFER_CHUNKS));
    let paced = sample(server.address, 8_000_000, second);
    let what = "chunks after PAUSE_STREAM, paced at 8 Mbit/s, loopback";
    table.row(what, "chunks", column(&paced, 0), Target::AtMost(1.0));

    let relay = slow_link(&server);
    let slow = sample(relay.address, 0, second * 3);
    let what = "last data after PAUSE_STREAM, unpaced, link of 4 Mbit/s and 50 ms";
    table.row(what, "s", column(&slow, 1), Target::AtMost(0.5));
}

fn slow_link(server: &Serving) -> Relay {
    Relay::start(server.address, 4_000_000, Duration::from_millis(50))
}

/// Chunks that came after PAUSE_STREAM, and how many seconds after it the last of them did.
fn probe(site: &Site, address: SocketAddr, rate: u64, before: Duration) -> [f64; 2] {
    let args = [address.to_string(), rate.to_string(), before.as_millis().to_string()];
    let command = site.role("probe-pause", &args.each_ref().map(String::as_str));
    let process = site.start_client(&command);
    let (_, paused) = process.event("paused", before + WATCH + SOON);
    [number(&paused, "chunks"), number(&paused, "last")]
}

/// The viewer: streams for a time, pauses, and counts.
pub(crate) async fn watch(
    site: &Site,
    server: SocketAddr,
    rate: u64,
    before: Duration,
) -> Result<(), Trouble> {
    let client = bare::client(&site.cert(), 1500);
    let connection = Session::connect(&client, server).await?;
    let mut session = Session::open(connection, None, rate).await?;
    let pause = Instant::now() + before;
    while next_chunk(&mut session, pause).await?.is_some() {}
    session.send(&Pdu::Pause).await?;
    let paused = Instant::now();
    let (mut chunks, mut last) = (0, Duration::ZERO);
    while next_chunk(&mut session, paused + WATCH).await?.is_some() {
        chunks += 1;
        last = paused.elapsed();
    }
    say(&json!({"event": "paused", "chunks": chunks, "last": last.as_secs_f64()}));
    Ok(())
}

/// The next chunk; `None` if none came until `end`.
async fn next_chunk(session: &mut Session, end: Instant) -> Result<Option<Chunk>, Trouble> {
    loop {
        match session.frame_until(end).await? {
            Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }) => return Ok(Some(chunk)),
            Some(Frame::Pdu { pdu: Pdu::Heartbeat { .. }, .. }) => {}
            None => return Ok(None),
            other => return Err(format!("unexpected: {other:?}").into()),
        }
    }
}
