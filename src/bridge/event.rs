//! What happens on a bridge.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Something that happened on a bridge.
///
/// Serializes to the JSON event of the same name. The names and the order of the keys are a
/// contract with scripts.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum BridgeEvent {
    /// It answers requests.
    Bridge {
        /// Where.
        url: String,
        /// Whether other machines can reach it.
        #[serde(skip)]
        is_open: bool,
        /// Where.
        #[serde(skip)]
        addr: SocketAddr,
    },
    /// A player asks for media.
    Request {
        /// Its number.
        request: u32,
        title: String,
        /// The first byte.
        start: u64,
        /// The byte after the last one; `None` while it is live.
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<u64>,
    },
    /// The connection under a request is lost, and will be tried again.
    Reconnecting {
        request: u32,
        attempt: u32,
        #[serde(serialize_with = "seconds")]
        delay: Duration,
        /// The byte of the media to go on from.
        offset: u64,
        cause: String,
    },
    /// A request is over.
    RequestClosed {
        request: u32,
        title: String,
        /// Whether the player got all that it asked for.
        complete: bool,
        bytes: u64,
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
        /// What the server or the link failed with.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
}

/// Serializes a duration as seconds, to the millisecond.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_millis() as f64 / 1000.0)
}
