//! Broadcasts on a disk, as they grow. A disk that is slow or full costs the recording, and never the
//! broadcast.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::media::Error;

/// How far a disk may be behind at least, bytes.
const LEAST_BEHIND: u64 = 64 * 1024 * 1024;

/// Bytes of a file's name, at most (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// Bytes of what counts as a name's extension, at most.
const LONGEST_EXTENSION: usize = 64;

/// The most recordings of one title that can have begun in the same second.
const MOST_IN_A_SECOND: u32 = 10_000;

/// What of one broadcast is in a file.
#[derive(Debug)]
pub(super) struct Recording {
    /// Where it is, at first: the next one of its title gives it another name.
    path: PathBuf,
    file: OnceLock<File>,
    /// Bytes that can be read from it.
    bytes: AtomicU64,
    /// No more will come: the disk said no, or is too far behind.
    is_over: AtomicBool,
    /// No more will be written: the disk said no.
    failed: AtomicBool,
    /// Nothing can be read from it any more: it is not what was written.
    is_spoiled: AtomicBool,
}

impl Recording {
    /// How many bytes can be read from it.
    pub(super) fn bytes(&self) -> u64 {
        if self.is_spoiled() { 0 } else { self.bytes.load(Ordering::Acquire) }
    }

    /// The same, where the next ones are going to be as well.
    pub(super) fn reaches(&self) -> Option<u64> {
        (!self.is_over.load(Ordering::Acquire)).then(|| self.bytes())
    }

    /// Whether nothing can be read from it any more.
    pub(super) fn is_spoiled(&self) -> bool {
        self.is_spoiled.load(Ordering::Acquire)
    }

    /// Fills `buffer` with what was written at `offset`. Blocks.
    ///
    /// # Errors
    /// The disk cannot be read. A file that somebody else has made shorter is worth nothing from then
    /// on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let written = self.bytes();
        let read = match self.file.get() {
            Some(file) => {
                let read = file.read_exact_at(buffer, offset);
                read.and_then(|()| strange(file, written).map(drop))
            }
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                self.spoil(&source);
            }
            Error::Io { path: self.path.clone(), source }
        };
        read.map_err(failed)
    }

    /// Writes what comes next. What is there under its name gets another one first.
    fn write(&self, bytes: &[u8]) {
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        let file = match self.file.get() {
            Some(file) => Ok(file),
            None => create(&self.path).map(|file| self.file.get_or_init(|| file)),
        };
        let written = file.and_then(|mut file| match strange(file, self.bytes())? {
            0 => file.write_all(bytes),
            _ => Err(io::Error::other("somebody else has written to the file")),
        });
        match written {
            Ok(()) => _ = self.bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.spoil(&error),
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                self.end_early(&error.to_string());
            }
        }
    }

    /// Ends it, and has nothing more read from it.
    fn spoil(&self, why: &io::Error) {
        self.failed.store(true, Ordering::Release);
        self.is_spoiled.store(true, Ordering::Release);
        self.end_early(&why.to_string());
    }

    /// Ends it before the broadcast ends, with what has come for it so far.
    fn end_early(&self, why: &str) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            tracing::error!("the recording {} ends here: {why}", self.path.display());
        }
    }
}

/// A recorder of the broadcasts of one title, on a thread of its own.
#[derive(Debug)]
pub(super) struct Recorder {
    path: PathBuf,
    pieces: Sender<Piece>,
    /// Bytes that wait for the disk.
    waiting: Arc<AtomicU64>,
    /// The most that may.
    most: u64,
}

#[derive(Debug)]
enum Piece {
    Bytes(Arc<Recording>, Bytes),
    /// All before this is written, or never will be.
    Flush(Sender<()>),
}

