//! `quicstream play` of several titles.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bridge::heed_signals;
use super::embedded::Embedded;
use super::job::{self, JobSignals};
use super::play::{INSECURE, check_directory, server};
use super::{Interrupts, end};
use crate::client::{
    self, Error, Fetches, Link, Outcome, PlayEvent, PlaySettings, RunningFetch, Sink, SinkError,
    Snapshot, Target, TitleEvent,
};
use crate::config::{ManyConfig, PlayConfig};
use crate::transport::Trust;
use crate::{exit, ui};

/// How many titles are fetched at once.
const AT_ONCE: usize = 2;

/// Fetches titles into a directory, and returns the exit code of the first that fails.
///
/// # Errors
/// What stops it before it begins; what happens later is shown with the progress.
pub(super) fn run(config: PlayConfig, many: ManyConfig) -> anyhow::Result<u8> {
    config.client.require_verifiable(&config.link.versions)?;
    check_directory(&many.directory).map_err(Error::from)?;
    let embedded = config.embedded.clone().map(Embedded::start).transpose()?;
    let remote = server(&config, embedded.as_ref());
    let runtime = super::runtime()?;
    let guard = runtime.enter();
    let interrupts = Interrupts::listen().context("cannot listen for signals")?;
    let hangup = job::hangup().context("cannot listen for signals")?;
    drop(guard);

    let fetches = Arc::new(Fetches::default());
    let ui = ui::many(config.report, fetches.clone()).context("cannot start")?;
    super::start_log(config.report, ui.has_colors(), ui.sender());
    if remote.trust == Trust::Insecure {
        tracing::warn!("{INSECURE}");
    }
    let events = ui.sender();
    let result = runtime.block_on(async {
        if let Some(job) = JobSignals::listen().context("cannot listen for signals")? {
            let events = events.clone();
            tokio::spawn(job.heed(move || events.redraw()));
        }
        let stop = CancellationToken::new();
        tokio::spawn(heed_signals(interrupts, hangup, stop.clone()));
        let link = Link::new(&remote, config.link)?;
        let titles = link.titles(config.client.token.as_ref());
        let Some(titles) = stop.run_until_cancelled(titles).await else {
            return Ok(exit::INTERRUPTED);
        };
        let titles = client::select(&titles?, &many.patterns)?;
        let paths = client::destination(&many.directory, &titles)?;
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut plays = JoinSet::new();
        for (title, path) in titles.into_iter().zip(paths) {
            let fetch = TitleFetch {
                link: link.clone(),
                settings: PlaySettings { title: Some(title), ..config.client.clone() },
                path,
                overwrite: many.overwrite,
                resume: many.resume,
                fetches: fetches.clone(),
                stop: stop.clone(),
            };
            let (turns, events) = (turns.clone(), events.clone());
            plays.spawn(async move {
                let _turn = turns.acquire_owned().await;
                fetch.run(move |event| events.send(event)).await
            });
        }
        let mut failed = None;
        while let Some(played) = plays.join_next().await {
            if let Err(error) = played.context("a fetch died")? {
                tracing::error!("{error:#}");
                failed.get_or_insert(error);
            }
        }
        link.close().await;
        match failed {
            Some(error) => Err(error),
            None if stop.is_cancelled() => Ok(exit::INTERRUPTED),
            None => Ok(exit::DONE),
        }
    });
    Ok(end(embedded, runtime, ui, &result))
}

/// One of several titles.
struct TitleFetch {
    link: Link,
    settings: PlaySettings,
    path: PathBuf,
    overwrite: bool,
    resume: bool,
    fetches: Arc<Fetches>,
    stop: CancellationToken,
}

impl TitleFetch {
    /// Fetches it, unless all is to stop.
    async fn run(self, report: impl Fn(TitleEvent) + Send + 'static) -> anyhow::Result<()> {
        let Self { link, settings, path, overwrite, resume, fetches, stop } = self;
        if stop.is_cancelled() {
            return Ok(());
        }
        let title = settings.title.clone().unwrap_or_default();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|source| {
                Error::from(SinkError::Io { what: directory.display().to_string(), source })
            })?;
        }
        let sink = Sink::open(&Target::File { path, overwrite, resume }).map_err(Error::from)?;
        let (publish, snapshot) = watch::channel(Snapshot::default());
        let running = RunningFetch::new(title.clone(), 0, None, snapshot);
        let number = fetches.add(running);
        let of = title.clone();
        let event_fetches = fetches.clone();
        let report = move |event: PlayEvent| {
            if let PlayEvent::Accepted { size: Some(size), .. } = &event {
                event_fetches.note_end(number, *size);
            }
            report(TitleEvent { event, of: of.clone() });
        };
        let played = client::play_until(&stop, &link, &settings, sink, publish, report).await;
        fetches.remove(number);
        match played {
            Ok(Outcome::Complete(_) | Outcome::Stopped(_) | Outcome::PipeClosed) => Ok(()),
            Err(error) => Err(anyhow::Error::from(error).context(title)),
        }
    }
}
