//! What the operator chose to serve.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::directory::{self, Directory};
use super::file::{File, OPEN_FLAGS};
use super::trouble::refusal;
use super::{Entry, Error, Found, title};

/// Where the titles of a library are. All its methods block.
#[derive(Debug)]
pub(super) enum Root {
    /// One file. It is opened by its path each time, for it may be replaced by another.
    File { title: String, path: PathBuf },
    /// One title in several bitrates.
    Renditions { title: String, directory: Directory },
    /// Any number of titles.
    Directory(Directory),
}

impl Root {
    /// What is at `path`.
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io { path: path.to_owned(), source };
        let title = title_of(path);
        let metadata = fs::metadata(path).map_err(io_error)?;
        if metadata.is_dir() {
            let directory = Directory::at(path)?;
            return Ok(match title::is_renditions(&title) {
                true => Self::Renditions { title, directory },
                false => Self::Directory(directory),
            });
        }
        match metadata.is_file() {
            true => open(path).map_err(io_error)?,
            false => return Err(Error::NotAFile(path.to_owned())),
        };
        Ok(Self::File { title, path: path.to_owned() })
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Renditions { directory, .. } | Self::Directory(directory) => {
                directory.path().display().to_string()
            }
        }
    }

    /// The title, where there can be no other.
    pub(super) fn only_title(&self) -> Option<&str> {
        match self {
            Self::File { title, .. } | Self::Renditions { title, .. } => Some(title),
            Self::Directory(_) => None,
        }
    }

    /// Opens a title; where it comes in several bitrates, the best for `limit`.
    pub(super) fn open(&self, title: &str, limit: u32) -> Result<Found<File>, Error> {
        match self {
            Self::Directory(directory) => directory.open(title, limit).map_err(refusal),
            single if single.only_title() == Some(title) => single.open_only(limit),
            _ => Err(Error::NoSuchTitle),
        }
    }

    /// Opens the only title.
    pub(super) fn open_only(&self, limit: u32) -> Result<Found<File>, Error> {
        let found = match self {
            Self::File { title, path } => open_file(title, path),
            Self::Renditions { title, directory } => {
                directory.open_rendition(title, directory::ROOT, limit)
            }
            Self::Directory(directory) => directory.open_only(limit),
        };
        found.map_err(refusal)
    }

    /// Opens what a client gets that cannot name a title.
    pub(super) fn open_first(&self, limit: u32) -> Result<Found<File>, Error> {
        match self {
            Self::Directory(directory) => directory.open_first(limit).map_err(refusal),
            single => single.open_only(limit),
        }
    }

    /// All titles, in no order. Those of a directory that are in trouble are left out.
    pub(super) fn catalogue(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        // The highest bitrate stands for a title that comes in several.
        match self {
            Self::Directory(directory) => directory.each_title(u32::MAX, |found| {
                match found {
                    Ok(found) => entries.push(found.entry(stat)),
                    Err(error) => directory.leave_out(error)?,
                }
                Ok(ControlFlow::Continue(()))
            })?,
            single => match single.open_only(u32::MAX) {
                Ok(found) => entries.push(found.entry(stat)),
                Err(Error::NoSuchTitle) => {}
                Err(error) => return Err(error),
            },
        }
        Ok(entries)
    }
}

/// The size of a file, and when it was changed.
fn stat(file: &File) -> (Option<u64>, Option<u64>) {
    (Some(file.len()), file.identity().modified())
}

/// The last part of `path`, as text that fits into a title.
fn title_of(path: &Path) -> String {
    let mut title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    title.truncate(title.floor_char_boundary(title::LONGEST));
    title
}

fn open_file(title: &str, path: &Path) -> Result<Found<File>, Error> {
    let opened = open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|source| Error::Io { path: path.to_owned(), source })?;
    if !metadata.is_file() {
        return Err(Error::NoSuchTitle);
    }
    Ok(Found::new(title, title, None, File::new(file, &metadata, path.to_owned())))
}

fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(OPEN_FLAGS).open(path)
}
