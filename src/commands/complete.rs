//! What a shell offers after a half-typed word. `COMPLETE=bash quicstream` prints what bash has to
//! be told for that.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use tokio::time::timeout;

use super::play::server;
use crate::cli::{Cli, Command};
use crate::client::{Link, Title};
use crate::config::{self, Environment};

/// How long a shell waits for a server's titles.
const PATIENCE: Duration = Duration::from_secs(1);

/// The commands and their flags, with the titles of a server where one is asked for.
pub(super) fn command() -> clap::Command {
    let titles = ArgValueCompleter::new(titles);
    Cli::command().mut_subcommand("play", |play| play.mut_arg("titles", |arg| arg.add(titles)))
}

/// The server's titles that begin like this. Where they cannot be had, there are none.
fn titles(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let titles = words().and_then(ask).unwrap_or_default().into_iter().map(|title| title.title);
    titles.filter(|title| title.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// The command line so far, which the shell gives after `--`.
fn words() -> Option<Vec<OsString>> {
    let mut arguments = std::env::args_os();
    arguments.find(|argument| argument == "--")?;
    // The word of which nothing is typed yet would be no title.
    let word = |word: OsString| if word.is_empty() { "-".into() } else { word };
    Some(arguments.map(word).collect())
}

fn ask(words: Vec<OsString>) -> Option<Vec<Title>> {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    let cli = Cli::from_arg_matches(&matches).ok()?;
    let Command::Play(mut flags) = cli.command else { return None };
    // The one that is being typed.
    flags.titles.clear();
    let config = config::play(&cli.global, &flags, &Environment::capture()).ok()?;
    let runtime = super::runtime().ok()?;
    runtime.block_on(async {
        let link = Link::new(&server(&config, None), config.link.clone()).ok()?;
        timeout(PATIENCE, link.titles(config.client.token.as_ref())).await.ok()?.ok()
    })
}
