//! What is on stderr: lines that stay, and below them, on a terminal, rows that move.

use console::{Style, truncate_str};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::canvas::Canvas;
use super::outbox::eprintln_quietly;

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

    fn style(&self) -> ProgressStyle {
        let template = match self.bar {
            Some(bar) => format!("{{prefix}}{{wide_bar:.{}/dim}}{{msg}}", bar.color),
            None => "{prefix}".to_owned(),
        };
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─")
    }
}

/// stderr.
pub(super) struct Screen {
    mode: Mode,
    /// Lines to print at the next [`Screen::flush`], all at once.
    lines: Vec<String>,
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
    rows: Vec<Row>,
    /// Whether the cursor stands behind a full row, where a newline is still to come.
    behind_row: bool,
}

impl Screen {
    pub(super) fn new(mode: Mode) -> Self {
        // indicatif would draw at every change of every bar. It is kept from it, as far as it
        // can be, and told when a frame is complete.
        let target = ProgressDrawTarget::term_like_with_hz(Box::<Canvas>::default(), 1);
        Self {
            mode,
            lines: Vec::new(),
            multi: MultiProgress::with_draw_target(target),
            bars: Vec::new(),
            rows: Vec::new(),
            behind_row: false,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Columns of the terminal.
    pub(super) fn width(&self) -> usize {
        Canvas::size().1
    }

    /// Rows of the terminal.
    pub(super) fn height(&self) -> usize {
        Canvas::size().0
    }

    /// Something that happened, unless only warnings and errors are wanted.
    pub(super) fn note(&mut self, note: &Note) {
        match self.mode {
            Mode::Bars => self.lines.push(note.styled()),
            Mode::Plain => self.lines.push(note.plain()),
            Mode::Silent => {}
        }
    }

    /// A line, whatever the mode.
    pub(super) fn print(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Whether lines wait for [`Screen::flush`].
    pub(super) fn has_news(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Prints the lines that wait.
    pub(super) fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.lines).join("\n");
        if self.mode == Mode::Bars {
            let _ = self.multi.println(lines);
            self.behind_row = true;
        } else {
            eprintln_quietly(&lines);
        }
    }

    /// Replaces the rows that move. Nothing is written where nothing has changed.
    pub(super) fn draw(&mut self, rows: Vec<Row>) {
        if rows == self.rows {
            return;
        }
        while self.bars.len() < rows.len() {
            self.bars.push(self.multi.add(ProgressBar::new(0)));
        }
        for surplus in self.bars.drain(rows.len()..) {
            self.multi.remove(&surplus);
        }
        for (bar, row) in self.bars.iter().zip(&rows) {
            bar.set_style(row.style());
            bar.set_prefix(row.left.clone());
            bar.set_message(row.right.clone());
            if let Some(progress) = row.bar {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            }
        }
        match self.bars.last() {
            Some(bar) => bar.force_draw(),
            None => _ = self.multi.clear(),
        }
        self.behind_row = !rows.is_empty();
        self.rows = rows;
    }

    /// Leaves everything as it is, with the cursor on a line of its own.
    pub(super) fn close(mut self) {
        self.flush();
        self.bars.iter().for_each(ProgressBar::abandon);
        if self.behind_row {
            eprintln_quietly("");
        }
    }
}
