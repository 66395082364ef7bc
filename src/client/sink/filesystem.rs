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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use bytes::Bytes;

    use super::super::Error;
    use super::super::output::Output;
    use super::*;
    use crate::protocol::Payload;

    /// A file system on which each of these calls fails with an error of its own.
    #[derive(Debug)]
    struct Without {
        lock: Option<Errno>,
        sync: Option<Errno>,
        rename: Option<Errno>,
        link: Option<Errno>,
    }

    const ALL: Without = Without { lock: None, sync: None, rename: None, link: None };

    fn unless(errno: Option<Errno>, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        errno.map_or_else(call, |errno| Err(errno.into()))
    }

    impl FileSystem for Without {
        fn lock(&self, file: &File) -> Result<(), TryLockError> {
            match self.lock {
                Some(errno) => Err(TryLockError::Error(errno.into())),
                None => Native.lock(file),
            }
        }

        fn sync_data(&self, file: &File) -> io::Result<()> {
            unless(self.sync, || Native.sync_data(file))
        }

        fn sync_all(&self, file: &File) -> io::Result<()> {
            unless(self.sync, || Native.sync_all(file))
        }

        fn rename_exclusively(
            &self,
            dir: BorrowedFd<'_>,
            old: &OsStr,
            new: &OsStr,
        ) -> io::Result<()> {
            unless(self.rename, || Native.rename_exclusively(dir, old, new))
        }

        fn link(&self, dir: BorrowedFd<'_>, old: &OsStr, new: &OsStr) -> io::Result<()> {
            unless(self.link, || Native.link(dir, old, new))
        }
    }

    /// Plays to a file of such a system, at which `meanwhile` happens.
    fn play(system: Without, path: &Path, meanwhile: impl FnOnce()) -> Result<(), Error> {
        let system: &'static Without = Box::leak(Box::new(system));
        let mut output = Output::file(path, false, true, system)?;
        output.begin(None, false, || {})?;
        output.write(&Payload::from(Bytes::from_static(b"media")))?;
        meanwhile();
        output.publish(None).map(drop)
    }

    #[test]
    fn a_file_system_that_lacks_a_call_is_no_failure() {
        for errno in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL] {
            for system in [
                Without { lock: Some(errno), ..ALL },
                Without { sync: Some(errno), ..ALL },
                Without { rename: Some(errno), ..ALL },
                Without { rename: Some(errno), link: Some(errno), ..ALL },
            ] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("clip.mp4");
                play(system, &path, || {}).unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"media", "{errno}");
                assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            }
        }
    }

    #[test]
    fn whichever_way_a_file_gets_its_name_it_takes_none_that_is_taken() {
        let missing = Some(Errno::NOSYS);
        for system in [
            ALL,
            Without { rename: missing, ..ALL },
            Without { rename: missing, link: missing, ..ALL },
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("clip.mp4");
            let said = format!("{system:?}");
            let result = play(system, &path, || fs::write(&path, "theirs").unwrap());
            assert!(matches!(result, Err(Error::Unpublished { .. })), "{said}: {result:?}");
            assert_eq!(fs::read(&path).unwrap(), b"theirs", "{said}");
            assert_eq!(fs::read(path.with_added_extension("part")).unwrap(), b"media", "{said}");
        }
    }

    #[test]
    fn a_disk_that_fails_to_sync_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
            let result = play(Without { sync: Some(errno), ..ALL }, &path, || {});
            assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
            assert!(!path.exists());
            fs::remove_file(path.with_added_extension("part")).unwrap();
        }
    }
}
