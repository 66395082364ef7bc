//! The client: a session driven over a transport into a sink.

mod ask;
mod connect;
mod course;
mod driver;
mod player;
mod progress;
mod sink;

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::protocol::{CloseReason, Digest, NackCode, OpenStream, Version};
use crate::session::client::{End, ScriptedPause};
use crate::transport::{self, Address, Trust};
use driver::Ended;
use player::{Player, stop};

pub use course::Discontinuity;
pub use progress::{Event, MediaInfo, Phase, Snapshot, Title};
pub use sink::{Error as SinkError, Origin, Sink, Target, Unfinished};

/// How long what is queued may take to reach the sink when playing is over before its end.
const ABANDON_GRACE: Duration = Duration::from_secs(1);

/// How to play.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What to ask the server for.
    pub open: OpenStream,
    /// The pause to make on the way, if any.
    pub script: Option<ScriptedPause>,
    /// How long to try to connect, and then to wait for the answer to OPEN_STREAM.
    pub connect_timeout: Duration,
    /// The protocol versions to offer, newest first.
    pub versions: Vec<Version>,
    /// What to play; `None` is the only title that the server has.
    pub title: Option<String>,
    /// Where in the media to start.
    pub start: Start,
    /// How fast the server should send.
    pub rate: Rate,
    /// How long to try to get a lost connection back without any progress.
    pub retry_for: Duration,
    /// Check the media against the server's digest.
    pub verify: bool,
}

/// Where in the media to start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// At this byte.
    Byte(u64),
    /// At this part of the whole, 0 to 1.
    Fraction(f64),
}

/// How fast a client wants its media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// As fast as the sink takes it; at the bitrate where there is no sink.
    Auto,
    /// At the agreed bitrate.
    Bitrate,
    /// As fast as the transport goes.
    Max,
    /// At this many bit/s.
    BitsPerSecond(u64),
}

/// Where to play from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Whom to connect to.
    pub address: Address,
    /// Whose certificate to accept.
    pub trust: Trust,
    /// The name to expect in the certificate, where it is not the host's.
    pub name: Option<String>,
    /// How packets leave and arrive.
    pub transport: transport::Settings,
}

/// What a user can ask for while it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Pause, or go on.
    TogglePause,
    /// Stop, in good order.
    Stop,
}

/// How playing ended when nothing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The media is whole and where it belongs.
    Complete,
    /// The user stopped it; what came so far may be in a file.
    Stopped(Option<Unfinished>),
    /// The reader of the pipe went away.
    PipeClosed,
}

/// Playing failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, or the connection to it was lost.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The session ended in a way that is not its proper end.
    #[error(transparent)]
    Session(End),
    /// What came does not fit what came before, or what was announced.
    #[error(transparent)]
    Discontinuity(#[from] Discontinuity),
    /// The media cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The server has many titles, or none, and none was asked for.
    #[error("{}", title_needed(.0))]
    TitleNeeded(Vec<Title>),
    /// The server speaks only version 1.
    #[error("the server speaks protocol version 1, which has no {0}")]
    NeedsVersion2(&'static str),
    /// The server speaks only version 1, and what came before cannot be gone on with.
    #[error(
        "the server speaks protocol version 1, which cannot go on in the middle of the media"
    )]
    CannotContinue,
    /// The server broke off its answer, or gave none.
    #[error("the server did not answer {0}")]
    NoAnswer(&'static str),
    /// The server sends more titles than anybody has.
    #[error("the server's list of titles does not end: gave up after {} entries", ask::MAX_TITLES)]
    EndlessCatalogue,
    /// As the cause says; what came before it is kept in a file of its own.
    #[error("{}; what came so far is in {}{}", chain(cause), part.display(), way_out(cause))]
    Partial {
        /// What went wrong.
        cause: Box<Error>,
        /// The provisional file.
        part: PathBuf,
    },
}

fn title_needed(titles: &[Title]) -> String {
    match titles.len() {
        0 => "the server has no titles".to_owned(),
        count => format!("the server has {count} titles: choose one with --title NAME"),
    }
}

