//! The sending side of a session: control PDUs first, then chunks as they are due.

use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::catalogue::CatalogueReplies;
use super::connection_context::ConnectionContext;
use super::grant::Grant;
use super::sessions::{Meter, RunningSession};
use crate::media::{self, Entry, Read};
use crate::protocol::{CloseReason, Digest, Options, Pdu};
use crate::session::Pacer;
use crate::session::server::{Delivery, Input};
use crate::transport::{self, Outgoing};

/// How many queued pieces make a client that asks without reading the answers wait: it must not
/// make the server keep them.
const MAX_QUEUED: usize = 64;

/// What a LIST_REPLY counts for under `max_rate`, bytes.
const REPLY_BYTES: u64 = 16 * 1024;

/// A chunk that is sent so much later than it was due is late.
const LATE: Duration = Duration::from_millis(100);

/// How often a client hears how far its broadcast is, at most.
const EDGE_SAID: Duration = Duration::from_secs(1);

/// The least that a paced session may have on the way, bytes: two chunks of the usual size.
const PACED_SEND_AHEAD: u32 = 128 * 1024;

/// An open session.
pub(super) struct OpenSession {
    pub(super) running: RunningSession,
    pub(super) grant: Grant,
    /// The schedule; `None` where the session goes as fast as the transport.
    pub(super) pacer: Option<Pacer>,
    /// The most to have on the way that is not acknowledged, bytes.
    send_ahead: u32,
    /// The last chunk that was queued; 0 before the first.
    seq: u32,
    /// Media bytes queued.
    sent: u64,
    /// Bytes of the header that are part of the next payload.
    header_len: u64,
    /// The payload of the next chunk, as far as it has been read.
    payload: Vec<Bytes>,
    payload_len: u64,
    /// When the next chunk may be sent beside all else on the connection.
    reserved: Option<Instant>,
    /// When the client last heard how far the broadcast is.
    edge_said: Instant,
    /// The client is to get a digest that was not known when the session opened.
    owes_digest: bool,
    after_media: AfterMedia,
}

/// What a session waits for when every chunk is queued.
enum AfterMedia {
    /// The media goes on.
    NotYet,
    /// The digest that CLOSE_STREAM is to carry.
    Digest(Pin<Box<dyn Future<Output = Option<Digest>> + Send>>),
    /// What the client does.
    Nothing,
}

/// What [`SessionSender::push`] came to.
pub(super) enum SendOutcome {
    /// Every chunk is queued.
    MediaEnded,
    /// The next bytes of the media are not kept any more.
    MediaNotKept,
    /// The media cannot be read on.
    MediaFailed(media::Error),
    /// The digest is known after the end of the media, or there will be none.
    DigestResolved,
    /// The client has everything, the end of the stream included.
    Delivered,
    /// A part of the catalogue has left.
    Listed,
    /// The client was not listened to, because so much waited, and can be again.
    HasRoom,
}

/// What comes of the media next.
enum Next {
    Chunk { length: u32 },
    End,
    NotKept,
}

/// A heartbeat that waits for its turn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heartbeat {
    /// One of the server's own, with the time of the clock.
    Own,
    /// One that came with this timestamp.
    Echo(u64),
}

/// Everything that goes to the client.
pub(super) struct SessionSender {
    outgoing: Outgoing,
    /// The session's clock reads zero here.
    began: Instant,
    session: Option<OpenSession>,
    /// There is never more than one: where the client does not read, the newest says all.
    owed_heartbeat: Option<Heartbeat>,
    catalogue: Option<CatalogueReplies>,
    /// When the next part of the catalogue may be sent beside all else on the connection.
    reserved: Option<Instant>,
    context: Arc<ConnectionContext>,
}

impl SessionSender {
    pub(super) fn new(context: Arc<ConnectionContext>, outgoing: Outgoing, began: Instant) -> Self {
        Self {
            outgoing,
            began,
            session: None,
            owed_heartbeat: None,
            catalogue: None,
            reserved: None,
            context,
        }
    }

    /// Prepares a session; nothing is sent yet.
    pub(super) fn open(&mut self, grant: Grant) -> Input {
        let ConnectionContext { server, handle, .. } = &*self.context;
        let left = grant.end.or(grant.media.size()).map(|end| end.saturating_sub(grant.start));
        let running = server.sessions.add(Meter::new(handle.peer(), grant.ack.bitrate, left));
        let session_id = running.id();
        self.outgoing.set_session_id(session_id);
        let session = OpenSession {
            running,
            pacer: (grant.rate > 0).then(|| Pacer::new(grant.rate)),
            send_ahead: send_ahead(grant.rate),
            owes_digest: grant.verified && grant.media.digest().is_none(),
            grant,
            seq: 0,
            sent: 0,
            header_len: 0,
            payload: Vec::new(),
            payload_len: 0,
            reserved: None,
            edge_said: Instant::now(),
            after_media: AfterMedia::NotYet,
        };
        let owes_digest = session.owes_digest;
        let live = session.grant.media.kept().is_some();
        self.session = Some(session);
        Input::Opened { session_id, owes_digest, live }
    }

