//! How full a queue is, seen from both of its ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The bytes in a queue. Who fills it waits until it is half empty: to wake it for each chunk
/// costs a good part of what the chunk costs.
#[derive(Debug)]
pub(super) struct Gauge {
    /// From how many bytes on it is full; one chunk more may come on top.
    full: usize,
    queued: AtomicUsize,
    taken: Notify,
}

impl Gauge {
    pub(super) fn new(full: usize) -> Self {
        Self { full, queued: AtomicUsize::new(0), taken: Notify::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued.load(Ordering::Acquire) < self.full
    }

    /// Notes that so many bytes were put.
    pub(super) fn put(&self, bytes: usize) {
        self.queued.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Notes that so many bytes were taken. Asks for more once half is left, or at once where the
    /// taker is `slow`.
    pub(super) fn take(&self, bytes: usize, slow: bool) {
        let before = self.queued.fetch_sub(bytes, Ordering::AcqRel);
        if before <= self.full / 2 + bytes || slow {
            self.taken.notify_one();
        }
    }

    /// Waits, where the queue was full, until more is asked for.
    pub(super) async fn room(&self) {
        // That may have been before the queue was full; then the question is still there.
        loop {
            self.taken.notified().await;
            if self.has_room() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const FULL: usize = 1024 * 1024;
    const CHUNK: usize = 64 * 1024;

    /// How many chunks are taken of a full queue before more is asked for.
    fn taken_until_asked(slow: bool) -> usize {
        let gauge = Gauge::new(FULL);
        gauge.put(FULL);
        assert!(!gauge.has_room());
        let mut asked = pin!(gauge.taken.notified());
        let mut context = Context::from_waker(Waker::noop());
        let mut is_asked = || asked.as_mut().poll(&mut context).is_ready();
        (1..=FULL / CHUNK)
            .find(|_| {
                gauge.take(CHUNK, slow);
                is_asked()
            })
            .unwrap()
    }

    #[test]
    fn a_fast_sink_asks_for_many_chunks_and_a_slow_one_for_each() {
        assert_eq!(taken_until_asked(false), FULL / 2 / CHUNK);
        assert_eq!(taken_until_asked(true), 1);
    }
}
