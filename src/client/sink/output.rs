//! The file or pipe behind a sink, seen from the thread that writes it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::hasher::Hasher;
use crate::protocol::{Digest, Payload};

/// Where unfinished media comes from. It is kept beside the file, so that a later play can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The server, as the user named it; for people, because a server may move.
    pub server: String,
    /// The title.
    pub title: Option<String>,
    /// What tells the media from any other.
    pub validator: Vec<u8>,
    /// The byte of the media at which the file begins.
    pub start: u64,
}

/// What stands in `NAME.part.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    origin: Origin,
    /// Bytes of the file that are known to be on the disk. There may be more.
    bytes: u64,
}

/// An open file or pipe.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// What it is called in errors.
    what: String,
    /// A file's own names; `None` for pipes and devices, which have nothing to rename.
    names: Option<Names>,
    overwrite: bool,
    origin: Option<Origin>,
    /// Bytes in the file.
    written: u64,
    hasher: Option<Hasher>,
}

/// What was written to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The file, where it is one that got its name.
    pub path: Option<PathBuf>,
    /// BLAKE3 of the media, if it was computed.
    pub digest: Option<Digest>,
}

/// The names that a file has in its life.
#[derive(Debug)]
struct Names {
    path: PathBuf,
    part: PathBuf,
    record: PathBuf,
}

impl Names {
    fn new(path: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = path.file_name().map(OsString::from).unwrap_or_default();
            name.push(suffix);
            path.with_file_name(name)
        };
        Self { path: path.to_owned(), part: with(".part"), record: with(".part.json") }
    }
}

