//! A sink that is read as a stream of bytes, such as by a response's body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::gauge::Gauge;
use crate::protocol::Payload;

/// How much may wait to be read before the stream counts as full, bytes: many of them may be open
/// whose readers take nothing.
const FULL: usize = 256 * 1024;

enum Message {
    Bytes(Bytes),
    Complete,
}

/// The end that media is put into. Dropped before its time, it breaks the stream off.
#[derive(Debug)]
pub(super) struct StreamSender {
    messages: mpsc::UnboundedSender<Message>,
    gauge: Arc<Gauge>,
}

/// Media as it comes.
#[derive(Debug)]
pub struct MediaStream {
    messages: mpsc::UnboundedReceiver<Message>,
    gauge: Arc<Gauge>,
    complete: bool,
}

pub(super) fn channel() -> (StreamSender, MediaStream) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let gauge = Arc::new(Gauge::new(FULL));
    let stream = MediaStream { messages: receiver, gauge: gauge.clone(), complete: false };
    (StreamSender { messages: sender, gauge }, stream)
}

impl StreamSender {
    pub(super) fn has_room(&self) -> bool {
        self.gauge.has_room()
    }

    pub(super) async fn room(&self) {
        self.gauge.room().await;
    }

    /// Waits until nobody reads any more.
    pub(super) async fn failed(&self) {
        self.messages.closed().await;
    }

    pub(super) fn put(&self, payload: Payload) {
        self.gauge.put(payload.len());
        for piece in payload.into_pieces() {
            // Whoever calls hears of a reader that is gone by `failed`.
            let _ = self.messages.send(Message::Bytes(piece));
        }
    }

    /// Says that this was all.
    pub(super) fn complete(self) {
        let _ = self.messages.send(Message::Complete);
    }
}

impl MediaStream {
    /// The next bytes; `None` at the end of all that was asked for.
    ///
    /// # Errors
    /// The media broke off before.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.complete {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(Pin::new(&mut self.messages).poll_recv(context)) {
            Some(Message::Bytes(bytes)) => {
                self.gauge.take(bytes.len(), false);
                Some(Ok(bytes))
            }
            Some(Message::Complete) => {
                self.complete = true;
                None
            }
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}
