//! Bars, as indicatif renders them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::screen::{Bar, Row};

/// Renders rows to text.
///
/// indicatif's own ways to the terminal join the rows by their full width, which a terminal that
/// is made narrower takes for one long line, and fall silent where stderr is no terminal, which
/// `--progress bar` is asked not to. So it renders one bar at a time, and the rest is in
/// [`super::terminal`].
pub(super) struct Renderer {
    bar: ProgressBar,
    canvas: Canvas,
}

impl Renderer {
    pub(super) fn new() -> Self {
        let canvas = Canvas::default();
        // indicatif would draw at every change. It is kept from it, as far as it can be, and told
        // when a row is complete.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(canvas.clone()), 1);
        Self { bar: ProgressBar::with_draw_target(None, target), canvas }
    }

    /// The text of a row, which is as wide as the terminal where it has a bar.
    pub(super) fn line(&self, row: &Row, width: usize) -> String {
        let Row { left, bar: Some(Bar { done, total, color }), right } = row else {
            return row.left.clone();
        };
        let template = format!("{{prefix}}{{wide_bar:.{color}/dim}}{{msg}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        self.canvas.lock().width = u16::try_from(width).unwrap_or(u16::MAX);
        self.bar.set_style(style);
        self.bar.set_prefix(left.clone());
        self.bar.set_message(right.clone());
        self.bar.set_length(*total);
        self.bar.set_position(*done);
        self.bar.force_draw();
        self.canvas.lock().rendered.trim_end().to_owned()
    }
}

/// What indicatif takes for a terminal: keeps the row that was rendered last.
#[derive(Debug, Default, Clone)]
struct Canvas(Arc<Mutex<Rendering>>);

#[derive(Debug, Default)]
struct Rendering {
    width: u16,
    current: String,
    rendered: String,
}

impl Canvas {
    fn lock(&self) -> MutexGuard<'_, Rendering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.lock().width
    }

    fn height(&self) -> u16 {
        1
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
        self.lock().current.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.lock().current.clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut rendering = self.lock();
        rendering.rendered = std::mem::take(&mut rendering.current);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use console::{measure_text_width, strip_ansi_codes};

    use super::*;

    #[test]
    fn a_bar_takes_the_width_that_the_texts_leave() {
        let renderer = Renderer::new();
        for (done, text) in [(0, "a ────────── z"), (5, "a ━━━━━╸──── z"), (10, "a ━━━━━━━━━━ z")]
        {
            let bar = Some(Bar { done, total: 10, color: "green" });
            let row = Row { left: "a ".into(), bar, right: " z".into() };
            assert_eq!(strip_ansi_codes(&renderer.line(&row, 14)), text);
            for width in [14, 200, 15] {
                assert_eq!(measure_text_width(&renderer.line(&row, width)), width);
            }
        }
        let text = Row { left: "text alone".into(), ..Row::default() };
        assert_eq!(renderer.line(&text, 80), "text alone");
    }
}
