//! crate docs
pub mod client;
pub mod media;
pub mod protocol;
pub mod server;
pub mod session;
pub mod transport;
