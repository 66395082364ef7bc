//! Digests of whole files, on a thread that gives way to everything else.

mod job;
mod queue;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache as Bounded;
use tracing::{debug, warn};

use super::Error;
use super::block::BLOCK;
use super::cache::Cache;
use super::file::File;
use super::identity::FileIdentity;
use crate::protocol::Digest;
use job::{Job, Slice};
use queue::Queue;
use store::Store;

/// The least time between two writes of what is known.
const SAVE_GAP: Duration = Duration::from_secs(10);

/// How long the end waits for what is known to be written.
const LAST_SAVE: Duration = Duration::from_secs(1);

/// Where digests are asked for. Its thread starts with the first question and ends, within a
/// block, when this is dropped.
#[derive(Debug)]
pub(super) struct Digester {
    shared: Arc<Shared>,
    /// Starts the thread; a test has one that fails.
    start: fn(Arc<Shared>) -> io::Result<()>,
}

/// What the thread and those who ask have in common.
#[derive(Debug)]
struct Shared {
    cache: Arc<Cache>,
    known: Bounded<FileIdentity, Digest>,
    store: OnceLock<Store>,
    line: Mutex<Line>,
    /// The line, or the thread, is in another state.
    changed: Condvar,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Line {
    queue: Queue,
    /// Whether the thread runs.
    running: bool,
    /// Something is known that is not saved.
    unsaved: bool,
    /// When it may be saved.
    next_save: Option<Instant>,
}

impl Digester {
    /// Takes blocks that are in `cache` from there.
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        let shared = Shared {
            cache,
            known: Bounded::new(store::MOST),
            store: OnceLock::new(),
            line: Mutex::default(),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), start }
    }

    /// Keeps what is known in the file at `path`, and knows what was kept there.
    pub(super) fn keep_at(&self, path: &Path) {
        let store = self.shared.store.get_or_init(|| Store::at(path));
        for (identity, digest) in store.load() {
            self.shared.known.insert(identity, digest);
        }
    }

    /// The digest of a file that is, or was, in this state.
    /// How many files have no digest yet of those that are to have one.
    pub(super) fn queued(&self) -> usize {
        self.shared.line().queue.len()
    }

    pub(super) fn known(&self, identity: FileIdentity) -> Option<Digest> {
        self.shared.known.get(&identity)
    }

    /// Publishes the digest of `file`, now if it is known, else when it is computed.
    pub(super) fn request(&self, file: &Arc<File>) {
        if !file.want_digest() {
            return;
        }
        match self.known(file.identity()) {
            Some(digest) => file.publish_digest(Some(digest)),
            None => self.enqueue(file),
        }
    }

    /// The digest of `file`. It is computed even if nobody has the file open meanwhile, for as
    /// long as somebody asks again.
    pub(super) fn resolve(&self, file: &Arc<File>) -> Poll<Option<Digest>> {
        self.request(file);
        if let Some(digest) = file.digest() {
            return Poll::Ready(Some(digest));
        }
        let mut line = self.shared.line();
        if line.queue.is_unreadable(file.identity()) {
            return Poll::Ready(None);
        }
        // Only the thread lets go of what is held.
        if line.running && !file.needs_new_digest() {
            line.queue.hold(file, Instant::now());
            self.shared.changed.notify_all();
        }
        Poll::Pending
    }

    fn enqueue(&self, file: &Arc<File>) {
        let mut line = self.shared.line();
        let refused = line.queue.push(Job::new(file));
        // What waits is computed as soon as there is a thread, whoever asks for the next one.
        if !line.running {
            match (self.start)(self.shared.clone()) {
                Ok(()) => line.running = true,
                Err(error) => warn!(%error, "the thread for digests cannot be started yet"),
            }
        }
        self.shared.changed.notify_all();
        drop(line);
        if refused.is_err() {
            debug!("there will be no digest: too many files wait for theirs");
        }
    }
}

impl Drop for Digester {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        let line = self.shared.line();
        self.shared.changed.notify_all();
        // A disk that hangs must not keep the server from its end.
        let saving = |line: &mut Line| line.running && line.unsaved;
        drop(self.shared.changed.wait_timeout_while(line, LAST_SAVE, saving));
    }
}

fn start(shared: Arc<Shared>) -> io::Result<()> {
    let work = move || {
        give_way();
        shared.work();
    };
    thread::Builder::new().name("digest".into()).spawn(work).map(drop)
}

/// Takes only time that nobody else wants: a stream must never wait for a digest.
fn give_way() {
    // Only on Linux is niceness a thread's own; elsewhere the whole server would slow down.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        debug!(%error, "digests are computed at full priority");
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Computes digests until nobody can ask for one any more.
    fn work(&self) {
        let mut buffer = vec![0; BLOCK];
        while let Some(mut job) = self.next() {
            if self.has_more(&mut job, &mut buffer) {
                self.line().queue.put_back(job);
            }
        }
        self.save();
        let mut line = self.line();
        line.running = false;
        line.queue.clear();
        self.changed.notify_all();
    }

    /// Waits for a job whose turn it is; `None` at the end. What is known is saved on the way.
    fn next(&self) -> Option<Job> {
        let mut line = self.line();
        while !self.is_closed() {
            let now = Instant::now();
            let release = line.queue.release(now);
            let save = line.next_save.filter(|_| line.unsaved);
            if line.unsaved && save.is_none_or(|save| save <= now) {
                drop(line);
                self.save();
                line = self.line();
                continue;
            }
            if let Some(job) = line.queue.take() {
                return Some(job);
            }
            let changed = &self.changed;
            line = match release.into_iter().chain(save).min() {
                Some(due) => {
                    let waited = changed.wait_timeout(line, due.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(line).unwrap_or_else(PoisonError::into_inner),
            };
        }
        None
    }

    /// Gives a job its turn; whether it needs another.
    fn has_more(&self, job: &mut Job, buffer: &mut [u8]) -> bool {
        let Some(file) = job.file() else { return false };
        // Two that opened it at the same moment may both have asked.
        if let Some(digest) = self.known.get(&job.identity()) {
            file.publish_digest(Some(digest));
            return false;
        }
        match job.advance(&file, &self.cache, buffer, || self.is_closed()) {
            Ok(Slice::More) => return true,
            Ok(Slice::Lasting(digest)) => {
                self.known.insert(job.identity(), digest);
                self.line().unsaved = self.store.get().is_some();
                file.publish_digest(Some(digest));
            }
            Ok(Slice::Passing(digest)) => file.publish_early_digest(digest),
            Ok(Slice::Restless) => debug!("there is no digest: the file changes too often"),
            Err(Error::Io { .. }) => self.line().queue.give_up(job.identity()),
            Err(_) => {}
        }
        false
    }

    /// Writes down what is known, if that is not done.
    fn save(&self) {
        let Some(store) = self.store.get().filter(|_| self.line().unsaved) else { return };
        let mut digests: Vec<_> = self.known.iter().collect();
        digests.truncate(store::MOST);
        let saved = store.save(&digests);
        let mut line = self.line();
        if let Err(error) = saved {
            // Once is enough: the next try may be in a few seconds.
            if line.next_save.is_none() {
                let path = store.path().display();
                warn!(%error, "digests are computed anew after a restart: cannot write {path}");
            }
        }
        line.unsaved = false;
        line.next_save = Some(Instant::now() + SAVE_GAP);
    }
}