impl Recorder {
    /// Records to a file of this title below a directory, whose disk may be `most` bytes behind.
    ///
    /// # Errors
    /// The directory cannot be made or written to, something else has the name, or no thread can be
    /// started.
    pub(super) fn start(directory: &Path, title: &str, most: u64) -> io::Result<Self> {
        let path = directory.join(title);
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent)?;
        tempfile::tempfile_in(parent)?;
        check_place(&path)?;
        let (pieces, received) = channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let written = waiting.clone();
        let record = move || record(&received, &written);
        thread::Builder::new().name("recorder".into()).spawn(record)?;
        Ok(Self { path, pieces, waiting, most: most.max(LEAST_BEHIND) })
    }

    /// Begins the recording of a broadcast.
    pub(super) fn begin(&self) -> Arc<Recording> {
        Arc::new(Recording {
            path: self.path.clone(),
            file: OnceLock::new(),
            bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            is_spoiled: AtomicBool::new(false),
        })
    }

    /// Records bytes of a broadcast. Never waits: what a disk is too far behind for is the end of the
    /// recording.
    pub(super) fn record(&self, recording: &Arc<Recording>, bytes: &Bytes) {
        if recording.is_over.load(Ordering::Acquire) {
            return;
        }
        let length = bytes.len() as u64;
        if self.waiting.fetch_add(length, Ordering::AcqRel) > self.most {
            self.waiting.fetch_sub(length, Ordering::AcqRel);
            recording.end_early("the disk is too slow");
            return;
        }
        let _ = self.pieces.send(Piece::Bytes(recording.clone(), bytes.clone()));
    }

    /// Bytes that wait for the disk.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits until all that was recorded so far is written.
    pub(super) fn flush(&self) {
        let (done, is_done) = channel();
        // It is done, too, if the thread is gone.
        let _ = self.pieces.send(Piece::Flush(done));
        let _ = is_done.recv();
    }
}

/// The thread.
fn record(pieces: &Receiver<Piece>, waiting: &AtomicU64) {
    while let Ok(piece) = pieces.recv() {
        match piece {
            Piece::Bytes(recording, bytes) => {
                recording.write(&bytes);
                waiting.fetch_sub(bytes.len() as u64, Ordering::AcqRel);
            }
            Piece::Flush(done) => _ = done.send(()),
        }
    }
}

/// How many bytes a file has beside those that were written to it.
///
/// # Errors
/// It has not even those: [`io::ErrorKind::UnexpectedEof`].
fn strange(file: &File, written: u64) -> io::Result<u64> {
    file.metadata()?.len().checked_sub(written).ok_or_else(|| {
        let text = "somebody else has made the file shorter";
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    })
}

/// Makes a new file. What is there gets another name first.
fn create(path: &Path) -> io::Result<File> {
    // What is written behind an end that somebody else has moved leaves no hole.
    let create = || File::options().read(true).append(true).create_new(true).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            move_away(path)?;
            create()
        }
        // Somebody has removed the directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            create()
        }
        created => created,
    }
}

/// Whether what is under a recording's name, if anything, is a file, or leads to one or nowhere: the
/// FIFO that a producer writes to must stay where it is.
fn check_place(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => {
            Err(io::Error::other("something that is not a regular file has that name"))
        }
        _ => Ok(()),
    }
}

/// Gives an older recording the name NAME-<its start, UTC>.EXT.
fn move_away(path: &Path) -> io::Result<()> {
    check_place(path)?;
    let metadata = path.symlink_metadata()?;
    let began = OffsetDateTime::from(metadata.created().or_else(|_| metadata.modified())?);
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let began = began.format(format).map_err(io::Error::other)?;
    for attempt in 0..MOST_IN_A_SECOND {
        match rename_new(path, &older_name(path, &began, attempt)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Renames a file, unless there is one of the new name.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows how. A link fails where there is such a name, too.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        renamed => Ok(renamed?),
    }
}

fn older_name(path: &Path, began: &str, attempt: u32) -> PathBuf {
    let extension = path.extension().filter(|extension| extension.len() <= LONGEST_EXTENSION);
    let stem = if extension.is_some() { path.file_stem() } else { path.file_name() };
    let stem = stem.unwrap_or_default().to_string_lossy();
    let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
    let taken = extension.map_or(0, |extension| 1 + extension.len());
    let room = LONGEST_NAME.saturating_sub(1 + began.len() + again.len() + taken);
    let stem = stem.get(..stem.floor_char_boundary(room)).unwrap_or_default();
    let name = format!("{stem}-{began}{again}");
    match extension {
        Some(extension) => path.with_file_name(name).with_added_extension(extension),
        None => path.with_file_name(name),
    }
}
