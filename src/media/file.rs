//! A media file and the proof that it is still the same.

use std::fs::{self, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::{Advice, OFlags, fadvise};
#[cfg(target_os = "linux")]
use rustix::io::ReadWriteFlags;
use tokio::sync::SetOnce;

use super::Error;
use super::identity::{Change, FileIdentity};
use crate::protocol::Digest;

/// How to open what might turn out not to be a regular file: the open of a FIFO does not wait for
/// somebody to write to it, and a terminal does not become the server's own.
pub(super) const OPEN_FLAGS: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits() as i32;

/// The type of a tmpfs, as statfs(2) has it.
#[cfg(target_os = "linux")]
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// An open regular file. Those of its methods that read block.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    path: PathBuf,
    identity: FileIdentity,
    /// Its file system has no disk to wait for, unless it is swapped out, which it cannot tell.
    in_memory: bool,
    /// The newest that is known to leave the bytes as they were.
    status: Mutex<Status>,
    digest: SetOnce<Option<Digest>>,
    digest_wanted: AtomicBool,
    /// The digest is of a state that had not settled.
    digest_is_early: AtomicBool,
}

/// What changes the ctime of a file and not its bytes.
#[derive(Debug, Clone, Copy)]
struct Status {
    changed: (i64, i64),
    /// Mode, owner, group and how many names it has.
    attributes: (u32, u32, u32, u64),
    /// Whether it is still found by the name that it was opened by.
    named: bool,
}

impl Status {
    fn new(metadata: &Metadata, named: bool) -> Self {
        Self {
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            attributes: (metadata.mode(), metadata.uid(), metadata.gid(), metadata.nlink()),
            named,
        }
    }

    /// Whether there is a cause, other than a write, for a ctime that is not that of `before`.
    fn explains(&self, before: &Self) -> bool {
        (self.attributes, self.named) != (before.attributes, before.named)
    }
}

impl File {
    /// `file` as `metadata` describes it, which was opened as `path`.
    pub(super) fn new(file: fs::File, metadata: &Metadata, path: PathBuf) -> Self {
        Self {
            in_memory: is_in_memory(&file),
            file,
            path,
            identity: metadata.into(),
            status: Mutex::new(Status::new(metadata, true)),
            digest: SetOnce::new(),
            digest_wanted: AtomicBool::new(false),
            digest_is_early: AtomicBool::new(false),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.identity.size()
    }

    /// The number of its descriptor: the lowest that was free when it was opened.
    pub(super) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The state in which it was opened.
    pub(super) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// The state in which it is now.
    pub(super) fn state(&self) -> Result<FileIdentity, Error> {
        self.metadata().map(|metadata| FileIdentity::from(&metadata))
    }

    /// Fills `buffer` from `offset` on, with the file as it was opened or, if it has grown, as it
    /// is. Blocks.
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
        // Whatever the cause that it cannot be had at once: the other way finds out.
        if !read_at_once(&self.file, offset, buffer) {
            return Ok(false);
        }
        let now = self.state()?;
        match self.identity.change(now) {
            Change::None | Change::Grown => Ok(true),
            Change::Status => Ok(self.status().changed == now.changed()),
            Change::Bytes => Err(Error::Changed(self.path.clone())),
        }
    }

    /// Asks the system to have `length` bytes from `offset` on in memory soon.
    pub(super) fn will_read(&self, offset: u64, length: u64) {
        // Advice: without it, it only takes longer.
        let _ = fadvise(&self.file, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    /// Looked at after a read, so that a change during it is caught, too.
    fn still_the_same(&self) -> Result<(), Error> {
        let metadata = self.metadata()?;
        match self.identity.change((&metadata).into()) {
            Change::None | Change::Grown => Ok(()),
            Change::Status if self.has_its_bytes(&metadata) => Ok(()),
            Change::Status | Change::Bytes => Err(Error::Changed(self.path.clone())),
        }
    }

    /// Whether there is a harmless cause for the ctime of `metadata`. What is streamed goes on
    /// although it was renamed, deleted, linked, or given to another owner meanwhile.
    fn has_its_bytes(&self, metadata: &Metadata) -> bool {
        if self.status().changed == FileIdentity::from(metadata).changed() {
            return true;
        }
        let named =
            fs::metadata(&self.path).is_ok_and(|there| self.identity.is_same_file((&there).into()));
        let now = Status::new(metadata, named);
        let mut status = self.status();
        let explained = now.explains(&status);
        if explained {
            *status = now;
        }
        explained
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metadata(&self) -> Result<Metadata, Error> {
        self.file.metadata().map_err(|source| self.error(source))
    }

    /// What the system says of it, as an error with its path.
    pub(super) fn error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    /// Marks the digest as requested; returns true on the first call.
    pub(super) fn want_digest(&self) -> bool {
        !self.digest_wanted.swap(true, Ordering::Relaxed)
    }

    /// Lets everybody know the digest, or that there will be none. Only the first call counts.
    pub(super) fn publish_digest(&self, digest: Option<Digest>) {
        let _ = self.digest.set(digest);
    }

    /// The same for a digest of a state in which a change need not have shown.
    pub(super) fn publish_early_digest(&self, digest: Digest) {
        self.digest_is_early.store(true, Ordering::Relaxed);
        self.publish_digest(Some(digest));
    }

    /// Whether the digest is not good for another session: there will be none, or a later one is
    /// better.
    pub(super) fn needs_new_digest(&self) -> bool {
        match self.digest.get() {
            None => false,
            Some(None) => true,
            Some(Some(_)) => {
                self.digest_is_early.load(Ordering::Relaxed)
                    && self.identity.is_settled(SystemTime::now())
            }
        }
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
