//! Broadcasts on a disk, as they grow. A disk that is slow or full costs the recording, and never the
//! broadcast.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::Context;
use bytes::Bytes;
use time::OffsetDateTime;
use time::macros::format_description;

/// How far a disk may be behind at least, bytes.
const LEAST_BEHIND: u64 = 64 * 1024 * 1024;

/// A recorder of the broadcasts of one title, on a thread of its own.
pub(super) struct Recorder {
    pieces: Sender<Piece>,
    /// Bytes that wait for the disk.
    waiting: Arc<AtomicU64>,
    /// The most that may.
    most: u64,
}

enum Piece {
    Bytes(Bytes),
    /// What comes next would be behind a gap.
    Gap,
    /// The broadcast has ended.
    End,
}

impl Recorder {
    /// Records to a file of this title below a directory, whose disk may be `most` bytes behind.
    ///
    /// # Errors
    /// The directory cannot be made, or no thread can be started.
    pub(super) fn start(directory: &Path, title: &str, most: u64) -> anyhow::Result<Self> {
        let path = directory.join(title);
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let (pieces, received) = channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let written = waiting.clone();
        let record = move || record(&path, &received, &written);
        thread::Builder::new().name("recorder".into()).spawn(record).context("cannot start")?;
        Ok(Self { pieces, waiting, most: most.max(LEAST_BEHIND) })
    }

    /// Records bytes. Never waits.
    pub(super) fn record(&self, bytes: &Bytes) {
        let length = bytes.len() as u64;
        if self.waiting.fetch_add(length, Ordering::AcqRel) > self.most {
            self.waiting.fetch_sub(length, Ordering::AcqRel);
            let _ = self.pieces.send(Piece::Gap);
            return;
        }
        let _ = self.pieces.send(Piece::Bytes(bytes.clone()));
    }

    /// Ends the recording.
    pub(super) fn end(&self) {
        let _ = self.pieces.send(Piece::End);
    }
}

/// The thread.
fn record(path: &Path, pieces: &Receiver<Piece>, waiting: &AtomicU64) {
    let mut recording = Recording::Ended;
    while let Ok(piece) = pieces.recv() {
        match piece {
            Piece::End => recording = Recording::Ended,
            Piece::Gap if matches!(recording, Recording::Failed) => {}
            Piece::Gap => {
                tracing::error!("the recording {} ends here: the disk is too slow", path.display());
                recording = Recording::Failed;
            }
            Piece::Bytes(bytes) => {
                recording.write(path, &bytes);
                waiting.fetch_sub(bytes.len() as u64, Ordering::AcqRel);
            }
        }
    }
}

enum Recording {
    Ended,
    Running(File),
    /// The disk said no: the rest of the broadcast is not recorded.
    Failed,
}

impl Recording {
    fn write(&mut self, path: &Path, bytes: &[u8]) {
        let written = match self {
            Self::Failed => return,
            Self::Running(file) => file.write_all(bytes).map(|()| None),
            Self::Ended => create(path).and_then(|mut file| {
                file.write_all(bytes)?;
                Ok(Some(file))
            }),
        };
        match written {
            Ok(None) => {}
            Ok(Some(file)) => *self = Self::Running(file),
            Err(error) => {
                tracing::error!("the recording {} ends here: {error}", path.display());
                *self = Self::Failed;
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
