//! `quicstream play`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};

use super::serve::{self, Bound};
use super::{Interrupts, failure};
use crate::client::{self, Command, Outcome, Server, Sink, Snapshot, Target};
use crate::config::{PlayConfig, ServeConfig};
use crate::server::Sessions;
use crate::transport::{Address, Trust};
use crate::ui::{self, Key};
use crate::{exit, server};

/// Plays to the end of the media, or of the user's patience.
///
/// # Errors
/// What stops it before it begins; what happens later is shown with the progress.
pub(super) fn run(config: PlayConfig) -> anyhow::Result<u8> {
    let sink = Sink::open(&config.output).map_err(client::Error::from)?;
    let embedded = config.embedded.map(Embedded::start).transpose()?;
    let server = match &embedded {
        Some(embedded) => Server { transport: config.transport, ..embedded.server.clone() },
        None => Server {
            address: config.server,
            trust: config.trust,
            name: config.server_name,
            transport: config.transport,
        },
    };

    let (publish, snapshot) = watch::channel(Snapshot::default());
    let media_on_stdout = config.output == Target::Stdout;
    let mut ui =
        ui::Play::start(config.report, media_on_stdout, snapshot).context("cannot start")?;
    super::start_log(config.report, ui.has_colors(), ui.log_writer());
    if server.trust == Trust::Insecure {
        tracing::warn!(
            "--insecure: anybody on the way can read and change what you play; --pin protects you"
        );
    }

    let interrupted = Arc::new(AtomicBool::new(false));
    let (steer, commands) = mpsc::unbounded_channel();
    let keys = ui.take_keys();
    let events = ui.events();
    let runtime = super::runtime().context("cannot start")?;
    let result = runtime.block_on(async {
        let interrupts = Interrupts::listen().context("cannot listen for signals")?;
        tokio::spawn(heed_signals(interrupts, steer.clone(), interrupted.clone()));
        if let Some(keys) = keys {
            tokio::spawn(heed_keys(keys, steer));
        }
        let report = |event| events.send(event);
        let played = client::play(&server, &config.client, sink, commands, publish, report).await;
        anyhow::Ok(played?)
    });
    if let Some(embedded) = embedded {
        embedded.stop();
    }
    // A writer that is stuck on a stopped player must not keep us.
    runtime.shutdown_background();

    let interrupted = interrupted.load(Ordering::Relaxed);
    match result {
        Ok(outcome) => {
            ui.finish(None);
            Ok(match outcome {
                Outcome::Stopped(_) if interrupted => exit::INTERRUPTED,
                Outcome::Complete | Outcome::Stopped(_) | Outcome::PipeClosed => exit::DONE,
            })
        }
        Err(error) => {
            let failure = failure(&error);
            let code = failure.exit;
            ui.finish(Some(failure));
            Ok(code)
        }
    }
}

/// Turns the first signal into a stop in good order, and the second into a stop.
async fn heed_signals(
    mut interrupts: Interrupts,
    steer: mpsc::UnboundedSender<Command>,
    interrupted: Arc<AtomicBool>,
) {
    interrupts.next().await;
    interrupted.store(true, Ordering::Relaxed);
    // If nobody listens, it is over already.
    let _ = steer.send(Command::Stop);
    interrupts.exit_at_next().await;
}

async fn heed_keys(mut keys: mpsc::UnboundedReceiver<Key>, steer: mpsc::UnboundedSender<Command>) {
    while let Some(key) = keys.recv().await {
        let command = match key {
            Key::Toggle => Command::TogglePause,
            Key::Stop => Command::Stop,
        };
        if steer.send(command).is_err() {
            return;
        }
    }
}

/// A server in this process, on a thread of its own.
struct Embedded {
    server: Server,
    shut_down: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Embedded {
    fn start(config: ServeConfig) -> anyhow::Result<Self> {
        let (ready, bound) = std::sync::mpsc::channel();
        let (shut_down, shutdown) = oneshot::channel();
        let transport = config.transport.clone();
        let serve = move || {
            let serving = super::runtime().context("cannot start").and_then(|runtime| {
                let guard = runtime.enter();
                let bound = serve::bind(&config)?;
                drop(guard);
                Ok((runtime, bound))
            });
            let (runtime, Bound { listener, identity, library }) = match serving {
                Ok(serving) => serving,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok((listener.address(), identity.fingerprint())));
            let sessions = Arc::new(Sessions::default());
            let shutdown = async { shutdown.await.unwrap_or_default() };
            runtime.block_on(server::serve(
                listener,
                library,
                config.server,
                sessions,
                |_| {},
                shutdown,
            ));
        };
        let thread = thread::Builder::new().name("server".into()).spawn(serve)?;
        let (address, fingerprint) = bound.recv().context("the embedded server died")??;
        let server = Server {
            address: Address { host: address.ip().to_string(), port: address.port() },
            trust: Trust::Pin(fingerprint),
            name: None,
            transport,
        };
        Ok(Self { server, shut_down, thread })
    }

    fn stop(self) {
        let _ = self.shut_down.send(());
        // A server that panicked has said so.
        let _ = self.thread.join();
    }
}
