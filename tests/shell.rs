//! What shells and `man` are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use common::{Serve, quicstream};
use quicstream::cli::Cli;

/// What bash would offer for the last of these words.
fn complete(serve: &Serve, words: &[&str]) -> Vec<String> {
    let port = serve.port.to_string();
    let line: Vec<_> = words.iter().map(|word| word.replace("PORT", &port)).collect();
    // `play` of the same user: it trusts the server's certificate.
    let mut command = quicstream(serve.certificate().parent().unwrap());
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", (line.len() - 1).to_string());
    command.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
    let output = command.arg("--").args(&line).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut offered: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    offered.sort();
    offered
}

#[test]
fn a_shell_offers_flags_and_the_titles_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    for title in ["film one.mp4", "film-two.mp4", "other.mp4"] {
        fs::write(dir.path().join(title), title).unwrap();
    }
    let serve = Serve::start([dir.path()]);
    let play = ["quicstream", "play", "127.0.0.1:PORT"];
    assert_eq!(
        complete(&serve, &[&play[..], &["--title", "fi"]].concat()),
        ["film one.mp4", "film-two.mp4"]
    );
    assert_eq!(complete(&serve, &[&play[..], &["--title", ""]].concat()).len(), 3);
    let flags = complete(&serve, &[&play[..], &["--tit"]].concat());
    assert!(flags.iter().any(|flag| flag == "--title"), "{flags:?}");
    // A server that is not there offers nothing, and keeps nobody.
    let nowhere = ["quicstream", "play", "127.0.0.1:1", "--title", "fi"];
    assert!(complete(&serve, &nowhere).is_empty());
    let script = quicstream(dir.path()).env("COMPLETE", "bash").output().unwrap();
    assert!(String::from_utf8(script.stdout).unwrap().contains("complete "));
}

/// The manual pages say what `--help` says. `UPDATE=1 cargo test --test shell` writes them anew.
#[test]
fn the_manual_is_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/man");
    let mut cli = Cli::command().version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    cli.build();
    let mut pages = vec![("quicstream".to_owned(), cli.clone())];
    for command in cli.get_subcommands() {
        let name = format!("quicstream-{}", command.get_name());
        pages.push((name.clone(), command.clone().display_name(name)));
    }
    for (name, command) in pages {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).unwrap();
        let path = directory.join(format!("{name}.1"));
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&path, &page).unwrap();
        }
        let there = fs::read(&path).unwrap_or_default();
        assert!(there == page, "{} is old: UPDATE=1 cargo test --test shell", path.display());
    }
}

#[test]
fn the_version_names_the_commit_and_the_protocols() {
    let dir = tempfile::tempdir().unwrap();
    let output = quicstream(dir.path()).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let start = format!("quicstream {} (commit ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&start), "{version}");
    assert!(version.ends_with(", protocol versions 1 and 2)\n"), "{version}");
}
