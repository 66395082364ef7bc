//! Where media goes. Writing happens on a thread of its own, behind a bounded queue: neither a
//! slow disk nor a paused player makes the endpoint's thread wait.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use tokio::sync::{Notify, oneshot};

use crate::protocol::Payload;

/// How much may wait to be written before the sink counts as full, bytes; one chunk more may
/// come on top.
const QUEUE: usize = 4 * 1024 * 1024;

/// A kind of sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Count the media and throw it away.
    Discard,
    /// Standard output.
    Stdout,
    /// A file, which appears under its name when the media is complete.
    File {
        /// Its name.
        path: PathBuf,
        /// Whether it may be there already.
        overwrite: bool,
    },
}

/// Media cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there.
    #[error("{} exists; add --force to overwrite it", .0.display())]
    Exists(PathBuf),
    /// A directory is there.
    #[error("{} is a directory; name a file in it", .0.display())]
    Directory(PathBuf),
    /// Another process writes it.
    #[error("{} is being written by another play", .0.display())]
    Locked(PathBuf),
    /// The system says no.
    #[error("cannot write {what}")]
    Io {
        /// The file, or standard output.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// Whether the reader of a pipe has gone, as a player does when it is quit.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// An open sink.
#[derive(Debug)]
pub struct Sink(Option<Writer>);

impl Sink {
    /// Opens a sink. What would stop it from being written in the end stops it here, before
    /// anything is fetched.
    ///
    /// # Errors
    /// The file exists and may not be overwritten, or cannot be made.
    pub fn open(target: &Target) -> Result<Self, Error> {
        let output = match target {
            Target::Discard => return Ok(Self(None)),
            Target::Stdout => Output::stdout()?,
            Target::File { path, overwrite } => Output::file(path, *overwrite)?,
        };
        Writer::start(output).map(|writer| Self(Some(writer)))
    }

    /// Whether it takes another chunk now.
    pub fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(|writer| writer.gauge.queued.load(Ordering::Acquire) < QUEUE)
    }

    /// Waits until it takes another chunk.
    pub async fn room(&self) {
        let Some(writer) = &self.0 else { return };
        while !self.has_room() {
            writer.gauge.taken.notified().await;
        }
    }

    /// Waits until writing has failed, if ever; [`Sink::finish`] says how.
    pub async fn failed(&self) {
        match &self.0 {
            Some(writer) => writer.gauge.failed.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Hands over media. Never waits: whoever calls looks at [`Sink::has_room`] before.
    pub fn put(&self, payload: Payload) {
        if let Some(writer) = &self.0 {
            writer.gauge.queued.fetch_add(payload.len(), Ordering::AcqRel);
            // After a failure nobody takes it, and `failed` says so.
            let _ = writer.queue.send(Message::Media(payload));
        }
    }

    /// Waits until everything is written and, for a file, on the disk and under its name.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub async fn finish(self) -> Result<(), Error> {
        match self.0 {
            Some(writer) => writer.end(Message::Complete).await,
            None => Ok(()),
        }
    }

    /// Gives up: what was handed over is still written, but the file keeps its provisional name,
    /// and an empty one goes.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub async fn abandon(self) -> Result<(), Error> {
        match self.0 {
            Some(writer) => writer.end(Message::Abandon).await,
            None => Ok(()),
        }
    }

    /// The provisional name of a file that is not complete.
    pub fn part(&self) -> Option<PathBuf> {
        self.0.as_ref()?.part.clone()
    }
}

/// What the writer's thread is told.
#[derive(Debug)]
enum Message {
    Media(Payload),
    Complete,
    Abandon,
}

/// How full the queue is, seen from both sides.
#[derive(Debug, Default)]
struct Gauge {
    queued: AtomicUsize,
    taken: Notify,
    failed: Notify,
}

/// The near end of the writer's thread.
#[derive(Debug)]
struct Writer {
    queue: mpsc::Sender<Message>,
    gauge: Arc<Gauge>,
    ended: oneshot::Receiver<Result<(), Error>>,
    part: Option<PathBuf>,
}

impl Writer {
    fn start(output: Output) -> Result<Self, Error> {
        let (queue, messages) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let gauge = Arc::new(Gauge::default());
        let part = output.part.clone();
        let what = output.what.clone();
        let thread_gauge = gauge.clone();
        thread::Builder::new()
            .name("sink".into())
            .spawn(move || {
                let result = write(output, &messages, &thread_gauge);
                let failed = result.is_err();
                let _ = end.send(result);
                if failed {
                    thread_gauge.failed.notify_one();
                }
            })
            .map_err(|source| Error::Io { what, source })?;
        Ok(Self { queue, gauge, ended, part })
    }

    async fn end(self, message: Message) -> Result<(), Error> {
        // If the thread is gone, `ended` says why.
        let _ = self.queue.send(message);
        self.ended.await.unwrap_or_else(|_| {
            let source = io::Error::other("the writing thread died");
            Err(Error::Io { what: "the media".into(), source })
        })
    }
}

