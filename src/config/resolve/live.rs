//! Which broadcasts there are.

use std::collections::BTreeSet;

use crate::config::settings::Layer;
use crate::config::value::List;
use crate::config::{Error, LiveConfig, Notice};

/// The broadcasts. No two have the same title, only one comes from stdin, and each can have a file
/// of its own to be recorded to.
pub(super) fn live(layer: &Layer, notices: &mut Vec<Notice>) -> Result<LiveConfig, Error> {
    let live = layer.server.live.clone().map(List::into_vec).unwrap_or_default();
    let broadcasts: Vec<_> = live.into_iter().map(|live| (live.title, live.path)).collect();
    let titles: BTreeSet<_> = broadcasts.iter().map(|(title, _)| title).collect();
    if titles.len() < broadcasts.len() {
        return Err(Error::LiveTwice("have the same title: each needs its own"));
    }
    if broadcasts.iter().filter(|(_, path)| path.is_none()).count() > 1 {
        return Err(Error::LiveTwice("come from stdin: all but one need a FIFO, NAME=FIFO"));
    }
    let (window, linger) = (setting!(layer.server.live_window), setting!(layer.server.live_linger));
    let record = layer.server.record.clone();
    if record.is_some() {
        let is_folder = |title: &&String| {
            titles.range(format!("{title}/")..).next().is_some_and(|next| {
                next.strip_prefix(title.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
        };
        if titles.iter().copied().any(|title| is_folder(&title)) {
            return Err(Error::LiveTwice(
                "cannot be recorded: one's title is a folder of the other's",
            ));
        }
        if broadcasts.is_empty() {
            notices.push(Notice::NothingToRecord);
        }
    }
    Ok(LiveConfig { broadcasts, window: window.get(), linger: linger.get(), record })
}
