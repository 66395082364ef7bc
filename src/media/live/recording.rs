//! Broadcasts on a disk, as they grow. A disk that is slow or full costs the recording, and never the
//! broadcast.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::media::Error;

/// How far a disk may be behind at least, bytes.
const LEAST_BEHIND: u64 = 64 * 1024 * 1024;

/// What of one broadcast is on the disk.
#[derive(Debug)]
pub(super) struct Recording {
    /// Where it is, at first: the next one of its title gives it another name.
    path: PathBuf,
    file: OnceLock<File>,
    /// Bytes that can be read from it.
    bytes: AtomicU64,
    /// No more will be written: the disk said no.
    failed: AtomicBool,
}

impl Recording {
    /// How many bytes are on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// The same, where the next ones are going to be as well.
    pub(super) fn reaches(&self) -> Option<u64> {
        (!self.failed.load(Ordering::Acquire)).then(|| self.bytes())
    }

    /// Fills `buffer` with what is on the disk at `offset`. Blocks.
    ///
    /// # Errors
    /// The disk cannot be read, or the file was made shorter.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let read = match self.file.get() {
            Some(file) => file.read_exact_at(buffer, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        read.map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    /// Writes what comes next. What is there under its name gets another one first.
    fn write(&self, bytes: &[u8]) {
        if self.failed.load(Ordering::Relaxed) {
            return;
        }
        let file = match self.file.get() {
            Some(file) => Ok(file),
            None => create(&self.path).map(|file| self.file.get_or_init(|| file)),
        };
        match file.and_then(|mut file| file.write_all(bytes)) {
            Ok(()) => _ = self.bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Ends it before the broadcast ends.
    fn fail(&self, why: &str) {
        if !self.failed.swap(true, Ordering::AcqRel) {
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
    /// A broadcast begins.
    Begin(Arc<Recording>),
    Bytes(Bytes),
    /// What comes next would be behind a gap.
    Gap,
}

impl Recorder {
    /// Records to a file of this title below a directory, whose disk may be `most` bytes behind.
    ///
    /// # Errors
    /// The directory cannot be made, or no thread can be started.
    pub(super) fn start(directory: &Path, title: &str, most: u64) -> io::Result<Self> {
        let path = directory.join(title);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        let (pieces, received) = channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let written = waiting.clone();
        let record = move || record(&received, &written);
        thread::Builder::new().name("recorder".into()).spawn(record)?;
        Ok(Self { path, pieces, waiting, most: most.max(LEAST_BEHIND) })
    }

    /// Begins the recording of a broadcast.
    pub(super) fn begin(&self) -> Arc<Recording> {
        let recording = Arc::new(Recording {
            path: self.path.clone(),
            file: OnceLock::new(),
            bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let _ = self.pieces.send(Piece::Begin(recording.clone()));
        recording
    }

    /// Records bytes of it. Never waits.
    pub(super) fn record(&self, bytes: &Bytes) {
        let length = bytes.len() as u64;
        if self.waiting.fetch_add(length, Ordering::AcqRel) > self.most {
            self.waiting.fetch_sub(length, Ordering::AcqRel);
            let _ = self.pieces.send(Piece::Gap);
            return;
        }
        let _ = self.pieces.send(Piece::Bytes(bytes.clone()));
    }
}

/// The thread.
fn record(pieces: &Receiver<Piece>, waiting: &AtomicU64) {
    let mut current: Option<Arc<Recording>> = None;
    while let Ok(piece) = pieces.recv() {
        match piece {
            Piece::Begin(recording) => current = Some(recording),
            Piece::Gap => current.iter().for_each(|current| current.fail("the disk is too slow")),
            Piece::Bytes(bytes) => {
                current.iter().for_each(|current| current.write(&bytes));
                waiting.fetch_sub(bytes.len() as u64, Ordering::AcqRel);
            }
        }
    }
}

/// Makes a new file. What is there gets another name first.
fn create(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            move_away(path)?;
            File::create_new(path)
        }
        created => created,
    }
}

/// Gives an older recording the name NAME-<its start, UTC>.EXT.
fn move_away(path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    let began = OffsetDateTime::from(metadata.created().or_else(|_| metadata.modified())?);
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let began = began.format(format).map_err(io::Error::other)?;
    for attempt in 0..100_u32 {
        let older = older_name(path, &began, attempt);
        // A link that fails where there is such a name, unlike a rename.
        match fs::hard_link(path, &older) {
            Ok(()) => return fs::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn older_name(path: &Path, began: &str, attempt: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
    let name = format!("{stem}-{began}{again}");
    match path.extension() {
        Some(extension) => path.with_file_name(name).with_added_extension(extension),
        None => path.with_file_name(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_recording_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cam.ts");
        for text in ["first", "second", "third"] {
            create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"third");
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut older: Vec<_> = names.filter(|name| *name != path).collect();
        older.sort();
        assert_eq!(older.len(), 2);
        for name in &older {
            let name = name.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("cam-2") && name.ends_with(".ts"), "{name}");
        }
        let mut texts: Vec<_> = older.iter().map(|path| fs::read(path).unwrap()).collect();
        texts.sort();
        assert_eq!(texts, [b"first".to_vec(), b"second".to_vec()]);
    }
}
