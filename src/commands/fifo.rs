//! FIFOs: one is read for as long as its path leads to one, whoever makes it anew.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How often it is looked whether the path still leads to the same FIFO, or to one again.
const CHECK: Duration = Duration::from_secs(1);

/// The file system of all pipes that have no name: PIPEFS_MAGIC of statfs(2).
#[cfg(target_os = "linux")]
const PIPEFS: rustix::fs::FsWord = 0x5049_5045;

/// A FIFO that is read.
pub(super) struct Fifo {
    path: PathBuf,
    /// The reader's end; a FIFO that is gone has none.
    file: Option<File>,
}

impl Fifo {
    /// Opens what is to be read.
    ///
    /// # Errors
    /// It is not there, or no FIFO.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        match path.metadata() {
            Ok(metadata) if metadata.file_type().is_fifo() => {}
            Ok(_) => bail!("it is not a FIFO; make one with mkfifo"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("it is not there; make one with mkfifo")
            }
            Err(error) => return Err(error.into()),
        }
        let file = open(path).context("it cannot be read")?;
        if is_nameless(&file)? {
            bail!(
                "it is a pipe without a name, which nobody can open again: pipe that into --live \
                 NAME, or make a FIFO with mkfifo"
            );
        }
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// What tells it from all others that are there.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        self.path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Waits until a writer has something, or has come and gone; returns what to read it from, and
    /// `None` at `until`.
    ///
    /// # Errors
    /// The system cannot wait.
    pub(super) fn next_writer(&mut self, until: Option<Instant>) -> io::Result<Option<File>> {
        let (mut said, mut has_waited) = (false, false);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                // Of who came in time it may be heard late.
                let file = self.file.as_ref().filter(|_| has_waited);
                let has_come = file.map_or(Ok(false), |file| is_readable(file, left))?;
                return Ok(self.file.take_if(|_| has_come));
            }
            has_waited = true;
            let time = left.map_or(CHECK, |left| left.min(CHECK));
            match &self.file {
                Some(file) if is_readable(file, Some(time))? => return Ok(self.file.take()),
                Some(file) if self.is_there(file) => {}
                _ => match open(&self.path) {
                    Ok(file) => self.file = Some(file),
                    Err(error) => {
                        let path = self.path.display();
                        if !std::mem::replace(&mut said, true) {
                            tracing::warn!(
                                "cannot read the FIFO {path}: {error}; it is tried again"
                            );
                        }
                        self.file = None;
                        thread::sleep(time);
                    }
                },
            }
        }
    }

    /// Waits until there is something to be read of these writers, or the end. Returns false once
    /// nothing comes and the path leads to another FIFO.
    ///
    /// # Errors
    /// The system cannot wait.
    pub(super) fn has_more(&self, writers: &File) -> io::Result<bool> {
        while !is_readable(writers, Some(CHECK))? {
            if self.is_replaced(writers) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes note that the writers of `gone` have left. A new one hears of no writer that has left.
    pub(super) fn let_go(&mut self, gone: File) {
        // There is always one: a writer without a reader is killed.
        self.file = open(&self.path).ok();
        drop(gone);
    }

    /// Whether the path leads to a FIFO that is not `file`.
    fn is_replaced(&self, file: &File) -> bool {
        let is_fifo = self.path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        is_fifo && !self.is_there(file)
    }

    /// Whether the path leads to `file`.
    fn is_there(&self, file: &File) -> bool {
        match (self.identity(), identity(file)) {
            (Ok(named), Ok(read)) => named == read,
            _ => false,
        }
    }
}

/// Whether it is a pipe as shells make them, which only looks like a FIFO: nobody can come back to
/// it.
fn is_nameless(file: &File) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::fstatfs(file)?.f_type == PIPEFS);
    #[cfg(not(target_os = "linux"))]
    Ok(false)
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Opens a FIFO and waits for no writer.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    match file.metadata()?.file_type().is_fifo() {
        true => Ok(file),
        false => Err(io::Error::other("it is no FIFO")),
    }
}

/// Waits until there is something to be read, or the end; returns false if there is not in time.
pub(super) fn is_readable(file: &File, time: Option<Duration>) -> io::Result<bool> {
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::IN)], time.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(ready) => return Ok(ready > 0),
        }
    }
}
