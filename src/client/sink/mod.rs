//! Where media goes. Files and pipes are written on a thread of their own, behind a bounded queue:
//! neither a slow disk nor a paused player makes the endpoint's thread wait.

mod durable;
mod error;
mod filesystem;
mod gauge;
mod hasher;
mod name;
mod output;
mod part;
mod place;
mod publish;
mod record;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::protocol::{Digest, Payload};
use name::file_name;
pub(super) use name::relative_path;
use output::Output;
use stream::StreamSender;
use writer::{Message, Writer};

pub use error::Error;
pub use output::Published;
pub use record::Origin;
pub use stream::MediaStream;

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
pub struct Sink(Kind);

#[derive(Debug)]
enum Kind {
    Discard,
    Writer(Box<Writer>),
    Stream(StreamSender),
}

impl Sink {
    /// Opens a sink. What would stop it from being written in the end stops it here, before
    /// anything is fetched. What is there is not changed before [`Sink::begin`].
    ///
    /// # Errors
    /// The file exists and may not be overwritten, or cannot be made.
    pub fn open(target: &Target) -> Result<Self, Error> {
        let output = match target {
            Target::Discard => return Ok(Self(Kind::Discard)),
            Target::Stdout => Output::stdout()?,
            Target::File { path, overwrite, resume } => {
                Output::file(path, *overwrite, *resume, &filesystem::Native)?
            }
            Target::Directory { path, .. } => return Err(Error::Directory(path.clone())),
        };
        Writer::start(output).map(|writer| Self(Kind::Writer(Box::new(writer))))
    }

    /// A sink whose media is read from the stream beside it.
    pub fn stream() -> (Self, MediaStream) {
        let (sender, stream) = stream::channel();
        (Self(Kind::Stream(sender)), stream)
    }

    /// What people call it; `None` if the media is thrown away.
    pub fn what(&self) -> Option<&str> {
        match &self.0 {
            Kind::Discard => None,
            Kind::Writer(writer) => Some(writer.what()),
            Kind::Stream(_) => Some("stream"),
        }
    }

    /// Whether the media is thrown away.
    pub fn is_discard(&self) -> bool {
        matches!(self.0, Kind::Discard)
    }

    fn writer(&self) -> Option<&Writer> {
        match &self.0 {
            Kind::Writer(writer) => Some(writer),
            Kind::Discard | Kind::Stream(_) => None,
        }
    }

    /// What an earlier play left of a file, and the bytes that need not come again.
    pub fn resumed(&self) -> Option<&(Origin, u64)> {
        self.writer()?.resumed()
    }

    /// Has what an earlier play left replaced once media comes.
    ///
    /// # Errors
    /// It is there, and may not be replaced.
    pub fn start_over(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Writer(writer) => writer.start_over(),
            Kind::Discard | Kind::Stream(_) => Ok(()),
        }
    }

    /// Says what the media is that comes next, so that a later play can go on with it; and
    /// whether to compute its digest on the way.
    pub fn begin(&self, origin: Option<Origin>, hash: bool) {
        if let Some(writer) = self.writer() {
            writer.begin(origin, hash);
        }
    }

    /// Says when the media was last changed, milliseconds since the Unix epoch, which a file is to say
    /// of itself.
    pub fn date(&self, millis: u64) {
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
        if let (Some(writer), Some(modified)) = (self.writer(), modified) {
            writer.tell(Message::Date(modified));
        }
    }

    /// Whether it takes another chunk now.
    pub fn has_room(&self) -> bool {
        match &self.0 {
            Kind::Discard => true,
            Kind::Writer(writer) => writer.has_room(),
            Kind::Stream(stream) => stream.has_room(),
        }
    }

    /// Waits, where there was no room, until it takes as much as is worth to be woken for: from a
    /// fast sink that is many chunks, from a slow one the next.
    pub async fn room(&self) {
        match &self.0 {
            Kind::Discard => {}
            Kind::Writer(writer) => writer.room().await,
            Kind::Stream(stream) => stream.room().await,
        }
    }

    /// Waits until writing has failed, if ever; [`Sink::finish`] says how.
    pub async fn failed(&self) {
        match &self.0 {
            Kind::Discard => std::future::pending().await,
            Kind::Writer(writer) => writer.failed().await,
            Kind::Stream(stream) => stream.failed().await,
        }
    }

    /// Hands over media, with the next [`Sink::flush`] or what else is said. Never waits: whoever
    /// calls looks at [`Sink::has_room`] before.
    pub fn put(&self, payload: Payload) {
        match &self.0 {
            Kind::Discard => {}
            Kind::Writer(writer) => writer.put(payload),
            Kind::Stream(stream) => stream.put(payload),
        }
    }

    /// Has everything written that was put, because more is not there yet.
    pub fn flush(&self) {
        if let Some(writer) = self.writer() {
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
            Kind::Discard => Ok(Published::default()),
            Kind::Writer(writer) => Ok(writer.end(Message::Complete(digest)).await?.published),
            Kind::Stream(stream) => {
                stream.complete();
                Ok(Published::default())
            }
        }
    }

    /// Gives up: what was handed over is still written, but the file keeps its provisional name,
    /// and is returned; an empty one goes.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub async fn abandon(self) -> Result<Option<Unfinished>, Error> {
        match self.0 {
            Kind::Discard | Kind::Stream(_) => Ok(None),
            Kind::Writer(writer) => Ok(writer.end(Message::Abandon).await?.unfinished),
        }
    }

    /// The provisional name of a file that is not complete.
    pub fn part(&self) -> Option<PathBuf> {
        self.writer()?.part()
    }
}
