//! Titles beneath a directory, and nothing else.

use std::fs::{self, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, FileType, OpenOptions, OpenOptionsExt};

use super::file::{File, OPEN_FLAGS, refusal};
use super::{Error, Found, title};

/// A directory of titles: every regular file beneath it, however deep.
///
/// It is opened once: it goes on being served where it is renamed, and another one that takes its
/// name is served after a restart only. What it holds is looked up on every call: there is no
/// index and no watch.
///
/// Paths are resolved by cap-std, not by rustix, which is here already: that is one openat2 with
/// RESOLVE_BENEATH as well, tried again when a rename interferes, and where the system does not
/// have it (in some containers, on other systems) a walk in user space that lets out nothing
/// either. A symbolic link counts as what it leads to if it is relative and stays beneath.
#[derive(Debug)]
pub(super) struct Directory {
    dir: Dir,
    path: PathBuf,
}

impl Directory {
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        let dir = Dir::open_ambient_dir(path, ambient_authority());
        let io_error = |source| Error::Io { path: path.to_owned(), source };
        Ok(Self { dir: dir.map_err(io_error)?, path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a title; where it comes in several bitrates, the best for `limit`.
    pub(super) fn open(&self, title: &str, limit: u32) -> Result<Found, Error> {
        if !title::is_title(title) {
            return Err(Error::NoSuchTitle);
        }
        let (file, metadata) = self.open_beneath(Path::new(title))?;
        if metadata.is_file() {
            let file = File::new(file, &metadata, self.path.join(title));
            Ok(Found::file(title, title, None, file))
        } else if metadata.is_dir() && title::is_renditions(title) {
            self.open_rendition(title, title, limit)
        } else {
            Err(Error::NoSuchTitle)
        }
    }

    /// Opens the best file of `folder` for `limit`: the highest that is not over it, else the
    /// lowest.
    pub(super) fn open_rendition(
        &self,
        title: &str,
        folder: &str,
        limit: u32,
    ) -> Result<Found, Error> {
        for (bitrate, name) in self.renditions(folder, limit)? {
            let path = Path::new(folder).join(&name);
            let Some((file, metadata)) = unless_refused(self.open_beneath(&path))? else {
                continue;
            };
            if metadata.is_file() {
                let file = File::new(file, &metadata, self.path.join(path));
                return Ok(Found::file(title, &name, Some(bitrate), file));
            }
        }
        Err(Error::NoSuchTitle)
    }

    /// The bitrates and names in `folder`, the best for `limit` first.
    fn renditions(&self, folder: &str, limit: u32) -> Result<Vec<(u32, String)>, Error> {
        let mut renditions = Vec::new();
        for entry in self.entries(folder)? {
            let (name, _) = entry?;
            renditions.extend(title::bitrate(&name).map(|bitrate| (bitrate, name)));
        }
        renditions.sort_by_cached_key(|(bitrate, name)| {
            (*bitrate > limit, bitrate.abs_diff(limit), name.clone())
        });
        Ok(renditions)
    }

    /// Opens the first by name, in the directory itself, of the titles that are audio or video.
    /// This reads the whole directory, 40 ms for 100,000 files, but not what is beneath it.
    pub(super) fn open_first(&self, limit: u32) -> Result<Found, Error> {
        let mut first: Option<Found> = None;
        for entry in self.entries(".")? {
            let (name, _) = entry?;
            if first.as_ref().is_some_and(|first| first.title <= name) {
                continue;
            }
            if title::is_renditions(&name) || title::is_playable(title::media_type(&name)) {
                let found = unless_refused(self.open(&name, limit))?;
                let playable = found.filter(|found| title::is_playable(found.media_type));
                first = playable.or(first);
            }
        }
        first.ok_or_else(|| Error::NoMedia(self.path.clone()))
    }

    /// Opens the only title there is. The search ends as soon as there are two.
    pub(super) fn open_only(&self, limit: u32) -> Result<Found, Error> {
        let mut found = Vec::new();
        self.each_title(limit, |title| {
            found.push(title);
            if found.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        match (found.pop(), found.pop()) {
            (None, _) => Err(Error::NoMedia(self.path.clone())),
            (Some(only), None) => Ok(only),
            _ => Err(Error::TitleNeeded),
        }
    }

    /// Opens one title after the other, in no order, until `visit` has enough. What a peer could
    /// not open is not there. Directories behind symbolic links are not entered, which would not
    /// end where they lead in a circle; what is in them can still be asked for by name.
    pub(super) fn each_title(
        &self,
        limit: u32,
        mut visit: impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        // Only what waits is kept, and one directory is open at a time, however deep they go.
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in self.entries(if folder.is_empty() { "." } else { &folder })? {
                let (name, kind) = entry?;
                let title = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if kind.is_dir() && !title::is_renditions(&title) {
                    // Nothing in it can be a title where its own path is as long as one.
                    folders.extend(title::is_title(&title).then_some(title));
                } else if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                    let found = unless_refused(self.open(&title, limit))?;
                    if found.map(&mut visit).is_some_and(|flow| flow.is_break()) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// What is visible in `folder`: nothing, where it cannot be read.
    fn entries(
        &self,
        folder: &str,
    ) -> Result<impl Iterator<Item = Result<(String, FileType), Error>>, Error> {
        let refusal = move |error| self.refusal(Path::new(folder), error);
        let listing = unless_refused(self.dir.read_dir(folder).map_err(refusal))?;
        Ok(listing.into_iter().flatten().filter_map(move |entry| {
            let visible = entry.and_then(|entry| visible(&entry)).map_err(refusal);
            unless_refused(visible).map(Option::flatten).transpose()
        }))
    }

    fn open_beneath(&self, path: &Path) -> Result<(fs::File, Metadata), Error> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OPEN_FLAGS);
        let open = || {
            let file = self.dir.open_with(path, &options)?.into_std();
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        open().map_err(|error| self.refusal(path, error))
    }

    fn refusal(&self, path: &Path, source: io::Error) -> Error {
        refusal(self.path.join(path), source)
    }
}

/// The name and kind of an entry, unless it is hidden or its name is no text.
fn visible(entry: &DirEntry) -> io::Result<Option<(String, FileType)>> {
    let name = entry.file_name().into_string().ok();
    let Some(name) = name.filter(|name| !name.starts_with('.')) else { return Ok(None) };
    // Not every file system says in the directory what kind its entries are.
    let kind = match entry.file_type()? {
        kind if kind == FileType::unknown() => entry.metadata()?.file_type(),
        kind => kind,
    };
    Ok(Some((name, kind)))
}

/// In a search, what is refused is not there.
fn unless_refused<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::NoSuchTitle) => Ok(None),
        result => result.map(Some),
    }
}