/// An error with its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What to do where the rest of a partial file cannot be had any more.
fn way_out(cause: &Error) -> &'static str {
    let changed = match cause {
        Error::Session(End::Refused { code, .. }) => *code == NackCode::MediaChanged as u16,
        Error::Session(End::Closed { reason, .. }) => *reason == CloseReason::MEDIA,
        Error::Discontinuity(Discontinuity::Media) | Error::CannotContinue => true,
        _ => false,
    };
    if changed { "; --no-continue fetches what is there now" } else { "" }
}

/// Plays from a server into a sink. `report` hears of every event and `snapshot` always has the
/// newest state; neither may block. `commands` may be closed at any time.
///
/// A connection that is lost is tried again where the protocol allows to go on: the sink gets one
/// unbroken stream.
///
/// # Errors
/// See [`Error`]; a partial file is kept and named.
pub async fn play(
    server: &Server,
    settings: &Settings,
    sink: Sink,
    commands: mpsc::UnboundedReceiver<Command>,
    snapshot: watch::Sender<Snapshot>,
    report: impl FnMut(Event),
) -> Result<Outcome, Error> {
    let mut player = Player::new(server, settings, sink, commands, snapshot, report)?;
    let ended = player.run().await;
    let digest = player.course.digest.filter(|_| settings.verify);
    let Player { sink, mut commands, mut reporter, .. } = player;
    let result = conclude(ended, sink, digest, &mut commands).await;
    match &result {
        Ok(Outcome::Complete) => reporter.closed("complete", true),
        Ok(Outcome::Stopped(_)) => reporter.closed("stopped by the user", false),
        Ok(Outcome::PipeClosed) => reporter.closed("the reader of the pipe has gone", false),
        Err(error) => reporter.closed(&error.to_string(), false),
    }
    result
}

/// Asks a server for its titles.
///
/// # Errors
/// The server cannot be reached, or has no such thing.
pub async fn titles(server: &Server, settings: &Settings) -> Result<Vec<Title>, Error> {
    player::titles(server, settings).await
}

/// Brings the sink to the end that the play deserves.
async fn conclude(
    ended: Result<Ended, Error>,
    sink: Sink,
    digest: Option<Digest>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) -> Result<Outcome, Error> {
    let part = sink.part();
    // What a writer that did not end in time leaves, as far as one can see.
    let seen = || {
        let part = part.clone().filter(|part| part.exists())?;
        let resumable = part.with_added_extension("json").exists();
        Some(Unfinished { part, resumable })
    };
    let cause = match ended {
        Ok(Ended::Session(End::Complete)) => {
            // A player that is paused takes its time over what is queued.
            let finished = tokio::select! {
                finished = sink.finish(digest) => finished,
                () = stop(commands) => return Ok(Outcome::Stopped(seen())),
            };
            return match finished {
                Err(error) if error.is_closed_pipe() => Ok(Outcome::PipeClosed),
                finished => Ok(finished.map(|()| Outcome::Complete)?),
            };
        }
        Ok(Ended::Session(End::Stopped) | Ended::SinkFailed) => None,
        Ok(Ended::Session(end)) => Some(Error::Session(end)),
        Ok(Ended::Broken(discontinuity)) => Some(discontinuity.into()),
        Err(error) => Some(error),
    };
    // A player that is paused must not keep us from leaving.
    let (cause, kept) = match (cause, timeout(ABANDON_GRACE, sink.abandon()).await) {
        (cause, Ok(Ok(kept))) => (cause, kept),
        (None, Ok(Err(error))) if error.is_closed_pipe() => return Ok(Outcome::PipeClosed),
        (None, Ok(Err(error))) => (Some(error.into()), seen()),
        (cause, _) => (cause, seen()),
    };
    match (cause, kept) {
        (None, kept) => Ok(Outcome::Stopped(kept)),
        // What stops a file from being written names it.
        (Some(cause @ Error::Sink(_)), _) | (Some(cause), None) => Err(cause),
        (Some(cause), Some(Unfinished { part, .. })) => {
            Err(Error::Partial { cause: Box::new(cause), part })
        }
    }
}
