//! What a terminal and its shell do to the program that runs in them, by signals.

use std::fs;
use std::io::{self, IsTerminal as _};

use rustix::process::{Signal as Posix, getpgrp, getpid, getsid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ui;

/// The exit code of a program that SIGQUIT ends: 128 and the signal's number.
const QUIT: i32 = 128 + 3;

/// The signals by which a job is stopped, goes on, is quit, and hears of a new size of its
/// terminal.
pub(super) struct JobSignals {
    stop: Option<Signal>,
    go_on: Signal,
    quit: Signal,
    resize: Signal,
}

impl JobSignals {
    /// Takes the signals over from the system, where there is a terminal to be drawn on.
    pub(super) fn listen() -> io::Result<Option<Self>> {
        if !io::stderr().is_terminal() {
            return Ok(None);
        }
        let stop = SignalKind::from_raw(Posix::TSTP.as_raw());
        // As the system does it: a job that no shell can continue is not stopped.
        let stoppable = getsid(None).is_ok_and(|session| session != getpgrp());
        Ok(Some(Self {
            stop: if stoppable && !is_ignored(stop) { Some(signal(stop)?) } else { None },
            go_on: signal(SignalKind::from_raw(Posix::CONT.as_raw()))?,
            quit: signal(SignalKind::quit())?,
            resize: signal(SignalKind::window_change())?,
        }))
    }

    /// Gives the terminal to the shell while the job is stopped, and has it drawn anew after that
    /// and where its size has changed.
    pub(super) async fn heed(mut self, redraw: impl Fn()) {
        loop {
            tokio::select! {
                () = next(&mut self.stop) => {
                    ui::suspend_terminal();
                    // The default action of SIGTSTP, which is taken over.
                    if kill_process(getpid(), Posix::STOP).is_ok() {
                        self.go_on.recv().await;
                    }
                    ui::resume_terminal();
                }
                // SIGSTOP was not to be seen.
                _ = self.go_on.recv() => ui::resume_terminal(),
                _ = self.quit.recv() => {
                    ui::restore_terminal();
                    std::process::exit(QUIT);
                }
                _ = self.resize.recv() => {}
            }
            redraw();
        }
    }
}

/// Takes over SIGHUP, by which a terminal that goes away ends its programs; not where the program
/// was started to outlive its terminal, as by nohup.
pub(super) fn hangup() -> io::Result<Option<Signal>> {
    let hangup = SignalKind::hangup();
    if is_ignored(hangup) { Ok(None) } else { signal(hangup).map(Some) }
}

/// The terminal that the program was started from, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    /// It was there at the start, and its end is to be the program's: not under nohup(1).
    owns_program: bool,
}

impl Terminal {
    /// The terminal of this process. To be asked before SIGHUP is taken over.
    pub(super) fn of_process() -> Self {
        Self { owns_program: is_there() && !is_ignored(SignalKind::hangup()) }
    }

    /// Returns true if a SIGHUP came because the terminal is gone, and the program is to go, too.
    pub(super) fn ends_program(self) -> bool {
        self.owns_program && !is_there()
    }
}

/// Returns true if the process has a terminal that can still be used.
fn is_there() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

/// Waits for the next one; for ever, where the signal was not taken over.
pub(super) async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether whoever started the program wants it to ignore a signal. Where the system does not tell,
/// the signal is left to the system, which knows.
fn is_ignored(signal: SignalKind) -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return true };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << (signal.as_raw_value() - 1)) != 0)
}
