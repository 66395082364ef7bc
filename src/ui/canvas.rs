//! stderr as indicatif paints on it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::Term;
use indicatif::TermLike;

/// Collects a frame and writes it in one go, so that no half of one is ever seen.
///
/// indicatif's own target falls silent where stderr is no terminal, which `--progress bar` is
/// asked not to, and keeps a frame that a vanished terminal did not take for ever.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    frame: Mutex<String>,
}

impl Canvas {
    /// Rows and columns of the terminal behind stderr; 24 and 79 where there is none.
    pub(super) fn size() -> (usize, usize) {
        let (rows, columns) = Term::stderr().size();
        (rows.into(), columns.into())
    }

    fn frame(&self) -> MutexGuard<'_, String> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_cursor(&self, by: usize, direction: char) -> io::Result<()> {
        if by > 0 {
            // Writing to a String cannot fail.
            let _ = write!(self.frame(), "\x1b[{by}{direction}");
        }
        Ok(())
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        Term::stderr().size().0
    }

    fn move_cursor_up(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'A')
    }

    fn move_cursor_down(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'B')
    }

    fn move_cursor_right(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'C')
    }

    fn move_cursor_left(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.frame().push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let frame = std::mem::take(&mut *self.frame());
        // A terminal that has gone away is no reason to stop a session.
        let _ = io::stderr().write_all(frame.as_bytes());
        Ok(())
    }
}
