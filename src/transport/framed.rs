//! PDUs on a QUIC stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use s2n_quic::stream::{ReceiveStream, SendStream};
use tracing::debug;

use super::endpoint::SEND_BUFFER;
use super::path_stats::FIRST_FLIGHT;
use super::{Error, PathStats};
use crate::protocol::{self, Chunk, Decoder, Frame, Pdu, Role, Version};

/// How many pieces to take from the transport at a time.
const RECEIVE_BATCH: usize = 32;

/// How much makes the send buffer full, bytes: the usual chunk still fits in.
const FULL: u32 = SEND_BUFFER - FIRST_FLIGHT as u32;

/// How much may not be acknowledged when the stream is ended, bytes: from then on the transport
/// does not tell how much that is, and what the peer takes has to be seen.
const LAST_BYTES: u64 = 16 * 1024;

/// Headers of chunks are cut from blocks of this size, bytes: one allocation serves dozens, and
/// thousands of sessions can have one each.
const PREFIX_BLOCK: usize = 512;

/// The sending side of a session's stream. PDUs are queued whole and in order, and leave as the
/// transport takes them; nothing is lost when a future of it is dropped.
#[derive(Debug)]
pub struct Outgoing {
    stream: SendStream,
    version: Version,
    session_id: u32,
    queue: Vec<Bytes>,
    prefixes: BytesMut,
    end: Fin,
    path: Arc<PathStats>,
    /// Media bytes queued.
    media: u64,
    /// Bytes queued.
    total: u64,
}

/// How far the end of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    Open,
    Wanted,
    Sent,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream, version: Version, path: Arc<PathStats>) -> Self {
        Self {
            stream,
            version,
            session_id: 0,
            queue: Vec::new(),
            prefixes: BytesMut::new(),
            end: Fin::Open,
            path,
            media: 0,
            total: 0,
        }
    }

    /// Sets the session id for the headers of all PDUs from now on; it is 0 before.
    pub fn set_session_id(&mut self, session_id: u32) {
        self.session_id = session_id;
    }

    /// Queues a PDU.
    pub fn queue(&mut self, pdu: &Pdu) {
        debug!("sent {pdu}, session {}", self.session_id);
        let pdu = pdu.encode(self.version, self.session_id);
        self.total += pdu.len() as u64;
        self.queue.push(pdu);
    }

    /// Queues a HEARTBEAT with the time of the clock, which is returned.
    pub fn queue_heartbeat(&mut self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        self.queue(&Pdu::Heartbeat { timestamp, echo: false });
        timestamp
    }

    /// Queues a chunk, whose payload comes in slices of `length` bytes together; they are not
    /// copied.
    pub fn queue_chunk(&mut self, seq: u32, length: u32, slices: impl IntoIterator<Item = Bytes>) {
        debug!("sent STREAM_CHUNK seq {seq}, {length} bytes, session {}", self.session_id);
        let prefix = Chunk::prefix(self.version, self.session_id, seq, length);
        if self.prefixes.capacity() < prefix.len() {
            self.prefixes.reserve(PREFIX_BLOCK);
        }
        self.prefixes.extend_from_slice(&prefix);
        self.queue.push(self.prefixes.split().freeze());
        self.queue.extend(slices);
        self.media += u64::from(length);
        self.total += prefix.len() as u64 + u64::from(length);
    }

    /// Queues the end of the stream; nothing may be queued after it.
    pub fn finish(&mut self) {
        if self.end == Fin::Open {
            self.end = Fin::Wanted;
        }
    }

    /// Whether the end of the stream was queued.
    pub fn is_finished(&self) -> bool {
        self.end != Fin::Open
    }

    /// How many pieces wait for the transport to take them.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Waits until the transport has taken everything that was queued; that is not yet to say
    /// that it was sent.
    ///
    /// # Errors
    /// The connection is gone or the peer refuses the stream.
    pub async fn drain(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            while !self.queue.is_empty() {
                let taken = ready!(self.stream.poll_send_vectored(&mut self.queue, cx))?;
                self.queue.drain(..taken.min(self.queue.len()));
            }
            Poll::Ready(Ok::<_, Error>(()))
        })
        .await?;
        if self.end == Fin::Wanted && unacknowledged(&mut self.stream).await? <= LAST_BYTES {
            self.end = Fin::Sent;
            self.stream.finish()?;
        }
        Ok(())
    }

    /// Waits until the transport holds less than `most` bytes that are not acknowledged, and less
    /// than what suits the path: what is sent further ahead would only wait, here or in a router.
    /// A new path gets one flight, and then three times as much with every round trip that
    /// brings it all.
    ///
    /// # Errors
    /// The connection is gone or the peer refuses the stream.
    pub async fn room(&mut self, most: u32) -> Result<(), Error> {
        loop {
            // Made before looking, so that no acknowledgement is missed in between.
            let acknowledged = self.path.acknowledged.notified();
            let held = unacknowledged(&mut self.stream).await?;
            let carried = self.media.saturating_sub(held);
            let tried = FIRST_FLIGHT + 2 * carried;
            if held < self.path.send_ahead().min(tried).min(most.min(FULL).into()) {
                return Ok(());
            }
            acknowledged.await;
        }
    }

    /// Waits until the peer has acknowledged every byte and the end of the stream, which must
    /// have been queued.
    ///
    /// # Errors
    /// The connection is gone or the peer refuses the stream.
    pub async fn delivered(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        loop {
            let acknowledged = path.acknowledged.notified();
            self.drain().await?;
            if self.end == Fin::Sent {
                return Ok(self.stream.close().await?);
            }
            acknowledged.await;
        }
    }

    /// Bytes queued so far, on the wire.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many of the bytes queued the peer has acknowledged. Of the last few before the end of
    /// the stream nothing is known.
    pub async fn acknowledged(&mut self) -> u64 {
        let held = match unacknowledged(&mut self.stream).await {
            Ok(held) => held,
            Err(_) => LAST_BYTES,
        };
        let queued: usize = self.queue.iter().map(Bytes::len).sum();
        self.total.saturating_sub(held + queued as u64)
    }

    /// Gives up what is not acknowledged, and tells the peer so with an error code.
    pub fn reset(&mut self, code: u16) {
        // A stream that is over has nothing to give up.
        let _ = self.stream.reset(u32::from(code).into());
    }
}

