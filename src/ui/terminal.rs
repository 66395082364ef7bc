//! The terminal, which other jobs of the same shell use as well.
//!
//! Its modes and the rows that are drawn on it belong to the whole process, which may have to give
//! them back at once, in a panic or on a signal. So both are static.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::stream::stderr;

/// Clears from the cursor's row to the end of the screen: the row, then what is below it. All at
/// once would be a whole screen where the row is the first, and that tmux keeps as history.
const CLEAR_BELOW: &str = "\r\x1b7\x1b[2K\x1b[B\x1b[J\x1b8";
/// Keeps a row that is wider than the terminal from taking two.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// How often, and how long apart, a signal tries to lock rows that are being drawn: a terminal that
/// takes nothing must not keep it waiting.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

static MODES: Mutex<Modes> = Mutex::new(Modes::Unchanged);
static ROWS: Mutex<Rows> = Mutex::new(Rows { drawn: 0, suspended: false });

/// The modes of the terminal behind stdin.
enum Modes {
    /// As they were found; may be changed.
    Unchanged,
    /// Changed; holds how they were found.
    Changed(Termios),
    /// Given back until the job goes on.
    Suspended,
    /// Given back for good.
    GivenBack,
}

/// The rows that are drawn on stderr. The cursor stays at the start of the first one: whatever a
/// terminal does to them when it is resized, they are what lies from the cursor on.
pub(super) struct Rows {
    drawn: usize,
    /// Nothing may be drawn.
    suspended: bool,
}

/// Locks the rows, to draw them.
pub(super) fn rows() -> MutexGuard<'static, Rows> {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rows {
    pub(super) fn drawn(&self) -> usize {
        self.drawn
    }

    /// Returns whether they may be drawn. Once another job has the terminal, what was drawn is its own.
    pub(super) fn may_draw(&mut self) -> bool {
        let may = !self.suspended && is_foreground(io::stderr());
        if !may {
            self.drawn = 0;
        }
        may
    }

    /// Replaces what is drawn by lines that stay and rows below them, in a single write, so that
    /// no half of it is ever seen.
    pub(super) fn draw(&mut self, lines: &[String], rows: &[String]) -> io::Result<()> {
        let mut frame = String::new();
        if self.drawn > 0 {
            frame += CLEAR_BELOW;
        }
        for line in lines {
            frame += line;
            frame += "\n";
        }
        if let Some(below_first) = rows.len().checked_sub(1) {
            frame += WRAP_OFF;
            frame += &rows.join("\n");
            frame += WRAP_ON;
            frame += "\r";
            if below_first > 0 {
                // Writing to a String cannot fail.
                let _ = write!(frame, "\x1b[{below_first}A");
            }
        }
        self.drawn = rows.len();
        stderr().write_all(frame.as_bytes())
    }

    /// Leaves the rows as they are, with the cursor on the line below them.
    pub(super) fn leave(&mut self) {
        if self.may_draw() {
            // A terminal that has gone away is no reason to fail.
            let _ = stderr().write_all("\n".repeat(self.drawn).as_bytes());
        }
        self.drawn = 0;
    }
}

/// Returns whether this job is in the foreground of the terminal; true as well where there is no
/// terminal, or one that no shell shares.
fn is_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}

/// Returns whether this job is the one that gets the keys.
///
/// # Errors
/// The terminal is gone, or not this session's.
pub(super) fn gets_keys() -> io::Result<bool> {
    Ok(tcgetpgrp(io::stdin())? == getpgrp())
}

/// Makes the terminal hand over each key at once and unseen. Unlike raw mode this leaves it to the
/// terminal to make Ctrl-C a signal and to end lines properly. Returns whether it does.
///
/// # Errors
/// The terminal is gone.
pub(super) fn take_keys_one_by_one() -> io::Result<bool> {
    restore_on_panic();
    let mut state = modes();
    let mut modes = tcgetattr(io::stdin())?;
    match &*state {
        Modes::Suspended | Modes::GivenBack => return Ok(false),
        Modes::Changed(_) if !modes.local_modes.contains(LocalModes::ICANON) => return Ok(true),
        // The shell has changed them back.
        Modes::Changed(_) => {}
        Modes::Unchanged => *state = Modes::Changed(modes.clone()),
    }
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
    Ok(true)
}

/// Allows the modes to be changed.
pub(super) fn allow_modes() {
    *modes() = Modes::Unchanged;
}

/// Gives the modes back as they were found, for good.
pub(super) fn give_back_modes() {
    release(&mut modes(), Modes::GivenBack);
}

fn release(modes: &mut Modes, to: Modes) {
    if let Modes::Changed(found) = std::mem::replace(modes, to)
        && is_foreground(io::stdin())
    {
        // There is nobody to tell if it fails.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &found);
    }
}

fn modes() -> MutexGuard<'static, Modes> {
    MODES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the terminal back as it was found, for good. For ways out on which nothing is dropped,
/// such as [`std::process::exit`]; elsewhere it happens by itself.
pub(crate) fn restore_terminal() {
    give_back_modes();
    with_rows(|rows| {
        rows.leave();
        rows.suspended = true;
    });
}

/// Gives the terminal back until the job goes on: clears the rows, and restores the modes, which
/// not every shell does itself.
pub(crate) fn suspend_terminal() {
    with_rows(|rows| {
        if rows.may_draw() {
            // A terminal that has gone away is no reason to fail.
            let _ = rows.draw(&[], &[]);
        }
        rows.suspended = true;
    });
    let mut modes = modes();
    if !matches!(*modes, Modes::GivenBack) {
        release(&mut modes, Modes::Suspended);
    }
}

/// Takes the terminal again when the job goes on. What was drawn before is no longer where the
/// cursor is.
pub(crate) fn resume_terminal() {
    with_rows(|rows| *rows = Rows { drawn: 0, suspended: false });
    let mut modes = modes();
    if matches!(*modes, Modes::Suspended) {
        *modes = Modes::Unchanged;
    }
}

/// Changes the rows, unless they are being drawn to a terminal that takes nothing.
fn with_rows(change: impl FnOnce(&mut Rows)) {
    for _ in 0..TRIES {
        match ROWS.try_lock() {
            Ok(mut rows) => return change(&mut rows),
            Err(TryLockError::Poisoned(rows)) => return change(&mut rows.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_TRIES),
        }
    }
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore_terminal();
            previous(info);
        }));
    });
}