/// The writer's thread.
fn write(
    mut output: Output,
    messages: &mpsc::Receiver<Message>,
    gauge: &Gauge,
) -> Result<(), Error> {
    for message in messages {
        match message {
            Message::Media(payload) => {
                output.write(&payload)?;
                gauge.queued.fetch_sub(payload.len(), Ordering::AcqRel);
                gauge.taken.notify_one();
            }
            Message::Complete => return output.publish(),
            Message::Abandon => return output.leave(),
        }
    }
    output.leave()
}

/// An open file or pipe.
#[derive(Debug)]
struct Output {
    file: File,
    /// What it is called in errors.
    what: String,
    /// The provisional name of a file, and its final one.
    part: Option<PathBuf>,
    path: PathBuf,
    overwrite: bool,
}

impl Output {
    /// Standard output without std's line buffer.
    fn stdout() -> Result<Self, Error> {
        let what = "standard output".to_owned();
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(fd) => Ok(Self::direct(File::from(fd), what)),
            Err(source) => Err(Error::Io { what, source }),
        }
    }

    fn direct(file: File, what: String) -> Self {
        Self { file, what, part: None, path: PathBuf::new(), overwrite: false }
    }

    fn file(path: &Path, overwrite: bool) -> Result<Self, Error> {
        let what = path.display().to_string();
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(Error::Directory(path.to_owned())),
            // A pipe or a device is written as it is: there is nothing to rename.
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
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(".part");
        let part = path.with_file_name(name);
        let what = part.display().to_string();
        let io_error = |source| Error::Io { what: what.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&part)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(part)),
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        // Only whoever holds the lock may drop what an earlier run left.
        file.set_len(0).map_err(io_error)?;
        Ok(Self { file, what, part: Some(part), path: path.to_owned(), overwrite })
    }

    fn write(&mut self, payload: &Payload) -> Result<(), Error> {
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
        Ok(())
    }

    /// Gives a file its name once its bytes are on the disk.
    fn publish(self) -> Result<(), Error> {
        let Some(part) = &self.part else { return Ok(()) };
        self.file.sync_all().map_err(|source| self.error(source))?;
        if !self.overwrite {
            // Unlike a rename, a link never replaces a file that somebody made meanwhile.
            match fs::hard_link(part, &self.path) {
                Ok(()) => return fs::remove_file(part).map_err(|source| self.error(source)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::Exists(self.path));
                }
                // Not every file system has links.
                Err(_) => {}
            }
        }
        fs::rename(part, &self.path).map_err(|source| self.error(source))
    }

    /// Keeps what there is of a file for another try, and nothing that is not worth one.
    fn leave(self) -> Result<(), Error> {
        let empty = |file: &File| file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        match &self.part {
            Some(part) if empty(&self.file) => {
                fs::remove_file(part).map_err(|source| self.error(source))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { what: self.what.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn file(path: &Path, overwrite: bool) -> Target {
        Target::File { path: path.to_owned(), overwrite }
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_complete_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        let sink = Sink::open(&file(&path, false)).unwrap();
        sink.put(Payload::from(Bytes::from_static(b"first ")));
        sink.put(Payload::from(Bytes::from_static(b"second")));
        assert!(!path.exists());
        assert!(dir.path().join("clip.mp4.part").exists());
        sink.finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first second");
        assert!(!dir.path().join("clip.mp4.part").exists());
    }

    #[tokio::test]
    async fn what_is_abandoned_keeps_its_provisional_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        let sink = Sink::open(&file(&path, false)).unwrap();
        sink.put(Payload::from(Bytes::from_static(b"half")));
        let part = sink.part().unwrap();
        sink.abandon().await.unwrap();
        assert_eq!(fs::read(part).unwrap(), b"half");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_play_that_got_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let sink = Sink::open(&file(&dir.path().join("clip.mp4"), false)).unwrap();
        sink.abandon().await.unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_exists_is_kept_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        fs::write(&path, "old").unwrap();
        assert!(matches!(Sink::open(&file(&path, false)), Err(Error::Exists(_))));
        assert!(matches!(Sink::open(&file(dir.path(), true)), Err(Error::Directory(_))));

        Sink::open(&file(&path, true)).unwrap().finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[tokio::test]
    async fn a_file_made_by_somebody_else_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        let sink = Sink::open(&file(&path, false)).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(sink.finish().await, Err(Error::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[tokio::test]
    async fn two_plays_do_not_write_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        let first = Sink::open(&file(&path, false)).unwrap();
        assert!(matches!(Sink::open(&file(&path, false)), Err(Error::Locked(_))));
        first.finish().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_waited_for() {
        let sink = Sink::open(&file(Path::new("/dev/full"), false)).unwrap();
        sink.put(Payload::from(Bytes::from_static(b"media")));
        sink.failed().await;
        let Err(Error::Io { source, .. }) = sink.finish().await else { panic!("no error") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}
