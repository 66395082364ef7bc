//! A play survives whatever happens to its server, its media and itself: what it delivers is one
//! unbroken stream of one media, or it ends with an error and keeps what came.
//!
//! The whole of "50 of 50" is `cargo test --test resume -- --ignored --nocapture`; it prints how
//! long each recovery took. `cargo test` does a few of the points.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod harness;

mod a_pause_survives_the_server;
mod play_is_stopped;
mod the_media_changes;
mod the_server_is_killed;

use std::fs;
use std::process::Output;

use common::{Serve, assert_exit};

#[test]
fn twenty_thousand_titles_are_listed_and_a_new_one_is_found_at_once() {
    const TITLES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    for i in 0..TITLES {
        // The names come in no order.
        fs::write(
            dir.path().join(format!("{:08x}.mp4", (i as u32).wrapping_mul(2_654_435_761))),
            "x",
        )
        .unwrap();
    }
    let serve = Serve::start(["--media", dir.path().to_str().unwrap()]);
    let list = || {
        let output: Output = serve.play(["--list", "--json"]).output().unwrap();
        assert_exit(&output, 0);
        common::events(&output)
            .into_iter()
            .map(|entry| entry["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let titles = list();
    assert_eq!(titles.len(), TITLES);
    assert!(titles.is_sorted());
    fs::write(dir.path().join("new.mp4"), "new").unwrap();
    let output = serve.play(["--title", "new.mp4", "-o", "-"]).output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(output.stdout, b"new");
    // A list is good for all who ask within five seconds.
    while list().len() == TITLES {}
}
