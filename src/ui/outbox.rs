//! The way to the thread that draws. Whoever sends never waits for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::output::eprintln_quietly;

/// How many messages may wait to be shown.
const QUEUE: usize = 1024;
/// How many of them may be of the kind that comes in floods, so that news always finds room.
const FLOOD: usize = 768;

/// Something that can be shown as it happens.
pub trait Shown: Send + 'static {
    /// Whether there are so many of its kind that some may be left out.
    fn is_frequent(&self) -> bool;
}

/// A message to the thread that draws.
#[derive(Debug)]
pub(super) enum Message<E> {
    /// Something happened, at a time.
    Event(Instant, E),
    /// A line of the log.
    Log(String),
    /// Look around: something has changed.
    Wake,
}

/// Takes events to where they are shown. It never blocks: what does not fit the queue is lost,
/// and how much that was is said.
#[derive(Debug)]
pub struct EventSink<E> {
    queue: SyncSender<Message<E>>,
    gauge: Arc<Gauge>,
}

/// What both ends of the queue know of it.
#[derive(Debug, Default)]
struct Gauge {
    waiting: AtomicUsize,
    lost_events: AtomicU64,
    lost_lines: AtomicU64,
}

impl Gauge {
    fn lose<E>(&self, message: &Message<E>) {
        let lost = match message {
            Message::Event(..) => &self.lost_events,
            Message::Log(_) => &self.lost_lines,
            Message::Wake => return,
        };
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many messages did not fit the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) events: u64,
    /// Lines of the log.
    pub(super) lines: u64,
}

impl<E> Clone for EventSink<E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), gauge: self.gauge.clone() }
    }
}

impl<E: Shown> EventSink<E> {
    /// Shows an event, with the time that it is now.
    pub fn send(&self, event: E) {
        let limit = if event.is_frequent() { FLOOD } else { QUEUE };
        self.put(Message::Event(Instant::now(), event), limit);
    }

    /// Shows how things are now, such as after the terminal changed its size.
    pub fn wake(&self) {
        self.put(Message::Wake, QUEUE);
    }

    fn put(&self, message: Message<E>, limit: usize) {
        if self.gauge.waiting.fetch_add(1, Ordering::Relaxed) >= limit {
            self.gauge.lose(&message);
        } else {
            match self.queue.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(message)) => self.gauge.lose(&message),
                // Nobody draws any more, so nothing is in the way of a late warning.
                Err(TrySendError::Disconnected(Message::Log(line))) => eprintln_quietly(&line),
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        self.gauge.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the lines of a `tracing` subscriber to where they are shown, above the bars.
#[derive(Debug)]
pub struct LogWriter<E>(EventSink<E>);

impl<E> LogWriter<E> {
    pub(super) fn new(sink: EventSink<E>) -> Self {
        Self(sink)
    }
}

impl<E: Shown> MakeWriter<'_> for LogWriter<E> {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Shown> io::Write for LogWriter<E> {
    /// Takes one whole line, which is what `tracing` writes at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        self.0.put(Message::Log(text), FLOOD);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of the queue where the messages come out.
#[derive(Debug)]
pub(super) struct Inbox<E> {
    queue: Receiver<Message<E>>,
    gauge: Arc<Gauge>,
}

/// A queue.
pub(super) fn channel<E>() -> (EventSink<E>, Inbox<E>) {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let gauge = Arc::new(Gauge::default());
    (EventSink { queue: sender, gauge: gauge.clone() }, Inbox { queue: receiver, gauge })
}

impl<E> Inbox<E> {
    /// The next message, and all that wait behind it; none once the time has come.
    pub(super) fn wait_until(&self, time: Option<Instant>) -> Vec<Message<E>> {
        let first = match time.map(|time| time.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => None,
            Some(left) => self.queue.recv_timeout(left).ok(),
            None => self.queue.recv().ok(),
        };
        let messages: Vec<_> = first.into_iter().chain(self.queue.try_iter()).take(QUEUE).collect();
        self.gauge.waiting.fetch_sub(messages.len(), Ordering::Relaxed);
        messages
    }

    /// How many messages were lost since the last time that somebody asked.
    pub(super) fn lost(&self) -> Lost {
        Lost {
            events: self.gauge.lost_events.swap(0, Ordering::Relaxed),
            lines: self.gauge.lost_lines.swap(0, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Told {
        frequent: bool,
    }

    impl Shown for Told {
        fn is_frequent(&self) -> bool {
            self.frequent
        }
    }

    #[test]
    fn a_flood_leaves_room_for_news_and_nobody_waits() {
        let (sink, inbox) = channel();
        let lost = |events, lines| Lost { events: events as u64, lines };
        (0..2 * QUEUE).for_each(|_| sink.send(Told { frequent: true }));
        assert_eq!(inbox.lost(), lost(2 * QUEUE - FLOOD, 0));
        sink.send(Told { frequent: false });
        assert_eq!(inbox.lost(), lost(0, 0));
        (0..QUEUE).for_each(|_| sink.send(Told { frequent: false }));
        io::Write::write_all(&mut LogWriter::new(sink.clone()), b"WARN\n").unwrap();
        sink.wake();
        assert_eq!(inbox.lost(), lost(FLOOD + 1, 1));

        assert_eq!(inbox.wait_until(None).len(), QUEUE);
        sink.send(Told { frequent: true });
        assert_eq!(inbox.wait_until(None).len(), 1);
        assert_eq!(inbox.lost(), lost(0, 0));
    }

    #[test]
    fn a_log_line_arrives_whole_and_without_the_space_around_it() {
        let (sink, inbox) = channel::<Told>();
        io::Write::write_all(&mut LogWriter::new(sink), b" WARN two words\n").unwrap();
        let messages = inbox.wait_until(None);
        assert!(matches!(&messages[..], [Message::Log(line)] if line == "WARN two words"));
    }
}
