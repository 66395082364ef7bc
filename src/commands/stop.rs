//! The signals that end a server.

use std::io;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Interrupts;
use super::job::Terminal;
use super::reload::Reloads;
use crate::{exit, ui};

/// How long the end in good order may take. The thread of the endpoint may be stuck in a call to a
/// file system that hangs.
const PATIENCE: Duration = Duration::from_millis(4500);

/// How long what is piped in may take to end, and its viewers to have the end.
pub(super) const PIPE_TIME: Duration = Duration::from_secs(1);

/// What signals ask of a server.
pub(super) struct Stop {
    /// Cancelled when it is to end.
    pub(super) shutdown: CancellationToken,
    /// Told when it is to read its files anew.
    pub(super) reloads: Reloads,
}

/// Listens for the first signal that asks the server to end. A second one, or the end of the
/// patience, ends the process at once. SIGHUP has files read anew, unless it comes because the
/// terminal is gone.
///
/// `piped` is cancelled when what is piped in is over and its viewers have that. A Ctrl-C that ends the server also ends who
/// writes into the pipe: viewers of that broadcast get its end first, and only then the server's.
///
/// It listens on a thread of its own, which no disk can make wait. `unwritten` says how many bytes
/// are still to go to one: what is lost of them is no end in good order.
pub(super) fn listen(
    piped: Option<CancellationToken>,
    unwritten: impl Fn() -> u64 + Send + 'static,
) -> anyhow::Result<Stop> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot listen for signals")?;
    let guard = runtime.enter();
    let mut signals = StopSignals::listen().context("cannot listen for signals")?;
    drop(guard);
    let shutdown = CancellationToken::new();
    let stop = Stop { shutdown: shutdown.clone(), reloads: signals.reload.subscribe() };
    let attend = async move {
        signals.next().await;
        let until = Instant::now() + PATIENCE;
        let end_in_order = async {
            if let Some(piped) = piped {
                let _ = timeout(PIPE_TIME, piped.cancelled()).await;
            }
            shutdown.cancel();
            sleep_until(until).await;
        };
        let code = tokio::select! {
            () = signals.next() => exit::INTERRUPTED,
            () = end_in_order => exit::DONE,
        };
        ui::restore_terminal();
        let code = match (unwritten(), code) {
            (0, code) => code,
            (lost, code) => {
                eprintln!(
                    "quicstream: error: the last {lost} bytes to be recorded did not get to the disk"
                );
                code.max(exit::FAILURE)
            }
        };
        std::process::exit(code.into())
    };
    let listen = move || runtime.block_on(attend);
    thread::Builder::new().name("signals".into()).spawn(listen).context("cannot start")?;
    Ok(stop)
}

/// What asks a server to end, or to read its files anew.
struct StopSignals {
    interrupts: Interrupts,
    hangup: Signal,
    terminal: Terminal,
    reload: watch::Sender<()>,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        let terminal = Terminal::of_process();
        Ok(Self {
            interrupts: Interrupts::listen()?,
            hangup: signal(SignalKind::hangup())?,
            terminal,
            reload: watch::Sender::new(()),
        })
    }

    /// Waits until the server is to end.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                () = self.interrupts.next() => return,
                _ = self.hangup.recv() => match self.terminal.ends_program() {
                    true => return,
                    false => _ = self.reload.send(()),
                },
            }
        }
    }
}
