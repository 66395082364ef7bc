//! The `quicstream` executable.

use std::process::ExitCode;

use clap::Parser;
use quicstream::cli::Cli;
use quicstream::commands;
use tikv_jemallocator::Jemalloc;

/// Buffers of the transport come and go by the megabyte. The system's allocator gives them back to
/// the system each time, which costs a receiver a quarter of its time in page faults.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    commands::complete();
    commands::run(&Cli::parse()).into()
}
