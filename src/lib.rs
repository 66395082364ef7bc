//! crate docs
pub mod protocol;
pub mod session;
