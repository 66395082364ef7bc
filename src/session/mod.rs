//! The two state machines, without I/O and without a clock.
//!
//! Each is one enum of states, one of inputs, one of actions and one function `step`, a single
//! match that reads like the table in [`crate::protocol`]. A driver does the I/O that the actions
//! ask for and tells the machine what came of it. Time is a parameter: the [`Time`] since the
//! session began, so that a test can run a session of an hour in a microsecond.

mod allowance;
pub mod client;
mod negotiation;
mod pacer;
pub mod server;
#[cfg(test)]
mod tests;

pub use allowance::Allowance;
pub use negotiation::Offer;
pub use pacer::{Pacer, SharedPacer};

/// A point in time, as the time since the session began.
pub type Time = std::time::Duration;