/// How many bytes the transport holds that are not acknowledged. Does not wait.
async fn unacknowledged(stream: &mut SendStream) -> Result<u64, Error> {
    let available = poll_fn(|cx| {
        Poll::Ready(match stream.poll_send_ready(cx) {
            Poll::Ready(available) => available,
            Poll::Pending => Ok(0),
        })
    });
    Ok((SEND_BUFFER as usize).saturating_sub(available.await?) as u64)
}

/// The receiving side of a session's stream.
#[derive(Debug)]
pub struct Incoming {
    stream: ReceiveStream,
    decoder: Decoder,
    /// Pieces taken from the transport, last first.
    pieces: Vec<Bytes>,
    current: Bytes,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(stream: ReceiveStream, version: Version, role: Role) -> Self {
        let decoder = Decoder::new(version, role);
        Self { stream, decoder, pieces: Vec::new(), current: Bytes::new(), ended: false }
    }

    /// The next frame; `None` when the peer has ended the stream. Nothing is lost when the
    /// future is dropped.
    ///
    /// # Errors
    /// [`ReceiveError::Protocol`] if the bytes cannot be followed, [`ReceiveError::Transport`] if
    /// no more will come.
    pub async fn frame(&mut self) -> Result<Option<Frame>, ReceiveError> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.current)? {
                debug!("received {frame}");
                return Ok(Some(frame));
            }
            if let Some(piece) = self.pieces.pop() {
                self.current = piece;
            } else if self.ended {
                return Ok(None);
            } else {
                self.receive().await?;
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Error> {
        let Self { stream, pieces, .. } = self;
        let open = poll_fn(|cx| {
            // In here it does not wait as a part of every session.
            let mut batch = [const { Bytes::new() }; RECEIVE_BATCH];
            let (count, open) = ready!(stream.poll_receive_vectored(&mut batch, cx))?;
            pieces.extend(batch.into_iter().take(count).rev());
            Poll::Ready(Ok::<_, Error>(open))
        });
        self.ended = !open.await?;
        Ok(())
    }
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] protocol::Error),
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] Error),
}
