//! What is on stderr: lines that stay, and below them, on a terminal, rows that move.

use std::io::{self, IsTerminal as _};

use console::{Style, Term, truncate_str};
use time::OffsetDateTime;

use super::bar::Renderer;
use super::output::{nobody_reads, stderr};
use super::{terminal, timestamp};

/// Columns that rows leave free, so that a terminal that is made narrower step by step need not
/// wrap them before they are drawn anew. What wraps moves the screen, and at its top is left behind.
const MARGIN: usize = 4;

/// How much is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Lines, and rows that move below them.
    Bars,
    /// Lines, without any control code.
    Plain,
    /// Warnings and errors only.
    Silent,
}

/// Something that happened, as a line that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// One character for the eye; the words say the same.
    pub(super) symbol: char,
    /// The colour of symbol and name, as [`Style::from_dotted_str`] reads it.
    pub(super) color: &'static str,
    /// What happened.
    pub(super) name: String,
    /// The rest of the sentence.
    pub(super) text: String,
}

impl Note {
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

/// A row that moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    /// Text at the left.
    pub(super) left: String,
    /// A bar over all the width that the texts leave.
    pub(super) bar: Option<Bar>,
    /// Text behind the bar.
    pub(super) right: String,
}

/// How much of a whole is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    /// The part.
    pub(super) done: u64,
    /// The whole.
    pub(super) total: u64,
    /// The colour of what is done.
    pub(super) color: &'static str,
}

impl Row {
    /// A row of text alone, cut where it would wrap.
    pub(super) fn text(text: &str, width: usize) -> Self {
        Self { left: truncate_str(text, width, "…").into_owned(), ..Self::default() }
    }
}

/// stderr.
pub(super) struct Screen {
    mode: Mode,
    /// Lines carry the time, because nobody sees them come: they go to a file or a pipe.
    stamped: bool,
    /// Lines to print at the next [`Screen::flush`], all at once.
    lines: Vec<String>,
    renderer: Renderer,
    /// The rows that should be seen, and the width that they are made for.
    rows: (Vec<Row>, usize),
    /// Those that were drawn last.
    drawn: (Vec<Row>, usize),
}

impl Screen {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            stamped: mode != Mode::Bars && !io::stderr().is_terminal(),
            lines: Vec::new(),
            renderer: Renderer::new(),
            rows: (Vec::new(), 0),
            drawn: (Vec::new(), 0),
        }
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

    /// Something that happened, unless only warnings and errors are wanted.
    pub(super) fn note(&mut self, note: &Note) {
        match self.mode {
            Mode::Bars => self.print(note.styled()),
            Mode::Plain => self.print(note.plain()),
            Mode::Silent => {}
        }
    }

    /// A line for people, whatever the mode.
    pub(super) fn print(&mut self, line: String) {
        self.lines.push(match self.stamped {
            true => format!("{} {line}", timestamp::to_the_second(OffsetDateTime::now_utc())),
            false => line,
        });
    }

    /// A line for programs.
    pub(super) fn print_json(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Whether lines wait for [`Screen::flush`].
    pub(super) fn has_news(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Replaces the rows that move, at the next [`Screen::flush`].
    pub(super) fn draw(&mut self, rows: Vec<Row>, width: usize) {
        self.rows = (rows, width);
    }

    /// Prints the lines that wait, and draws the rows where they have changed.
    ///
    /// # Errors
    ///
    /// Where stderr cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let written = match self.mode {
            Mode::Bars => self.draw_below(lines),
            Mode::Plain | Mode::Silent if lines.is_empty() => Ok(()),
            Mode::Plain | Mode::Silent => stderr().line(&lines.join("\n")),
        };
        if written.as_ref().is_err_and(nobody_reads) {
            self.mode = Mode::Silent;
        }
        written
    }

    fn draw_below(&mut self, lines: Vec<String>) -> io::Result<()> {
        let mut terminal = terminal::rows();
        if !terminal.may_draw() {
            return if lines.is_empty() { Ok(()) } else { stderr().line(&lines.join("\n")) };
        }
        self.rows.0.truncate(self.height());
        let (rows, width) = &self.rows;
        if lines.is_empty()
            && terminal.drawn() == rows.len()
            && (rows.is_empty() || self.drawn == self.rows)
        {
            return Ok(());
        }
        let rows: Vec<_> = rows.iter().map(|row| self.renderer.line(row, *width)).collect();
        self.drawn.clone_from(&self.rows);
        terminal.draw(&lines, &rows)
    }

    /// Leaves everything that was flushed as it is, with the cursor on a line of its own.
    pub(super) fn close(self) {
        terminal::rows().leave();
    }
}
