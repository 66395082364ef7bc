//! A file, or a directory of files, as titles.

use std::path::Path;
use std::sync::Arc;

use super::file_source::Files;
use super::place::{Place, Wanted};
use super::root::Root;
use super::source::{Pending, Source};
use super::{Cache, Entry, Error, Found, MediaCounters, blocking};
use crate::protocol::Digest;

/// What the operator chose to serve, and what is open of it.
#[derive(Debug)]
pub(super) struct FilePlace {
    root: Root,
    files: Files,
}

impl FilePlace {
    /// What is at `path`, whose blocks are kept in `cache`.
    pub(super) fn at(path: &Path, cache: Arc<Cache>) -> Result<Self, Error> {
        Ok(Self { root: Root::at(path)?, files: Files::new(cache) })
    }
}

impl Place for FilePlace {
    fn name(&self) -> String {
        self.root.name()
    }

    fn only_title(&self) -> Option<&str> {
        self.root.only_title()
    }

    fn open(
        self: Arc<Self>,
        wanted: Wanted,
        limit: u32,
    ) -> Pending<'static, Result<Found<Arc<dyn Source>>, Error>> {
        Box::pin(blocking(move || {
            let found = match wanted {
                Wanted::Title(title) => self.root.open(&title, limit),
                Wanted::Only => self.root.open_only(limit),
                Wanted::First => self.root.open_first(limit),
            };
            self.files.source(found?)
        }))
    }

    fn catalogue(self: Arc<Self>) -> Pending<'static, Result<Vec<Entry>, Error>> {
        Box::pin(blocking(move || self.root.catalogue()))
    }

    fn counters(&self) -> MediaCounters {
        self.files.counters()
    }

    fn digest_behind(&self, title: &str, validator: &[u8]) -> Option<Digest> {
        self.files.digest_behind(title, validator)
    }

    fn keep_digests(&self, path: &Path) {
        self.files.digester.keep_at(path);
    }
}
