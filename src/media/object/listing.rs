//! The titles beneath a prefix of a bucket.

use std::borrow::Cow;
use std::collections::HashMap;

use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};
use tracing::debug;

use super::digests;
use super::failure::Failure;
use super::store::Store;
use crate::media::{Entry, Found, title};

/// Keys in a page: what all stores give at most.
const PAGE: usize = 1000;

/// How often keys are passed over that `object_store` cannot name: each time costs some 20 requests.
const MOST_ODD: usize = 100;

/// Titles in a list, at most: some 12 MiB, and a hundred requests.
pub(super) const MOST_TITLES: usize = 100_000;

/// Reads keys page by page.
pub(super) struct Pages<'a> {
    store: &'a Store,
    prefix: String,
    /// Whether what is in deeper folders is left out, and only the folders are named.
    is_flat: bool,
    token: Option<String>,
    /// The last key of all pages so far.
    last: Option<String>,
    /// Keys to ask for.
    size: usize,
    odd: usize,
    is_over: bool,
}

impl<'a> Pages<'a> {
    /// All keys that begin with `prefix`.
    pub(super) fn beneath(store: &'a Store, prefix: String) -> Self {
        let (token, last) = (None, None);
        Self { store, prefix, is_flat: false, token, last, size: PAGE, odd: 0, is_over: false }
    }

    /// Without those that have a `/` after `prefix`: what comes before that is named instead.
    pub(super) fn within(store: &'a Store, prefix: String) -> Self {
        Self { is_flat: true, ..Self::beneath(store, prefix) }
    }

    /// Returns the next page, and `None` after the last.
    ///
    /// What `object_store` cannot name, such as `a//b`, makes it refuse the whole page. So that one
    /// such key does not hide the others, pages become smaller until it is alone, and go on after
    /// all that begin like it.
    pub(super) async fn next(&mut self) -> Result<Option<ListResult>, Failure> {
        while !self.is_over {
            let options = PaginatedListOptions {
                offset: self.last.clone().filter(|_| self.token.is_none()),
                delimiter: self.is_flat.then_some(Cow::Borrowed("/")),
                max_keys: Some(self.size),
                page_token: self.token.take(),
                ..PaginatedListOptions::default()
            };
            match self.store.page(&self.prefix, options).await {
                Ok(page) => {
                    self.token = page.page_token;
                    self.is_over = self.token.is_none();
                    self.size = (2 * self.size).min(PAGE);
                    let last = page.result.objects.iter().map(|object| &object.location);
                    let last = last.chain(&page.result.common_prefixes).max();
                    self.last = last.map(ToString::to_string).or(self.last.take());
                    return Ok(Some(page.result));
                }
                Err(Failure::OddKey(_)) if self.size > 1 => self.size /= 2,
                Err(Failure::OddKey(key)) if self.odd < MOST_ODD => {
                    self.odd += 1;
                    let odd = odd_beginning(&key);
                    debug!(key = odd, "what begins like this is no title");
                    self.last = Some(format!("{odd}{}", char::MAX));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }
}

/// The shortest beginning of a key that cannot be named. No key that begins so is a title: it has an
/// empty, hidden or special part.
pub(super) fn odd_beginning(key: &str) -> &str {
    let ends = key.char_indices().map(|(at, c)| at + c.len_utf8());
    let mut beginnings = ends.filter_map(|end| key.get(..end));
    beginnings.find(|beginning| Path::parse(beginning).is_err()).unwrap_or(key)
}

/// The entry of an object in a catalogue.
pub(super) fn entry(title: &str, name: &str, bitrate: Option<u32>, object: &ObjectMeta) -> Entry {
    let modified = u64::try_from(object.last_modified.timestamp_millis()).ok();
    Found::new(title, name, bitrate, ()).entry(|()| (Some(object.size), modified))
}

/// Titles of one listing.
#[derive(Debug, Default)]
pub(super) struct Titles {
    single: Vec<Entry>,
    /// Those that come in several bitrates: the highest, and the size of that.
    several: HashMap<String, (u32, Entry)>,
}

impl Titles {
    /// Takes what can be a title. An empty object is none: consoles make them for folders.
    pub(super) fn add(&mut self, path: &str, object: &ObjectMeta) {
        if digests::is_sidecar(path) || object.size == 0 {
            return;
        }
        if title::is_title(path) {
            self.single.push(entry(path, path, None, object));
            return;
        }
        let Some((folder, name)) = path.rsplit_once('/') else { return };
        let Some(bitrate) = title::bitrate(name) else { return };
        if !title::is_renditions(folder) || !title::is_title(folder) {
            return;
        }
        let found = (bitrate, entry(folder, name, Some(bitrate), object));
        match self.several.get_mut(folder) {
            Some(best) if best.0 >= bitrate => {}
            Some(best) => *best = found,
            None => _ = self.several.insert(folder.to_owned(), found),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.single.len() + self.several.len()
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        let mut entries = self.single;
        entries.extend(self.several.into_values().map(|(_, entry)| entry));
        entries
    }
}
