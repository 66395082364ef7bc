//! The sending side of a session: control PDUs first, then chunks as they are due.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::grant::Grant;
use super::progress::Meter;
use crate::media::{self, Entry};
use crate::protocol::{CloseReason, Options, Pdu};
use crate::session::Pacer;
use crate::transport::{self, Outgoing};

/// How many queued pieces make a client that asks without reading the answers wait: it must not
/// make us keep them.
const CLOGGED: usize = 64;

/// The least that a paced session may have on the way, bytes: two chunks of the usual size.
const PACED_SEND_AHEAD: u32 = 128 * 1024;

/// How many titles go into one LIST_REPLY: a full one stays below 16 KiB with usual names.
const TITLES_PER_REPLY: usize = 100;

/// An open session.
pub(super) struct Session {
    pub(super) id: u32,
    pub(super) grant: Grant,
    /// The schedule; `None` where the session goes as fast as the transport.
    pub(super) pacer: Option<Pacer>,
    pub(super) meter: Arc<Meter>,
    /// The most to have on the way that is not acknowledged, bytes.
    send_ahead: u32,
    /// The last chunk that was queued; 0 before the first.
    seq: u32,
    /// Media bytes queued.
    sent: u64,
    /// The payload of the next chunk, as far as it has been read.
    payload: Vec<Bytes>,
    payload_len: u64,
    /// The client knows the digest, cannot be told, or does not want to.
    digest_settled: bool,
    /// Until when the end of the session waits for the digest.
    digest_deadline: Option<Instant>,
}

/// What [`Output::push`] came to.
pub(super) enum Progress {
    /// Every chunk is queued.
    MediaEnded,
    /// The media cannot be read on.
    MediaFailed(media::Error),
    /// The client has everything, the end of the stream included.
    Delivered,
    /// A part of the catalogue has left.
    Listed,
    /// The client was not listened to, because so much waited, and can be again.
    Unclogged,
}

/// A heartbeat that waits for its turn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heartbeat {
    /// One of our own, with the time of the clock.
    Own,
    /// One that came with this timestamp.
    Echo(u64),
}

/// Everything that goes to the client.
pub(super) struct Output {
    outgoing: Outgoing,
    /// The session's clock reads zero here.
    began: Instant,
    session: Option<Session>,
    /// There is never more than one: where the client does not read, the newest says all.
    owed_heartbeat: Option<Heartbeat>,
    /// What is left of a catalogue that is being sent.
    listing: Option<Listing>,
}

impl Output {
    pub(super) fn new(outgoing: Outgoing, began: Instant) -> Self {
        Self { outgoing, began, session: None, owed_heartbeat: None, listing: None }
    }

