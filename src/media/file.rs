//! A media file and the proof that it is still the same.

use std::fs::{self, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{Advice, OFlags, fadvise};
#[cfg(target_os = "linux")]
use rustix::io::ReadWriteFlags;
use tokio::sync::SetOnce;

use super::{Digest, Error};

/// How to open what might turn out not to be a regular file: the open of a FIFO does not wait for
/// somebody to write to it, and a terminal does not become the server's own.
pub(super) const OPEN_FLAGS: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits() as i32;

/// The type of a tmpfs, as statfs(2) has it.
#[cfg(target_os = "linux")]
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// What tells one state of one file from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Identity {
    /// What a client may know of it: hashed, because inodes and times are nobody else's business,
    /// and without the device, whose number may be another after a restart of the machine.
    pub(super) fn validator(self) -> Bytes {
        let Self { device: _, inode, size, modified: (seconds, nanoseconds) } = self;
        let mut hasher = blake3::Hasher::new();
        for number in [inode, size, seconds.cast_unsigned(), nanoseconds.cast_unsigned()] {
            hasher.update(&number.to_be_bytes());
        }
        Bytes::copy_from_slice(hasher.finalize().as_bytes())
    }
}

/// An open regular file. Those of its methods that read block.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    path: PathBuf,
    identity: Identity,
    /// Its file system has no disk to wait for, unless it is swapped out, which it cannot tell.
    in_memory: bool,
    digest: SetOnce<Option<Digest>>,
    digest_wanted: AtomicBool,
}

impl File {
    /// `file` as `metadata` describes it; `path` is for messages.
    pub(super) fn new(file: fs::File, metadata: &Metadata, path: PathBuf) -> Self {
        Self {
            in_memory: is_in_memory(&file),
            file,
            path,
            identity: metadata.into(),
            digest: SetOnce::new(),
            digest_wanted: AtomicBool::new(false),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.identity.size
    }

    /// The number of its descriptor: the lowest that was free when it was opened.
    pub(super) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Fills `buffer` from `offset` on, with the file as it was opened. Blocks.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => self.still_the_same(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::Changed(self.path.clone()))
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// The same without blocking, if the system has all of it in memory; `false` if not.
    pub(super) fn read_from_memory(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        if self.in_memory {
            return self.read(offset, buffer).map(|()| true);
        }
        match read_at_once(&self.file, offset, buffer) {
            true => self.still_the_same().map(|()| true),
            // Whatever the cause: the other way finds out.
            false => Ok(false),
        }
    }

    /// Asks the system to have `length` bytes from `offset` on in memory soon.
    pub(super) fn will_read(&self, offset: u64, length: u64) {
        // Advice: without it, it only takes longer.
        let _ = fadvise(&self.file, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    /// Looked at after a read, so that a change during it is caught, too.
    fn still_the_same(&self) -> Result<(), Error> {
        let metadata = self.file.metadata().map_err(|source| self.error(source))?;
        match Identity::from(&metadata) == self.identity {
            true => Ok(()),
            false => Err(Error::Changed(self.path.clone())),
        }
    }

    /// What the system says of it, as an error with its path.
    pub(super) fn error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    /// Notes that somebody wants the digest; whether nobody did before.
    pub(super) fn want_digest(&self) -> bool {
        !self.digest_wanted.swap(true, Ordering::Relaxed)
    }

    /// Lets everybody know the digest, or that there will be none. Only the first word counts.
    pub(super) fn publish_digest(&self, digest: Option<Digest>) {
        let _ = self.digest.set(digest);
    }

    /// Whether there will be no digest.
    pub(super) fn is_without_digest(&self) -> bool {
        self.digest.get().is_some_and(Option::is_none)
    }

    /// The digest, if it is known now.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest.get().copied().flatten()
    }

    /// The digest, as soon as it is known; `None` once it is known that there will be none.
    pub(super) async fn digested(&self) -> Option<Digest> {
        *self.digest.wait().await
    }
}

#[cfg(target_os = "linux")]
fn is_in_memory(file: &fs::File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type == TMPFS)
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &fs::File) -> bool {
    false
}

/// Fills `buffer` if that does not mean to wait for a disk; whether it did. A tmpfs cannot tell.
#[cfg(target_os = "linux")]
fn read_at_once(file: &fs::File, offset: u64, buffer: &mut [u8]) -> bool {
    let wanted = buffer.len();
    let mut slices = [io::IoSliceMut::new(buffer)];
    rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) == Ok(wanted)
}

#[cfg(not(target_os = "linux"))]
fn read_at_once(_: &fs::File, _: u64, _: &mut [u8]) -> bool {
    false
}
