//! From the title that a client asks for to what a session streams.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_cache::sync::Cache as Bounded;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::digest::{DigestState, Digester};
use super::file::File;
use super::identity::FileIdentity;
use super::root::Root;
use super::trouble::Troubles;
use super::validators::Validators;
use super::{Cache, Digest, Entry, Error, Found, Media, Source, blocking};

/// For how long a catalogue that is still in use is good for others, too.
const FRESH: Duration = Duration::from_secs(1);

/// For how long a catalogue is kept that nobody waited for any more when it was made.
const KEPT: Duration = Duration::from_secs(5);

/// Descriptors that no media takes, so that a catalogue can be made however many titles are open:
/// a walk needs two, and more where the system does not resolve its paths for it.
const SPARE: u64 = 5;

/// Files that are known to be open, and so are opened only once. Past that some may be open
/// twice, which costs a descriptor and nothing else.
const OPEN: usize = 4096;

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
    root: Root,
    cache: Arc<Cache>,
    open: Bounded<FileIdentity, Weak<File>>,
    digester: Digester,
    validators: Validators,
    catalogue: Arc<Mutex<Option<Listing>>>,
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
        let cache = Arc::new(Cache::new(cache));
        Ok(Self {
            root: Root::at(path)?,
            open: Bounded::new(OPEN),
            digester: Digester::new(cache.clone()),
            validators: Validators::new(),
            cache,
            catalogue: Arc::default(),
            troubles: Troubles::default(),
        })
    }

    /// The same, which keeps the digests that it knows in the file at `path`, so that they are
    /// known after a restart, too. Where that cannot be read or written, they are computed anew.
    pub fn keeping_digests(self, path: &Path) -> Self {
        self.digester.keep_at(path);
        self
    }

    /// What people call it: its path, or "the sample clip".
    pub fn name(&self) -> String {
        self.root.name()
    }

    /// The title, unless this is a directory and may have any number.
    pub fn only_title(&self) -> Option<String> {
        self.root.only_title().map(str::to_owned)
    }

    /// Opens a title, or the only one there is. Of one in several bitrates, it opens the highest
    /// that is not over `bitrate` (in bit/s), or else the lowest.
    ///
    /// # Errors
    /// [`Error::NoSuchTitle`], whatever the reason; [`Error::TitleNeeded`] or [`Error::NoMedia`]
    /// where none is named; [`Error::Io`] where the server is in trouble, which is in the log then.
    pub async fn open(self: &Arc<Self>, title: Option<&str>, bitrate: u32) -> Result<Media, Error> {
        let title = title.map(str::to_owned);
        self.open_with(move |root| match title {
            Some(title) => root.open(&title, bitrate),
            None => root.open_only(bitrate),
        })
        .await
    }

    /// Opens what a client of version 1 gets, which cannot name a title: the only one, or of a
    /// directory the first by name that is audio or video, without what is in subdirectories.
    ///
    /// # Errors
    /// As [`Library::open`] has them.
    pub async fn open_first(self: &Arc<Self>, bitrate: u32) -> Result<Media, Error> {
        self.open_with(move |root| root.open_first(bitrate)).await
    }

    /// Sees to it that `media`, which was opened here, gets its digest.
    pub fn request_digest(&self, media: &Media) {
        if let Some(file) = media.found.source.file() {
            self.digester.request(file);
        }
    }

    /// The digest of `media`, which was opened here. It is computed although `media` may be
    /// dropped, if somebody asks again within a few seconds.
    pub fn resolve_digest(&self, media: &Media) -> DigestState {
        match &media.found.source {
            Source::Memory(_, digest) => DigestState::Known(*digest),
            Source::File(file) => self.digester.resolve(file),
        }
    }

    /// The digest of `media`, which was opened here, if it is known now.
    pub fn known_digest(&self, media: &Media) -> Option<Digest> {
        let known = |file: &Arc<File>| self.digester.known(file.identity());
        media.digest().or_else(|| media.found.source.file().and_then(known))
    }

    /// The digest of what `title` was when it had this validator, if that was here and is known.
    pub fn digest_behind(&self, title: &str, validator: &[u8]) -> Option<Digest> {
        self.digester.known(self.validators.state(title, validator)?)
    }

    /// All that can be opened now, sorted by title. This opens every file once: for 100,000 it
    /// takes about 0.6 s of one thread, which is not the caller's, and 12 MiB.
    ///
    /// There is one walk at a time, and who asks while another's catalogue is fresh and still in
    /// use gets the same: many that ask at once multiply neither the work nor the memory. One that
    /// nobody waited for to its end is kept for the next, for a few seconds.
    ///
    /// # Errors
    /// The directory cannot be read to its end, or the server is in trouble; that is in the log
    /// then. What is wrong with a single title only leaves it out.
    pub async fn catalogue(self: &Arc<Self>) -> Result<Arc<[Entry]>, Error> {
        let mut latest = self.catalogue.clone().lock_owned().await;
        if let Some(entries) = latest.as_mut().and_then(Listing::claim) {
            return Ok(entries);
        }
        let library = self.clone();
        // The lock goes with the walk: who stops waiting for one does not make room for the next.
        let (mut latest, entries) = blocking(move || {
            let entries =
                library.root.catalogue().inspect_err(|error| library.troubles.say(error))?;
            let entries: Arc<[Entry]> = entries.into();
            *latest = Some(Listing::new(&entries));
            library.forget_unclaimed();
            Ok((latest, entries))
        })
        .await?;
        if let Some(listing) = &mut *latest {
            listing.unclaimed = None;
        }
        Ok(entries)
    }

    /// Drops what nobody has claimed when its time is over.
    fn forget_unclaimed(&self) {
        let catalogue = Arc::downgrade(&self.catalogue);
        Handle::current().spawn(async move {
            sleep(KEPT).await;
            if let Some(catalogue) = catalogue.upgrade()
                && let Some(listing) = &mut *catalogue.lock().await
                && listing.made.elapsed() >= KEPT
            {
                listing.unclaimed = None;
            }
        });
    }

    async fn open_with(
        self: &Arc<Self>,
        open: impl FnOnce(&Root) -> Result<Found, Error> + Send + 'static,
    ) -> Result<Media, Error> {
        let library = self.clone();
        blocking(move || {
            let media = open(&library.root).and_then(|found| library.media(found));
            media.inspect_err(|error| library.troubles.say(error))
        })
        .await
    }

    fn media(&self, mut found: Found) -> Result<Media, Error> {
        let validator = match &mut found.source {
            Source::Memory(_, digest) => Bytes::copy_from_slice(digest),
            Source::File(file) => {
                let shared = self.share(file);
                if Arc::ptr_eq(&shared, file) && !leaves_spare_descriptors(file) {
                    return Err(file.error(Errno::MFILE.into()));
                }
                *file = shared;
                self.validator(&found.title, file.identity())
            }
        };
        Ok(Media::new(found, validator, self.cache.clone()))
    }

    fn validator(&self, title: &str, identity: FileIdentity) -> Bytes {
        self.validators.assign(title, identity, |other| {
            let known = self.digester.known(identity);
            known.is_some() && known == self.digester.known(other)
        })
    }

    /// The file that is open already, if it is in the same state, so that all sessions share one
    /// descriptor and one digest. Where that has none, or not a good one, a new one is another try.
    fn share(&self, file: &Arc<File>) -> Arc<File> {
        let identity = file.identity();
        let open = self.open.get(&identity).and_then(|open| open.upgrade());
        if let Some(open) = open.filter(|open| !open.needs_new_digest()) {
            return open;
        }
        self.open.insert(identity, Arc::downgrade(file));
        file.clone()
    }
}

/// Whether there are enough descriptors left beside that of a file that was opened just now: it
/// has the lowest number that was free.
fn leaves_spare_descriptors(file: &File) -> bool {
    let number = u64::try_from(file.descriptor()).unwrap_or_default();
    getrlimit(Resource::Nofile).current.is_none_or(|limit| number + SPARE < limit)
}

/// A catalogue that somebody may still have.
#[derive(Debug)]
struct Listing {
    made: Instant,
    entries: Weak<[Entry]>,
    /// Until those who asked for it have it.
    unclaimed: Option<Arc<[Entry]>>,
}

impl Listing {
    fn new(entries: &Arc<[Entry]>) -> Self {
        let unclaimed = Some(entries.clone());
        Self { made: Instant::now(), entries: Arc::downgrade(entries), unclaimed }
    }

    /// The catalogue, if it is good for one more.
    fn claim(&mut self) -> Option<Arc<[Entry]>> {
        let age = self.made.elapsed();
        let unclaimed = self.unclaimed.take().filter(|_| age < KEPT);
        unclaimed.or_else(|| self.entries.upgrade().filter(|_| age < FRESH))
    }
}
