//! Rows that move, with bars that indicatif renders.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::truncate_str;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

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
    pub(super) done: u64,
    pub(super) total: u64,
    /// The colour of what is done.
    pub(super) color: &'static str,
}

impl Row {
    /// Makes a row of text alone, cut where it would wrap.
    pub(super) fn text(text: &str, width: usize) -> Self {
        Self { left: truncate_str(text, width, "…").into_owned(), ..Self::default() }
    }

    /// Renders the row, to the full width where it has a bar.
    ///
    /// indicatif's own ways to the terminal join the rows by their full width, which a terminal
    /// that is made narrower takes for one long line, and fall silent where stderr is no terminal,
    /// which `--progress bar` is asked not to. So it renders one bar at a time, and
    /// [`super::terminal`] draws it.
    pub(super) fn render(&self, width: usize) -> String {
        let Some(Bar { done, total, color }) = self.bar else { return self.left.clone() };
        let template = format!("{{prefix}}{{wide_bar:.{color}/dim}}{{msg}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        let canvas = Canvas { width, text: Arc::default() };
        // Once a second at the most, so that only the call below draws.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(canvas.clone()), 1);
        let bar = ProgressBar::with_draw_target(Some(total), target)
            .with_style(style)
            .with_position(done)
            .with_prefix(self.left.clone())
            .with_message(self.right.clone());
        bar.force_draw();
        canvas.text().trim_end().to_owned()
    }
}

/// What indicatif takes for a terminal: keeps the row that was drawn last.
#[derive(Debug, Clone)]
struct Canvas {
    width: u16,
    text: Arc<Mutex<String>>,
}

impl Canvas {
    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.width
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.text().push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.text().clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use console::{measure_text_width, strip_ansi_codes};

    use super::*;

    #[test]
    fn a_bar_takes_the_width_that_the_texts_leave() {
        for (done, text) in [(0, "a ────────── z"), (5, "a ━━━━━╸──── z"), (10, "a ━━━━━━━━━━ z")]
        {
            let bar = Some(Bar { done, total: 10, color: "green" });
            let row = Row { left: "a ".into(), bar, right: " z".into() };
            assert_eq!(strip_ansi_codes(&row.render(14)), text);
            for width in [14, 200, 15] {
                assert_eq!(measure_text_width(&row.render(width)), width);
            }
        }
        let text = Row { left: "text alone".into(), ..Row::default() };
        assert_eq!(text.render(80), "text alone");
    }
}
