//! Events as JSON, one object a line, for programs.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::timestamp;

/// Events of the UI itself. The names and the order of the keys are a contract with scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum OwnEvent<'a> {
    /// So many events were dropped, because the output was read too slowly.
    Lost {
        events: u64,
    },
    Error(&'a Failure),
}

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// What went wrong and what to do next; may have several lines.
    pub(crate) message: String,
    /// The exit code that follows from it.
    pub(crate) exit: u8,
}

/// Returns the line for an event that happened a moment ago.
///
/// # Errors
/// The event is not for programs: serde skips it.
pub(super) fn line(
    start: Instant,
    at: Instant,
    event: &impl Serialize,
) -> serde_json::Result<String> {
    let time = timestamp::to_the_millisecond(timestamp::of(at));
    stamped(at.saturating_duration_since(start), time, event)
}

fn stamped(
    since_start: Duration,
    time: String,
    event: &impl Serialize,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Stamped<'a, E> {
        /// Seconds, to the millisecond.
        t: f64,
        time: String,
        #[serde(flatten)]
        event: &'a E,
    }
    let t = since_start.as_millis() as f64 / 1000.0;
    serde_json::to_string(&Stamped { t, time, event })
}

#[cfg(test)]
mod tests;
