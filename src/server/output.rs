//! The sending side of a session: control PDUs first, then chunks as they are due.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::progress::Meter;
use crate::media::{self, Media};
use crate::protocol::{OpenAck, Pdu};
use crate::session::Pacer;
use crate::transport::{self, Outgoing};

/// How many queued pieces make a client that asks without reading the answers wait: it must not
/// make us keep them.
const CLOGGED: usize = 64;

/// An open session.
pub(super) struct Session {
    pub(super) id: u32,
    pub(super) ack: OpenAck,
    pub(super) pacer: Pacer,
    pub(super) meter: Arc<Meter>,
    media: Media,
    /// The last chunk that was queued; 0 before the first.
    seq: u32,
    /// Where in the media the next chunk starts.
    offset: u64,
    /// The payload of the next chunk, as far as it has been read.
    payload: Vec<Bytes>,
    payload_len: u64,
}

/// What [`Output::push`] came to.
pub(super) enum Progress {
    /// Every chunk is queued.
    MediaEnded,
    /// The media cannot be read on.
    MediaFailed(media::Error),
    /// The client has everything, the end of the stream included.
    Delivered,
}

/// Everything that goes to the client.
pub(super) struct Output {
    outgoing: Outgoing,
    /// The session's clock reads zero here.
    began: Instant,
    session: Option<Session>,
    /// A heartbeat waits for its turn. There is never more than one: where the client does not
    /// read, the newest says all.
    owes_heartbeat: bool,
}

impl Output {
    pub(super) fn new(outgoing: Outgoing, began: Instant) -> Self {
        Self { outgoing, began, session: None, owes_heartbeat: false }
    }

    /// Prepares a session; nothing is sent yet.
    pub(super) fn open(&mut self, id: u32, ack: OpenAck, media: Media, peer: SocketAddr) {
        self.outgoing.set_session_id(id);
        self.session = Some(Session {
            id,
            ack,
            pacer: Pacer::new(ack.bitrate.into()),
            meter: Arc::new(Meter::new(peer, ack.bitrate, media.len())),
            media,
            seq: 0,
            offset: 0,
            payload: Vec::new(),
            payload_len: 0,
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
        if let Some(ack) = self.session.as_ref().map(|session| session.ack) {
            self.queue(&Pdu::OpenAck(ack));
        }
    }

    /// Queues a PDU.
    pub(super) fn queue(&mut self, pdu: &Pdu) {
        self.outgoing.queue(pdu);
    }

    /// Sends a heartbeat as soon as there is room.
    pub(super) fn owe_heartbeat(&mut self) {
        self.owes_heartbeat = true;
    }

    /// Queues CLOSE_STREAM and the end of the stream.
    pub(super) fn close(&mut self) {
        self.owes_heartbeat = false;
        self.queue(&Pdu::Close);
        self.outgoing.finish();
    }

    /// Whether so much waits that the client should not be listened to.
    pub(super) fn is_clogged(&self) -> bool {
        self.outgoing.queued() > CLOGGED
    }

    /// Hands everything to the transport that is to be sent: what is queued, then, while
    /// `streaming`, chunk after chunk. Ends only with something to report; nothing is lost when
    /// the future is dropped before.
    pub(super) async fn push(&mut self, streaming: bool) -> Result<Progress, transport::Error> {
        loop {
            self.outgoing.drain().await?;
            if std::mem::take(&mut self.owes_heartbeat) {
                self.outgoing.queue_heartbeat();
            } else if self.outgoing.is_finished() {
                self.outgoing.delivered().await?;
                return Ok(Progress::Delivered);
            } else if let Some(session) = self.session.as_mut().filter(|_| streaming) {
                match session.next_chunk(self.began).await {
                    Ok(0) => return Ok(Progress::MediaEnded),
                    Ok(length) => session.queue_chunk(length, &mut self.outgoing),
                    Err(error) => return Ok(Progress::MediaFailed(error)),
                }
            } else {
                pending::<()>().await;
            }
        }
    }
}

impl Session {
    /// Waits until the next chunk is due and reads its payload; its length is 0 at the end of
    /// the media. What has been read stays when the future is dropped.
    async fn next_chunk(&mut self, began: Instant) -> Result<u32, media::Error> {
        let left = self.media.len().saturating_sub(self.offset);
        let length = left.min(self.ack.max_chunk_size.into());
        match self.pacer.due(self.offset) {
            _ if length == 0 => return Ok(0),
            Some(due) => sleep_until(began + due).await,
            None => pending().await,
        }
        while self.payload_len < length {
            let wanted = (length - self.payload_len) as usize;
            let slice = self.media.read(self.offset + self.payload_len, wanted).await?;
            self.payload_len += slice.len() as u64;
            self.payload.push(slice);
        }
        Ok(length as u32)
    }

    fn queue_chunk(&mut self, length: u32, outgoing: &mut Outgoing) {
        self.seq = self.seq.wrapping_add(1);
        outgoing.queue_chunk(self.seq, length, self.payload.drain(..));
        self.offset += std::mem::take(&mut self.payload_len);
        self.meter.count_chunk(self.seq, length.into());
        self.media.read_ahead(self.offset);
    }
}
