//! An open session: what it reads of its media, and when each chunk is due.

use std::future::{pending, ready};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::connection_context::ConnectionContext;
use super::grant::Grant;
use super::sessions::RunningSession;
use crate::media::{self, Read};
use crate::protocol::{Digest, Pdu};
use crate::session::Pacer;
use crate::transport::Outgoing;

/// A chunk that is sent so much later than it was due is late.
const LATE: Duration = Duration::from_millis(100);

/// How often a client hears how far its broadcast is, at most.
const EDGE_SAID: Duration = Duration::from_secs(1);

/// The most pieces of a broadcast that become one chunk.
const MOST_PIECES: usize = 64;

/// The least that a paced session may have on the way, bytes: two chunks of the usual size.
const PACED_SEND_AHEAD: u32 = 128 * 1024;

/// An open session.
pub(super) struct OpenSession {
    pub(super) running: RunningSession,
    pub(super) grant: Grant,
    /// The schedule; `None` where the session goes as fast as the transport.
    pub(super) pacer: Option<Pacer>,
    /// The most to have on the way that is not acknowledged, bytes.
    pub(super) send_ahead: u32,
    /// The last chunk that was queued; 0 before the first.
    pub(super) seq: u32,
    /// When it was queued.
    pub(super) queued_at: Option<Instant>,
    /// Media bytes queued.
    pub(super) sent: u64,
    /// Bytes of the header that are part of the next payload.
    pub(super) header_len: u64,
    /// The payload of the next chunk, as far as it has been read.
    pub(super) payload: Vec<Bytes>,
    pub(super) payload_len: u64,
    /// When the next chunk may be sent beside all else on the connection.
    pub(super) reserved: Option<Instant>,
    /// When the client last heard how far the broadcast is.
    pub(super) edge_said: Instant,
    /// The client is to get a digest that was not known when the session opened.
    pub(super) owes_digest: bool,
    pub(super) after_media: AfterMedia,
}

/// What a session waits for when every chunk is queued.
pub(super) enum AfterMedia {
    /// The media goes on.
    NotYet,
    /// The digest that CLOSE_STREAM is to carry.
    Digest(Pin<Box<dyn Future<Output = Option<Digest>> + Send>>),
    /// What the client does.
    Nothing,
}

/// What comes of the media next.
pub(super) enum Next {
    Chunk { length: u32 },
    End,
    NotKept,
}

impl OpenSession {
    /// Waits until the next chunk is due and reads its payload. What has been read stays when the
    /// future is dropped.
    pub(super) async fn next_chunk(
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
        let kept = match size {
            Some(_) => self.read_all(offset, most).await?,
            None => self.read_live(offset, most).await?,
        };
        if !kept {
            return Ok(Next::NotKept);
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
            // A broadcast's bytes may have come later than they would have been due.
            if size.is_some() && due.is_some_and(|due| now > due.saturating_add(LATE)) {
                context.server.counters.chunks_late.add(1);
            }
            pacer.limit_credit(self.sent, length.into(), now);
        }
        Ok(Next::Chunk { length })
    }

    /// Reads a payload of `most` bytes, or to the end of the media. Returns false if they are not kept
    /// any more.
    async fn read_all(&mut self, offset: u64, most: u64) -> Result<bool, media::Error> {
        while let Some((came, wanted)) = self.wanted(most) {
            match self.grant.media.read(offset + came, wanted).await? {
                Read::Bytes(slice) => self.take(slice),
                Read::End => break,
                Read::NotKept => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads what there is of a broadcast, as soon as there is something and the last chunk is long
    /// enough ago.
    async fn read_live(&mut self, offset: u64, most: u64) -> Result<bool, media::Error> {
        let media = &mut self.grant.media;
        if let Some(queued_at) = self.queued_at {
            let there = media.kept().map_or(u64::MAX, |kept| kept.end.saturating_sub(offset));
            if there < most {
                sleep_until(queued_at + media.hold()).await;
            }
        }
        while let Some((came, wanted)) = self.wanted(most) {
            let media = &mut self.grant.media;
            let read = match came {
                0 => Some(media.read(offset, wanted).await?),
                _ if self.payload.len() >= MOST_PIECES => break,
                // What has come is sent before it is said that no more can be had.
                _ => media.read_now(offset + came, wanted).unwrap_or_default(),
            };
            match read {
                Some(Read::Bytes(slice)) => self.take(slice),
                Some(Read::NotKept) if came == 0 => return Ok(false),
                Some(Read::End | Read::NotKept) | None => break,
            }
        }
        Ok(true)
    }

    /// How much of the payload has been read, and how much of it is still to be, unless it has `most`
    /// bytes.
    fn wanted(&self, most: u64) -> Option<(u64, usize)> {
        let came = self.payload_len - self.header_len;
        let wanted = most.checked_sub(came).filter(|wanted| *wanted > 0)?;
        Some((came, usize::try_from(wanted).unwrap_or(usize::MAX)))
    }

    fn take(&mut self, slice: Bytes) {
        self.payload_len += slice.len() as u64;
        self.payload.push(slice);
    }

    pub(super) fn queue_chunk(&mut self, length: u32, outgoing: &mut Outgoing) {
        self.seq = self.seq.wrapping_add(1);
        outgoing.queue_chunk(self.seq, length, self.payload.drain(..));
        self.sent += std::mem::take(&mut self.payload_len) - std::mem::take(&mut self.header_len);
        self.reserved = None;
        self.queued_at = Some(Instant::now());
        self.running.meter().count_chunk(self.seq, length.into());
    }

    /// How far the broadcast is, if it is time for the client to hear of it.
    pub(super) fn edge(&mut self) -> Option<Pdu> {
        if !self.grant.reports_edge || self.edge_said.elapsed() < EDGE_SAID {
            return None;
        }
        let kept = self.grant.media.kept()?;
        self.edge_said = Instant::now();
        Some(Pdu::Edge { edge: kept.end, oldest: kept.start })
    }

    pub(super) fn media_ended(&self) -> bool {
        !matches!(self.after_media, AfterMedia::NotYet)
    }

    pub(super) fn end_media(&mut self) {
        let media = &self.grant.media;
        self.after_media = match media.digest() {
            _ if !self.owes_digest => AfterMedia::Nothing,
            Some(digest) => AfterMedia::Digest(Box::pin(ready(Some(digest)))),
            None => AfterMedia::Digest(Box::pin(media.digested())),
        };
    }

    /// Waits for the digest that CLOSE_STREAM is to carry; for ever where there is none to wait
    /// for.
    pub(super) async fn digested(&mut self) {
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
pub(super) async fn wait_for(reserved: Option<Instant>) {
    if let Some(due) = reserved {
        sleep_until(due).await;
    }
}

/// The most that a session at this rate needs to have on the way. A client of a slow one that
/// stops reading must not cost more memory than the session is worth.
pub(super) fn send_ahead(rate: u64) -> u32 {
    match rate {
        0 => u32::MAX,
        rate => u32::try_from(rate / 8).unwrap_or(u32::MAX).max(PACED_SEND_AHEAD),
    }
}
