mod broadcasts;
mod catalogue;
mod digest;
mod hostile;
mod renditions;
mod states;
mod titles;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::identity::FileIdentity;
use super::{Entry, Error, Library, Media, Read};

fn library(path: &Path) -> Arc<Library> {
    Arc::new(Library::new(Some(path), 0).unwrap())
}

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

async fn open(library: &Arc<Library>, title: &str) -> Result<Media, Error> {
    let media = library.open(Some(title), u32::MAX).await?;
    media.request_digest();
    Ok(media)
}

async fn bytes_of(media: &mut Media) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match media.read(bytes.len() as u64, usize::MAX).await.unwrap() {
            Read::Bytes(more) => bytes.extend(more),
            Read::End => return bytes,
            Read::NotKept => panic!("files are kept"),
        }
    }
}

/// What a read brought; nothing at the end of the media.
fn bytes(read: Result<Read, Error>) -> Bytes {
    match read.unwrap() {
        Read::Bytes(bytes) => bytes,
        Read::End => Bytes::new(),
        Read::NotKept => panic!("files are kept"),
    }
}

fn titles(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.title.as_str()).collect()
}

/// Waits until the file is so old that its digest is remembered: nobody can set a ctime.
async fn settle(path: &Path) {
    let identity = FileIdentity::from(&fs::metadata(path).unwrap());
    while !identity.is_settled(SystemTime::now()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Long, because digests get only what time a busy machine has left.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

/// Sees what anybody does to one file or directory.
struct Watch(OwnedFd);

impl Watch {
    fn on(path: &Path, what: WatchFlags) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, path, what).unwrap();
        Self(watch)
    }

    /// How often it was done since the last question, to the thing itself and not to what it has
    /// in it.
    fn seen(&self) -> usize {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut seen = 0;
        loop {
            match reader.next() {
                Ok(event) => seen += usize::from(event.file_name().is_none()),
                Err(Errno::AGAIN) => return seen,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
