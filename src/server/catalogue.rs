//! The catalogue on its way to a client.

use std::sync::Arc;

use crate::media::Entry;
use crate::protocol::{Options, Pdu};

/// How many titles go into one LIST_REPLY: a full one stays below 16 KiB with usual names.
const TITLES_PER_REPLY: usize = 100;

/// The replies to a LIST that have not been sent yet.
pub(super) struct CatalogueReplies {
    titles: Arc<[Entry]>,
    sent: usize,
}

impl CatalogueReplies {
    pub(super) fn new(titles: Arc<[Entry]>) -> Self {
        Self { titles, sent: 0 }
    }

    /// Returns the next LIST_REPLY, and whether more follow.
    pub(super) fn next(&mut self) -> (Pdu, bool) {
        let left = self.titles.get(self.sent..).unwrap_or_default();
        let more = left.len() > TITLES_PER_REPLY;
        let entries: Vec<_> = left.iter().take(TITLES_PER_REPLY).map(options).collect();
        self.sent += entries.len();
        (Pdu::ListReply { entries, more }, more)
    }
}

fn options(entry: &Entry) -> Options {
    Options {
        title: Some(entry.title.clone()),
        total_size: entry.size,
        live: entry.size.is_none(),
        media_type: Some(entry.media_type.to_owned()),
        bitrate: entry.bitrate,
        modified: entry.modified,
        ..Options::default()
    }
}
