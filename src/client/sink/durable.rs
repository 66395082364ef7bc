//! The thread that has a partial file written to the disk while more of it comes, and keeps its
//! record. What the record says is there survives a power cut.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Error;
use super::filesystem::allow_unsynced;
use super::place::Place;
use super::record::{Origin, Record};

/// How many bytes may wait to be synced, however fast they come.
pub(super) const MOST_BEHIND: u64 = 64 * 1024 * 1024;

/// How long bytes may wait, however few. The sync itself takes its time on top: together at most a
/// second on a disk that keeps up.
const LONGEST_BEHIND: Duration = Duration::from_millis(500);

/// A state of the file: all of these bytes are written, of this media.
#[derive(Debug)]
struct Checkpoint {
    origin: Origin,
    bytes: u64,
}

/// The near end of the thread.
#[derive(Debug)]
pub(super) struct Durable {
    checkpoints: Sender<Checkpoint>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Durable {
    /// Starts the thread; it calls `ask` when it is time for the next checkpoint, and when it has
    /// failed.
    pub(super) fn start(
        place: Arc<Place>,
        file: &File,
        ask: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (checkpoints, requests) = mpsc::channel();
        let failed = Arc::new(AtomicBool::new(false));
        let thread_failed = failed.clone();
        let thread = thread::Builder::new().name("sync".into()).spawn(move || {
            let result = keep_durable(&place, &file, &requests, &ask);
            if result.is_err() {
                thread_failed.store(true, Ordering::Release);
                ask();
            }
            result
        })?;
        Ok(Self { checkpoints, failed, thread })
    }

    /// Whether the thread has ended with an error, which [`Durable::end`] tells.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Has these bytes made durable, and then recorded, while the caller goes on.
    pub(super) fn checkpoint(&self, origin: Origin, bytes: u64) {
        // If the thread is gone, `end` says why.
        let _ = self.checkpoints.send(Checkpoint { origin, bytes });
    }

    /// Ends the thread after what it was asked for.
    pub(super) fn end(self) -> Result<(), Error> {
        drop(self.checkpoints);
        self.thread.join().unwrap_or_else(|_| {
            let source = io::Error::other("the syncing thread died");
            Err(Error::Io { what: "the media".into(), source })
        })
    }
}

/// The thread.
fn keep_durable(
    place: &Place,
    file: &File,
    requests: &Receiver<Checkpoint>,
    ask: &impl Fn(),
) -> Result<(), Error> {
    let mut can_record = true;
    loop {
        let checkpoint = match requests.recv_timeout(LONGEST_BEHIND) {
            // While one sync took its time, more may have been asked for: one is enough for all.
            Ok(first) => requests.try_iter().last().unwrap_or(first),
            Err(RecvTimeoutError::Timeout) => {
                ask();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let error = place.error(&place.part);
        allow_unsynced(place.file_system.sync_data(file)).map_err(error)?;
        if !place.leads_to(&place.part, file)? {
            return Err(Error::Disturbed(place.path(&place.part)));
        }
        let Checkpoint { origin, bytes } = checkpoint;
        let recorded = Record::of(file, origin, bytes).and_then(|record| record.write(place));
        // The last record stays true, only less of the file can be gone on with.
        if let Err(error) = recorded
            && mem::replace(&mut can_record, false)
        {
            tracing::warn!("cannot write {}: {error}", place.path(&place.record).display());
        }
    }
}
