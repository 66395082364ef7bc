//! What the operator chose to serve of a bucket, and what is open of it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};

use object_store::GetResult;
use object_store::path::Path;
use quick_cache::sync::Cache as Bounded;
use tokio::sync::OnceCell;
use tracing::warn;

use super::blocks::Blocks;
use super::digester::Digester;
use super::digests;
use super::failure::Failure;
use super::listing::{self, MOST_TITLES, Pages, Titles};
use super::shape::{Named, Shape};
use super::source::ObjectSource;
use super::state::ObjectState;
use super::store::Store;
use crate::media::cache::SourceId;
use crate::media::place::{Place, Wanted};
use crate::media::source::{Pending, Source};
use crate::media::trouble::LeftOut;
use crate::media::{Entry, Error, Found, MediaCounters, finished, title};

/// Objects that are known to be open, and so have their digest looked for only once.
const MAX_KNOWN_OPEN: usize = 4096;

type Opened = Found<Arc<dyn Source>>;

/// Every object beneath a prefix is a title: its key without that. An object that the operator named
/// is the only one.
///
/// As with a directory nothing is indexed: what is in the bucket when a session asks is what it
/// gets. What a file name may not be, a key may not be either.
#[derive(Debug)]
pub(in crate::media) struct ObjectPlace {
    /// Of the prefix, without a `/` at its end, or of the object.
    url: String,
    named: Named,
    /// What that is, once the store has said so.
    shape: OnceCell<Shape>,
    store: Arc<Store>,
    blocks: Arc<Blocks>,
    open: Bounded<SourceId, Weak<ObjectState>>,
    digester: Arc<Digester>,
    /// Why it could not be listed at the start.
    doubt: Option<Error>,
    left_out: LeftOut,
    /// That the list is cut has been said.
    is_cut: AtomicBool,
}

impl ObjectPlace {
    /// The bucket and prefix of `url`; `cache` is the most that is kept of it in memory, in bytes.
    /// Waits for the store to say that the bucket is there.
    ///
    /// # Errors
    /// It says that there is none, or the URL or the environment is wrong.
    pub(in crate::media) fn at(url: &str, cache: u64) -> Result<Self, Error> {
        let named = Named::by(url);
        let url = url.trim_end_matches('/');
        let io_error = |source| Error::Io { path: PathBuf::from(url), source };
        let named = named.map_err(io_error)?;
        let store = Arc::new(Store::of(url).map_err(io_error)?);
        let place = Self {
            url: url.to_owned(),
            named,
            shape: OnceCell::new(),
            digester: Arc::new(Digester::new(store.clone())),
            store,
            blocks: Arc::new(Blocks::new(cache)),
            open: Bounded::new(MAX_KNOWN_OPEN),
            doubt: None,
            left_out: LeftOut::default(),
            is_cut: AtomicBool::new(false),
        };
        match place.probe() {
            Ok(shape) => Ok(Self { shape: OnceCell::new_with(Some(shape)), ..place }),
            // The crate does not tell it apart from what may pass.
            Err(Failure::Trouble(words)) if words.contains("404 Not Found") => {
                Err(io_error(io::Error::other("there is no such bucket")))
            }
            Err(failure) => Ok(Self { doubt: Some(failure.at(url)), ..place }),
        }
    }

    /// Asks what there is, and blocks until the answer is there.
    fn probe(&self) -> Result<Shape, Failure> {
        let (store, named) = (self.store.clone(), self.named.clone());
        let (answer, answered) = mpsc::channel();
        let look = async move {
            let shape = named.look(&store).await?;
            if shape.only.is_none() {
                Pages::beneath(&store, shape.prefix.clone()).next().await?;
            }
            Ok(shape)
        };
        drop(self.store.spawn(async move { answer.send(look.await) }));
        answered.recv().unwrap_or_else(|_| Err(Failure::trouble("no answer")))
    }

    /// What the operator's URL names. The store is asked until it has said so once.
    async fn shape(&self) -> Result<&Shape, Error> {
        let shape = self.shape.get_or_try_init(|| self.named.look(&self.store)).await;
        shape.map_err(|failure| self.refusal(failure))
    }