    /// Prepares a session; nothing is sent yet.
    pub(super) fn open(&mut self, id: u32, grant: Grant, peer: SocketAddr) {
        self.outgoing.set_session_id(id);
        let left = grant.media.len() - grant.start;
        self.session = Some(Session {
            id,
            pacer: (grant.rate > 0).then(|| Pacer::new(grant.rate)),
            send_ahead: send_ahead(grant.rate),
            meter: Arc::new(Meter::new(peer, grant.ack.bitrate, left)),
            grant,
            seq: 0,
            sent: 0,
            payload: Vec::new(),
            payload_len: 0,
            digest_settled: false,
            digest_deadline: None,
        });
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Queues OPEN_ACK for the session that was prepared.
    pub(super) fn acknowledge(&mut self) {
        if let Some(session) = &mut self.session {
            let options = session.grant.options();
            session.digest_settled = options.digest.is_some() || !session.grant.verified;
            self.outgoing.queue(&Pdu::OpenAck(session.grant.ack, options));
        }
    }

    /// Queues a PDU.
    pub(super) fn queue(&mut self, pdu: &Pdu) {
        self.outgoing.queue(pdu);
    }

    /// Sends the catalogue, piece by piece.
    pub(super) fn list(&mut self, titles: Arc<[Entry]>) {
        self.listing = Some(Listing { titles, sent: 0 });
    }

    /// Sends a heartbeat as soon as there is room.
    pub(super) fn owe(&mut self, heartbeat: Heartbeat) {
        self.owed_heartbeat = Some(heartbeat);
    }

    /// Queues CLOSE_STREAM and the end of the stream.
    pub(super) fn close(&mut self, reason: CloseReason, text: Option<&str>) {
        self.owed_heartbeat = None;
        self.listing = None;
        let digest = self.session.as_ref().and_then(|session| session.grant.media.digest());
        let digest = digest.filter(|_| reason == CloseReason::COMPLETE);
        let options = Options { digest, ..text.map(Options::reason).unwrap_or_default() };
        self.queue(&Pdu::Close(reason, options));
        self.outgoing.finish();
    }

    /// Whether a catalogue is on its way.
    pub(super) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Whether so much waits that the client should not be listened to.
    pub(super) fn is_clogged(&self) -> bool {
        self.outgoing.queued() > CLOGGED || self.listing.is_some()
    }

    /// Hands everything to the transport that is to be sent: what is queued, then, while
    /// `streaming`, chunk after chunk. Ends only with something to report; nothing is lost when
    /// the future is dropped before.
    pub(super) async fn push(&mut self, streaming: bool) -> Result<Progress, transport::Error> {
        let clogged = self.is_clogged();
        loop {
            self.outgoing.drain().await?;
            if let Some(heartbeat) = self.owed_heartbeat.take() {
                self.queue_heartbeat(heartbeat);
            } else if let Some(listing) = &mut self.listing {
                let (reply, more) = listing.next();
                if !more {
                    self.listing = None;
                }
                self.queue(&reply);
                self.outgoing.drain().await?;
                return Ok(Progress::Listed);
            } else if clogged {
                return Ok(Progress::Unclogged);
            } else if self.outgoing.is_finished() {
                self.outgoing.delivered().await?;
                return Ok(Progress::Delivered);
            } else if let Some(session) = self.session.as_mut().filter(|_| streaming) {
                self.outgoing.room(session.send_ahead).await?;
                match session.next_chunk(self.began).await {
                    Ok(Some(length)) => session.queue_chunk(length, &mut self.outgoing),
                    Ok(None) => {
                        session.settle_digest().await;
                        return Ok(Progress::MediaEnded);
                    }
                    Err(error) => return Ok(Progress::MediaFailed(error)),
                }
            } else {
                pending::<()>().await;
            }
        }
    }

    fn queue_heartbeat(&mut self, heartbeat: Heartbeat) {
        match heartbeat {
            Heartbeat::Own => {
                self.outgoing.queue_heartbeat();
            }
            Heartbeat::Echo(timestamp) => self.queue(&Pdu::Heartbeat { timestamp, echo: true }),
        }
    }
}

impl Session {
    /// Waits until the next chunk is due and reads its payload; `None` at the end of the media.
    /// What has been read stays when the future is dropped.
    async fn next_chunk(&mut self, began: Instant) -> Result<Option<u32>, media::Error> {
        let Grant { ack, media, start, .. } = &mut self.grant;
        let offset = *start + self.sent;
        let length = media.len().saturating_sub(offset).min(ack.max_chunk_size.into());
        if length == 0 {
            return Ok(None);
        }
        if let Some(pacer) = &self.pacer {
            match pacer.due(self.sent) {
                Some(due) => sleep_until(began + due).await,
                None => pending().await,
            }
        }
        while self.payload_len < length {
            let wanted = (length - self.payload_len) as usize;
            let slice = media.read(offset + self.payload_len, wanted).await?;
            self.payload_len += slice.len() as u64;
            self.payload.push(slice);
        }
        Ok(Some(length as u32))
    }

    fn queue_chunk(&mut self, length: u32, outgoing: &mut Outgoing) {
        self.seq = self.seq.wrapping_add(1);
        outgoing.queue_chunk(self.seq, length, self.payload.drain(..));
        self.sent += std::mem::take(&mut self.payload_len);
        self.meter.count_chunk(self.seq, length.into());
    }

    /// Waits for the digest that CLOSE_STREAM is to carry, but not so long that the client would
    /// think us stalled.
    async fn settle_digest(&mut self) {
        if !self.digest_settled {
            let patience = Duration::from_secs(self.grant.ack.keepalive.into());
            let deadline = *self.digest_deadline.get_or_insert(Instant::now() + patience);
            let _ = timeout_at(deadline, self.grant.media.digested()).await;
            self.digest_settled = true;
        }
    }
}

/// The most that a session at this rate needs to have on the way. A client of a slow one that
/// stops reading must not cost more memory than the session is worth.
fn send_ahead(rate: u64) -> u32 {
    match rate {
        0 => u32::MAX,
        rate => u32::try_from(rate / 8).unwrap_or(u32::MAX).max(PACED_SEND_AHEAD),
    }
}

/// A catalogue on its way to a client.
struct Listing {
    titles: Arc<[Entry]>,
    sent: usize,
}

impl Listing {
    /// The next LIST_REPLY, and whether more follow.
    fn next(&mut self) -> (Pdu, bool) {
        let left = self.titles.get(self.sent..).unwrap_or_default();
        let more = left.len() > TITLES_PER_REPLY;
        let entries: Vec<_> = left.iter().take(TITLES_PER_REPLY).map(entry).collect();
        self.sent += entries.len();
        (Pdu::ListReply { entries, more }, more)
    }
}

fn entry(entry: &Entry) -> Options {
    Options {
        title: Some(entry.title.clone()),
        total_size: Some(entry.size),
        media_type: Some(entry.media_type.to_owned()),
        bitrate: entry.bitrate,
        ..Options::default()
    }
}
