//! From the title that a client asks for to what a session streams.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::file::File;
use super::file_source::Files;
use super::live::{Broadcaster, LiveStatus};
use super::memory::MemorySource;
use super::root::Root;
use super::source::Source;
use super::trouble::Troubles;
use super::{Cache, Entry, Error, Found, Media, MediaCounters, blocking};
use crate::protocol::Digest;

/// For how long a catalogue is good for all who ask.
const KEPT: Duration = Duration::from_secs(5);

/// The clip that is served where no other media is named.
pub(super) const SAMPLE: (&str, &[u8]) = ("sample.mp4", include_bytes!("../../assets/sample.mp4"));

/// The media of a server: one file, the compiled-in sample, or every file beneath a directory.
///
/// Nothing is opened before a session asks, and nothing is indexed: what is on the disk then is
/// what it gets. A title is a path relative to the directory, with `/` between its parts; the
/// title of a single file is its name. What is hidden (a part begins with a dot), leads out of the
/// directory or is no regular file is not a title, nor is what the server may not read.
///
/// A directory whose name ends in `.renditions` is one title, with that ending, in several
/// bitrates: its files are named `<bitrate>.<extension>`, in bit/s.
#[derive(Debug)]
pub struct Library {
    /// Where files are looked up.
    root: Option<Root>,
    files: Files,
    /// Titles that are broadcasts.
    live: Vec<Arc<Broadcaster>>,
    /// Titles that are no files.
    sources: Vec<Found<Arc<dyn Source>>>,
    /// The newest catalogue. Whoever reads a directory holds the lock.
    catalogue: Arc<Mutex<Option<CachedCatalogue>>>,
    troubles: Troubles,
}

impl Library {
    /// A library of what is at `path`: a file or a directory; of the compiled-in sample where
    /// that is `None`. `cache` is the most that is kept of files in memory, in bytes.
    ///
    /// A directory is opened once and not read: it may be of any size, and empty for now.
    ///
    /// # Errors
    /// There is nothing to stream at `path` now.
    pub fn new(path: Option<&Path>, cache: u64) -> Result<Self, Error> {
        let sample = || {
            let (title, bytes) = SAMPLE;
            let source: Arc<dyn Source> = Arc::new(MemorySource::new(Bytes::from_static(bytes)));
            Found::new(title, title, None, source)
        };
        Ok(Self {
            root: path.map(Root::at).transpose()?,
            files: Files::new(Cache::new(cache)),
            sources: if path.is_none() { vec![sample()] } else { Vec::new() },
            live: Vec::new(),
            catalogue: Arc::default(),
            troubles: Troubles::default(),
        })
    }

    /// The same with these broadcasts; without the sample clip, if that is all there was.
    pub fn with_broadcasts(mut self, live: Vec<Arc<Broadcaster>>) -> Self {
        if !live.is_empty() {
            self.sources.clear();
        }
        self.live = live;
        self
    }

    /// The same, which keeps the digests that it knows in the file at `path`, so that they are
    /// known after a restart, too. Where that cannot be read or written, they are computed anew.
    pub fn keeping_digests(self, path: &Path) -> Self {
        self.files.digester.keep_at(path);
        self
    }

    /// What people call it: its path and its broadcasts, or "the sample clip".
    pub fn name(&self) -> String {
        let live: Vec<_> = self.live.iter().map(|live| live.title()).collect();
        let live = (!live.is_empty()).then(|| format!("live {}", live.join(", ")));
        let names: Vec<_> = self.root.as_ref().map(Root::name).into_iter().chain(live).collect();
        if names.is_empty() { "the sample clip".to_owned() } else { names.join(" and ") }
    }

    /// The title, unless there may be any number of them.
    pub fn only_title(&self) -> Option<String> {
        let title = match &self.root {
            _ if !self.live.is_empty() => match (&*self.live, &self.root) {
                ([only], None) => Some(only.title()),
                _ => None,
            },
            Some(root) => root.only_title(),
            None => self.source(None).map(|found| found.title.as_str()),
        };
        title.map(str::to_owned)
    }

    /// Opens a title, or the only one there is. Of one in several bitrates, it opens the highest
    /// that is not over `bitrate` (in bit/s), or else the lowest.
    ///
    /// # Errors
    /// [`Error::NoSuchTitle`], whatever the reason; [`Error::TitleNeeded`] or [`Error::NoMedia`]
    /// where none is named; [`Error::Io`] where the server is in trouble, which is in the log then.
    pub async fn open(self: &Arc<Self>, title: Option<&str>, bitrate: u32) -> Result<Media, Error> {
        if let Some(found) = self.source(title) {
            return Ok(Media::new(found.clone()));
        }
        if let Some(live) = self.broadcast(title) {
            return live.open(&self.files.cache).map(Media::new);
        }
        match title.map(str::to_owned) {
            Some(title) => self.open_file(move |root| root.open(&title, bitrate)).await,
            None => self.find_file(move |root| root.open_only(bitrate)).await,
        }
    }

    /// Opens what a client of version 1 gets, which cannot name a title: the only one, or of a
    /// directory the first by name that is audio or video, without what is in subdirectories.
    ///
    /// # Errors
    /// As [`Library::open`] has them.
    pub async fn open_first(self: &Arc<Self>, bitrate: u32) -> Result<Media, Error> {
        if let Some(found) = self.source(None) {
            return Ok(Media::new(found.clone()));
        }
        if let Some(live) = self.broadcast(None) {
            return live.open(&self.files.cache).map(Media::new);
        }
        self.find_file(move |root| root.open_first(bitrate)).await
    }

