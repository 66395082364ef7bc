//! Digests of whole files, one after the other, on a thread that gives way to everything else.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use quick_cache::sync::Cache;
use tracing::{debug, warn};

use super::Digest;
use super::file::{File, Identity};

/// Files whose digests are remembered, at about 100 bytes each.
const KNOWN: usize = 4096;

/// Files that may wait for their turn. Past that there is none for those that are opened.
const WAITING: usize = 1024;

/// Bytes that are read and hashed at a time. They stay in the processor's cache between the two.
const PIECE: usize = 256 * 1024;

type Known = Cache<Identity, Digest>;

/// Where digests are asked for. The thread starts with the first question and ends, within a
/// piece, when this is dropped.
#[derive(Debug)]
pub(super) struct Digester {
    known: Arc<Known>,
    waiting: OnceLock<SyncSender<Job>>,
}

impl Digester {
    pub(super) fn new() -> Self {
        Self { known: Arc::new(Known::new(KNOWN)), waiting: OnceLock::new() }
    }

    /// Publishes the digest of `file`, now if it is known, else when its turn has come.
    pub(super) fn request(&self, file: &Arc<File>) {
        if !file.want_digest() {
            return;
        }
        match self.known.get(&file.identity()) {
            Some(digest) => file.publish_digest(Some(digest)),
            None => {
                let job = Job(Arc::downgrade(file));
                let waiting = self.waiting.get_or_init(|| start(Arc::downgrade(&self.known)));
                if waiting.try_send(job).is_err() {
                    debug!("there will be no digest: too many files wait for theirs");
                }
            }
        }
    }
}

fn start(known: Weak<Known>) -> SyncSender<Job> {
    let (sender, jobs) = sync_channel(WAITING);
    let thread = thread::Builder::new().name("digest".into()).spawn(move || work(&jobs, &known));
    if let Err(error) = thread {
        warn!(%error, "there will be no digests: their thread cannot be started");
    }
    sender
}

fn work(jobs: &Receiver<Job>, known: &Weak<Known>) {
    give_way();
    for job in jobs {
        job.run(known);
    }
}

/// Takes only time that nobody else wants: a stream must never wait for a digest.
fn give_way() {
    // Only on Linux is niceness a thread's own; elsewhere the whole server would slow down.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        debug!(%error, "digests are computed at full priority");
    }
}

/// A file that waits, without being kept open by that: what nobody streams any more is skipped.
#[derive(Debug)]
struct Job(Weak<File>);

impl Job {
    fn run(&self, known: &Weak<Known>) {
        let Some(file) = self.0.upgrade() else { return };
        // Two that opened it at the same moment may both have asked.
        let computed = known.upgrade().and_then(|known| known.get(&file.identity()));
        let digest = computed.or_else(|| hash(&file, known));
        if let (Some(known), Some(digest)) = (known.upgrade(), digest) {
            known.insert(file.identity(), digest);
        }
        file.publish_digest(digest);
    }
}

/// Whatever becomes of a job, nobody waits for it for ever.
impl Drop for Job {
    fn drop(&mut self) {
        if let Some(file) = self.0.upgrade() {
            file.publish_digest(None);
        }
    }
}

/// The digest of `file`, unless it changes or cannot be read, or nobody wants to know any more.
fn hash(file: &File, known: &Weak<Known>) -> Option<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    while offset < file.len() {
        if known.strong_count() == 0 {
            return None;
        }
        let left = usize::try_from(file.len() - offset).unwrap_or(usize::MAX);
        let piece = buffer.get_mut(..left.min(PIECE)).unwrap_or_default();
        let read = file.read(offset, piece);
        read.inspect_err(|error| debug!(%error, "there is no digest")).ok()?;
        hasher.update(piece);
        offset += piece.len() as u64;
    }
    Some(hasher.finalize().into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    #[test]
    fn only_its_own_thread_gives_way() {
        let before = getpriority_process(None).unwrap();
        let lowered = std::thread::spawn(|| {
            super::give_way();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lowered.join().unwrap(), 19);
        assert_eq!(getpriority_process(None).unwrap(), before);
        assert_ne!(before, 19);
    }
}
