//! Keys that people press while a session plays.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossterm::event::{self, KeyCode, KeyEventKind};
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often the thread looks up from the keyboard, to see whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Whose the terminal's modes are. Held while they are changed, so that nobody takes them back
/// between the restoring and the exit of the process.
static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal::Theirs);

enum Terminal {
    /// As we found it; may be taken.
    Theirs,
    /// Ours, and how it was before.
    Ours(Termios),
    /// Given back for good.
    GivenBack,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Space: pause, or go on.
    Toggle,
    /// q: stop.
    Stop,
}

/// The thread that reads keys. Dropping it ends it and restores the terminal.
#[derive(Debug)]
pub(super) struct Keys {
    wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Begins to read keys, where a person sits at a terminal.
pub(super) fn listen() -> Option<(Keys, UnboundedReceiver<Key>)> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    restore_on_panic();
    *terminal() = Terminal::Theirs;
    let (sender, receiver) = unbounded_channel();
    let wanted = Arc::new(AtomicBool::new(true));
    let still = wanted.clone();
    let read = move || read_keys(&sender, &still);
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
        restore_terminal();
    }
}

fn read_keys(keys: &UnboundedSender<Key>, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        // A job in the background that touches the terminal is stopped by it. It may come to the
        // foreground at any time, or go there and back, with the modes changed by the shell.
        if !in_foreground() {
            thread::sleep(LOOK_UP);
            continue;
        }
        let key = take_keys_one_by_one().and_then(|()| next_key());
        match key {
            Ok(Some(key)) if keys.send(key).is_err() => return,
            Ok(_) => {}
            // The terminal is gone, or given back.
            Err(_) => return,
        }
    }
}

fn next_key() -> io::Result<Option<Key>> {
    if !event::poll(LOOK_UP)? {
        return Ok(None);
    }
    let key = match event::read()? {
        event::Event::Key(key) if key.kind == KeyEventKind::Press => key,
        _ => return Ok(None),
    };
    Ok(match key.code {
        KeyCode::Char(' ') => Some(Key::Toggle),
        KeyCode::Char('q' | 'Q') => Some(Key::Stop),
        _ => None,
    })
}

fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Makes the terminal hand over each key at once and unseen. Unlike raw mode this leaves it to the
/// terminal to make Ctrl-C a signal and to end lines properly.
fn take_keys_one_by_one() -> io::Result<()> {
    let mut terminal = terminal();
    let mut modes = tcgetattr(io::stdin())?;
    match &*terminal {
        Terminal::GivenBack => return Err(io::ErrorKind::PermissionDenied.into()),
        Terminal::Ours(_) if !modes.local_modes.contains(LocalModes::ICANON) => return Ok(()),
        Terminal::Ours(_) => {}
        Terminal::Theirs => *terminal = Terminal::Ours(modes.clone()),
    }
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    Ok(tcsetattr(io::stdin(), OptionalActions::Now, &modes)?)
}

/// Gives the terminal back as it was found, for good. For ways out on which nothing is dropped,
/// such as [`std::process::exit`]; elsewhere it happens by itself.
pub fn restore_terminal() {
    let mut terminal = terminal();
    if let Terminal::Ours(modes) = std::mem::replace(&mut *terminal, Terminal::GivenBack)
        && in_foreground()
    {
        // There is nobody to tell if it fails.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    }
}

fn terminal() -> MutexGuard<'static, Terminal> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
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
