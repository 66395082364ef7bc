//! The viewers of a broadcast: one process that holds thousands, each of which checks every byte and
//! measures how late each piece of the producer is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quicstream::protocol::{Frame, Pdu};
use s2n_quic::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep};

use crate::content::Content;
use crate::live::{MARK, PIECE, TAIL, now};
use crate::session::{HEARTBEAT, Session, Trouble};
use crate::site::Site;
use crate::{bare, say};

/// Handshakes at a time.
const HANDSHAKES: usize = 32;

/// What is later counts as this late, in the microseconds of the histogram.
const MOST_LATE: u64 = 600_000_000;

/// What to do, as it is handed to the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LivePlan {
    pub(crate) server: SocketAddr,
    pub(crate) viewers: usize,
    /// How many of them read nothing once they watch.
    pub(crate) stalled: usize,
    /// How long they are all watched at once.
    pub(crate) window: Duration,
    /// They listen to Icecast.
    pub(crate) http: bool,
}

struct Record {
    lateness: Histogram<u64>,
    first_byte: Duration,
    complete: usize,
    troubles: Vec<String>,
    /// Whether all watch.
    counts: bool,
}

struct Shared {
    plan: LivePlan,
    client: Client,
    record: Mutex<Record>,
    handshakes: Semaphore,
    /// Everybody has something of the broadcast.
    opened: Barrier,
}

pub(crate) async fn run(site: &Site, plan: LivePlan) {
    let (viewers, window) = (plan.viewers, plan.window);
    let shared = Arc::new(Shared {
        client: bare::client(&site.cert(), 1500, true),
        plan,
        record: Mutex::new(Record {
            lateness: Histogram::new_with_max(MOST_LATE, 3).unwrap(),
            first_byte: Duration::ZERO,
            complete: 0,
            troubles: Vec::new(),
            counts: false,
        }),
        handshakes: Semaphore::new(HANDSHAKES),
        opened: Barrier::new(viewers + 1),
    });
    let mut all: JoinSet<()> = (0..viewers).map(|number| view(shared.clone(), number)).collect();
    shared.opened.wait().await;
    shared.record.lock().unwrap().counts = true;
    say(&json!({"event": "opened"}));
    sleep(window).await;
    shared.record.lock().unwrap().counts = false;
    say(&json!({"event": "window"}));
    while all.join_next().await.is_some() {}
    let record = shared.record.lock().unwrap();
    let late = |part| record.lateness.value_at_quantile(part) as f64 / 1000.0;
    say(&json!({
        "event": "done",
        "complete": record.complete,
        "troubles": record.troubles.len(),
        "first_trouble": record.troubles.first(),
        "pieces": record.lateness.len(),
        "median": late(0.5),
        "p999": late(0.999),
        "first_byte": record.first_byte.as_secs_f64() * 1000.0,
    }));
}

/// One viewer. Whatever becomes of it, the others do not wait for it.
async fn view(shared: Arc<Shared>, number: usize) {
    let viewed = match shared.plan.http {
        true => listen(&shared).await,
        false => watch(&shared, number < shared.plan.stalled).await,
    };
    let mut record = shared.record.lock().unwrap();
    match viewed {
        Ok(()) => record.complete += 1,
        Err(trouble) => record.troubles.push(trouble.to_string()),
    }
}

/// Watches to the end of the broadcast.
async fn watch(shared: &Shared, stalls: bool) -> Result<(), Trouble> {
    let opened = async {
        let _turn = shared.handshakes.acquire().await?;
        let connection = Session::connect(&shared.client, shared.plan.server).await?;
        let asked = Instant::now();
        Ok::<_, Trouble>((Session::join(connection).await?, asked))
    };
    let opened = opened.await;
    let (mut session, place, asked) = match opened {
        Ok(((session, place), asked)) => (session, place, asked),
        Err(trouble) => {
            shared.opened.wait().await;
            return Err(trouble);
        }
    };
    let mut check = Check { place, stamp: [0; 8] };
    let mut heartbeats = interval_at((Instant::now() + HEARTBEAT).into(), HEARTBEAT);
    let mut has_waited = false;
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
                for piece in chunk.payload.pieces() {
                    check.take(piece, shared)?;
                }
                if !std::mem::replace(&mut has_waited, true) {
                    shared.record.lock().unwrap().first_byte = asked.elapsed();
                    // The others are not waited for: what comes meanwhile would be late.
                    tokio::select! {
                        _ = shared.opened.wait() => {}
                        drained = drain(&mut session, &mut check, shared) => drained?,
                    }
                    if stalls {
                        stall(&mut session, shared.plan.window).await?;
                    }
                }
            }
            Some(Frame::Pdu { pdu: Pdu::Close(..), .. }) => return Ok(()),
            Some(Frame::Pdu { pdu: Pdu::Heartbeat { .. } | Pdu::Edge { .. }, .. }) => {}
            other => return Err(format!("unexpected: {other:?}").into()),
        }
    }
}

