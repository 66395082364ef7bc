//! The server: an accept loop, and one driver for every session.

mod progress;

use crate::session::Offer;

pub use progress::{Event, Meter, Phase, Sessions};

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What clients may get.
    pub offer: Offer,
    /// How many connections may be open at once; further ones are refused.
    pub max_connections: usize,
}