    /// The digest of what `title` was when it had this validator, if that was here and is known.
    pub fn digest_behind(&self, title: &str, validator: &[u8]) -> Option<Digest> {
        self.files.digest_behind(title, validator)
    }

    /// All that can be opened, sorted by title, as it was at most five seconds ago. This opens
    /// every file once: for 100,000 it takes about 0.6 s of one thread, which is not the caller's,
    /// and 12 MiB. There is one walk at a time, and all who ask meanwhile get the same.
    ///
    /// # Errors
    /// The directory cannot be read to its end, or the server is in trouble; that is in the log
    /// then. What is wrong with a single title only leaves it out.
    pub async fn catalogue(self: &Arc<Self>) -> Result<Arc<[Entry]>, Error> {
        // Only a directory costs something to read.
        let is_directory = matches!(self.root, Some(Root::Directory(_)));
        if !is_directory {
            let library = self.clone();
            return blocking(move || library.entries()).await;
        }
        let mut latest = self.catalogue.clone().lock_owned().await;
        if let Some(known) = latest.as_ref().filter(|known| known.made.elapsed() < KEPT) {
            return Ok(known.entries.clone());
        }
        let library = self.clone();
        // The lock goes with the walk: who stops waiting for one does not make room for the next.
        let entries = blocking(move || {
            let entries = library.entries().inspect_err(|error| library.troubles.say(error))?;
            *latest = Some(CachedCatalogue { made: Instant::now(), entries: entries.clone() });
            Ok::<_, Error>(entries)
        })
        .await?;
        self.forget_catalogue_later();
        Ok(entries)
    }

    /// What has been read so far, and what waits.
    pub fn counters(&self) -> MediaCounters {
        self.files.counters()
    }

    /// Drops the catalogue when its time is over.
    fn forget_catalogue_later(&self) {
        let catalogue = Arc::downgrade(&self.catalogue);
        Handle::current().spawn(async move {
            sleep(KEPT).await;
            if let Some(catalogue) = catalogue.upgrade() {
                let mut latest = catalogue.lock().await;
                latest.take_if(|known| known.made.elapsed() >= KEPT);
            }
        });
    }

    /// How each broadcast does that is on the air.
    pub fn broadcasts(&self) -> impl Iterator<Item = LiveStatus> + '_ {
        self.live.iter().filter_map(|live| live.status())
    }

    fn live_title(&self, title: &str) -> Option<&Broadcaster> {
        self.live.iter().find(|live| live.title() == title).map(AsRef::as_ref)
    }

    /// The broadcast of this title; without a title, the only one where there is nothing else.
    fn broadcast(&self, title: Option<&str>) -> Option<&Broadcaster> {
        match (title, &*self.live) {
            (Some(title), _) => self.live_title(title),
            (None, [only]) if self.root.is_none() => Some(only.as_ref()),
            _ => None,
        }
    }

    /// The title that is no file; without a title, the only one where there are no files.
    fn source(&self, title: Option<&str>) -> Option<&Found<Arc<dyn Source>>> {
        match (title, &*self.sources) {
            (Some(title), sources) => sources.iter().find(|found| found.title == title),
            (None, [only]) if self.root.is_none() => Some(only),
            _ => None,
        }
    }

    async fn open_file(
        self: &Arc<Self>,
        open: impl FnOnce(&Root) -> Result<Found<File>, Error> + Send + 'static,
    ) -> Result<Media, Error> {
        let library = self.clone();
        blocking(move || {
            let root = library.root.as_ref().ok_or(Error::NoSuchTitle)?;
            let media = open(root).and_then(|found| library.files.source(found)).map(Media::new);
            media.inspect_err(|error| library.troubles.say(error))
        })
        .await
    }

    /// Opens a file that has to be looked for: nobody else reads a directory meanwhile.
    async fn find_file(
        self: &Arc<Self>,
        find: impl FnOnce(&Root) -> Result<Found<File>, Error> + Send + 'static,
    ) -> Result<Media, Error> {
        let turn = self.catalogue.clone().lock_owned().await;
        self.open_file(move |root| {
            let found = find(root);
            drop(turn);
            found
        })
        .await
    }

    /// The catalogue as it is now. Blocks.
    fn entries(&self) -> Result<Arc<[Entry]>, Error> {
        let sources = self.sources.iter().cloned();
        let mut entries: Vec<_> =
            sources.map(|found| found.entry(|source| (source.len(), source.modified()))).collect();
        entries.extend(self.live.iter().map(|live| live.entry()));
        if let Some(root) = &self.root {
            // A recording goes by the broadcast's title.
            let files = root.catalogue()?;
            entries.extend(files.into_iter().filter(|file| self.live_title(&file.title).is_none()));
        }
        entries.sort_unstable_by(|a, b| a.title.cmp(&b.title));
        Ok(entries.into())
    }
}

/// A catalogue, and when it was made.
#[derive(Debug)]
struct CachedCatalogue {
    made: Instant,
    entries: Arc<[Entry]>,
}
