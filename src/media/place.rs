//! Where the titles of a library are, whatever stands behind them.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use super::source::{Pending, Source};
use super::{Entry, Error, Found, MediaCounters};
use crate::protocol::Digest;

/// What to open of a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This title.
    Title(String),
    /// The only title there is.
    Only,
    /// What a client gets that cannot name a title: the only one, or the first by name that is
    /// audio or video, without what is in subdirectories.
    First,
}

/// Titles that are looked up when they are asked for: files, or objects.
///
/// The futures belong inside a runtime. What they began ends by itself when they are dropped.
pub(super) trait Place: Debug + Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// The title, where there can be no other.
    fn only_title(&self) -> Option<&str>;

    /// Opens a title; where it comes in several bitrates, the best for `limit`, in bit/s.
    fn open(
        self: Arc<Self>,
        wanted: Wanted,
        limit: u32,
    ) -> Pending<'static, Result<Found<Arc<dyn Source>>, Error>>;

    /// All titles, in no order. Those in trouble are left out.
    fn catalogue(self: Arc<Self>) -> Pending<'static, Result<Vec<Entry>, Error>>;

    /// What has been read so far, and what waits.
    fn counters(&self) -> MediaCounters;

    /// The digest of what `title` was when it had this validator, if that was here and is known.
    fn digest_behind(&self, _title: &str, _validator: &[u8]) -> Option<Digest> {
        None
    }

    /// Keeps the digests that are computed in the file at `path`.
    fn keep_digests(&self, _path: &Path) {}

    /// What was wrong with it at the start, and may pass.
    fn doubt(&self) -> Option<&Error> {
        None
    }

    /// Computes the digests of objects and stores them beside these.
    fn store_digests(&self) {}
}
