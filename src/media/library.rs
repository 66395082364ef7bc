//! From the title that a client asks for to what a session streams.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::file_place::FilePlace;
use super::live::{Broadcaster, LiveStatus};
use super::memory::MemorySource;
use super::place::{Place, Wanted};
use super::source::Source;
use super::trouble::Troubles;
use super::{Cache, Entry, Error, Found, Media, MediaCounters, blocking, finished};
use crate::protocol::Digest;

/// For how long a catalogue is good for all who ask.
const KEPT: Duration = Duration::from_secs(5);

/// The clip that is served where no other media is named.
pub(super) const SAMPLE: (&str, &[u8]) = ("sample.mp4", include_bytes!("../../assets/sample.mp4"));

/// How the URLs of object stores begin.
const STORES: [&str; 3] = ["s3://", "gs://", "az://"];

/// The media of a server: one file, the compiled-in sample, every file beneath a directory, or every
/// object beneath a prefix of a bucket.
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
    /// Where titles are looked up.
    place: Option<Arc<dyn Place>>,
    /// Blocks of files, recordings of broadcasts among them.
    cache: Arc<Cache>,
    /// Titles that are broadcasts.
    live: Vec<Arc<Broadcaster>>,
    /// Titles that need not be looked up.
    sources: Vec<Found<Arc<dyn Source>>>,
    /// The newest catalogue. Whoever reads a directory holds the lock.
    catalogue: Arc<Mutex<Option<CachedCatalogue>>>,
    troubles: Troubles,
}

