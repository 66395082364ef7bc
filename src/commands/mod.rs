//! The subcommands: each wires the parts together and does nothing else.

mod bridge;
mod broadcast;
mod complete;
mod embedded;
mod fifo;
mod gen_cert;
mod job;
mod many;
mod play;
mod reload;
mod resources;
mod serve;
mod stop;
mod supervisor;
mod watched;
mod worker;

use std::io::{self, Write as _};

use embedded::Embedded;
use resources::runtime;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command};
use crate::client::Target;
use crate::config::flags::Global;
use crate::config::{self, Environment, Notice, Report, Verbosity};
use crate::transport::CertificateError;
use crate::{exit, ui};

/// Answers a shell that asks how a command line goes on, and ends the program; else returns.
pub fn complete() {
    clap_complete::CompleteEnv::with_factory(complete::command).complete();
}

/// Runs what the command line asks for and returns the exit code.
pub fn run(cli: &Cli) -> u8 {
    let environment = Environment::capture();
    start(cli, &environment).unwrap_or_else(|error| {
        ui::print_error(&format!("{error:#}"));
        exit::code(&error)
    })
}

fn start(cli: &Cli, environment: &Environment) -> anyhow::Result<u8> {
    let Global { quiet, .. } = cli.global;
    match &cli.command {
        Command::Serve(flags) => {
            let config = config::serve(&cli.global, flags, environment)?;
            tell(&config.notices, quiet);
            serve::run(config)
        }
        Command::Play(flags) => {
            let config = config::play(&cli.global, flags, environment)?;
            // Where programs read stderr, it carries nothing but JSON.
            let json_on_stderr = config.report.json && config.output == Target::Stdout;
            tell(&config.notices, quiet || json_on_stderr);
            match (config.many.clone(), config.bridge.clone()) {
                (Some(several), _) => many::run(config, several),
                (None, Some(http)) => bridge::run(config, http),
                (None, None) => play::run(config),
            }
        }
        Command::GenCert(flags) => {
            let config = config::gen_cert(&cli.global, flags, environment)?;
            tell(&config.notices, quiet);
            gen_cert::run(config)
        }
    }
}

/// Says where the settings come from.
fn tell(notices: &[Notice], quiet: bool) {
    for notice in notices.iter().filter(|_| !quiet) {
        let text = notice.to_string();
        let kind = if notice.is_warning() { "warning: " } else { "" };
        // Where stderr is gone, nobody asks.
        let _ = writeln!(io::stderr(), "quicstream: {kind}{}", ui::escape(&text));
    }
}

/// Says what to do where the program's own certificate and key cannot be written.
fn in_state_directory(error: CertificateError) -> anyhow::Error {
    let is_write = matches!(error, CertificateError::Write { .. });
    let error = anyhow::Error::from(error);
    match is_write {
        true => error.context(
            "no place for the certificate and its key (set QUICSTREAM_STATE_DIR to a directory \
             that can be written, or name both files with --cert and --key)",
        ),
        false => error,
    }
}

/// A failure as the user is told of it: its whole chain, and the exit code.
fn failure(error: &anyhow::Error) -> ui::Failure {
    ui::Failure { message: format!("{error:#}"), exit: exit::code(error) }
}

/// Ends what a command runs, and shows how it ended. Returns the exit code.
fn end<E: ui::UiEvent>(
    embedded: Option<Embedded>,
    runtime: Runtime,
    ui: ui::UiThread<E>,
    result: &anyhow::Result<u8>,
) -> u8 {
    embedded.into_iter().for_each(Embedded::stop);
    runtime.shutdown_background();
    let all_json_written = ui.finish(result.as_ref().err().map(failure));
    match result {
        // Whoever wants the JSON does not know all.
        Ok(exit::DONE) if !all_json_written => exit::FAILURE,
        Ok(exit) => *exit,
        Err(error) => exit::code(error),
    }
}

/// Sends the log to the terminal's keeper: warnings, and every PDU with `-v`.
fn start_log(
    report: Report,
    colors: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) {
    let level = match report.verbosity {
        Verbosity::Quiet => Level::ERROR,
        Verbosity::Normal => Level::WARN,
        Verbosity::Verbose => Level::DEBUG,
    };
    // What is wrong with the certificate of an object store is said where that is asked in vain.
    let targets = Targets::new().with_default(level);
    let targets = targets.with_target("rustls_platform_verifier", LevelFilter::OFF);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(colors)
        .with_target(false)
        .without_time()
        .with_writer(writer)
        .finish()
        .with(targets)
        .init();
}

/// The signals that ask the program to end.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes the signals over from the system, which would end the process.
    fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for one more and ends the process at once, with the terminal as it was found.
    async fn exit_at_next(&mut self) -> ! {
        self.next().await;
        ui::restore_terminal();
        std::process::exit(exit::INTERRUPTED.into());
    }
}
