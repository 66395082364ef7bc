//! A media file and the proof that it is still the same.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Error;

/// What tells one state of one file from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// An open regular file. All its methods block.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    path: PathBuf,
    identity: Identity,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(io_error)?;
        if !metadata.is_file() {
            return Err(Error::NotAFile(path.to_owned()));
        }
        let file = fs::File::open(path).map_err(io_error)?;
        let identity = Identity::from(&file.metadata().map_err(io_error)?);
        Ok(Self { file, path: path.to_owned(), identity })
    }

    pub(super) fn len(&self) -> u64 {
        self.identity.size
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Exactly `length` bytes at `offset`, of the file as it was opened. Identity is looked at
    /// after the read: a change during it is caught, too.
    pub(super) fn read_block(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let mut block = vec![0; length];
        let read = self.file.read_exact_at(&mut block, offset);
        let io_error = |source| Error::Io { path: self.path.clone(), source };
        let metadata = self.file.metadata().map_err(io_error)?;
        if Identity::from(&metadata) != self.identity {
            return Err(Error::Changed(self.path.clone()));
        }
        match read {
            Ok(()) => Ok(block.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::Changed(self.path.clone()))
            }
            Err(error) => Err(io_error(error)),
        }
    }
}
