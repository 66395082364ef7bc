//! `quicstream play --http` and `quicstream play --player`.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::embedded::Embedded;
use super::job::{self, JobSignals};
use super::play::{INSECURE, server};
use super::{Interrupts, end};
use crate::bridge::Bridge;
use crate::client::{self, Fetches, Link};
use crate::config::{BridgeConfig, PlayConfig, Progress, Report};
use crate::http::HttpListener;
use crate::transport::Trust;
use crate::{exit, ui};

/// How long a player may take to end when it is asked to.
const PLAYER_END: Duration = Duration::from_secs(2);

/// What a player must not get to see.
const TOKEN_VARIABLE: &str = "QUICSTREAM_TOKEN";

/// Serves titles over HTTP until a signal comes, or the player ends.
///
/// # Errors
/// The server cannot be reached, the address cannot be had or the player cannot be started.
pub(super) fn run(config: PlayConfig, bridge: BridgeConfig) -> anyhow::Result<u8> {
    let embedded = config.embedded.clone().map(Embedded::start).transpose()?;
    let remote = server(&config, embedded.as_ref());
    let runtime = super::runtime()?;
    let guard = runtime.enter();
    let interrupts = Interrupts::listen().context("cannot listen for signals")?;
    let hangup = job::hangup().context("cannot listen for signals")?;
    let listener = HttpListener::bind(bridge.listen)
        .with_context(|| format!("cannot use the TCP address {}", bridge.listen))?;
    drop(guard);

    let requests = Arc::new(Fetches::default());
    let report = report(config.report, bridge.player.is_some());
    let ui = ui::bridge(report, requests.clone()).context("cannot start")?;
    super::start_log(report, ui.has_colors(), ui.sender());
    if remote.trust == Trust::Insecure {
        tracing::warn!("{INSECURE}");
    }
    let events = ui.sender();
    let result = runtime.block_on(async {
        if let Some(job) = JobSignals::listen().context("cannot listen for signals")? {
            let events = events.clone();
            tokio::spawn(job.heed(move || events.redraw()));
        }
        let link = Link::new(&remote, config.link)?;
        let (wait, address) = (config.client.wait, listener.address());
        let report = move |event| events.send(event);
        let bridge_server = Arc::new(Bridge::new(link, config.client, address, requests, report));
        let shutdown = CancellationToken::new();
        tokio::spawn(heed_signals(interrupts, hangup, shutdown.clone()));
        let check = shutdown.run_until_cancelled(bridge_server.check(wait));
        let Some(checked) = check.await else { return Ok(exit::INTERRUPTED) };
        checked?;
        let serving = tokio::spawn(bridge_server.clone().serve(listener, shutdown.clone()));
        let exit = match &bridge.player {
            None => {
                shutdown.cancelled().await;
                exit::DONE
            }
            Some(words) => {
                let mut player = start(words, &bridge_server.player_url())?;
                let status = shutdown.run_until_cancelled(player.wait()).await;
                match status {
                    Some(status) => {
                        let status = status.context("cannot wait for the player")?;
                        after_player(status, bridge_server.take_failure())
                    }
                    None => {
                        stop(&mut player).await.context("cannot end the player")?;
                        exit::DONE
                    }
                }
            }
        };
        shutdown.cancel();
        let _ = serving.await;
        anyhow::Ok(exit)
    });
    Ok(end(embedded, runtime, ui, &result))
}

/// Cancels `shutdown` at the first signal, and ends the program at the second.
pub(super) async fn heed_signals(
    mut interrupts: Interrupts,
    mut hangup: Option<tokio::signal::unix::Signal>,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = interrupts.next() => {}
        () = job::next(&mut hangup) => {}
    }
    shutdown.cancel();
    interrupts.exit_at_next().await;
}

/// How to tell what happens: a player that has the terminal draws on it.
fn report(report: Report, has_player: bool) -> Report {
    match report.progress {
        Progress::Auto if has_player && !report.json => {
            Report { progress: Progress::Plain, ..report }
        }
        _ => report,
    }
}

/// Starts a player with the URL in its command line.
fn start(words: &[String], url: &str) -> anyhow::Result<Child> {
    let [program, arguments @ ..] = words else { anyhow::bail!("no player was named") };
    Command::new(program)
        .args(arguments.iter().map(|word| word.replace("{}", url)))
        .env_remove(TOKEN_VARIABLE)
        // stdout is for JSON.
        .stdout(Stdio::from(io::stderr()))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start the player {program}"))
}

/// Has a player end, whether it wants or not.
async fn stop(player: &mut Child) -> io::Result<()> {
    if let Some(pid) = player.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have had the same signal from the terminal.
        let _ = kill_process(pid, Signal::TERM);
    }
    match timeout(PLAYER_END, player.wait()).await {
        Ok(ended) => ended.map(drop),
        Err(_) => player.kill().await,
    }
}

/// The exit code after a player ended: where it failed because the server did, that of the server.
fn after_player(status: ExitStatus, failure: Option<client::Error>) -> u8 {
    if status.success() {
        return exit::DONE;
    }
    let of_server = failure.map(|error| exit::code(&error.into()));
    match of_server {
        Some(code @ exit::REFUSED..=exit::UNTRUSTED) => code,
        _ => exit::FAILURE,
    }
}