    async fn find(&self, wanted: Wanted, limit: u32) -> Result<Opened, Error> {
        let Shape { prefix, only } = self.shape().await?;
        match (wanted, only) {
            (Wanted::Title(title), Some(only)) if title != *only => Err(Error::NoSuchTitle),
            (_, Some(only)) => match self.source(prefix, only).await {
                Ok(source) => Ok(Found::new(only, only, None, source)),
                Err(failure) => Err(self.refusal(failure)),
            },
            (Wanted::Title(title), None) => self.find_title(prefix, &title, limit).await,
            (Wanted::Only, None) => self.find_only(prefix, limit).await,
            (Wanted::First, None) => self.find_first(prefix, limit).await,
        }
    }

    async fn find_title(&self, prefix: &str, title: &str, limit: u32) -> Result<Opened, Error> {
        if !title::is_title(title) || digests::is_sidecar(title) {
            return Err(Error::NoSuchTitle);
        }
        match self.source(prefix, title).await {
            Ok(source) => Ok(Found::new(title, title, None, source)),
            Err(Failure::Absent) if title::is_renditions(title) => {
                self.find_rendition(prefix, title, limit).await
            }
            Err(failure) => Err(self.refusal(failure)),
        }
    }

    /// Opens the best object of `title` for `limit`: the highest that is not over it, else the
    /// lowest.
    async fn find_rendition(&self, prefix: &str, title: &str, limit: u32) -> Result<Opened, Error> {
        let folder = format!("{prefix}{title}/");
        let mut pages = Pages::within(&self.store, folder.clone());
        let mut best: Option<(bool, u32, u32, String)> = None;
        while let Some(page) = pages.next().await.map_err(|failure| self.refusal(failure))? {
            for object in page.objects {
                let Some(name) = object.location.as_ref().strip_prefix(&folder) else { continue };
                let Some(bitrate) = title::bitrate(name) else { continue };
                let it = (bitrate > limit, bitrate.abs_diff(limit), bitrate, name.to_owned());
                best = Some(best.map_or_else(|| it.clone(), |best| best.min(it.clone())));
            }
        }
        let (_, _, bitrate, name) = best.ok_or(Error::NoSuchTitle)?;
        let source = self.source(prefix, &format!("{title}/{name}")).await;
        let source = source.map_err(|failure| self.refusal(failure))?;
        Ok(Found::new(title, &name, Some(bitrate), source))
    }

    /// Opens the only title there is. The search ends as soon as there are two.
    async fn find_only(&self, prefix: &str, limit: u32) -> Result<Opened, Error> {
        let titles = self.list(prefix, 2).await.map_err(|failure| self.refusal(failure))?;
        let mut entries = titles.into_entries();
        match (entries.pop(), entries.pop()) {
            (None, _) => Err(Error::NoMedia(PathBuf::from(&self.url))),
            (Some(only), None) => self.find_title(prefix, &only.title, limit).await,
            _ => Err(Error::TitleNeeded),
        }
    }

