//! What the system's errors say of a title, and how the operator hears of them.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::{debug, warn};

use super::Error;

/// Paths that are named in the log as left out, at most.
const NAMED: usize = 100;

/// There is at most one warning of a trouble in this time: clients that try again every second
/// must not fill the log.
const QUIET: Duration = Duration::from_secs(10);

/// What an error says of the path that it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is nothing that could be a title.
    Absent,
    /// The server may not read it.
    Forbidden,
    /// It is there, and it or its disk is in trouble.
    Unreadable,
    /// The process or the machine has run out of descriptors or memory.
    Exhausted,
}

impl Verdict {
    /// Judges an error of opening a file or reading a directory. Whatever does not say clearly that
    /// there is no such thing is a trouble: it may pass, and "no such title" is final for a client.
    pub(super) fn of(error: &io::Error) -> Self {
        let Some(errno) = Errno::from_io_error(error) else {
            // Not the system but cap-std says so: the path leads out of the directory.
            return match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::NotFound => {
                    Self::Absent
                }
                _ => Self::Unreadable,
            };
        };
        match errno {
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::XDEV => Self::Absent,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS => Self::Exhausted,
            _ => Self::Unreadable,
        }
    }
}

/// Turns what a peer is not to know, or need not know, into "no such title". A trouble of the
/// server's own stays what it is.
pub(super) fn refusal(error: Error) -> Error {
    match error {
        Error::Io { path, source }
            if matches!(Verdict::of(&source), Verdict::Absent | Verdict::Forbidden) =>
        {
            debug!(?path, %source, "cannot be opened");
            Error::NoSuchTitle
        }
        error => error,
    }
}

/// Warns of what is left out of a list, of each path once: the list is made again and again.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Mutex<HashSet<PathBuf>>);

impl LeftOut {
    /// Says that `path` is left out, unless that was said before.
    pub(super) fn say(&self, path: &Path, why: impl std::fmt::Display) {
        let mut said = lock(&self.0);
        if said.len() >= NAMED || !said.insert(path.to_owned()) {
            return;
        }
        warn!("{path:?} is left out of the list: {why}");
        if said.len() == NAMED {
            warn!("what else is left out of the list is not named any more");
        }
    }
}

/// Warns of troubles, and counts those that come too fast to be told one by one.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    warned: Option<Instant>,
    untold: u64,
}

impl Troubles {
    /// Says why something was refused that the library should have had.
    pub(super) fn say(&self, error: &Error) {
        let Error::Io { source, .. } = error else { return };
        if let Some(untold) = lock(&self.0).note(Instant::now()) {
            let advice = match Errno::from_io_error(source) {
                Some(Errno::MFILE) => "; let the server have more (ulimit -n, or LimitNOFILE)",
                _ => "",
            };
            let more = match untold {
                0 => String::new(),
                untold => format!("; {untold} more since the last such line"),
            };
            warn!("refused for now: {error}: {source}{advice}{more}");
        }
    }
}

impl Recent {
    /// How many were not told since the last that was, if this one is to be.
    fn note(&mut self, now: Instant) -> Option<u64> {
        if self.warned.is_some_and(|warned| now.saturating_duration_since(warned) < QUIET) {
            self.untold += 1;
            return None;
        }
        self.warned = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_so_is_absent() {
        let verdict = |errno: Errno| Verdict::of(&errno.into());
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NAMETOOLONG, Errno::XDEV] {
            assert_eq!(verdict(errno), Verdict::Absent, "{errno:?}");
        }
        for errno in [Errno::ACCESS, Errno::PERM] {
            assert_eq!(verdict(errno), Verdict::Forbidden, "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert_eq!(verdict(errno), Verdict::Exhausted, "{errno:?}");
        }
        for errno in [
            Errno::IO,
            Errno::STALE,
            Errno::NODEV,
            Errno::NXIO,
            Errno::AGAIN,
            Errno::INTR,
            Errno::BUSY,
            Errno::NOSPC,
            Errno::TIMEDOUT,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::NOTCONN,
            Errno::CONNABORTED,
            Errno::BADMSG,
        ] {
            assert_eq!(verdict(errno), Verdict::Unreadable, "{errno:?}");
        }
        let escape = io::Error::new(ErrorKind::PermissionDenied, "a path led outside");
        assert_eq!(Verdict::of(&escape), Verdict::Absent);
    }

    #[test]
    fn a_flood_of_troubles_is_a_line_now_and_then() {
        let mut recent = Recent::default();
        let start = Instant::now();
        assert_eq!(recent.note(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(recent.note(start + QUIET / 2), None);
        }
        assert_eq!(recent.note(start + QUIET), Some(1000));
        assert_eq!(recent.note(start + QUIET * 2), Some(0));
    }
}
