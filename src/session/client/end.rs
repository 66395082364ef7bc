//! How a session comes to its end.

use std::time::Duration;

use super::Discontinuity;
use crate::protocol::{CloseReason, Error, NackCode, Options};

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The server said that the media is complete.
    #[error("complete")]
    Complete,
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
    /// The server refused.
    #[error("the server refused the session: {}", describe(*code, reason.as_deref()))]
    Refused {
        /// The code of OPEN_NACK.
        code: u16,
        /// What the server says about it.
        reason: Option<String>,
        /// When to try again, if it makes sense.
        retry_after: Option<Duration>,
        /// Other servers that have the same titles: HOST:PORT, separated by commas.
        retry_with: Option<String>,
        /// The first byte that is kept of a broadcast.
        oldest: Option<u64>,
    },
    /// The server closed the session before the media was complete.
    #[error("the server closed the session: {reason}{}", in_words(text.as_deref()))]
    Closed {
        /// Why.
        reason: CloseReason,
        /// What the server says about it.
        text: Option<String>,
        /// When to try again, if it makes sense.
        retry_after: Option<Duration>,
        /// Other servers that have the same titles: HOST:PORT, separated by commas.
        retry_with: Option<String>,
    },
    /// The server did not answer OPEN_STREAM in time.
    #[error("the server did not answer OPEN_STREAM within {} s", seconds(*.0))]
    NoAnswer(Duration),
    /// The server is there and sends no chunks.
    #[error("the server stalled: no chunk for {} s", seconds(*.0))]
    Stalled(Duration),
    /// The server has gone silent.
    #[error("the server has been silent for {} s", seconds(*.0))]
    Timeout(Duration),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(Error),
    /// The server does not go on with what was begun, or ends it elsewhere than it announced.
    #[error(transparent)]
    Discontinuity(#[from] Discontinuity),
    /// The stream ended without CLOSE_STREAM.
    #[error("the stream was cut: it ended without CLOSE_STREAM")]
    Cut,
}

impl End {
    pub(crate) fn refused(code: u16, options: Options) -> Self {
        let retry_after = retry_after(&options);
        let Options { reason, retry_with, oldest, .. } = options;
        Self::Refused { code, reason, retry_after, retry_with, oldest }
    }

    pub(super) fn closed(reason: CloseReason, options: Options) -> Self {
        let retry_after = retry_after(&options);
        let Options { reason: text, retry_with, .. } = options;
        Self::Closed { reason, text, retry_after, retry_with }
    }

    /// Whether the server did not keep to the protocol, or to its word.
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Violation(_) | Self::Discontinuity(_))
    }

    /// How long the server wants to be left alone, if it said.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Closed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Other servers to try instead, if it named any.
    pub fn retry_with(&self) -> Option<&str> {
        match self {
            Self::Refused { retry_with, .. } | Self::Closed { retry_with, .. } => {
                retry_with.as_deref()
            }
            _ => None,
        }
    }
}

/// Seconds to a tenth; less than one to a thousandth.
fn seconds(time: Duration) -> f64 {
    let scale = if time < Duration::from_secs(1) { 1000.0 } else { 10.0 };
    (time.as_secs_f64() * scale).round() / scale
}

fn describe(code: u16, reason: Option<&str>) -> String {
    let meaning = NackCode::from_wire(code).map(|code| code.to_string());
    let meaning = meaning.unwrap_or_else(|| "for a reason unknown to this version".into());
    format!("{meaning} (OPEN_NACK {code}){}", in_words(reason))
}

fn in_words(text: Option<&str>) -> String {
    text.map(|text| format!(": {}", text.escape_debug())).unwrap_or_default()
}

fn retry_after(options: &Options) -> Option<Duration> {
    options.retry_after.map(|seconds| Duration::from_secs(seconds.into()))
}
