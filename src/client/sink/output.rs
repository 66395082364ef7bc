//! The file or pipe behind a sink, seen from the thread that writes it.

use std::fs::File;
use std::io::{self, BufReader, IoSlice, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::durable::MOST_BEHIND;
use super::filesystem::FileSystem;
use super::hasher::Hasher;
use super::part::Part;
use super::place::Destination;
use super::record::Origin;
use super::{Error, Unfinished};
use crate::protocol::{Digest, Payload};

/// An open file or pipe.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// What it is called in errors.
    what: String,
    /// A file's own matters; `None` for pipes and devices, which have nothing to rename.
    part: Option<Part>,
    /// Bytes in the file.
    written: u64,
    /// How many of them were to be made durable by the newest checkpoint.
    checkpointed: u64,
    hasher: Option<Hasher>,
    /// When the media was last changed.
    modified: Option<SystemTime>,
}

/// What was written to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The file, where it is one that got its name.
    pub path: Option<PathBuf>,
    /// BLAKE3 of the media, if it was computed.
    pub digest: Option<Digest>,
}

impl Output {
    /// Standard output without std's line buffer.
    pub(super) fn stdout() -> Result<Self, Error> {
        let what = "stdout".to_owned();
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(fd) => Ok(Self::new(File::from(fd), what, None)),
            Err(source) => Err(Error::Io { what, source }),
        }
    }

    /// A file, or whatever else has this name. What would stop it from being published is found
    /// out here, as far as the system tells.
    pub(super) fn file(
        path: &Path,
        overwrite: bool,
        resume: bool,
        file_system: &'static dyn FileSystem,
    ) -> Result<Self, Error> {
        let place = match Destination::of(path, file_system)? {
            Destination::Device(file) => {
                return Ok(Self::new(file, path.display().to_string(), None));
            }
            Destination::Place(place) => place,
        };
        if place.stat(&place.name)?.is_some() {
            if !overwrite {
                return Err(Error::Exists(path.to_owned()));
            }
            place.check_replaceable(&place.name)?;
        }
        let (file, part) = Part::open(place, overwrite, resume)?;
        Ok(Self::new(file, part.path().display().to_string(), Some(part)))
    }

    fn new(file: File, what: String, part: Option<Part>) -> Self {
        let written = part.as_ref().and_then(Part::continued).map_or(0, |(_, bytes)| bytes);
        Self { file, what, part, written, checkpointed: written, hasher: None, modified: None }
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The provisional name of a file.
    pub(super) fn part(&self) -> Option<PathBuf> {
        Some(self.part.as_ref()?.path())
    }

    /// Whether files that are there may be replaced.
    pub(super) fn overwrites(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.overwrite)
    }

    /// What an earlier play left.
    pub(super) fn resumed(&self) -> Option<(Origin, u64)> {
        self.part.as_ref()?.continued()
    }

    /// Has what an earlier play left replaced once media comes.
    pub(super) fn start_over(&mut self) {
        if let Some(part) = &mut self.part
            && part.start_over()
        {
            (self.written, self.checkpointed) = (0, 0);
        }
    }

    /// Takes note of what comes next. `ask` is called when it is time for a
    /// [`Output::checkpoint`].
    pub(super) fn begin(
        &mut self,
        origin: Option<Origin>,
        hash: bool,
        ask: impl Fn() + Send + 'static,
    ) -> Result<(), Error> {
        self.prepare()?;
        if hash && self.hasher.is_none() {
            let mut hasher = Hasher::default();
            if self.written > 0 {
                self.hash_what_is_there(&mut hasher)?;
            }
            self.hasher = Some(hasher);
        }
        match &mut self.part {
            Some(part) => part.remember(origin, &self.file, self.written, ask),
            None => Ok(()),
        }
    }

    fn prepare(&mut self) -> Result<(), Error> {
        match &mut self.part {
            Some(part) => part.prepare(&mut self.file),
            None => Ok(()),
        }
    }

    /// Brings the hasher to where the file is.
    fn hash_what_is_there(&mut self, hasher: &mut Hasher) -> Result<(), Error> {
        let mut hash = || {
            self.file.rewind()?;
            let there = (&self.file).take(self.written);
            io::copy(&mut BufReader::with_capacity(Hasher::RUN, there), hasher)
        };
        match hash() {
            Ok(hashed) if hashed == self.written => Ok(()),
            Ok(_) => Err(self.error(io::ErrorKind::UnexpectedEof.into())),
            Err(source) => Err(self.error(source)),
        }
    }

    pub(super) fn write(&mut self, payload: &Payload) -> Result<(), Error> {
        self.prepare()?;
        let mut slices: Vec<IoSlice<'_>> =
            payload.pieces().iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = slices.as_mut_slice();
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(self.error(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pipe may have been made non-blocking by whoever is at its other end.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_for_room(&self.file).map_err(|source| self.error(source))?;
                }
                Err(error) => return Err(self.error(error)),
            }
        }
        self.written += payload.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            payload.pieces().iter().for_each(|piece| hasher.update(piece));
        }
        if self.written - self.checkpointed >= MOST_BEHIND {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Has what is written made durable while more is written.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        let Some(part) = &mut self.part else { return Ok(()) };
        let is_new = self.written > self.checkpointed;
        self.checkpointed = self.written;
        part.checkpoint(&self.file, self.written, is_new)
    }

    /// Takes note of when the media was last changed.
    pub(super) fn date(&mut self, modified: SystemTime) {
        self.modified = Some(modified);
    }

    /// Checks the media and gives a file its name once its bytes are on the disk.
    pub(super) fn publish(&mut self, digest: Option<Digest>) -> Result<Published, Error> {
        self.prepare()?;
        let computed = self.hasher.as_mut().map(Hasher::finish);
        let differs = digest.zip(computed).is_some_and(|(digest, computed)| digest != computed);
        let Some(part) = &mut self.part else {
            return match differs {
                true => Err(Error::Digest),
                false => Ok(Published { path: None, digest: computed }),
            };
        };
        if differs {
            part.spoil(&self.file)?;
            return Err(Error::Digest);
        }
        if let Some(modified) = self.modified
            && let Err(error) = self.file.set_modified(modified)
        {
            // The server may have named a time that no file system has.
            tracing::debug!("the file keeps its own date: {error}");
        }
        let path = part.publish(&self.file, self.written)?;
        Ok(Published { path: Some(path), digest: computed })
    }

    /// Keeps what there is of a file for another try, and nothing that is not worth one.
    pub(super) fn leave(&mut self) -> Result<Option<Unfinished>, Error> {
        match &mut self.part {
            Some(part) => part.leave(&self.file, self.written),
            None => Ok(None),
        }
    }

    /// Removes what is not worth to be kept after an error.
    pub(super) fn discard_empty(&mut self) {
        if let Some(part) = &mut self.part {
            // The first error is the one to report.
            let _ = part.settle();
            let _ = part.discard_empty(&self.file);
        }
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { what: self.what.clone(), source }
    }
}

/// Waits until a non-blocking pipe takes more, or has nobody to read it.
fn wait_for_room(file: &File) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled.map(drop)?),
        }
    }
}
