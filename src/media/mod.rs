//! What a server streams, and how it gets from the disk to the transport without a copy and
//! without making the endpoint's thread wait.

mod block;
mod cache;
mod digest;
mod directory;
mod file;
mod generate;
mod identity;
mod library;
mod root;
#[cfg(test)]
mod tests;
mod title;
mod trouble;
mod validators;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{JoinError, JoinHandle};

use block::BLOCK;
pub use cache::Cache;
use cache::Piece;
pub use digest::DigestState;
use file::File;
pub use generate::generate;
pub use library::Library;

/// The clip that is served where no other media is named.
pub const SAMPLE: &[u8] = include_bytes!("../../assets/sample.mp4");

/// The BLAKE3-256 of all bytes of some media.
pub type Digest = [u8; 32];

/// The most that the system is asked to read of a file before a session needs it, bytes. A paced
/// session is worth a second of it: thousands of them must not fill the memory with what they
/// might want.
const MOST_AHEAD: u64 = 1024 * 1024;

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
    /// A directory without media.
    #[error("there is no media file in {0:?}: put one there, it is found at once")]
    NoMedia(PathBuf),
    /// Nothing of this name can be opened. Nobody learns whether it exists.
    #[error("there is no such title: ask for one that is in the list of titles")]
    NoSuchTitle,
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
    /// Bytes in all.
    pub size: u64,
    /// The IANA media type.
    pub media_type: &'static str,
    /// Bit/s, of a title that comes in several bitrates: the highest, whose size and type these
    /// are.
    pub bitrate: Option<u32>,
}

impl From<Found> for Entry {
    fn from(found: Found) -> Self {
        let size = found.source.len();
        let Found { title, media_type, bitrate, source: _ } = found;
        Self { title, size, media_type, bitrate }
    }
}

/// A title that was found and opened.
#[derive(Debug, Clone)]
struct Found {
    title: String,
    media_type: &'static str,
    bitrate: Option<u32>,
    source: Source,
}

impl Found {
    /// A file that is called `name`, which says its type.
    fn file(title: &str, name: &str, bitrate: Option<u32>, file: File) -> Self {
        Self {
            title: title.to_owned(),
            media_type: title::media_type(name),
            bitrate,
            source: Source::File(Arc::new(file)),
        }
    }
}

#[derive(Debug, Clone)]
enum Source {
    Memory(Bytes, Digest),
    File(Arc<File>),
}

impl Source {
    fn file(&self) -> Option<&Arc<File>> {
        match self {
            Self::Memory(..) => None,
            Self::File(file) => Some(file),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes, _) => bytes.len() as u64,
            Self::File(file) => file.len(),
        }
    }
}

/// Opened media: its bytes do not change, or reading it fails. A file may grow meanwhile, by which
/// its media stays as long as it was; that what it had before is still there shows in the digest.
#[derive(Debug)]
pub struct Media {
    found: Found,
    validator: Bytes,
    cache: Arc<Cache>,
    /// How far ahead of a session the system reads its file, bytes.
    ahead: u64,
    reading: Option<Reading>,
}

/// A read that waits for a disk, from this byte on and of so many at most. It is not given up when
/// whoever asked stops waiting and asks again: a client could have a slow disk asked for the same
/// with every PDU.
#[derive(Debug)]
struct Reading {
    asked: (u64, usize),
    read: JoinHandle<Result<Bytes, Error>>,
}

impl Media {
    fn new(found: Found, validator: Bytes, cache: Arc<Cache>) -> Self {
        Self { found, validator, cache, ahead: MOST_AHEAD, reading: None }
    }

    /// The same, for a session at this rate in bit/s, where 0 is as fast as it goes.
    pub fn at_rate(self, rate: u64) -> Self {
        let ahead = match rate {
            0 => MOST_AHEAD,
            rate => (rate / 8).clamp(BLOCK as u64, MOST_AHEAD),
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

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.found.source.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// 32 bytes that stand for what it is: of a file, for its size and modification time, or for
    /// all that the system knows of its state where this server has seen its title in two that
    /// have these in common.
    pub fn validator(&self) -> Bytes {
        self.validator.clone()
    }

    /// Whether this validator was given out for what it is now.
    pub fn goes_by(&self, validator: &[u8]) -> bool {
        let salted = || Some(self.found.source.file()?.identity().salted_validator());
        validator == self.validator || salted().is_some_and(|salted| validator == salted)
    }

    /// The digest of all its bytes, if it is known now.
    pub fn digest(&self) -> Option<Digest> {
        match &self.found.source {
            Source::Memory(_, digest) => Some(*digest),
            Source::File(file) => file.digest(),
        }
    }

    /// The digest of all its bytes, as soon as it is known; that is never, unless
    /// [`Library::request_digest`] was called. `None` if it will not be: the file
    /// changed or cannot be read, too many others wait for theirs, or the [`Library`] is gone.
    pub async fn digested(&self) -> Option<Digest> {
        match &self.found.source {
            Source::Memory(_, digest) => Some(*digest),
            Source::File(file) => file.digested().await,
        }
    }

    /// At least one byte and at most `max` from `offset` on, fewer than `max` where a block of the
    /// cache or the media ends. Empty only at the end of the media. When the future is dropped, the
    /// same question goes on where it was.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it was.
    pub async fn read(&mut self, offset: u64, max: usize) -> Result<Bytes, Error> {
        let file = match &self.found.source {
            Source::Memory(bytes, _) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(bytes.slice(start..bytes.len().min(start.saturating_add(max))));
            }
            Source::File(file) => file,
        };
        let asked = (offset, max);
        let reading = match self.reading.take().filter(|reading| reading.asked == asked) {
            Some(reading) => reading,
            None => {
                let Some(piece) = Piece::new(file, offset, max) else { return Ok(Bytes::new()) };
                if let Some(bytes) = self.cache.read_at_once(file, &piece)? {
                    return Ok(bytes);
                }
                let read = self.cache.clone().read(file.clone(), piece, self.ahead);
                Reading { asked, read: tokio::spawn(read) }
            }
        };
        let reading = self.reading.insert(reading);
        let read = (&mut reading.read).await;
        self.reading = None;
        finished(read)
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
