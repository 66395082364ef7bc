//! Titles beneath a directory, and nothing else.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, FileType, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::io::Errno;

use super::file::{File, OPEN_FLAGS};
use super::trouble::{LeftOut, Verdict};
use super::{Error, Found, title};

/// The path of the directory itself, beneath itself.
pub(super) const ROOT: &str = "";

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
///
/// The errors of its methods are the system's, whatever they say of a title.
#[derive(Debug)]
pub(super) struct Directory {
    dir: Dir,
    path: PathBuf,
    left_out: LeftOut,
}

impl Directory {
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        let dir = Dir::open_ambient_dir(path, ambient_authority());
        let io_error = |source| Error::Io { path: path.to_owned(), source };
        let dir = dir.map_err(io_error)?;
        Ok(Self { dir, path: path.to_owned(), left_out: LeftOut::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a title; where it comes in several bitrates, the best for `limit`.
    pub(super) fn open(&self, title: &str, limit: u32) -> Result<Found<File>, Error> {
        if !title::is_title(title) {
            return Err(Error::NoSuchTitle);
        }
        let opened = self.open_beneath(Path::new(title));
        let (file, metadata) = opened.or_else(|error| self.check_is_there().and(Err(error)))?;
        if metadata.is_file() {
            let file = File::new(file, &metadata, self.path.join(title));
            Ok(Found::new(title, title, None, file))
        } else if metadata.is_dir() && title::is_renditions(title) {
            drop(file);
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
    ) -> Result<Found<File>, Error> {
        for (bitrate, name) in self.renditions(folder, limit)? {
            let path = Path::new(folder).join(&name);
            let Some((file, metadata)) = self.if_there(self.open_beneath(&path))? else {
                continue;
            };
            if metadata.is_file() {
                let file = File::new(file, &metadata, self.path.join(path));
                return Ok(Found::new(title, &name, Some(bitrate), file));
            }
        }
        Err(Error::NoSuchTitle)
    }

    /// The bitrates and names in `folder`, the best for `limit` first.
    fn renditions(&self, folder: &str, limit: u32) -> Result<Vec<(u32, String)>, Error> {
        let mut renditions = Vec::new();
        for entry in self.entries(folder) {
            let (name, _) = entry?;
            renditions.extend(title::bitrate(&name).map(|bitrate| (bitrate, name)));
        }
        renditions.sort_by_cached_key(|(bitrate, name)| {
            (*bitrate > limit, bitrate.abs_diff(limit), name.clone())
        });
        Ok(renditions)
    }

    /// Opens the first by name, in the directory itself, of the titles that are audio or video.
    /// This reads the whole directory, 40 ms for 100,000 files, but not what is beneath it. A title
    /// in trouble is an error: a client is not given another in its place.
    pub(super) fn open_first(&self, limit: u32) -> Result<Found<File>, Error> {
        let mut names = Vec::new();
        for entry in self.entries(ROOT) {
            let (name, _) = entry?;
            if title::is_renditions(&name) || title::is_playable(title::media_type(&name)) {
                names.push(name);
            }
        }
        names.sort_unstable();
        for name in names {
            let found = self.if_there(self.open(&name, limit))?;
            if let Some(found) = found.filter(|found| title::is_playable(found.media_type)) {
                return Ok(found);
            }
        }
        Err(Error::NoMedia(self.path.clone()))
    }

    /// Opens the only title there is. The search ends as soon as there are two, or one in trouble.
    pub(super) fn open_only(&self, limit: u32) -> Result<Found<File>, Error> {
        let mut found = Vec::new();
        self.each_title(limit, |title| {
            found.push(title?);
            Ok(if found.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        match (found.pop(), found.pop()) {
            (None, _) => Err(Error::NoMedia(self.path.clone())),
            (Some(only), None) => Ok(only),
            _ => Err(Error::TitleNeeded),
        }
    }

    /// Opens one title after the other, in no order, until `visit` has enough. It also gets the
    /// errors of files and directories in trouble. What a peer could not open is not there.
    /// Directories behind symbolic links are not entered, which would not end where they lead in a
    /// circle; what is in them can still be asked for by name.
    ///
    /// # Errors
    /// The directory itself cannot be read to its end, or what `visit` returns.
    pub(super) fn each_title(
        &self,
        limit: u32,
        mut visit: impl FnMut(Result<Found<File>, Error>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        self.check_is_there()?;
        // Only what waits is kept, and one directory is open at a time, however deep they go.
        let mut folders = vec![ROOT.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.entries(&folder) {
                let found = match entry {
                    Err(error) if folder == ROOT => return Err(error),
                    Err(error) => Err(error),
                    Ok((name, kind)) => {
                        let path = if folder == ROOT { name } else { format!("{folder}/{name}") };
                        if !self.is_short_enough(&path) {
                            continue;
                        }
                        match kind {
                            Some(kind) if kind.is_dir() && !title::is_renditions(&path) => {
                                folders.push(path);
                                continue;
                            }
                            Some(kind)
                                if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) =>
                            {
                                continue;
                            }
                            _ => self.open(&path, limit),
                        }
                    }
                };
                if let Some(found) = self.if_there(found).transpose()
                    && visit(found)?.is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the directory itself was not removed: it would read as an empty one.
    fn check_is_there(&self) -> Result<(), Error> {
        let metadata = self.dir.dir_metadata();
        let links = metadata.map_err(|source| self.folder_error(ROOT, source))?.nlink();
        match links {
            0 => Err(self.folder_error(ROOT, Errno::NOENT.into())),
            _ => Ok(()),
        }
    }

    /// Passes over one that is in trouble, unless all would be: then the error is returned.
    pub(super) fn leave_out(&self, error: Error) -> Result<(), Error> {
        match error {
            Error::Io { path, source } if Verdict::of(&source) != Verdict::Exhausted => {
                self.left_out.say(&path, source);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// The name and, where it can be told, the kind of everything visible in `folder`. After an
    /// error, which is one of the folder, there may be more in it.
    fn entries(
        &self,
        folder: &str,
    ) -> impl Iterator<Item = Result<(String, Option<FileType>), Error>> {
        let (listing, failed) = match self.dir.read_dir(if folder == ROOT { "." } else { folder }) {
            Ok(listing) => (Some(listing), None),
            Err(error) => (None, Some(Err(error))),
        };
        listing.into_iter().flatten().chain(failed).filter_map(move |entry| match entry {
            Ok(entry) => {
                let name = self.visible_name(folder, &entry.file_name())?;
                Some(Ok((name, kind(&entry))))
            }
            Err(source) => Some(Err(self.folder_error(folder, source))),
        })
    }

    /// The name of something in `folder`, unless it is hidden or no text.
    fn visible_name(&self, folder: &str, name: &OsStr) -> Option<String> {
        if name.as_bytes().starts_with(b".") {
            return None;
        }
        let text = name.to_str().map(str::to_owned);
        if text.is_none() {
            self.left_out.say(&self.path.join(folder).join(name), "its name is not UTF-8");
        }
        text
    }

    /// Whether a title can be at `path`, or beneath it.
    fn is_short_enough(&self, path: &str) -> bool {
        let is_short_enough = path.len() <= title::LONGEST;
        if !is_short_enough {
            let why = format_args!("its path has more than {} bytes", title::LONGEST);
            self.left_out.say(&self.path.join(path), why);
        }
        is_short_enough
    }

    /// In a search, what is not there is passed over, and what may not be read, too.
    fn if_there<T>(&self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Err(Error::NoSuchTitle) => Ok(None),
            Err(Error::Io { path, source }) => match Verdict::of(&source) {
                Verdict::Absent => Ok(None),
                Verdict::Forbidden => {
                    self.left_out.say(&path, source);
                    Ok(None)
                }
                Verdict::Unreadable | Verdict::Exhausted => Err(Error::Io { path, source }),
            },
            result => result.map(Some),
        }
    }

    fn open_beneath(&self, path: &Path) -> Result<(fs::File, Metadata), Error> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OPEN_FLAGS);
        let open = || {
            let file = self.dir.open_with(path, &options)?.into_std();
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        open().map_err(|source: io::Error| match Errno::from_io_error(&source) {
            // Sockets, and devices without a driver, say so, too.
            Some(Errno::NXIO | Errno::NODEV) if self.is_special(path) => Error::NoSuchTitle,
            _ => self.error(path, source),
        })
    }

    fn is_special(&self, path: &Path) -> bool {
        self.dir.metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir())
    }

    fn error(&self, path: &Path, source: io::Error) -> Error {
        Error::Io { path: self.path.join(path), source }
    }

    /// The error of a folder. That of the directory itself never says that a title is not there:
    /// no matter what is wrong, a library without its directory is in trouble.
    fn folder_error(&self, folder: &str, source: io::Error) -> Error {
        if folder != ROOT {
            return self.error(Path::new(folder), source);
        }
        let source = match Verdict::of(&source) {
            Verdict::Absent | Verdict::Forbidden => io::Error::other(source),
            Verdict::Unreadable | Verdict::Exhausted => source,
        };
        Error::Io { path: self.path.clone(), source }
    }
}

/// The kind of an entry, if it can be told. Not every file system says it in the directory.
fn kind(entry: &DirEntry) -> Option<FileType> {
    let kind = entry.file_type().ok().filter(|kind| *kind != FileType::unknown());
    kind.or_else(|| Some(entry.metadata().ok()?.file_type()))
}
