//! What people see of a session, what programs are told of it, and the keys that people press.
//!
//! One thread owns stderr, and stdout where that carries JSON. Everybody else only sends it
//! messages, through a bounded queue, and never waits for a terminal or a reader: what does not
//! fit is lost, and how much that was is said. How a session is at the moment, the thread reads
//! for itself, from the snapshot of [`crate::client`] or the meters of [`crate::server`].
//!
//! ```text
//!  EventSink ─┐                              ┌─> json ──> stdout
//!             ├─> queue ─> stage ─> a view ──┤
//!  LogWriter ─┘                              └─> screen ─> stderr
//! ```

mod bar;
mod json;
mod keys;
pub mod list;
mod outbox;
mod output;
mod play;
mod rate;
mod screen;
mod serve;
mod stage;
mod terminal;
mod text;
mod timestamp;

use std::io::IsTerminal as _;

use crate::config::{Color, Progress, Report, Verbosity};
use output::eprintln_quietly;
use screen::Mode;
use stage::Json;

pub use keys::Key;
pub use outbox::{EventSink, LogWriter, Shown};
pub use output::{Output, stderr, stdout};
pub use play::Play;
pub use serve::{Serve, Told};
pub use terminal::{restore_terminal, resume_terminal, suspend_terminal};
pub use text::escape;

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong and what to do next; may have several lines.
    pub message: String,
    /// The exit code that follows from it.
    pub exit: u8,
}

impl Failure {
    fn print(&self) {
        let lines: Vec<_> = self.message.lines().map(escape).collect();
        eprintln_quietly(&format!("quicstream: error: {}", lines.join("\n")));
    }
}

/// What is drawn, and what is told to programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Style {
    mode: Mode,
    json: Option<Json>,
}

impl Style {
    /// What the flags come to on this stderr. Sets the colours of the whole process.
    fn choose(report: Report, media_on_stdout: bool) -> Self {
        // stderr is the only stream that is ever coloured; console and indicatif ask in terms
        // of stdout where they are not told, so that is what gets set.
        console::set_colors_enabled(match report.color {
            Color::Auto => console::colors_enabled_stderr(),
            Color::Always => true,
            Color::Never => false,
        });
        let mode = match (report.verbosity, report.progress) {
            (Verbosity::Quiet, _) | (_, Progress::None) => Mode::Silent,
            (_, Progress::Bar) => Mode::Bars,
            (_, Progress::Plain) => Mode::Plain,
            // Programs that read JSON seldom want people's text beside it.
            (_, Progress::Auto) if report.json => Mode::Silent,
            (_, Progress::Auto) if draws_well() => Mode::Bars,
            (_, Progress::Auto) => Mode::Plain,
        };
        let json = match media_on_stdout {
            true => Json::Stderr,
            false => Json::Stdout,
        };
        Self { mode, json: report.json.then_some(json) }
    }

    /// Whether lines may have colours.
    fn has_colors(self) -> bool {
        self.mode == Mode::Bars && console::colors_enabled()
    }
}

/// Whether stderr is a terminal that can move its cursor.
fn draws_well() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