    pub(super) fn session(&self) -> Option<&OpenSession> {
        self.session.as_ref()
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut OpenSession> {
        self.session.as_mut()
    }

    /// Queues OPEN_ACK for the session that was prepared.
    pub(super) fn acknowledge(&mut self) {
        if let Some(OpenSession { grant, .. }) = &self.session {
            self.outgoing.queue(&Pdu::OpenAck(grant.ack, grant.options()));
        }
    }

    /// Queues a PDU.
    pub(super) fn queue(&mut self, pdu: &Pdu) {
        self.outgoing.queue(pdu);
    }

    /// Sends the catalogue, reply by reply.
    pub(super) fn list(&mut self, titles: Arc<[Entry]>) {
        self.catalogue = Some(CatalogueReplies::new(titles));
    }

    /// Sends a heartbeat as soon as there is room.
    pub(super) fn owe(&mut self, heartbeat: Heartbeat) {
        self.owed_heartbeat = Some(heartbeat);
    }

    /// Queues CLOSE_STREAM and the end of the stream, and names the servers to try instead.
    pub(super) fn close(
        &mut self,
        reason: CloseReason,
        text: Option<&str>,
        retry_with: Option<String>,
    ) {
        self.owed_heartbeat = None;
        self.catalogue = None;
        let digest = self.session.as_ref().and_then(|session| session.grant.media.digest());
        let whole = self.session.as_ref().is_some_and(|session| session.grant.end.is_none());
        let digest = digest.filter(|_| reason == CloseReason::COMPLETE && whole);
        let options =
            Options { digest, retry_with, ..text.map(Options::reason).unwrap_or_default() };
        self.queue(&Pdu::Close(reason, options));
        self.outgoing.finish();
    }

    /// Gives up what was not delivered.
    pub(super) fn reset(&mut self, reason: CloseReason) {
        self.outgoing.reset(reason.0);
    }

    /// Returns true while a catalogue is on its way.
    pub(super) fn is_listing(&self) -> bool {
        self.catalogue.is_some()
    }

    /// Returns true if so much waits that the client should not be listened to.
    pub(super) fn is_full(&self) -> bool {
        self.outgoing.queued() > MAX_QUEUED || self.is_listing()
    }

    /// How far what was queued has come.
    pub(super) async fn delivery(&mut self) -> Delivery {
        let acknowledged = self.outgoing.acknowledged().await;
        let queued = self.outgoing.total();
        Delivery { acknowledged, outstanding: acknowledged < queued, queued }
    }

    /// Hands everything to the transport that is to be sent: what is queued, then, while
    /// `streaming`, chunk after chunk. Ends only with something to report; nothing is lost when
    /// the future is dropped before.
    pub(super) async fn push(&mut self, streaming: bool) -> Result<SendOutcome, transport::Error> {
        let full = self.is_full();
        loop {
            self.outgoing.drain().await?;
            if let Some(heartbeat) = self.owed_heartbeat.take() {
                self.queue_heartbeat(heartbeat);
            } else if let Some(catalogue) = &mut self.catalogue {
                if self.reserved.is_none() {
                    self.reserved = self.context.reserve(REPLY_BYTES);
                }
                wait_for(self.reserved).await;
                self.reserved = None;
                let (reply, more) = catalogue.next();
                if !more {
                    self.catalogue = None;
                }
                self.queue(&reply);
                self.outgoing.drain().await?;
                return Ok(SendOutcome::Listed);
            } else if full {
                return Ok(SendOutcome::HasRoom);
            } else if self.outgoing.is_finished() {
                self.outgoing.delivered().await?;
                return Ok(SendOutcome::Delivered);
            } else if let Some(session) = &mut self.session {
                if session.media_ended() {
                    session.digested().await;
                    return Ok(SendOutcome::DigestResolved);
                }
                if !streaming {
                    pending::<()>().await;
                }
                let most = session.send_ahead.min(self.context.server.send_share());
                let most = most.saturating_sub(session.grant.ack.max_chunk_size).max(1);
                self.outgoing.room(most).await?;
                match session.next_chunk(&self.context, self.began).await {
                    Ok(Next::Chunk { length }) => {
                        session.queue_chunk(length, &mut self.outgoing);
                        self.queue_edge();
                    }
                    Ok(Next::End) => {
                        session.end_media();
                        return Ok(SendOutcome::MediaEnded);
                    }
                    Ok(Next::NotKept) => return Ok(SendOutcome::MediaNotKept),
                    Err(error) => return Ok(SendOutcome::MediaFailed(error)),
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
                self.queue_edge();
            }
            Heartbeat::Echo(timestamp) => self.queue(&Pdu::Heartbeat { timestamp, echo: true }),
        }
    }

    /// Says how far the broadcast is, along with something else.
    fn queue_edge(&mut self) {
        if let Some(edge) = self.session.as_mut().and_then(OpenSession::edge) {
            self.queue(&edge);
        }
    }
}

impl OpenSession {
    /// Waits until the next chunk is due and reads its payload. What has been read stays when the
    /// future is dropped.
    async fn next_chunk(
        &mut self,
        context: &ConnectionContext,
        began: Instant,
    ) -> Result<Next, media::Error> {
        let Grant { ack, media, start, end, header, .. } = &mut self.grant;
        let offset = start.saturating_add(self.sent);
        let size = media.size();
        let left = end.or(size).map_or(u64::MAX, |end| end.saturating_sub(offset));
        let length = left.min(ack.max_chunk_size.into());
        if length == 0 {
            return Ok(Next::End);
        }
        if let Some(pacer) = &self.pacer {
            match pacer.due(self.sent) {
                Some(due) => sleep_until(began + due).await,
                None => pending().await,
            }
        }
        if self.payload.is_empty() && !header.is_empty() {
            let header = header.split_to(header.len().min(ack.max_chunk_size as usize));
            self.header_len = header.len() as u64;
            self.payload_len = self.header_len;
            self.payload.push(header);
        }
        // The header takes its part of the chunk, and of nothing else.
        let most = u64::from(ack.max_chunk_size).saturating_sub(self.header_len);
        let most = length.min(most);
        while self.payload_len - self.header_len < most {
            let came = self.payload_len - self.header_len;
            let wanted = usize::try_from(most - came).unwrap_or(usize::MAX);
            match media.read(offset + came, wanted).await? {
                Read::Bytes(slice) => {
                    self.payload_len += slice.len() as u64;
                    self.payload.push(slice);
                }
                Read::End => break,
                Read::NotKept => return Ok(Next::NotKept),
            }
            if size.is_none() {
                // What there is of live media is not held back to fill a chunk.
                break;
            }
        }
        let length = match u32::try_from(self.payload_len) {
            Ok(0) | Err(_) => return Ok(Next::End),
            Ok(length) => length,
        };
        if self.reserved.is_none() {
            self.reserved = context.reserve(length.into());
        }
        wait_for(self.reserved).await;
        if let Some(pacer) = &mut self.pacer {
            let now = began.elapsed();
            let due = pacer.due(self.sent);
            if due.is_some_and(|due| now > due.saturating_add(LATE)) {
                context.server.counters.chunks_late.add(1);
            }
            pacer.limit_credit(self.sent, length.into(), now);
        }
        Ok(Next::Chunk { length })
    }

    fn queue_chunk(&mut self, length: u32, outgoing: &mut Outgoing) {
        self.seq = self.seq.wrapping_add(1);
        outgoing.queue_chunk(self.seq, length, self.payload.drain(..));
        self.sent += std::mem::take(&mut self.payload_len) - std::mem::take(&mut self.header_len);
        self.reserved = None;
        self.running.meter().count_chunk(self.seq, length.into());
    }

    /// How far the broadcast is, if it is time for the client to hear of it.
    fn edge(&mut self) -> Option<Pdu> {
        if !self.grant.reports_edge || self.edge_said.elapsed() < EDGE_SAID {
            return None;
        }
        let kept = self.grant.media.kept()?;
        self.edge_said = Instant::now();
        Some(Pdu::Edge { edge: kept.end, oldest: kept.start })
    }

    fn media_ended(&self) -> bool {
        !matches!(self.after_media, AfterMedia::NotYet)
    }

    fn end_media(&mut self) {
        let media = &self.grant.media;
        self.after_media = match media.digest() {
            _ if !self.owes_digest => AfterMedia::Nothing,
            Some(digest) => AfterMedia::Digest(Box::pin(ready(Some(digest)))),
            None => AfterMedia::Digest(Box::pin(media.digested())),
        };
    }

    /// Waits for the digest that CLOSE_STREAM is to carry; for ever where there is none to wait
    /// for.
    async fn digested(&mut self) {
        match &mut self.after_media {
            AfterMedia::Digest(digest) => {
                let _known = digest.await;
                self.after_media = AfterMedia::Nothing;
            }
            AfterMedia::NotYet | AfterMedia::Nothing => pending().await,
        }
    }
}

/// Waits until a time that was reserved.
async fn wait_for(reserved: Option<Instant>) {
    if let Some(due) = reserved {
        sleep_until(due).await;
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
