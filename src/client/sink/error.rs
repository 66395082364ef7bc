//! Why media cannot be written.

use std::io;
use std::path::{Path, PathBuf};

use super::Origin;
use crate::shell::quote;

/// Media cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there.
    #[error("{} exists; add --force to overwrite it", .0.display())]
    Exists(PathBuf),
    /// A directory is there.
    #[error("{} is a directory; name a file in it", .0.display())]
    Directory(PathBuf),
    /// A directory is named that is not there.
    #[error("there is no directory {}; make it first", .0.display())]
    NoDirectory(PathBuf),
    /// A symbolic link leads nowhere.
    #[error(
        "{} is a symbolic link to a file that does not exist; name that file, or remove the link",
        .0.display()
    )]
    DanglingLink(PathBuf),
    /// Something other than a file has a name that is needed.
    #[error(
        "{} is in the way: it is not a regular file; move it away, or choose another output",
        .0.display()
    )]
    NotAFile(PathBuf),
    /// A file that no play is known to have left has a name that is needed.
    #[error(
        "{} is there, and is not known to be what an earlier play left; move it away, or add \
         --force to replace it",
        .0.display()
    )]
    ForeignFile(PathBuf),
    /// An earlier play of something else left a partial file.
    #[error(
        "{} holds what came so far of another play ({}); --no-continue replaces it",
        part.display(),
        describe(origin)
    )]
    OtherPlay {
        /// The partial file.
        part: PathBuf,
        /// What it is of.
        origin: Box<Origin>,
    },
    /// An earlier play left a part of what the title was then.
    #[error(
        "the media has changed: {} holds what came of it so far ({}); --no-continue replaces it",
        part.display(),
        describe(origin)
    )]
    OtherMedia {
        /// The partial file.
        part: PathBuf,
        /// What it is of.
        origin: Box<Origin>,
    },
    /// The system will not let a file be replaced.
    #[error("{} cannot be replaced: {why}; choose another output", path.display())]
    Unreplaceable {
        /// The file.
        path: PathBuf,
        /// What stops it.
        why: &'static str,
    },
    /// Another process writes it.
    #[error("{} is being written by another play", .0.display())]
    Locked(PathBuf),
    /// Somebody else changed the file while it was written.
    #[error(
        "{} was changed, moved or removed by another program while it was written; it is not \
         published",
        .0.display()
    )]
    Disturbed(PathBuf),
    /// All is there, but the file cannot have its name.
    #[error(
        "the media is complete in {}, which cannot be renamed to {}: {cause}; to finish: {}",
        part.display(),
        path.display(),
        finishing_command(part, path)
    )]
    Unpublished {
        /// The file that holds the media.
        part: PathBuf,
        /// The name that it should have.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// What was received is not what the server has.
    #[error(
        "the media is not what the server says it is: its BLAKE3 digest differs; the next try will \
         start over"
    )]
    Digest,
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

    /// The system says no to what is done with the file at `path`.
    pub(super) fn io(path: impl AsRef<Path>) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what: path.as_ref().display().to_string(), source }
    }
}

/// What a partial file is of.
fn describe(Origin { server, title, start, .. }: &Origin) -> String {
    let title = title.as_ref().map(|title| format!("{title:?} ")).unwrap_or_default();
    format!("{title}from {server}, from byte {start}")
}

/// The command that gives a file its name, and asks before it replaces another.
fn finishing_command(part: &Path, path: &Path) -> String {
    format!("mv -i -- {} {}", quote(part.as_os_str()), quote(path.as_os_str()))
}
