//! The bounded queue to the UI thread. Whoever sends never waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::time::Instant;

use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

use super::json::Failure;
use super::stream::print_line;

/// How many messages may wait.
const CAPACITY: usize = 1024;
/// How many of them may be frequent events or lines of the log, so that others find room.
const FREQUENT_CAPACITY: usize = 768;

/// An event of a client or a server, which programs read as its JSON.
pub(crate) trait UiEvent: Serialize + Send + 'static {
    /// Returns whether so many of its kind come that some may be left out.
    fn is_frequent(&self) -> bool {
        false
    }
}

/// A message to the UI thread.
#[derive(Debug)]
pub(super) enum Message<E> {
    Event(Instant, E),
    /// A line of the log.
    Log(String),
    /// The terminal has changed.
    Redraw,
    /// The command is over.
    End(Option<Failure>),
}

/// Sends to the UI thread. What does not fit is counted and lost.
#[derive(Debug)]
pub(crate) struct UiSender<E> {
    queue: Sender<Message<E>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    lost_events: AtomicU64,
    lost_lines: AtomicU64,
}

/// How many messages did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) events: u64,
    /// Lines of the log.
    pub(super) lines: u64,
}

impl<E> Clone for UiSender<E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), counts: self.counts.clone() }
    }
}

impl<E: UiEvent> UiSender<E> {
    /// Sends an event that happens now.
    pub(crate) fn send(&self, event: E) {
        let limit = if event.is_frequent() { FREQUENT_CAPACITY } else { CAPACITY };
        self.send_within(limit, Message::Event(Instant::now(), event));
    }

    /// Has the rows drawn anew, such as after the terminal changed its size.
    pub(crate) fn redraw(&self) {
        self.send_within(CAPACITY, Message::Redraw);
    }

    /// Ends the thread, after everything that was sent before.
    pub(super) fn end(&self, failure: Option<Failure>) {
        self.send_within(usize::MAX, Message::End(failure));
    }

    fn send_within(&self, limit: usize, message: Message<E>) {
        let Counts { waiting, lost_events, lost_lines } = &*self.counts;
        if waiting.fetch_add(1, Ordering::Relaxed) < limit {
            match self.queue.send(message) {
                Ok(()) => return,
                // The thread has ended, so nothing is in the way of a late warning.
                Err(SendError(Message::Log(line))) => print_line(&line),
                Err(_) => {}
            }
        } else {
            match message {
                Message::Event(..) => _ = lost_events.fetch_add(1, Ordering::Relaxed),
                Message::Log(_) => _ = lost_lines.fetch_add(1, Ordering::Relaxed),
                Message::Redraw | Message::End(_) => {}
            }
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the log, whose lines are printed above the bars.
impl<E: UiEvent> MakeWriter<'_> for UiSender<E> {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl<E: UiEvent> io::Write for UiSender<E> {
    /// Takes one whole line, which is what `tracing` writes at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        self.send_within(FREQUENT_CAPACITY, Message::Log(text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of the queue in the UI thread.
#[derive(Debug)]
pub(super) struct UiReceiver<E> {
    queue: Receiver<Message<E>>,
    counts: Arc<Counts>,
}

/// Makes a queue.
pub(super) fn channel<E>() -> (UiSender<E>, UiReceiver<E>) {
    let (sender, receiver) = mpsc::channel();
    let counts = Arc::new(Counts::default());
    (UiSender { queue: sender, counts: counts.clone() }, UiReceiver { queue: receiver, counts })
}

impl<E> UiReceiver<E> {
    /// Waits for a message until `time`, and returns it with all that wait behind it.
    pub(super) fn receive_until(&self, time: Option<Instant>) -> Vec<Message<E>> {
        let first = match time {
            Some(time) => self.queue.recv_timeout(time.saturating_duration_since(Instant::now())),
            None => self.queue.recv().map_err(Into::into),
        };
        let first = first.into_iter();
        let messages: Vec<_> = first.chain(self.queue.try_iter()).take(CAPACITY).collect();
        self.counts.waiting.fetch_sub(messages.len(), Ordering::Relaxed);
        messages
    }

    /// Takes the number of messages that were lost since the last call.
    pub(super) fn take_lost(&self) -> Lost {
        Lost {
            events: self.counts.lost_events.swap(0, Ordering::Relaxed),
            lines: self.counts.lost_lines.swap(0, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize)]
    struct TestEvent {
        frequent: bool,
    }

    impl UiEvent for TestEvent {
        fn is_frequent(&self) -> bool {
            self.frequent
        }
    }

    #[test]
    fn a_flood_leaves_room_for_news_and_nobody_waits() {
        let (sender, receiver) = channel();
        let lost = |events, lines| Lost { events: events as u64, lines };
        (0..2 * CAPACITY).for_each(|_| sender.send(TestEvent { frequent: true }));
        assert_eq!(receiver.take_lost(), lost(2 * CAPACITY - FREQUENT_CAPACITY, 0));
        sender.send(TestEvent { frequent: false });
        assert_eq!(receiver.take_lost(), lost(0, 0));
        (0..CAPACITY).for_each(|_| sender.send(TestEvent { frequent: false }));
        io::Write::write_all(&mut sender.clone(), b"WARN\n").unwrap();
        sender.redraw();
        assert_eq!(receiver.take_lost(), lost(FREQUENT_CAPACITY + 1, 1));

        assert_eq!(receiver.receive_until(None).len(), CAPACITY);
        sender.send(TestEvent { frequent: true });
        assert_eq!(receiver.receive_until(None).len(), 1);
        assert_eq!(receiver.take_lost(), lost(0, 0));
    }

    #[test]
    fn a_log_line_arrives_whole_and_without_the_space_around_it() {
        let (mut sender, receiver) = channel::<TestEvent>();
        io::Write::write_all(&mut sender, b" WARN two words\n").unwrap();
        let messages = receiver.receive_until(None);
        assert!(matches!(&messages[..], [Message::Log(line)] if line == "WARN two words"));
    }
}
