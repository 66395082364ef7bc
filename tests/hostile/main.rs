//! Clients that mean ill: what they do costs nobody else anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod attacker;
mod bad_server;
#[path = "../common/mod.rs"]
mod common;
mod limits;
mod nonsense;
