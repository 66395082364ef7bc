//! The signals that end a server.

use std::io;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::Signal;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Interrupts, job};
use crate::{exit, ui};

/// How long the end in good order may take. The thread of the endpoint may be stuck in a call to a
/// file system that hangs.
const PATIENCE: Duration = Duration::from_millis(4500);

/// Listens for the first signal that asks the server to end. A second one, or the end of the
/// patience, ends the process at once.
///
/// It listens on a thread of its own, which no disk can make wait.
pub(super) fn listen() -> anyhow::Result<CancellationToken> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot listen for signals")?;
    let guard = runtime.enter();
    let mut signals = StopSignals::listen().context("cannot listen for signals")?;
    drop(guard);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let attend = async move {
        signals.next().await;
        stop.cancel();
        let code = tokio::select! {
            () = signals.next() => exit::INTERRUPTED,
            () = sleep(PATIENCE) => exit::DONE,
        };
        ui::restore_terminal();
        std::process::exit(code.into())
    };
    let listen = move || runtime.block_on(attend);
    thread::Builder::new().name("signals".into()).spawn(listen).context("cannot start")?;
    Ok(stopped)
}

/// What asks a server to end.
struct StopSignals {
    interrupts: Interrupts,
    /// None under nohup(1).
    hangup: Option<Signal>,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupts: Interrupts::listen()?, hangup: job::hangup()? })
    }

    async fn next(&mut self) {
        tokio::select! {
            () = self.interrupts.next() => {}
            () = job::next(&mut self.hangup) => {}
        }
    }
}
