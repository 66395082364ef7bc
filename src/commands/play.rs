//! `quicstream play`.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

use super::embedded::Embedded;
use super::job::{self, JobSignals};
use super::{Interrupts, failure};
use crate::client::{
    self, Link, Outcome, PlayCommand, Remote, Sink, SinkError, Snapshot, Target, Unfinished,
};
use crate::config::{PlayConfig, Verbosity};
use crate::exit;
use crate::shell::quote;
use crate::transport::Trust;
use crate::ui::{self, Key};

/// What it means to trust anybody.
pub(super) const INSECURE: &str =
    "--insecure: anybody on the way can read and change what you play; --pin protects you";

/// Plays to the end of the media, or of the user's patience; or lists what there is.
///
/// # Errors
/// What stops it before it begins; what happens later is shown with the progress.
pub(super) fn run(config: PlayConfig) -> anyhow::Result<u8> {
    if config.list {
        return list(config);
    }
    let PlayConfig { embedded, output, client: settings, link, report, .. } = &config;
    settings.require_verifiable(&link.versions)?;
    let sink = match output {
        // Only the server knows what to open there.
        Target::Directory { path, .. } => check_directory(path).map(|()| None),
        output => Sink::open(output).map(Some),
    };
    let sink = sink.map_err(client::Error::from)?;
    let embedded = embedded.clone().map(Embedded::start).transpose()?;
    let server = server(&config, embedded.as_ref());

    let runtime = super::runtime()?;
    // Before the terminal is changed, so that no signal ends the program without changing it back.
    let guard = runtime.enter();
    let signals = Signals::listen().context("cannot listen for signals")?;
    drop(guard);

    let (publish, snapshot) = watch::channel(Snapshot::default());
    // Where media owns stdout, the keys are the player's at the other end of the pipe.
    let media_on_stdout = *output == Target::Stdout;
    let keys = if media_on_stdout { None } else { ui::listen_for_keys() };
    let ui =
        ui::play(*report, media_on_stdout, snapshot, keys.is_some()).context("cannot start")?;
    super::start_log(*report, ui.has_colors(), ui.sender());
    if server.trust == Trust::Insecure {
        tracing::warn!("{INSECURE}");
    }

    let interrupted = Arc::new(AtomicBool::new(false));
    let (steer, mut commands) = mpsc::unbounded_channel();
    let (keyboard, keys) = keys.unzip();
    let events = ui.sender();
    let result = runtime.block_on(async {
        let Signals { interrupts, hangup, job } = signals;
        tokio::spawn(heed_signals(interrupts, hangup, steer.clone(), interrupted.clone()));
        if let Some(job) = job {
            let events = events.clone();
            tokio::spawn(job.heed(move || events.redraw()));
        }
        if let Some(keys) = keys {
            tokio::spawn(heed_keys(keys, steer));
        }
        let report = |event| events.send(event);
        let mut settings = settings.clone();
        let link = Link::new(&server, config.link.clone())?;
        let sink = match sink {
            Some(sink) => sink,
            None => match client::only_title(&link, &settings, &mut commands).await? {
                Some(title) => {
                    let output = output.clone().of_title(&title);
                    settings.ask_for_only(title);
                    Sink::open(&output).map_err(client::Error::from)?
                }
                None => return Ok(Outcome::Stopped(None)),
            },
        };
        let played = client::play(&link, &settings, sink, commands, publish, report).await;
        anyhow::Ok(played?)
    });
    if let Some(embedded) = embedded {
        embedded.stop();
    }
    // A writer that is stuck on a stopped player must not keep us.
    runtime.shutdown_background();

    drop(keyboard);
    let all_json_written = ui.finish(result.as_ref().err().map(failure));
    match result {
        Ok(Outcome::Stopped(unfinished)) => {
            if let Some(unfinished) = unfinished.filter(|_| report.verbosity != Verbosity::Quiet) {
                say_how_to_continue(&unfinished);
            }
            let interrupted = interrupted.load(Ordering::Relaxed);
            Ok(if interrupted { exit::INTERRUPTED } else { exit::DONE })
        }
        // The media is whole, but whoever wants the JSON does not know.
        Ok(Outcome::Complete(_) | Outcome::PipeClosed) if !all_json_written => Ok(exit::FAILURE),
        Ok(Outcome::Complete(_) | Outcome::PipeClosed) => Ok(exit::DONE),
        Err(error) => {
            if let Some(client::Error::TitleNeeded(titles)) = error.downcast_ref() {
                let _ = ui::list::titles(titles, false, &mut ui::stderr());
            }
            Ok(exit::code(&error))
        }
    }
}