impl Library {
    /// A library of what is at `path`: a file, a directory, or the URL of a prefix of a bucket; of
    /// the compiled-in sample where that is `None`. `cache` is the most that is kept of files or
    /// objects in memory, in bytes.
    ///
    /// A directory is opened once and not read: it may be of any size, and empty for now. A bucket is
    /// asked whether it is there, for which this waits.
    ///
    /// # Errors
    /// There is nothing to stream at `path` now.
    pub fn new(path: Option<&Path>, cache: u64) -> Result<Self, Error> {
        let sample = || {
            let (title, bytes) = SAMPLE;
            let source: Arc<dyn Source> = Arc::new(MemorySource::new(Bytes::from_static(bytes)));
            Found::new(title, title, None, source)
        };
        let blocks = Arc::new(Cache::new(cache));
        Ok(Self {
            place: path.map(|path| place_at(path, cache, &blocks)).transpose()?,
            cache: blocks,
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
        self.place.iter().for_each(|place| place.keep_digests(path));
        self
    }

    /// The same, which computes the digests of objects that have none, and stores them beside
    /// these.
    pub fn storing_digests(self) -> Self {
        self.place.iter().for_each(|place| place.store_digests());
        self
    }

    /// What is wrong with the place of its titles, where that may pass.
    pub fn doubt(&self) -> Option<&Error> {
        self.place.as_ref()?.doubt()
    }

    /// What people call it: its path and its broadcasts, or "the sample clip".
    pub fn name(&self) -> String {
        let live: Vec<_> = self.live.iter().map(|live| live.title()).collect();
        let live = (!live.is_empty()).then(|| format!("live {}", live.join(", ")));
        let place = self.place.as_ref().map(|place| place.name());
        let names: Vec<_> = place.into_iter().chain(live).collect();
        if names.is_empty() { "the sample clip".to_owned() } else { names.join(" and ") }
    }

    /// The title, unless there may be any number of them.
    pub fn only_title(&self) -> Option<String> {
        let title = match &self.place {
            _ if !self.live.is_empty() => match (&*self.live, &self.place) {
                ([only], None) => Some(only.title()),
                _ => None,
            },
            Some(place) => place.only_title(),
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
        match title {
            Some(title) => match self.live_title(title) {
                Some(live) => self.open_live(live),
                None => self.open_in_place(Wanted::Title(title.to_owned()), bitrate).await,
            },
            None => self.open_only(bitrate).await,
        }
    }

    /// Opens the only title there is, file or broadcast.
    async fn open_only(self: &Arc<Self>, bitrate: u32) -> Result<Media, Error> {
        let mut live = self.live();
        let (first, others) = (live.next(), live.next());
        let in_place = match (first, others) {
            (Some(_), Some(_)) => return Err(Error::TitleNeeded),
            (Some(only), None) if self.place.is_none() => return self.open_live(only),
            _ => self.open_in_place(Wanted::Only, bitrate).await,
        };
        match (first, in_place) {
            (None, in_place) => in_place,
            // A recording goes by the broadcast's title.
            (Some(live), Ok(found)) if found.title() == live.title() => self.open_live(live),
            (Some(_), Ok(_)) => Err(Error::TitleNeeded),
            (Some(live), Err(Error::NoMedia(_) | Error::NoSuchTitle)) => self.open_live(live),
            (Some(_), Err(error)) => Err(error),
        }
    }

    /// Opens what a client of version 1 gets, which cannot name a title: the only one, or of a
    /// directory the first by name that is audio or video, without what is in subdirectories; where
    /// there is none, the first broadcast, of those that have begun if one has.
    ///
    /// # Errors
    /// As [`Library::open`] has them.
    pub async fn open_first(self: &Arc<Self>, bitrate: u32) -> Result<Media, Error> {
        if let Some(found) = self.source(None) {
            return Ok(Media::new(found.clone()));
        }
        let in_place = match &self.place {
            None => Err(Error::NoSuchTitle),
            Some(_) => self.open_in_place(Wanted::First, bitrate).await,
        };
        let first = self.live().min_by_key(|live| (live.is_waiting(), live.title()));
        match (in_place, first) {
            (Err(Error::NoMedia(_) | Error::NoSuchTitle), Some(first)) => self.open_live(first),
            // A recording goes by the broadcast's title.
            (Ok(found), Some(_)) => match self.live_title(found.title()) {
                Some(live) => self.open_live(live),
                None => Ok(found),
            },
            (in_place, _) => in_place,
        }
    }

    fn open_live(&self, live: &Broadcaster) -> Result<Media, Error> {
        live.open(&self.cache).map(Media::new)
    }

    /// The digest of what `title` was when it had this validator, if that was here and is known.
    pub fn digest_behind(&self, title: &str, validator: &[u8]) -> Option<Digest> {
        self.place.as_ref()?.digest_behind(title, validator)
    }

    /// All that can be opened, sorted by title. What a directory has is at most five seconds old,
    /// unless a broadcast has begun or ended since: then it is looked at anew.
    ///
    /// This opens every file once: for 100,000 it takes about 0.6 s of one thread, which is not the
    /// caller's, and 12 MiB. There is one walk at a time, and all who ask meanwhile get the same.
    ///
    /// # Errors
    /// The directory or the bucket cannot be read to its end, or the server is in trouble; that is in
    /// the log then. What is wrong with a single title only leaves it out.
    pub async fn catalogue(self: &Arc<Self>) -> Result<Arc<[Entry]>, Error> {
        // Only where there may be any number of titles it costs something to look.
        let costs = self.place.as_ref().is_some_and(|place| place.only_title().is_none());
        if !costs {
            return self.entries().await;
        }
        let mut latest = self.catalogue.clone().lock_owned().await;
        let on_air = self.on_air();
        let is_good =
            |known: &&CachedCatalogue| known.made.elapsed() < KEPT && known.on_air == on_air;
        if let Some(known) = latest.as_ref().filter(is_good) {
            return Ok(known.entries.clone());
        }
        let library = self.clone();
        // The lock goes with the walk: who stops waiting for one does not make room for the next.
        let walk = tokio::spawn(async move {
            let entries = library.entries().await;
            let entries = entries.inspect_err(|error| library.troubles.say(error))?;
            let made = Instant::now();
            *latest = Some(CachedCatalogue { made, on_air, entries: entries.clone() });
            Ok::<_, Error>(entries)
        });
        let entries = finished(walk.await)?;
        self.forget_catalogue_later();
        Ok(entries)
    }

    /// What has been read so far, and what waits.
    pub fn counters(&self) -> MediaCounters {
        self.place.as_ref().map(|place| place.counters()).unwrap_or_default()
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

    /// The titles that are broadcasts, or will be.
    fn live(&self) -> impl Iterator<Item = &Broadcaster> {
        self.live.iter().map(AsRef::as_ref).filter(|live: &&Broadcaster| live.is_there())
    }

    /// Whether a broadcast of this title may begin.
    pub fn may_broadcast(&self, title: &str) -> bool {
        self.live_title(title).is_some_and(Broadcaster::goes_on)
    }

    fn live_title(&self, title: &str) -> Option<&Broadcaster> {
        self.live().find(|live| live.title() == title)
    }

    /// What of each broadcast makes the catalogue another: its size, and when it began.
    fn on_air(&self) -> Vec<(Option<u64>, Option<u64>)> {
        let entries = self.live().filter_map(Broadcaster::entry);
        entries.map(|entry| (entry.size, entry.modified)).collect()
    }

    /// The title that is no file; without a title, the only one where there are no files.
    fn source(&self, title: Option<&str>) -> Option<&Found<Arc<dyn Source>>> {
        match (title, &*self.sources) {
            (Some(title), sources) => sources.iter().find(|found| found.title == title),
            (None, [only]) if self.place.is_none() => Some(only),
            _ => None,
        }
    }

    async fn open_in_place(self: &Arc<Self>, wanted: Wanted, bitrate: u32) -> Result<Media, Error> {
        let place = self.place.clone().ok_or(Error::NoSuchTitle)?;
        // While something is looked for, nobody else reads a directory.
        let turn = match wanted {
            Wanted::Title(_) => None,
            Wanted::Only | Wanted::First => Some(self.catalogue.clone().lock_owned().await),
        };
        let library = self.clone();
        let search = tokio::spawn(async move {
            let found = place.open(wanted, bitrate).await;
            drop(turn);
            found.inspect_err(|error| library.troubles.say(error))
        });
        finished(search.await).map(Media::new)
    }

    /// The catalogue as it is now.
    async fn entries(&self) -> Result<Arc<[Entry]>, Error> {
        let sources = self.sources.iter().cloned();
        let mut entries: Vec<_> =
            sources.map(|found| found.entry(|source| (source.len(), source.modified()))).collect();
        entries.extend(self.live().filter_map(Broadcaster::entry));
        if let Some(place) = self.place.clone() {
            // A recording goes by the broadcast's title.
            let found = place.catalogue().await?.into_iter();
            entries.extend(found.filter(|entry| self.live_title(&entry.title).is_none()));
        }
        // On a thread where it makes nobody wait.
        Ok(blocking(move || {
            entries.sort_unstable_by(|a, b| a.title.cmp(&b.title));
            entries.into()
        })
        .await)
    }
}

/// Files where `path` is that of one or of a directory, objects where it is the URL of a bucket.
fn place_at(
    path: &Path,
    #[cfg_attr(not(feature = "object-store"), expect(unused_variables))] cache: u64,
    blocks: &Arc<Cache>,
) -> Result<Arc<dyn Place>, Error> {
    match path.to_str().filter(|path| STORES.iter().any(|store| path.starts_with(store))) {
        None => Ok(Arc::new(FilePlace::at(path, blocks.clone())?)),
        #[cfg(feature = "object-store")]
        Some(url) => Ok(Arc::new(super::object::ObjectPlace::at(url, cache)?)),
        #[cfg(not(feature = "object-store"))]
        Some(url) => Err(Error::NoObjectStore(url.to_owned())),
    }
}

/// A catalogue, and when it was made.
#[derive(Debug)]
struct CachedCatalogue {
    made: Instant,
    on_air: Vec<(Option<u64>, Option<u64>)>,
    entries: Arc<[Entry]>,
}
