//! `play --http` and `play --player`: a server's titles for any player and browser.
//!
//! The tests of real players and of a browser need programs: `cargo test --test bridge -- --ignored`
//! says which.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod browser;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod player;
mod programs;
mod requests;
mod survival;
