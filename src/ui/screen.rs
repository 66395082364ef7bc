//! What is on stderr: lines that stay, and below them, on a terminal, rows that move.

use std::io::{self, IsTerminal as _};

use console::{Style, Term};
use time::OffsetDateTime;

use super::bar::Row;
use super::presentation::Mode;
use super::stream::{nobody_reads, stderr};
use super::{terminal, timestamp};

/// Columns that rows leave free, so that a terminal that is made narrower step by step need not
/// wrap them before they are drawn anew. What wraps moves the screen, and at its top is left behind.
const MARGIN: usize = 4;

/// What people are told of an event: a line that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventLine {
    /// One character for the eye; the words say the same.
    symbol: char,
    /// The colour of symbol and name, as [`Style::from_dotted_str`] reads it.
    color: &'static str,
    name: String,
    /// The rest of the sentence.
    text: String,
}

impl EventLine {
    pub(super) fn new(
        symbol: char,
        color: &'static str,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self { symbol, color, name: name.into(), text: text.into() }
    }

    /// The words alone.
    pub(super) fn plain(&self) -> String {
        format!("{} {}", self.name, self.text).trim_end().to_owned()
    }

    fn styled(&self) -> String {
        let color = Style::from_dotted_str(self.color);
        let name = color.clone().bold().apply_to(&self.name);
        format!("{} {name} {}", color.apply_to(self.symbol), self.text).trim_end().to_owned()
    }
}

/// stderr.
pub(super) struct Screen {
    mode: Mode,
    /// Whether lines carry the time: they go to a file or a pipe, where nobody sees them come.
    stamped: bool,
    /// Lines that wait for [`Screen::flush`].
    lines: Vec<String>,
    /// The rows as they should be, and the width that they are made for.
    rows: (Vec<String>, usize),
    /// Those that were drawn last.
    drawn: (Vec<String>, usize),
}

impl Screen {
    pub(super) fn new(mode: Mode) -> Self {
        let stamped = mode != Mode::Bars && !io::stderr().is_terminal();
        Self { mode, stamped, lines: Vec::new(), rows: (Vec::new(), 0), drawn: (Vec::new(), 0) }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Columns that a row may take. Where stderr is no terminal, it is taken for one of 79.
    pub(super) fn width(&self) -> usize {
        usize::from(Term::stderr().size().1).saturating_sub(MARGIN).max(1)
    }

    /// Rows of the terminal; 24 where stderr is none.
    pub(super) fn height(&self) -> usize {
        Term::stderr().size().0.into()
    }

    /// Prints what happened, unless only warnings and errors are wanted.
    pub(super) fn print_event(&mut self, line: &EventLine) {
        match self.mode {
            Mode::Bars => self.print(line.styled()),
            Mode::Plain => self.print(line.plain()),
            Mode::Silent => {}
        }
    }

    /// Prints a line for people, whatever the mode.
    pub(super) fn print(&mut self, line: String) {
        self.lines.push(match self.stamped {
            true => format!("{} {line}", timestamp::to_the_second(OffsetDateTime::now_utc())),
            false => line,
        });
    }

    /// Prints a line for programs.
    pub(super) fn print_json(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Returns whether lines wait for [`Screen::flush`].
    pub(super) fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Replaces the rows that move, at the next [`Screen::flush`].
    pub(super) fn draw(&mut self, rows: &[Row], width: usize) {
        self.rows = (rows.iter().map(|row| row.render(width)).collect(), width);
    }

    /// Prints the lines that wait, and draws the rows where they have changed.
    ///
    /// # Errors
    /// stderr cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let written = match self.mode {
            Mode::Bars => self.draw_below(&lines),
            Mode::Plain | Mode::Silent => print(&lines),
        };
        if written.as_ref().is_err_and(nobody_reads) {
            self.mode = Mode::Silent;
        }
        written
    }

    fn draw_below(&mut self, lines: &[String]) -> io::Result<()> {
        let mut terminal = terminal::rows();
        if !terminal.may_draw() {
            return print(lines);
        }
        self.rows.0.truncate(self.height());
        let rows = &self.rows.0;
        let is_drawn =
            terminal.drawn() == rows.len() && (rows.is_empty() || self.drawn == self.rows);
        if lines.is_empty() && is_drawn {
            return Ok(());
        }
        self.drawn.clone_from(&self.rows);
        terminal.draw(lines, rows)
    }

    /// Leaves everything that was flushed as it is, with the cursor on a line of its own.
    pub(super) fn close(self) {
        terminal::rows().leave();
    }
}

fn print(lines: &[String]) -> io::Result<()> {
    if lines.is_empty() { Ok(()) } else { stderr().line(&lines.join("\n")) }
}
