//! From what the operator named to what a session streams.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::file::File;
use super::{Cache, Error, Media, SAMPLE, Source};

/// The media of a server. Nothing is opened before a session asks, so what is on the disk then
/// is what it gets.
#[derive(Debug, Clone)]
pub struct Library {
    root: Root,
    cache: Arc<Cache>,
}

#[derive(Debug, Clone)]
enum Root {
    Sample,
    Path(PathBuf),
}

impl Library {
    /// A library of one file or of a directory; of the compiled-in sample where `path` is
    /// `None`. `cache` is the most that is kept in memory, in bytes.
    ///
    /// # Errors
    /// There is nothing to stream at `path` now.
    pub fn new(path: Option<&Path>, cache: u64) -> Result<Self, Error> {
        let root = path.map_or(Root::Sample, |path| Root::Path(path.to_owned()));
        let library = Self { root, cache: Arc::new(Cache::new(cache)) };
        library.open_blocking()?;
        Ok(library)
    }

    /// What a client that names no title gets now: the file, or the alphabetically first media
    /// file of the directory. `None` is the sample.
    ///
    /// # Errors
    /// The path cannot be read or holds no media.
    pub fn first(&self) -> Result<Option<PathBuf>, Error> {
        let Root::Path(path) = &self.root else { return Ok(None) };
        let io_error = |source| Error::Io { path: path.clone(), source };
        if !fs::metadata(path).map_err(io_error)?.is_dir() {
            return Ok(Some(path.clone()));
        }
        first_media_file(path).map_err(io_error)?.map(Some).ok_or(Error::NoMedia(path.clone()))
    }

    /// Opens what [`Library::first`] says.
    ///
    /// # Errors
    /// It cannot be found or opened.
    pub async fn open(self: &Arc<Self>) -> Result<Media, Error> {
        let library = self.clone();
        tokio::task::spawn_blocking(move || library.open_blocking())
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn open_blocking(&self) -> Result<Media, Error> {
        let source = match self.first()? {
            None => Source::Memory(Bytes::from_static(SAMPLE)),
            Some(path) => Source::File(Arc::new(File::open(&path)?)),
        };
        Ok(Media { source, cache: self.cache.clone() })
    }
}

/// The first by name of the regular files in `directory` that are audio or video by their
/// extension. Hidden files are not shown to anybody.
fn first_media_file(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut first: Option<PathBuf> = None;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let earlier = first.as_ref().is_none_or(|first| path < *first);
        if !hidden && earlier && is_media(&path) && fs::metadata(&path).is_ok_and(|m| m.is_file()) {
            first = Some(path);
        }
    }
    Ok(first)
}

fn is_media(path: &Path) -> bool {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    matches!(kind.type_(), mime_guess::mime::AUDIO | mime_guess::mime::VIDEO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_first_media_file() {
        let dir = tempfile::tempdir().unwrap();
        let library = || Library::new(Some(dir.path()), 0);
        assert!(matches!(library(), Err(Error::NoMedia(_))));
        for name in ["a.txt", ".hidden.mp4", "c.mp4", "b.webm"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("a.mp4")).unwrap();
        assert_eq!(library().unwrap().first().unwrap(), Some(dir.path().join("b.webm")));
    }

    #[test]
    fn what_is_missing_or_no_file_is_an_error_at_the_start() {
        let missing = Library::new(Some(Path::new("/nowhere/at/all.mp4")), 0);
        assert!(matches!(missing, Err(Error::Io { .. })));
        let device = Library::new(Some(Path::new("/dev/null")), 0);
        assert!(matches!(device, Err(Error::NotAFile(_))));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_never_read_as_a_mixture() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        fs::write(&path, vec![1; 3 << 20]).unwrap();
        let library = Arc::new(Library::new(Some(&path), 0).unwrap());
        let media = library.open().await.unwrap();
        assert_eq!(media.read(5, 10).await.unwrap(), vec![1; 10]);
        assert_eq!(media.read((1 << 20) - 3, 10).await.unwrap().len(), 3, "to the block's end");
        assert!(media.read(3 << 20, 10).await.unwrap().is_empty(), "the end");

        fs::write(&path, vec![2; 3 << 20]).unwrap();
        assert_eq!(media.read(5, 10).await.unwrap(), vec![1; 10], "read before the change");
        assert!(matches!(media.read(2 << 20, 10).await, Err(Error::Changed(_))));
        let media = library.open().await.unwrap();
        assert_eq!(media.read(5, 10).await.unwrap(), vec![2; 10]);

        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        assert!(matches!(media.read(2 << 20, 10).await, Err(Error::Changed(_))));
    }
}
