//! The load generator: one endpoint in one process that holds thousands of viewers, each of which
//! checks every byte and measures every chunk against its schedule.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quicstream::protocol::{Chunk, CloseReason, Frame, Pdu};
use s2n_quic::{Client, Connection};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep};

use crate::content::Content;
use crate::session::{HEARTBEAT, Session, Trouble};
use crate::site::Site;
use crate::{bare, say};

/// Handshakes at a time: more of them only wait in line, and some until they time out.
const HANDSHAKES: usize = 32;

/// A chunk later than this is late.
const LATE: Duration = Duration::from_millis(100);

/// What is later counts as this late, in the microseconds of the histogram.
const MOST_LATE: u64 = 600_000_000;

/// What to do, as it is handed to the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) viewers: usize,
    /// Every viewer has a title of its own.
    pub(crate) many_titles: bool,
    /// Bytes of a title.
    pub(crate) size: u64,
    /// bit/s.
    pub(crate) rate: u64,
    /// They begin within so much time of one another, so that not all chunks are due at once.
    pub(crate) spread: Duration,
    /// They pause as soon as they have begun, and stay so.
    pub(crate) paused: bool,
    /// Packets of several viewers leave as one.
    pub(crate) gso: bool,
    /// How long they are all watched at once.
    pub(crate) window: Duration,
}

/// The name of a title.
pub(crate) fn title(index: usize) -> String {
    format!("{index:05}.mp4")
}

/// What all viewers write to.
struct Record {
    lateness: Histogram<u64>,
    late: u64,
    complete: usize,
    troubles: Vec<String>,
}

struct Shared {
    plan: Plan,
    client: Client,
    record: Mutex<Record>,
    handshakes: Semaphore,
    /// Everybody is connected.
    connected: Barrier,
    /// Everybody has been granted a session.
    opened: Barrier,
}

pub(crate) async fn run(site: &Site, plan: Plan) {
    let viewers = plan.viewers;
    let window = plan.window;
    let paused = plan.paused;
    let shared = Arc::new(Shared {
        client: bare::client(&site.cert(), 1500, plan.gso),
        plan,
        record: Mutex::new(Record {
            lateness: Histogram::new_with_max(MOST_LATE, 3).unwrap(),
            late: 0,
            complete: 0,
            troubles: Vec::new(),
        }),
        handshakes: Semaphore::new(HANDSHAKES),
        connected: Barrier::new(viewers + 1),
        opened: Barrier::new(viewers + 1),
    });
    let mut all: JoinSet<()> = (0..viewers).map(|index| view(shared.clone(), index)).collect();
    shared.connected.wait().await;
    say(&json!({"event": "connected"}));
    shared.opened.wait().await;
    say(&json!({"event": "opened"}));
    sleep(window).await;
    say(&json!({"event": "window"}));
    if !paused {
        while all.join_next().await.is_some() {}
    }
    let record = shared.record.lock().unwrap();
    let lateness = &record.lateness;
    say(&json!({
        "event": "done",
        "complete": record.complete,
        "troubles": record.troubles.len(),
        "first_trouble": record.troubles.first(),
        "chunks": lateness.len(),
        "late": record.late,
        "p999": lateness.value_at_quantile(0.999) as f64 / 1000.0,
    }));
}

/// One viewer. Whatever becomes of it, the others do not wait for it.
async fn view(shared: Arc<Shared>, index: usize) {
    let connection = connect(&shared).await;
    shared.connected.wait().await;
    let session = match connection {
        Ok(connection) => {
            sleep(shared.plan.spread * index as u32 / shared.plan.viewers as u32).await;
            open(&shared, index, connection).await
        }
        Err(trouble) => Err(trouble),
    };
    let (opened, viewed) = tokio::join!(shared.opened.wait(), async {
        let (session, began) = session?;
        watch(&shared, index, session, began).await
    });
    let _ = opened;
    let mut record = shared.record.lock().unwrap();
    match viewed {
        Ok(()) => record.complete += 1,
        Err(trouble) => record.troubles.push(trouble.to_string()),
    }
}

async fn connect(shared: &Shared) -> Result<Connection, Trouble> {
    let _turn = shared.handshakes.acquire().await?;
    Session::connect(&shared.client, shared.plan.server).await
}

/// Begins; the schedule does, too, when OPEN_ACK is there.
async fn open(
    shared: &Shared,
    index: usize,
    connection: Connection,
) -> Result<(Session, Instant), Trouble> {
    let title = shared.plan.many_titles.then(|| title(index));
    let mut session = Session::open(connection, title, shared.plan.rate).await?;
    if shared.plan.paused {
        session.send(&Pdu::Pause).await?;
    }
    Ok((session, Instant::now()))
}

async fn watch(
    shared: &Shared,
    index: usize,
    mut session: Session,
    began: Instant,
) -> Result<(), Trouble> {
    let content = match shared.plan.many_titles {
        true => Content { title: index as u64, dense: Content::SPARSE },
        false => Content { title: 0, dense: Content::DENSE },
    };
    let mut heartbeats = interval_at((began + HEARTBEAT).into(), HEARTBEAT);
    let mut place = 0;
    loop {
        let frame = tokio::select! {
            frame = session.frame() => frame?,
            _ = heartbeats.tick() => {
                session.heartbeat().await?;
                continue;
            }
        };
        match frame {
            Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }) => {
                note_lateness(shared, began, place);
                place = check(content, place, &chunk)?;
            }
            Some(Frame::Pdu { pdu: Pdu::Close(CloseReason::COMPLETE, _), .. }) => {
                let size = shared.plan.size;
                let whole = place == size;
                return whole.then_some(()).ok_or(format!("{place} bytes of {size}").into());
            }
            Some(Frame::Pdu { pdu: Pdu::Heartbeat { .. }, .. }) => {}
            other => return Err(format!("unexpected: {other:?}").into()),
        }
    }
}

fn note_lateness(shared: &Shared, began: Instant, place: u64) {
    let due = began + Duration::from_nanos(place * 8 * 1_000_000_000 / shared.plan.rate);
    let late = Instant::now().saturating_duration_since(due);
    let mut record = shared.record.lock().unwrap();
    record.lateness.saturating_record(late.as_micros() as u64);
    record.late += u64::from(late > LATE);
}

/// Checks the bytes of a chunk and returns the place after it.
fn check(content: Content, mut place: u64, chunk: &Chunk) -> Result<u64, Trouble> {
    for piece in chunk.payload.pieces() {
        if !content.matches(place, piece) {
            return Err(format!("wrong bytes at {place}, in chunk {}", chunk.seq).into());
        }
        place += piece.len() as u64;
    }
    Ok(place)
}
