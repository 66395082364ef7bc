//! The `quicstream` executable.

use std::process::ExitCode;

use clap::Parser;
use quicstream::cli::Cli;
use quicstream::commands;

fn main() -> ExitCode {
    commands::run(&Cli::parse()).into()
}
