//! What a server streams, and how it gets from the disk to the transport without a copy and
//! without making the endpoint's thread wait.

mod block;
mod cache;
mod digest;
mod directory;
mod file;
mod file_place;
mod file_source;
mod generate;
mod identity;
mod library;
mod live;
mod memory;
#[cfg(feature = "object-store")]
mod object;
mod place;
mod root;
mod source;
#[cfg(test)]
mod tests;
mod title;
mod trouble;
mod validators;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinError;

use crate::protocol::Digest;
use block::BLOCK;
use source::{Pending, Source};

pub use cache::Cache;
pub use generate::generate;
pub use library::Library;
pub use live::{Broadcaster, LiveEvent, LiveStatus, PIECE_TIME, Scanner};
pub use source::Read;
pub use title::is_title;

/// The most that is read of media before its session needs it, bytes. A paced session has one
/// second of it read ahead: thousands of them must not fill the memory.
const MAX_AHEAD: u64 = 1024 * 1024;

/// How the cache and the digests of a [`Library`] do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MediaCounters {
    /// Blocks that were in the cache when a session wanted them.
    pub hits: u64,
    /// Blocks that were not.
    pub misses: u64,
    /// Bytes in the cache, in whole blocks.
    pub bytes: u64,
    /// Files whose digest is being computed, or waits for that.
    pub digest_queue: usize,
}

/// Media cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("cannot read {path:?}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Neither a regular file nor a directory.
    #[error("{0:?} is neither a regular file nor a directory: name one of these")]
    NotAFile(PathBuf),
    /// A bucket, for a program that was built without the feature `object-store`.
    #[error(
        "{0:?} is in an object store, which this program was built without: build it with \
         \"cargo install --path . --locked --features object-store\""
    )]
    NoObjectStore(String),
    /// A directory without media.
    #[error("there is no media in {0:?}: put a file there, it is found at once")]
    NoMedia(PathBuf),
    /// Nothing of this name can be opened. Nobody learns whether it exists.
    #[error("there is no such title: ask for one that is in the list of titles")]
    NoSuchTitle,
    /// A broadcast of which no byte has come.
    #[error("the broadcast has not begun")]
    NothingYet,
    /// A broadcast broke off, and the next has not begun.
    #[error("the broadcast broke off, and the next has not begun")]
    BrokeOff,
    /// A broadcast of MP4 that nobody can watch who comes later.
    #[error(
        "an MP4 can be broadcast in fragments only, each of which stands alone: make it with ffmpeg \
         -movflags frag_keyframe+empty_moov+default_base_moof"
    )]
    NotFragmented,
    /// No title was named, and there is more than one.
    #[error("there is more than one title: name one of them")]
    TitleNeeded,
    /// The file is not the one that was opened any more.
    #[error("{0:?} changed while it was streamed: open it again")]
    Changed(PathBuf),
}

/// A title in the catalogue of a [`Library`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What to ask for.
    pub title: String,
    /// Bytes in all; `None` while it is live.
    pub size: Option<u64>,
    /// The IANA media type.
    pub media_type: &'static str,
    /// Bit/s: of a title that comes in several bitrates the highest, whose size and type these are;
    /// of a broadcast what it has had for the last seconds.
    pub bitrate: Option<u32>,
    /// When it was last changed, or when the broadcast began: milliseconds since the Unix epoch.
    pub modified: Option<u64>,
}

/// A title that was found, with its open file or its source.
#[derive(Debug, Clone)]
struct Found<S> {
    title: String,
    media_type: &'static str,
    bitrate: Option<u32>,
    source: S,
}

impl<S> Found<S> {
    /// Something that is called `name`, which says its type.
    fn new(title: &str, name: &str, bitrate: Option<u32>, source: S) -> Self {
        Self { title: title.to_owned(), media_type: title::media_type(name), bitrate, source }
    }

    /// Its entry in a catalogue, with a size and a time of change.
    fn entry(self, of: impl FnOnce(&S) -> (Option<u64>, Option<u64>)) -> Entry {
        let Self { title, media_type, bitrate, source } = self;
        let (size, modified) = of(&source);
        Entry { title, size, media_type, bitrate, modified }
    }
}

/// Opened media, which is read in order by one session.
#[derive(Debug)]
pub struct Media {
    found: Found<Arc<dyn Source>>,
    /// Bytes after each read that are likely to be read next.
    ahead: u64,
    waiting: Option<WaitingRead>,
}

/// A read that could not be done at once.
struct WaitingRead {
    offset: u64,
    max: usize,
    read: Pending<'static, Result<Read, Error>>,
}

