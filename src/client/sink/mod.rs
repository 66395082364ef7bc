//! Where media goes. Writing happens on a thread of its own, behind a bounded queue: neither a
//! slow disk nor a paused player makes the endpoint's thread wait.

mod durable;
mod error;
mod filesystem;
mod hasher;
mod name;
mod output;
mod part;
mod place;
mod publish;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;

use crate::protocol::{Digest, Payload};
use name::file_name;
use output::Output;
use writer::{Message, Writer};

pub use error::Error;
pub use output::Published;
pub use record::Origin;

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
        /// Whether to go on where an earlier play of the same media stopped.
        resume: bool,
    },
    /// A file in this directory, named by the title.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whether the file may be there already.
        overwrite: bool,
        /// Whether to go on where an earlier play of the same media stopped.
        resume: bool,
    },
}

impl Target {
    /// The target for media of this title: a directory becomes the file in it.
    pub fn of_title(self, title: &str) -> Self {
        match self {
            Self::Directory { path, overwrite, resume } => {
                Self::File { path: path.join(file_name(title)), overwrite, resume }
            }
            named => named,
        }
    }
}

/// A file that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its provisional name.
    pub part: PathBuf,
    /// Whether the same play can go on with it.
    pub resumable: bool,
}

/// An open sink.
#[derive(Debug)]
pub struct Sink(Option<Writer>);

impl Sink {
    /// Opens a sink. What would stop it from being written in the end stops it here, before
    /// anything is fetched. What is there is not changed before [`Sink::begin`].
    ///
    /// # Errors
    /// The file exists and may not be overwritten, or cannot be made.
    pub fn open(target: &Target) -> Result<Self, Error> {
        let output = match target {
            Target::Discard => return Ok(Self(None)),
            Target::Stdout => Output::stdout()?,
            Target::File { path, overwrite, resume } => {
                Output::file(path, *overwrite, *resume, &filesystem::Native)?
            }
            Target::Directory { path, .. } => return Err(Error::Directory(path.clone())),
        };
        Writer::start(output).map(|writer| Self(Some(writer)))
    }

    /// What people call it; `None` if the media is thrown away.
    pub fn what(&self) -> Option<&str> {
        self.0.as_ref().map(Writer::what)
    }

    /// Whether the media is thrown away.
    pub fn is_discard(&self) -> bool {
        self.0.is_none()
    }

    /// What an earlier play left of a file, and the bytes that need not come again.
    pub fn resumed(&self) -> Option<&(Origin, u64)> {
        self.0.as_ref()?.resumed()
    }

    /// Has what an earlier play left replaced once media comes.
    ///
    /// # Errors
    /// It is there, and may not be replaced.
    pub fn start_over(&mut self) -> Result<(), Error> {
        self.0.as_mut().map_or(Ok(()), Writer::start_over)
    }

    /// Says what the media is that comes next, so that a later play can go on with it; and
    /// whether to compute its digest on the way.
    pub fn begin(&self, origin: Option<Origin>, hash: bool) {
        if let Some(writer) = &self.0 {
            writer.begin(origin, hash);
        }
    }

    /// Whether it takes another chunk now.
    pub fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(Writer::has_room)
    }

    /// Waits, where there was no room, until it takes as much as is worth to be woken for: from a
    /// fast sink that is many chunks, from a slow one the next.
    pub async fn room(&self) {
        if let Some(writer) = &self.0 {
            writer.room().await;
        }
    }

    /// Waits until writing has failed, if ever; [`Sink::finish`] says how.
    pub async fn failed(&self) {
        match &self.0 {
            Some(writer) => writer.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Hands over media, with the next [`Sink::flush`] or what else is said. Never waits: whoever
    /// calls looks at [`Sink::has_room`] before.
    pub fn put(&self, payload: Payload) {
        if let Some(writer) = &self.0 {
            writer.put(payload);
        }
    }

    /// Has everything written that was put, because more is not there yet.
    pub fn flush(&self) {
        if let Some(writer) = &self.0 {
            writer.flush();
        }
    }

    /// Waits until everything is written and, for a file, on the disk and under its name. Before
    /// that, the media is compared with `digest`, if it was computed.
    ///
    /// # Errors
    /// Something could not be written, now or before, or the media is not the right one.
    pub async fn finish(self, digest: Option<Digest>) -> Result<Published, Error> {
        match self.0 {
            Some(writer) => Ok(writer.end(Message::Complete(digest)).await?.published),
            None => Ok(Published::default()),
        }
    }

    /// Gives up: what was handed over is still written, but the file keeps its provisional name,
    /// and is returned; an empty one goes.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub async fn abandon(self) -> Result<Option<Unfinished>, Error> {
        match self.0 {
            Some(writer) => Ok(writer.end(Message::Abandon).await?.unfinished),
            None => Ok(None),
        }
    }

    /// The provisional name of a file that is not complete.
    pub fn part(&self) -> Option<PathBuf> {
        self.0.as_ref()?.part()
    }
}