/// Shows the titles of a server on stdout.
fn list(config: PlayConfig) -> anyhow::Result<u8> {
    let embedded = config.embedded.clone().map(Embedded::start).transpose()?;
    let server = server(&config, embedded.as_ref());
    if server.trust == Trust::Insecure && config.report.verbosity != Verbosity::Quiet {
        // Where stderr is gone, nobody asks.
        let _ = writeln!(ui::stderr(), "quicstream: warning: {INSECURE}");
    }
    let runtime = super::runtime()?;
    let link = Link::new(&server, config.link)?;
    let titles = runtime.block_on(link.titles(config.client.token.as_ref()))?;
    let mut out = BufWriter::new(ui::stdout());
    let printed = ui::list::titles(&titles, config.report.json, &mut out);
    match printed.and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot write to stdout")?,
    }
    if let Some(embedded) = embedded {
        embedded.stop();
    }
    Ok(exit::DONE)
}

pub(super) fn server(config: &PlayConfig, embedded: Option<&Embedded>) -> Remote {
    match embedded {
        Some(embedded) => embedded.server.clone(),
        None => Remote {
            addresses: config.servers.clone(),
            trust: config.trust.clone(),
            name: config.server_name.clone(),
            transport: config.transport.clone(),
        },
    }
}

/// Finds out whether a file can be in a directory, as far as that is known without its name.
pub(super) fn check_directory(path: &Path) -> Result<(), SinkError> {
    // `-O` has none: the file goes to the working directory.
    let directory = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let checked = directory.metadata().and_then(|there| match there.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    checked.map_err(|source| SinkError::Io { what: directory.display().to_string(), source })
}

/// Tells where the rest of a stopped play can be had, by the command that gets it.
fn say_how_to_continue(unfinished: &Unfinished) {
    let part = ui::escape(&unfinished.part.to_string_lossy()).into_owned();
    let line = match unfinished.resumable {
        true => {
            // What started over once is to be gone on with now.
            let arguments = std::env::args_os().filter(|argument| argument != "--no-continue");
            let command: Vec<_> = arguments.map(|argument| quote(&argument)).collect();
            format!("{part} keeps what came; to continue: {}", command.join(" "))
        }
        false => format!("{part} keeps what came"),
    };
    // Where stderr is gone, nobody asks.
    let _ = writeln!(ui::stderr(), "{line}");
}

/// The signals that `play` takes over from the system.
struct Signals {
    interrupts: Interrupts,
    hangup: Option<Signal>,
    job: Option<JobSignals>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupts: Interrupts::listen()?,
            hangup: job::hangup()?,
            job: JobSignals::listen()?,
        })
    }
}

/// Turns the first signal into a stop in good order, and the second into a stop.
async fn heed_signals(
    mut interrupts: Interrupts,
    mut hangup: Option<Signal>,
    steer: mpsc::UnboundedSender<PlayCommand>,
    interrupted: Arc<AtomicBool>,
) {
    tokio::select! {
        () = interrupts.next() => {}
        () = job::next(&mut hangup) => {}
    }
    interrupted.store(true, Ordering::Relaxed);
    // If nobody listens, it is over already.
    let _ = steer.send(PlayCommand::Stop);
    interrupts.exit_at_next().await;
}

async fn heed_keys(
    mut keys: mpsc::UnboundedReceiver<Key>,
    steer: mpsc::UnboundedSender<PlayCommand>,
) {
    while let Some(key) = keys.recv().await {
        let command = match key {
            Key::Toggle => PlayCommand::TogglePause,
            Key::Stop => PlayCommand::Stop,
        };
        if steer.send(command).is_err() {
            return;
        }
    }
}