impl fmt::Debug for WaitingRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingRead").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Media {
    fn new(found: Found<Arc<dyn Source>>) -> Self {
        Self { found, ahead: MAX_AHEAD, waiting: None }
    }

    /// Sets the rate of the session in bit/s; 0 is as fast as it goes.
    pub fn at_rate(self, rate: u64) -> Self {
        let ahead = match rate {
            0 => MAX_AHEAD,
            rate => (rate / 8).clamp(BLOCK as u64, MAX_AHEAD),
        };
        Self { ahead, ..self }
    }

    /// What it is called in its [`Library`].
    pub fn title(&self) -> &str {
        &self.found.title
    }

    /// Its IANA media type, as its extension has it.
    pub fn media_type(&self) -> &'static str {
        self.found.media_type
    }

    /// The bitrate that was chosen, in bit/s, of a title that comes in several.
    pub fn bitrate(&self) -> Option<u32> {
        self.found.bitrate
    }

    /// Bytes in all; `None` while it is live.
    pub fn size(&self) -> Option<u64> {
        self.found.source.len()
    }

    /// The first byte that is kept and how many there are so far, of a broadcast that goes on.
    pub fn kept(&self) -> Option<Range<u64>> {
        self.found.source.kept()
    }

    /// How long the next chunk of a broadcast waits after the last one, unless a whole one is there
    /// before: a small chunk costs as much as a large one.
    pub fn hold(&self) -> Duration {
        self.found.source.hold()
    }

    /// Where a decoder can begin, so long ago or earlier, in a broadcast.
    pub fn join(&self, ago: Duration) -> u64 {
        self.found.source.join(ago)
    }

    /// What a decoder needs that begins at this byte of a broadcast.
    pub fn header_at(&self, offset: u64) -> Option<Bytes> {
        self.found.source.header_at(offset)
    }

    /// Returns 1 to 64 bytes that other media does not have.
    pub fn validator(&self) -> Bytes {
        self.found.source.validator()
    }

    /// When it was last changed, milliseconds since the Unix epoch, if that is known.
    pub fn modified(&self) -> Option<u64> {
        self.found.source.modified()
    }

    /// Returns true if this validator was given out for what it is now.
    pub fn goes_by(&self, validator: &[u8]) -> bool {
        self.found.source.goes_by(validator)
    }

    /// The digest of all its bytes, if it is known now.
    pub fn digest(&self) -> Option<Digest> {
        self.found.source.digest()
    }

    /// Has the digest computed while the media is in use.
    pub fn request_digest(&self) {
        self.found.source.request_digest();
    }

    /// Waits for the digest; for ever, unless [`Media::request_digest`] was called. `None` if
    /// there will be none: the bytes changed or cannot be read, too many others wait for theirs,
    /// or the [`Library`] is gone.
    pub fn digested(&self) -> impl Future<Output = Option<Digest>> + use<> {
        let source = self.found.source.clone();
        async move { source.digested().await }
    }

    /// Returns the digest, or `None` if there is none. Else has it computed even if the media is
    /// dropped, for as long as somebody asks again within a few seconds.
    pub fn resolve_digest(&self) -> Poll<Option<Digest>> {
        self.found.source.resolve_digest()
    }

    /// Reads at least one byte and at most `max` at `offset`. Waits for a disk, or where live media
    /// has no more yet. When the future is dropped, the same read goes on where it was.
    ///
    /// # Errors
    /// The bytes cannot be read, or are not what they were.
    pub async fn read(&mut self, offset: u64, max: usize) -> Result<Read, Error> {
        let source = &self.found.source;
        let asked = |waiting: &WaitingRead| (waiting.offset, waiting.max) == (offset, max);
        let waiting = match self.waiting.take().filter(asked) {
            Some(waiting) => waiting,
            None => {
                if let Some(read) = source.read_now(offset, max)? {
                    return Ok(read);
                }
                let read = source.clone().read(offset, max, self.ahead);
                WaitingRead { offset, max, read }
            }
        };
        let read = self.waiting.insert(waiting).read.as_mut().await;
        self.waiting = None;
        read
    }

    /// The same, without waiting for anything; `None` if that cannot be.
    ///
    /// # Errors
    /// As those of [`Self::read`].
    pub fn read_now(&self, offset: u64, max: usize) -> Result<Option<Read>, Error> {
        self.found.source.read_now(offset, max)
    }
}

/// Runs `work` on the blocking pool, where it may wait for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(tokio::task::spawn_blocking(work).await)
}

/// What a task came to. A panic goes on in whoever waits for it.
fn finished<T>(task: Result<T, JoinError>) -> T {
    task.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
