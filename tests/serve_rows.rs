//! The rows of `serve` on a terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::process::{Child, Stdio};

use common::pty::Terminal;
use common::{media, quicstream};

/// Players that are killed when the test ends.
struct Players(Vec<Child>);

impl Drop for Players {
    fn drop(&mut self) {
        for player in &mut self.0 {
            let _ = player.kill();
            let _ = player.wait();
        }
    }
}

#[test]
fn sessions_show_their_title_and_then_their_peer_and_those_without_a_row_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    media(dir.path(), 4 << 20);
    let mut terminal = Terminal::start(&quicstream(dir.path()), dir.path());
    // Two sessions, the number of others, the sum, and the row of the cursor.
    terminal.run("stty rows 5");
    terminal.line("quicstream serve --listen 127.0.0.1:0 media.mp4");
    terminal.wait_for("listening");
    terminal.wait_for(" on 127.0.0.1:");
    let port = terminal.wait_for(",");
    terminal.wait_for("waiting for clients");

    let mut players = Players(Vec::new());
    for session in 1..=3 {
        let mut play = quicstream(dir.path());
        play.args(["play", "--port", &port, "--pause-at", "0", "--progress", "none"]);
        players.0.push(play.stderr(Stdio::null()).spawn().unwrap());
        terminal.wait_for(&format!(" {session} media.mp4 127.0.0.1:"));
    }
    terminal.wait_for("  1 more");
    terminal.wait_for("3 sessions · ");
    terminal.keys("\x03");
    terminal.wait_for("stopped");
    terminal.wait_for("prompt$ ");
}
