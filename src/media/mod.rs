//! What a server streams, and how it gets from the disk to the transport without a copy and
//! without making the endpoint's thread wait.

mod cache;
mod file;
mod generate;
mod library;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

pub use cache::Cache;
use file::File;
pub use generate::generate;
pub use library::Library;

/// The clip that is served where no other media is named.
pub const SAMPLE: &[u8] = include_bytes!("../../assets/sample.mp4");

/// Media cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Neither a regular file nor a directory.
    #[error("{} is neither a regular file nor a directory", .0.display())]
    NotAFile(PathBuf),
    /// A directory without media.
    #[error("there is no media file in {}", .0.display())]
    NoMedia(PathBuf),
    /// The file is not the one that was opened any more.
    #[error("{} changed while it was streamed", .0.display())]
    Changed(PathBuf),
}

/// Opened media: its bytes do not change, or reading it fails.
#[derive(Debug, Clone)]
pub struct Media {
    source: Source,
    cache: Arc<Cache>,
}

#[derive(Debug, Clone)]
enum Source {
    Memory(Bytes),
    File(Arc<File>),
}

impl Media {
    /// Bytes in all.
    pub fn len(&self) -> u64 {
        match &self.source {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::File(file) => file.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At least one byte and at most `max` from `offset` on, without a copy; fewer than `max`
    /// where a block of the cache or the media ends. Empty only at the end of the media.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it was.
    pub async fn read(&self, offset: u64, max: usize) -> Result<Bytes, Error> {
        match &self.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(start..bytes.len().min(start.saturating_add(max))))
            }
            Source::File(file) => self.cache.read(file, offset, max).await,
        }
    }

    /// Starts loading what comes after `offset`, so that a later [`Media::read`] need not wait.
    pub fn read_ahead(&self, offset: u64) {
        if let Source::File(file) = &self.source {
            self.cache.read_ahead(file, offset);
        }
    }
}
