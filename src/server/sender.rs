//! The sending side of a session: control PDUs first, then chunks as they are due.

use std::future::pending;
use std::sync::Arc;

use tokio::time::Instant;

use super::catalogue::CatalogueReplies;
use super::connection_context::{ConnectionContext, OwedAnswer};
use super::grant::Grant;
use super::open_session::{AfterMedia, Next, OpenSession, send_ahead, wait_for};
use super::sessions::Meter;
use crate::media::{self, Entry};
use crate::protocol::{CloseReason, Options, Pdu};
use crate::session::Pacer;
use crate::session::server::{Delivery, Input};
use crate::transport::{self, Outgoing};

/// How many queued pieces make a client that asks without reading the answers wait: it must not
/// make the server keep them.
const MAX_QUEUED: usize = 64;

/// What a LIST_REPLY counts for under `max_rate`, bytes.
const REPLY_BYTES: u64 = 16 * 1024;

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
    /// Keeps the connection until the client has all of the catalogue.
    owed_catalogue: Option<OwedAnswer>,
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
            owed_catalogue: None,
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
            queued_at: None,
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
        self.owed_catalogue = Some(self.context.owe_answer());
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
        let outstanding = acknowledged < self.outgoing.total();
        let chunk = self.session.as_ref().map_or(0, |session| session.seq);
        Delivery { acknowledged, outstanding, chunk }
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
            } else if self.owed_catalogue.is_some() {
                self.outgoing.room(1).await?;
                self.owed_catalogue = None;
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
