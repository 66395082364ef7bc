//! The executable on a terminal: what it draws, and what it leaves behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::process::Command;

use common::pty::Terminal;
use common::{Serve, media, quicstream};
use console::measure_text_width;

/// A server of one title, and a terminal of the same user.
struct Stage {
    serve: Serve,
    terminal: Terminal,
    media: Vec<u8>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// The media takes so many seconds, in chunks of a fifteenth of one.
    fn of_seconds(seconds: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, media) = media(dir.path(), seconds * 500_000 / 8);
        let path = path.to_str().unwrap();
        let serve = Serve::start(["--media", path, "--chunk-size", "4KiB"]);
        let terminal = Terminal::start(&quicstream(dir.path()), dir.path());
        Self { serve, terminal, media, dir }
    }

    /// The command that plays.
    fn play(&self, args: &str) -> String {
        format!("quicstream play '{}' --rate bitrate {args}", self.serve.url)
    }
}

/// What is in every frame, and in nothing else.
const FRAME: &str = "\x1b[?7l";
/// What rows leave free of the width.
const MARGIN: usize = 4;
/// Clears from the row of the cursor on.
const CLEAR: &str = "\r\x1b7\x1b[2K\x1b[B\x1b[J\x1b8";

#[test]
fn a_stopped_job_leaves_the_terminal_as_it_was() {
    let mut stage = Stage::of_seconds(600);
    let play = stage.play("-o out");
    let terminal = &mut stage.terminal;
    terminal.line(&play);
    for _ in 0..2 {
        terminal.wait_for("rtt ");
        terminal.keys("\x1a");
        let last = terminal.wait_for("prompt$ ");
        let cleared = last.rfind(CLEAR).expect("the rows are cleared");
        assert!(!last[cleared..].contains("chunk"), "{}", last.escape_debug());
        assert!(terminal.is_sane());
        terminal.line("fg");
    }
    terminal.wait_for("rtt ");
    terminal.keys("q");
    terminal.wait_for("CLOSE_STREAM");
    terminal.wait_for("prompt$ ");
    assert!(terminal.is_sane());
}

#[test]
fn a_job_in_the_background_draws_nothing() {
    let mut stage = Stage::of_seconds(8);
    let play = stage.play("-o out");
    let terminal = &mut stage.terminal;
    terminal.line(&format!("{play} &"));
    terminal.wait_for("OPEN_ACK");
    assert!(terminal.is_sane());
    assert!(!terminal.shown.contains(FRAME), "{}", terminal.shown.escape_debug());

    terminal.line("fg");
    terminal.wait_for("rtt ");
    terminal.keys("\x1a");
    terminal.wait_for("prompt$ ");
    terminal.line("bg");
    terminal.wait_for("prompt$ ");
    let before = terminal.shown.len();
    // Meanwhile all the rest comes.
    terminal.run("wait");
    let shown = &terminal.shown[before..];
    assert!(shown.contains(" complete, "), "{}", shown.escape_debug());
    assert!(!shown.contains(FRAME), "{}", shown.escape_debug());
    assert_eq!(fs::read(stage.dir.path().join("out")).unwrap(), stage.media);
}

#[test]
fn a_play_that_outlives_its_terminal_ends_with_the_media_and_costs_nothing() {
    let mut stage = Stage::of_seconds(5);
    let play = stage.play("-o out --json --progress bar");
    stage.terminal.run("trap '' HUP; mkfifo ended");
    stage.terminal.line(&format!("({play}; {{ echo exit $?; times; }} >ended)"));
    stage.terminal.wait_for("rtt ");
    stage.terminal.hang_up();

    let ended = fs::read_to_string(stage.dir.path().join("ended")).unwrap();
    let mut lines = ended.lines();
    assert_eq!(lines.next(), Some("exit 0"));
    // What the shell took, then what its children did: `0m0.03s 0m0.01s` in the program and in the
    // system. Whoever watches a terminal that is gone takes all of a core.
    for time in lines.nth(1).unwrap().split_whitespace() {
        let seconds: f64 = time.strip_prefix("0m").unwrap().trim_end_matches('s').parse().unwrap();
        assert!(seconds < 1.5, "{ended}");
    }
    assert_eq!(fs::read(stage.dir.path().join("out")).unwrap(), stage.media);
}

#[test]
fn a_terminal_that_goes_away_ends_the_play_and_the_part_is_kept() {
    let mut stage = Stage::of_seconds(600);
    let play = stage.play("-o out");
    stage.terminal.line(&play);
    stage.terminal.wait_for("streaming");
    stage.terminal.hang_up();
    let closed = stage.serve.wait_for("session_closed");
    assert!(closed["bytes"].as_u64().unwrap() < stage.media.len() as u64, "{closed}");
    assert!(stage.dir.path().join("out.part").exists());
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let mut stage = Stage::of_seconds(600);
    for (signal, code) in [("HUP", 130), ("TERM", 130), ("INT", 130), ("QUIT", 131)] {
        let play = stage.play("-o out");
        let terminal = &mut stage.terminal;
        terminal.line(&format!("sh -c 'echo $$ >pid; exec {}'", play.replace('\'', "")));
        terminal.wait_for("rtt ");
        let pid = fs::read_to_string(stage.dir.path().join("pid")).unwrap();
        let kill = ["-s", signal, pid.trim()];
        assert!(Command::new("kill").args(kill).status().unwrap().success());
        terminal.wait_for("prompt$ ");
        assert_eq!(terminal.run("echo $?").trim(), code.to_string(), "{signal}");
        assert!(terminal.is_sane(), "{signal}");
    }
}

#[test]
fn rows_follow_the_width_of_the_terminal() {
    let mut stage = Stage::of_seconds(600);
    let play = stage.play("-o out");
    let terminal = &mut stage.terminal;
    let name = terminal.run("tty");
    terminal.line(&play);
    for columns in [80, 120, 40, 120] {
        let resize = format!("stty cols {columns} <{}", name.trim());
        assert!(Command::new("sh").args(["-c", &resize]).status().unwrap().success());
        // Each frame is cleared from its first row on, whatever became of its width.
        while {
            let (frame, end) = (terminal.wait_for(CLEAR), "\x1b[?7h\r\x1b[1A");
            let (_, rows) = frame.split_once(FRAME).unwrap();
            let rows = rows.strip_suffix(end).expect("the cursor goes to the first row");
            let (bar, figures) = rows.split_once("\r\n").expect("there are two rows");
            assert!(measure_text_width(bar) <= measure_text_width(figures), "{frame}");
            measure_text_width(figures) + MARGIN != columns
        } {}
    }
    terminal.keys("q");
    terminal.wait_for("prompt$ ");
}
