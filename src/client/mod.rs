//! The client: a session driven over a transport into a sink.

mod progress;

use std::time::Duration;

use crate::protocol::OpenStream;
use crate::session::client::ScriptedPause;

pub use progress::{Event, Phase, Snapshot};

/// How to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What to ask the server for.
    pub open: OpenStream,
    /// The pause to make on the way, if any.
    pub script: Option<ScriptedPause>,
    /// How long to try each address, and to wait for the answer to OPEN_STREAM.
    pub connect_timeout: Duration,
}
