//! The thread that writes, and the queue before it.
//!
//! To wake a thread costs a third of what it costs to write a chunk to memory, and both may have to
//! share a core. So neither side wakes the other for a chunk alone: what came together is handed
//! over together, and who waits for room waits until it is worth its while.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot};

use super::gauge::Gauge;
use super::output::{Output, Published};
use super::{Error, Origin, Unfinished};
use crate::protocol::{Digest, Payload};

/// How much may wait to be written before the queue counts as full, bytes; one chunk more may come
/// on top. Measured: less makes both sides wait for each other, more is no faster and leaves the
/// processor's cache.
const FULL: usize = 1024 * 1024;

/// A sink that takes longer for a chunk asks for more at once: it may be a player that takes until
/// long after the keepalive to take half of [`FULL`], and takes something all the time.
const SLOW: Duration = Duration::from_millis(1);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Have what an earlier play left replaced once media comes.
    StartOver,
    /// Take note of what comes next, and whether to hash it.
    Begin { origin: Option<Origin>, hash: bool },
    /// Have the file say that it was last changed then.
    Date(SystemTime),
    /// Write this.
    Media(Payload),
    /// Have what is written made durable.
    Checkpoint,
    /// Compare with the digest and give the file its name.
    Complete(Option<Digest>),
    /// Keep what there is for another try.
    Abandon,
}

/// The near end of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::UnboundedSender<Vec<Message>>,
    /// What is to be handed over next.
    batch: Mutex<Vec<Message>>,
    gauge: Arc<Gauge>,
    failed: Arc<Notify>,
    ended: oneshot::Receiver<Result<Ended, Error>>,
    what: String,
    thread: Option<JoinHandle<()>>,
    part: Option<PathBuf>,
    resumed: Option<(Origin, u64)>,
    overwrites: bool,
    /// Whether media was announced: the thread may be busy with it.
    begun: AtomicBool,
}

/// What became of an output.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What was written to its end.
    pub(super) published: Published,
    /// What is left of a file that is not complete.
    pub(super) unfinished: Option<Unfinished>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(output: Output) -> Result<Self, Error> {
        let (queue, messages) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let gauge = Arc::new(Gauge::new(FULL));
        let failed = Arc::new(Notify::new());
        let (part, resumed, overwrites) = (output.part(), output.resumed(), output.overwrites());
        let what = output.what().to_owned();
        let (thread_gauge, thread_failed) = (gauge.clone(), failed.clone());
        let weak_queue = queue.downgrade();
        let thread = thread::Builder::new()
            .name("sink".into())
            .spawn(move || {
                let result = write(output, messages, &weak_queue, &thread_gauge);
                let has_failed = result.is_err();
                let _ = end.send(result);
                if has_failed {
                    thread_failed.notify_one();
                }
            })
            .map_err(|source| Error::Io { what: what.clone(), source })?;
        let (batch, begun) = (Mutex::default(), AtomicBool::new(false));
        let thread = Some(thread);
        Ok(Self {
            queue,
            batch,
            gauge,
            failed,
            ended,
            what,
            thread,
            part,
            resumed,
            overwrites,
            begun,
        })
    }

    /// What people call it.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The provisional name of a file.
    pub(super) fn part(&self) -> Option<PathBuf> {
        self.part.clone()
    }

    /// What an earlier play left.
    pub(super) fn resumed(&self) -> Option<&(Origin, u64)> {
        self.resumed.as_ref()
    }

    /// Has that replaced once media comes, if it may be.
    pub(super) fn start_over(&mut self) -> Result<(), Error> {
        match (&self.part, self.resumed.take()) {
            (Some(part), Some((origin, bytes))) if !self.overwrites => {
                let error = Error::OtherPlay { part: part.clone(), origin: origin.clone().into() };
                self.resumed = Some((origin, bytes));
                return Err(error);
            }
            (_, None) => return Ok(()),
            _ => {}
        }
        self.tell(Message::StartOver);
        Ok(())
    }

    /// Says what the media is that comes next, and whether to hash it.
    pub(super) fn begin(&self, origin: Option<Origin>, hash: bool) {
        self.begun.store(true, Ordering::Relaxed);
        self.tell(Message::Begin { origin, hash });
    }

    /// Puts media behind what is to be handed over.
    pub(super) fn put(&self, payload: Payload) {
        self.gauge.put(payload.len());
        self.push(Message::Media(payload));
    }

    /// Hands over what was put.
    pub(super) fn flush(&self) {
        let batch = mem::take(&mut *self.batch.lock().unwrap_or_else(PoisonError::into_inner));
        if !batch.is_empty() {
            // If the thread is gone, `ended` says why.
            let _ = self.queue.send(batch);
        }
    }

    /// Tells the thread something at once.
    pub(super) fn tell(&self, message: Message) {
        self.push(message);
        self.flush();
    }

    fn push(&self, message: Message) {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    /// Whether the queue is not full.
    pub(super) fn has_room(&self) -> bool {
        self.gauge.has_room()
    }

    /// Waits, where the queue was full, until the thread asks for more.
    pub(super) async fn room(&self) {
        self.gauge.room().await;
    }

    /// Waits until writing has failed, if ever.
    pub(super) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Says the last word, and waits for what became of all that was said before.
    pub(super) async fn end(mut self, message: Message) -> Result<Ended, Error> {
        self.tell(message);
        (&mut self.ended).await.unwrap_or_else(|_| {
            let source = io::Error::other("the writing thread died");
            Err(Error::Io { what: "the media".into(), source })
        })
    }
}

impl Drop for Writer {
    /// Waits, if no media was to come, until nothing is left behind of what was opened in vain.
    fn drop(&mut self) {
        if !self.begun.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.take()
        {
            self.tell(Message::Abandon);
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The thread.
fn write(
    mut output: Output,
    messages: mpsc::UnboundedReceiver<Vec<Message>>,
    queue: &mpsc::WeakUnboundedSender<Vec<Message>>,
    gauge: &Gauge,
) -> Result<Ended, Error> {
    let ended = obey(&mut output, messages, queue, gauge);
    if ended.is_err() {
        output.discard_empty();
    }
    ended
}

/// Does what the thread is told, to the last word.
fn obey(
    output: &mut Output,
    mut messages: mpsc::UnboundedReceiver<Vec<Message>>,
    queue: &mpsc::WeakUnboundedSender<Vec<Message>>,
    gauge: &Gauge,
) -> Result<Ended, Error> {
    while let Some(batch) = messages.blocking_recv() {
        for message in batch {
            match message {
                Message::StartOver => output.start_over(),
                Message::Begin { origin, hash } => {
                    let queue = queue.clone();
                    let ask = move || {
                        if let Some(queue) = queue.upgrade() {
                            let _ = queue.send(vec![Message::Checkpoint]);
                        }
                    };
                    output.begin(origin, hash, ask)?;
                }
                Message::Date(modified) => output.date(modified),
                Message::Media(payload) => {
                    let began = Instant::now();
                    output.write(&payload)?;
                    gauge.take(payload.len(), began.elapsed() > SLOW);
                }
                Message::Checkpoint => output.checkpoint()?,
                Message::Complete(digest) => {
                    let published = output.publish(digest)?;
                    return Ok(Ended { published, ..Ended::default() });
                }
                Message::Abandon => return leave(output),
            }
        }
    }
    leave(output)
}

fn leave(output: &mut Output) -> Result<Ended, Error> {
    let unfinished = output.leave()?;
    Ok(Ended { unfinished, ..Ended::default() })
}
