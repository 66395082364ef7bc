//! What the flags ask for: how much is drawn, and where JSON goes.

use std::io::{self, IsTerminal as _};

use crate::config::{Color, Progress, Report, Verbosity};

/// How much is drawn on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Lines, and rows that move below them.
    Bars,
    /// Lines, without any control code.
    Plain,
    /// Warnings and errors only.
    Silent,
}

/// The stream that carries JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonStream {
    Stdout,
    /// Where stdout carries media.
    Stderr,
}

/// What is drawn for people, and what is written for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presentation {
    pub(super) mode: Mode,
    pub(super) json: Option<JsonStream>,
}

impl Presentation {
    /// Chooses what the flags come to on this stderr. Sets the colours of the whole process.
    pub(super) fn choose(report: Report, media_on_stdout: bool) -> Self {
        // Only stderr is ever coloured, and console decides by stdout unless it is told.
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
            (_, Progress::Auto) if can_move_the_cursor() => Mode::Bars,
            (_, Progress::Auto) => Mode::Plain,
        };
        let json = if media_on_stdout { JsonStream::Stderr } else { JsonStream::Stdout };
        Self { mode, json: report.json.then_some(json) }
    }

    /// Returns whether lines may have colours.
    pub(super) fn has_colors(self) -> bool {
        self.mode == Mode::Bars && console::colors_enabled()
    }
}

/// Returns whether stderr is a terminal that can move its cursor.
fn can_move_the_cursor() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
