//! Keys that people press while a session plays.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::terminal;

/// How often the thread checks whether keys are still wanted.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const ESCAPE: u8 = 0x1b;

/// A key that is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Space: pauses, or resumes.
    Toggle,
    /// q: stops.
    Stop,
}

/// A handle to the thread that reads keys. Dropping it ends the thread and restores the terminal's
/// modes.
#[derive(Debug)]
pub(crate) struct Keys {
    wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Starts to read keys, where a person sits at a terminal.
pub(crate) fn listen() -> Option<(Keys, UnboundedReceiver<Key>)> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    terminal::allow_modes();
    let (sender, receiver) = unbounded_channel();
    let wanted = Arc::new(AtomicBool::new(true));
    let thread_wanted = wanted.clone();
    let read = move || read_keys(&sender, &thread_wanted);
    let thread = thread::Builder::new().name("keys".into()).spawn(read).ok()?;
    Some((Keys { wanted, thread: Some(thread) }, receiver))
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
        terminal::give_back_modes();
    }
}

/// Sends keys until nobody wants any more, or the terminal is gone.
fn read_keys(sender: &UnboundedSender<Key>, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        let Ok(typed) = read_typed() else { return };
        if keys(&typed).any(|key| sender.send(key).is_err()) {
            return;
        }
    }
}

/// Returns what was typed, after [`POLL_INTERVAL`] at the latest.
///
/// A job in the background that touches the terminal is stopped by it. It may come to the
/// foreground at any time, or go there and back, with the modes changed by the shell.
fn read_typed() -> io::Result<Vec<u8>> {
    if !terminal::gets_keys()? || !terminal::take_keys_one_by_one()? {
        thread::sleep(POLL_INTERVAL);
        return Ok(Vec::new());
    }
    let stdin = io::stdin();
    let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: POLL_INTERVAL.subsec_nanos().into() };
    match poll(&mut waiting, Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Vec::new()),
        polled => _ = polled?,
    }
    if !terminal::gets_keys()? {
        return Ok(Vec::new());
    }
    let mut typed = [0; 64];
    match rustix::io::read(&stdin, &mut typed) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => Ok(typed.iter().take(count).copied().collect()),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the keys among what was typed. An escape sequence, such as that of an arrow, is none.
fn keys(typed: &[u8]) -> impl Iterator<Item = Key> {
    let typed = if typed.contains(&ESCAPE) { &[] } else { typed };
    typed.iter().filter_map(|byte| match byte {
        b' ' => Some(Key::Toggle),
        b'q' | b'Q' => Some(Key::Stop),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_and_q_are_keys_and_escape_sequences_are_not() {
        let keys = |typed: &str| keys(typed.as_bytes()).collect::<Vec<_>>();
        assert_eq!(keys("x q"), [Key::Toggle, Key::Stop]);
        assert_eq!(keys("Q"), [Key::Stop]);
        for none in ["", "\x1b[A", "\x1bq", "\u{3000}", "é"] {
            assert_eq!(keys(none), [], "{none:?}");
        }
    }
}