    /// Opens the first by name, without what is in folders, of the titles that are audio or video.
    async fn find_first(&self, prefix: &str, limit: u32) -> Result<Opened, Error> {
        let mut pages = Pages::within(&self.store, prefix.to_owned());
        while let Some(page) = pages.next().await.map_err(|failure| self.refusal(failure))? {
            let objects = page.objects.iter().filter(|object| object.size > 0);
            let objects = objects.filter_map(|object| path_of(&object.location, prefix));
            let objects = objects.filter(|name| title::is_playable(title::media_type(name)));
            let folders = page.common_prefixes.iter().filter_map(|folder| path_of(folder, prefix));
            let folders = folders.filter(|name| title::is_renditions(name));
            let mut names: Vec<_> = objects.chain(folders).collect();
            names.sort_unstable();
            for name in names {
                match self.find_title(prefix, name, limit).await {
                    Ok(found) if title::is_playable(found.media_type) => return Ok(found),
                    Ok(_) | Err(Error::NoSuchTitle) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Err(Error::NoMedia(PathBuf::from(&self.url)))
    }

    /// Lists titles until there are `enough`.
    async fn list(&self, prefix: &str, enough: usize) -> Result<Titles, Failure> {
        let mut titles = Titles::default();
        let mut pages = Pages::beneath(&self.store, prefix.to_owned());
        while let Some(page) = pages.next().await? {
            for object in &page.objects {
                let Some(path) = path_of(&object.location, prefix) else { continue };
                if path.len() > title::LONGEST {
                    let why = format_args!("it has more than {} bytes", title::LONGEST);
                    self.left_out.say(object.location.as_ref().as_ref(), why);
                }
                titles.add(path, object);
                if titles.len() >= enough {
                    return Ok(titles);
                }
            }
        }
        Ok(titles)
    }

    /// The entries of a catalogue.
    async fn entries(&self) -> Result<Vec<Entry>, Error> {
        let Shape { prefix, only } = self.shape().await?;
        if let Some(only) = only {
            return match self.store.head(&self.named.path).await {
                Ok(object) => Ok(vec![listing::entry(only, only, None, &object.meta)]),
                Err(Failure::Absent) => Ok(Vec::new()),
                Err(failure) => Err(failure.at(&self.url)),
            };
        }
        let titles = self.list(prefix, MOST_TITLES).await;
        let titles = titles.map_err(|failure| failure.at(&self.url))?;
        if titles.len() >= MOST_TITLES && !self.is_cut.swap(true, Ordering::Relaxed) {
            warn!("the list has the first {MOST_TITLES} titles; others are found by name");
        }
        Ok(titles.into_entries())
    }

    /// Opens an object. All sessions share what is known of one state.
    async fn source(&self, prefix: &str, path: &str) -> Result<Arc<dyn Source>, Failure> {
        let key = Path::parse(format!("{prefix}{path}")).map_err(|_| Failure::Absent)?;
        let GetResult { meta, attributes, .. } = self.store.head(&key).await?;
        let url = match self.only_title() {
            Some(_) => self.url.clone(),
            None => format!("{}/{path}", self.url),
        };
        let state = Arc::new(ObjectState::new(meta, url)?);
        let id = state.id();
        let state = match self.open.get(&id).and_then(|open| open.upgrade()) {
            Some(open) => open,
            None => {
                self.open.insert(id, Arc::downgrade(&state));
                self.digester.look_up(&state, &attributes).await;
                state
            }
        };
        Ok(Arc::new(ObjectSource::new(state, self.store.clone(), self.blocks.clone())))
    }

    /// What is not there is no title; whatever else is wrong is a trouble that may pass.
    fn refusal(&self, failure: Failure) -> Error {
        match failure {
            Failure::Absent => Error::NoSuchTitle,
            failure => failure.at(&self.url),
        }
    }
}

impl Place for ObjectPlace {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn only_title(&self) -> Option<&str> {
        self.shape.get()?.only.as_deref()
    }

    fn open(
        self: Arc<Self>,
        wanted: Wanted,
        limit: u32,
    ) -> Pending<'static, Result<Opened, Error>> {
        let place = self.clone();
        let search = self.store.spawn(async move { place.find(wanted, limit).await });
        Box::pin(async { finished(search.await) })
    }

    fn catalogue(self: Arc<Self>) -> Pending<'static, Result<Vec<Entry>, Error>> {
        let place = self.clone();
        let walk = self.store.spawn(async move { place.entries().await });
        Box::pin(async { finished(walk.await) })
    }

    fn counters(&self) -> MediaCounters {
        let (hits, misses, bytes) = self.blocks.counts();
        MediaCounters { hits, misses, bytes, digest_queue: self.digester.queued() }
    }

    fn doubt(&self) -> Option<&Error> {
        self.doubt.as_ref()
    }

    fn store_digests(&self) {
        self.digester.store_digests();
    }
}

/// What is left of a key without the prefix.
fn path_of<'a>(key: &'a Path, prefix: &str) -> Option<&'a str> {
    key.as_ref().strip_prefix(prefix)
}