/// Reads what comes, for as long as it is polled.
async fn drain(session: &mut Session, check: &mut Check, shared: &Shared) -> Result<(), Trouble> {
    let mut heartbeats = interval_at((Instant::now() + HEARTBEAT).into(), HEARTBEAT);
    loop {
        let frame = tokio::select! {
            frame = session.frame() => frame?,
            _ = heartbeats.tick() => {
                session.heartbeat().await?;
                continue;
            }
        };
        if let Some(Frame::Pdu { pdu: Pdu::Chunk(chunk), .. }) = frame {
            for piece in chunk.payload.pieces() {
                check.take(piece, shared)?;
            }
        }
    }
}

/// Reads nothing for so long.
async fn stall(session: &mut Session, time: Duration) -> Result<(), Trouble> {
    let until = Instant::now() + time;
    while !until.saturating_duration_since(Instant::now()).is_zero() {
        session.heartbeat().await?;
        sleep(HEARTBEAT.min(until.saturating_duration_since(Instant::now()))).await;
    }
    Ok(())
}

/// Checks what comes of a broadcast, whose place is known.
struct Check {
    place: u64,
    stamp: [u8; 8],
}

impl Check {
    fn take(&mut self, mut bytes: &[u8], shared: &Shared) -> Result<(), Trouble> {
        const MEDIA: u64 = (PIECE - TAIL) as u64;
        let content = Content { title: 0, dense: Content::DENSE };
        while !bytes.is_empty() {
            let within = self.place % PIECE as u64;
            let is_right;
            let length;
            if within < MEDIA {
                length = bytes.len().min((MEDIA - within) as usize);
                is_right = content.matches(self.place, &bytes[..length]);
            } else {
                length = 1;
                let at = (within - MEDIA) as usize;
                is_right = at >= MARK.len() || MARK[at] == bytes[0];
                if let Some(digit) = at.checked_sub(MARK.len()) {
                    self.stamp[digit] = bytes[0];
                    if digit == 7 {
                        note(shared, u64::from_le_bytes(self.stamp));
                    }
                }
            }
            if !is_right {
                return Err(format!("wrong bytes at {}", self.place).into());
            }
            bytes = &bytes[length..];
            self.place += length as u64;
        }
        Ok(())
    }
}

fn note(shared: &Shared, written: u64) {
    let late = now().saturating_sub(written) / 1000;
    let mut record = shared.record.lock().unwrap();
    if record.counts {
        record.lateness.saturating_record(late);
    }
}

/// Listens to Icecast, whose bytes have no place, to the end.
async fn listen(shared: &Shared) -> Result<(), Trouble> {
    let mut stream = {
        let _turn = shared.handshakes.acquire().await?;
        let mut stream = TcpStream::connect(shared.plan.server).await?;
        stream.write_all(b"GET /live HTTP/1.0\r\n\r\n").await?;
        stream
    };
    let mut buffer = vec![0; 64 * 1024];
    let mut held = 0;
    let mut waiting = Some(Box::pin(shared.opened.wait()));
    loop {
        let read = match &mut waiting {
            Some(opened) => tokio::select! {
                _ = opened => {
                    waiting = None;
                    continue;
                }
                read = stream.read(&mut buffer[held..]) => read?,
            },
            None => stream.read(&mut buffer[held..]).await?,
        };
        if read == 0 {
            return Ok(());
        }
        held += read;
        let mut at = 0;
        while let Some(mark) = find(&buffer[at..held]) {
            let stamp = at + mark + MARK.len();
            let Some(written) = buffer[..held].get(stamp..stamp + 8) else { break };
            note(shared, u64::from_le_bytes(written.try_into()?));
            at = stamp + 8;
        }
        // A mark may be cut.
        let keep = at.max(held.saturating_sub(TAIL));
        buffer.copy_within(keep..held, 0);
        held -= keep;
    }
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|window| window == MARK)
}
