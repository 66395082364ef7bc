//! The subcommands: each wires the parts together and does nothing else.

mod gen_cert;
mod job;
mod play;
mod serve;

use std::io::{self, Write as _};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{Cli, Command};
use crate::config::{self, Environment, Report, Verbosity};
use crate::{exit, ui};

/// Runs what the command line asks for and returns the exit code.
pub fn run(cli: &Cli) -> u8 {
    let environment = Environment::capture();
    let result = match &cli.command {
        Command::Serve(flags) => {
            config::serve(&cli.global, flags, &environment).map_err(Into::into).and_then(serve::run)
        }
        Command::Play(flags) => {
            config::play(&cli.global, flags, &environment).map_err(Into::into).and_then(play::run)
        }
        Command::GenCert(flags) => config::gen_cert(&cli.global, flags, &environment)
            .map_err(Into::into)
            .and_then(gen_cert::run),
    };
    result.unwrap_or_else(|error| {
        // Where stderr is gone, the exit code has to say it all.
        let _ = writeln!(ui::stderr(), "quicstream: error: {error:#}");
        exit::code(&error)
    })
}

/// A failure as the user is told of it: its whole chain, and the exit code.
fn failure(error: &anyhow::Error) -> ui::Failure {
    ui::Failure { message: format!("{error:#}"), exit: exit::code(error) }
}

/// The runtime of one endpoint: a thread of its own serves it faster than many share it.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
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
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(colors)
        .with_target(false)
        .without_time()
        .with_writer(writer)
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