impl Output {
    /// Standard output without std's line buffer.
    pub(super) fn stdout() -> Result<Self, Error> {
        let what = "stdout".to_owned();
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(fd) => Ok(Self::direct(File::from(fd), what)),
            Err(source) => Err(Error::Io { what, source }),
        }
    }

    fn direct(file: File, what: String) -> Self {
        let (names, origin, hasher) = (None, None, None);
        Self { file, what, names, overwrite: false, origin, written: 0, hasher }
    }

    pub(super) fn file(path: &Path, overwrite: bool, resume: bool) -> Result<Self, Error> {
        let what = path.display().to_string();
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(Error::Directory(path.to_owned())),
            Ok(there) if !there.is_file() => {
                let opened = OpenOptions::new().write(true).open(path);
                return match opened {
                    Ok(file) => Ok(Self::direct(file, what)),
                    Err(source) => Err(Error::Io { what, source }),
                };
            }
            Ok(_) if !overwrite => return Err(Error::Exists(path.to_owned())),
            _ => {}
        }
        let names = Names::new(path);
        let what = names.part.display().to_string();
        let io_error = |source| Error::Io { what: what.clone(), source };
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&names.part)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(names.part)),
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let written = file.metadata().map_err(io_error)?.len();
        let mut output = Self {
            origin: resume.then(|| read_record(&names.record, written)).flatten(),
            file,
            what,
            names: Some(names),
            overwrite,
            written,
            hasher: None,
        };
        match output.origin {
            Some(_) => {
                output.file.seek(SeekFrom::End(0)).map_err(|source| output.error(source))?;
            }
            // Only whoever holds the lock may drop what an earlier run left.
            None => output.start_over()?,
        }
        Ok(output)
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The provisional name of a file.
    pub(super) fn part(&self) -> Option<PathBuf> {
        Some(self.names.as_ref()?.part.clone())
    }

    /// What an earlier play left.
    pub(super) fn resumed(&self) -> Option<(Origin, u64)> {
        Some((self.origin.clone()?, self.written))
    }

    /// Throws away what an earlier play left.
    pub(super) fn start_over(&mut self) -> Result<(), Error> {
        self.origin = None;
        self.written = 0;
        self.file.set_len(0).map_err(|source| self.error(source))?;
        self.file.rewind().map_err(|source| self.error(source))?;
        self.forget()
    }

    /// Takes note of what comes next.
    pub(super) fn begin(&mut self, origin: Option<Origin>, hash: bool) -> Result<(), Error> {
        if hash && self.hasher.is_none() {
            let mut hasher = Hasher::default();
            if self.written > 0 {
                self.hash_what_is_there(&mut hasher).map_err(|source| self.error(source))?;
            }
            self.hasher = Some(hasher);
        }
        if origin.is_some() {
            self.origin = origin;
            self.record()?;
        }
        Ok(())
    }

    /// Brings the hasher to where the file is, and the file back to its end.
    fn hash_what_is_there(&mut self, hasher: &mut Hasher) -> io::Result<()> {
        self.file.rewind()?;
        io::copy(&mut BufReader::with_capacity(Hasher::RUN, &self.file), hasher)?;
        self.file.seek(SeekFrom::End(0)).map(drop)
    }

    pub(super) fn write(&mut self, payload: &Payload) -> Result<(), Error> {
        let mut slices: Vec<IoSlice<'_>> =
            payload.pieces().iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = slices.as_mut_slice();
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(self.error(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(error)),
            }
        }
        self.written += payload.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            payload.pieces().iter().for_each(|piece| hasher.update(piece));
        }
        Ok(())
    }

    /// Checks the media and gives a file its name once its bytes are on the disk.
    pub(super) fn publish(mut self, digest: Option<Digest>) -> Result<Published, Error> {
        let computed = self.hasher.as_mut().map(Hasher::finish);
        if let (Some(digest), Some(computed)) = (digest, computed)
            && computed != digest
        {
            self.forget()?;
            return Err(Error::Digest);
        }
        let Some(names) = &self.names else {
            return Ok(Published { path: None, digest: computed });
        };
        self.file.sync_all().map_err(|source| self.error(source))?;
        if self.overwrite {
            fs::rename(&names.part, &names.path).map_err(|source| self.error(source))?;
        } else {
            self.rename_to_nobodys(names)?;
        }
        self.forget()?;
        Ok(Published { path: Some(names.path.clone()), digest: computed })
    }

    /// Gives a file its name unless somebody else made one of that name meanwhile. Unlike a
    /// rename, a link never replaces it.
    fn rename_to_nobodys(&self, names: &Names) -> Result<(), Error> {
        let renamed = match fs::hard_link(&names.part, &names.path) {
            Ok(()) => fs::remove_file(&names.part),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(names.path.clone()));
            }
            // Not every file system has links.
            Err(_) => fs::rename(&names.part, &names.path),
        };
        renamed.map_err(|source| self.error(source))
    }

    /// Keeps what there is of a file for another try, and nothing that is not worth one.
    pub(super) fn leave(self) -> Result<(), Error> {
        let Some(names) = &self.names else { return Ok(()) };
        if self.written == 0 {
            self.forget()?;
            return fs::remove_file(&names.part).map_err(|source| self.error(source));
        }
        self.file.sync_all().map_err(|source| self.error(source))?;
        self.record()
    }

    /// Writes beside a file where its bytes come from. It appears whole or not at all.
    fn record(&self) -> Result<(), Error> {
        let (Some(names), Some(origin)) = (&self.names, &self.origin) else { return Ok(()) };
        let record = Record { origin: origin.clone(), bytes: self.written };
        let mut draft = names.record.clone().into_os_string();
        draft.push("~");
        serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&draft, text))
            .and_then(|()| fs::rename(&draft, &names.record))
            .map_err(|source| self.error(source))
    }

    /// Removes the record.
    fn forget(&self) -> Result<(), Error> {
        let Some(names) = &self.names else { return Ok(()) };
        match fs::remove_file(&names.record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error(error)),
            _ => Ok(()),
        }
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { what: self.what.clone(), source }
    }
}

/// Where the bytes of a provisional file come from, if that is known and they are all there.
fn read_record(path: &Path, written: u64) -> Option<Origin> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (written > 0 && record.bytes <= written).then_some(record.origin)
}
