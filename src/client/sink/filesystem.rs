//! The calls that not every file system knows, in one place.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Once;

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat_with};
use rustix::io::Errno;

/// What the system does where the file system can; a test stands in for one that cannot.
pub(super) trait FileSystem: Debug + Send + Sync {
    /// Locks a file against other plays.
    fn lock(&self, file: &File) -> Result<(), TryLockError> {
        file.try_lock()
    }

    /// Has the bytes of a file written to the disk, and as much of the rest as they need.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Has all of a file, or a directory, written to the disk.
    fn sync_all(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Renames a file unless the new name is taken.
    fn rename_exclusively(&self, dir: BorrowedFd<'_>, old: &OsStr, new: &OsStr) -> io::Result<()> {
        Ok(renameat_with(dir, old, dir, new, RenameFlags::NOREPLACE)?)
    }

    /// Gives a file a second name unless that is taken.
    fn link(&self, dir: BorrowedFd<'_>, old: &OsStr, new: &OsStr) -> io::Result<()> {
        Ok(linkat(dir, old, dir, new, AtFlags::empty())?)
    }
}

/// The file systems of this machine.
#[derive(Debug)]
pub(super) struct Native;

impl FileSystem for Native {}

/// Whether a file system says that it has no such call.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::INVAL];
    unsupported.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Warns once of a file system that cannot sync, and goes on.
pub(super) fn allow_unsynced(synced: io::Result<()>) -> io::Result<()> {
    static WARNED: Once = Once::new();
    match synced {
        Err(error) if is_unsupported(&error) => {
            WARNED.call_once(|| {
                tracing::warn!("the file system cannot sync ({error}): a power cut may lose media");
            });
            Ok(())
        }
        synced => synced,
    }
}
