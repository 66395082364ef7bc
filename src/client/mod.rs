//! The client: a session driven over a transport into a sink.

mod event;
mod fetch;
mod fetches;
mod link;
mod many;
mod only_title;
mod progress;
mod secret;
mod sink;
mod verdict;

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::protocol::{CloseReason, NackCode, OpenStream};
use crate::session::client::{Discontinuity, End, ScriptedPause};
use crate::transport::{self, Address, Trust};
use fetch::{Ended, Fetch, ResumeState, stop};

pub use event::PlayEvent;
pub(crate) use fetches::{Fetches, RunningFetch};
pub use link::{Description, Link, LinkSettings};
pub(crate) use many::{TitleEvent, destination, select};
pub use only_title::only_title;
pub use progress::{LiveEdge, PlayPhase, Snapshot, Title};
pub use secret::Secret;
pub use sink::{Error as SinkError, MediaStream, Origin, Published, Sink, Target, Unfinished};
pub use verdict::{Kept, Place, Unverified, Verdict};

/// How long what is queued may take to reach the sink when playing is over before its end.
const ABANDON_GRACE: Duration = Duration::from_secs(1);

/// How to play.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaySettings {
    /// What to ask the server for.
    pub open: OpenStream,
    /// The pause to make on the way, if any.
    pub script: Option<ScriptedPause>,
    /// What to play; `None` is the only title that the server has.
    pub title: Option<String>,
    /// Where in the media to start.
    pub start: Start,
    /// The byte after the last one to play; `None` is the end of the media.
    pub end: Option<u64>,
    /// What tells the media that is meant from any other; the server refuses where it has other.
    pub validator: Option<Bytes>,
    /// How fast the server should send.
    pub rate: Rate,
    /// How long to try to open a first session.
    pub wait: Duration,
    /// How long to try to get a lost connection back without any progress.
    pub retry_for: Duration,
    /// Check the media against the server's digest.
    pub verify: bool,
    /// Fail where media that is kept cannot be verified.
    pub require_digest: bool,
    /// What to show to the server to be let in.
    pub token: Option<Secret>,
}

/// Where in the media to start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// At the first byte; of a broadcast, at the newest place where a decoder can begin.
    Usual,
    /// Of a broadcast, where a decoder can begin so long ago or earlier.
    Ago(Duration),
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
pub struct Remote {
    /// Whom to connect to: servers that have the same titles, at least one.
    pub addresses: Vec<Address>,
    /// Whose certificate to accept.
    pub trust: Trust,
    /// The name to expect in the certificate, where it is not the host's.
    pub name: Option<String>,
    /// How packets leave and arrive.
    pub transport: transport::TransportSettings,
}

/// What a user can ask for while it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayCommand {
    /// Pause, or go on.
    TogglePause,
    /// Stop, in good order.
    Stop,
}

/// How playing ended when nothing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The media is whole and where it belongs.
    Complete(Published),
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
    /// The media cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The server has many titles, or none, and none was asked for.
    #[error("{}", title_needed(.0))]
    TitleNeeded(Vec<Title>),
    /// The server has no such title.
    #[error("{}", no_such_title(title, nearest))]
    NoSuchTitle {
        /// What was asked for.
        title: String,
        /// What may have been meant; empty where the server did not say in time what it has.
        nearest: Vec<String>,
    },
    /// Two titles would be one file.
    #[error(
        "{first:?} and {second:?} would both be {}: fetch them one by one, into files that -o names",
        path.display()
    )]
    OneName {
        /// A title.
        first: String,
        /// Another.
        second: String,
        /// The file.
        path: PathBuf,
    },
    /// What should match titles cannot match any.
    #[error("{0}")]
    Pattern(String),
    /// The server speaks only version 1.
    #[error("the server speaks protocol version 1, which has no {0}")]
    NeedsVersion2(&'static str),
    /// The server speaks only version 1, and what came before cannot be gone on with.
    #[error("the server speaks protocol version 1, which cannot go on in the middle of the media")]
    CannotContinue,
    /// The server did not answer in time.
    #[error(
        "the server did not answer {question} within {after} s; --connect-timeout waits longer"
    )]
    NoAnswer {
        /// What it was asked.
        question: &'static str,
        /// How long was waited, seconds.
        after: f64,
    },
    /// What is kept has to be verified, and a flag rules that out.
    #[error(
        "--require-digest (client.require_digest) and {flag} exclude each other, because {why}: \
         leave one out"
    )]
    Unverifiable {
        /// The flag.
        flag: &'static str,
        /// Why nothing can be verified with it.
        why: Unverified,
    },
    /// What is kept has to be verified, and cannot be.
    #[error("NOT verified, which --require-digest asks for: {0}")]
    Unverified(Unverified),
    /// The server broke off its answer, or gave another.
    #[error("the server did not answer {0}")]
    BrokenOff(&'static str),
    /// A broadcast was played to its end, and parts of it are missing.
    #[error(
        "parts of the broadcast are missing: the server did not keep them for long enough, or \
         another one was begun"
    )]
    PartsMissing,
    /// A part of a whole that is not there yet.
    #[error("a broadcast has no size yet: --start takes -TIME or BYTES of it")]
    NoSize,
    /// The server sends more titles than anybody has.
    #[error("the server's list of titles does not end: gave up after {} MiB", link::MAX_CATALOGUE >> 20)]
    EndlessCatalogue,
    /// Connections come and go without bringing media.
    #[error("no connection to the server brought any progress for {} s", .0.as_secs_f64())]
    NoProgress(Duration),
    /// As the cause says; what came before it is kept in a file of its own.
    #[error("{}; what came so far is in {}{}", chain(cause), part.display(), advice(cause))]
    Partial {
        /// What went wrong.
        cause: Box<Error>,
        /// The provisional file.
        part: PathBuf,
    },
}

impl Error {
    fn no_answer(question: &'static str, after: Duration) -> Self {
        // To the tenth of a second.
        Self::NoAnswer { question, after: (after.as_secs_f64() * 10.0).round() / 10.0 }
    }
}

fn title_needed(titles: &[Title]) -> String {
    match titles.len() {
        0 => "the server has no titles".to_owned(),
        count => format!("the server has {count} titles: choose one with --title NAME"),
    }
}

fn no_such_title(title: &str, nearest: &[String]) -> String {
    let nearest: Vec<_> = nearest.iter().map(|title| format!("{title:?}")).collect();
    let nearest = match nearest.is_empty() {
        true => String::new(),
        false => format!("nearest: {}; ", nearest.join(", ")),
    };
    let code = NackCode::NoSuchTitle as u16;
    format!(
        "the server refused the session: no such title {title:?} (OPEN_NACK {code}); \
         {nearest}--list shows all titles"
    )
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
fn advice(cause: &Error) -> &'static str {
    let changed = match cause {
        Error::Unverified(Unverified::NoDigest) => return "; the same command asks for it again",
        Error::Session(End::Refused { code, .. }) => {
            [NackCode::MediaChanged, NackCode::NotKept].map(|code| code as u16).contains(code)
        }
        Error::Session(End::Closed { reason, .. }) => {
            [CloseReason::MEDIA, CloseReason::BEHIND].contains(reason)
        }
        Error::Session(End::Discontinuity(Discontinuity::Media)) | Error::CannotContinue => true,
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
    link: &Link,
    settings: &PlaySettings,
    sink: Sink,
    commands: mpsc::UnboundedReceiver<PlayCommand>,
    snapshot: watch::Sender<Snapshot>,
    report: impl FnMut(PlayEvent),
) -> Result<Outcome, Error> {
    let mut player = Fetch::new(link, settings, sink, commands, snapshot, report)?;
    let ended = player.run().await;
    let Fetch { sink, mut commands, mut reporter, resume, .. } = player;
    let required = resume.unverified().filter(|_| settings.require_digest && !sink.is_discard());
    let (what, part) = (sink.what().map(str::to_owned), sink.part());
    let result = conclude(ended, sink, &resume, required, &mut commands).await;
    let verdict = Verdict::of(&result, &resume, what, part);
    match &result {
        Ok(Outcome::Complete(_)) => reporter.closed("complete", true, verdict),
        Ok(Outcome::Stopped(_)) => reporter.closed("stopped by the user", false, verdict),
        Ok(Outcome::PipeClosed) => {
            reporter.closed("the reader of the pipe has gone", false, verdict);
        }
        Err(error) => reporter.closed(&error.to_string(), false, verdict),
    }
    result
}

/// Plays as [`play`] does, with nobody to steer it, and stops when `stop` is cancelled.
///
/// # Errors
/// See [`Error`]; a partial file is kept and named.
pub(crate) async fn play_until(
    stop: &CancellationToken,
    link: &Link,
    settings: &PlaySettings,
    sink: Sink,
    snapshot: watch::Sender<Snapshot>,
    report: impl FnMut(PlayEvent),
) -> Result<Outcome, Error> {
    let (steer, commands) = mpsc::unbounded_channel();
    let play = play(link, settings, sink, commands, snapshot, report);
    tokio::pin!(play);
    tokio::select! {
        played = &mut play => played,
        () = stop.cancelled() => {
            // If nobody listens, it is over already.
            let _ = steer.send(PlayCommand::Stop);
            play.await
        }
    }
}

/// Brings the sink to the end that the play deserves. Media that is not verified for the reason in
/// `required` is not published.
async fn conclude(
    ended: Result<Ended, Error>,
    sink: Sink,
    resume: &ResumeState,
    required: Option<Unverified>,
    commands: &mut mpsc::UnboundedReceiver<PlayCommand>,
) -> Result<Outcome, Error> {
    let part = sink.part();
    // What a writer that did not end in time leaves, as far as one can see.
    let seen = || {
        let part = part.clone().filter(|part| part.exists())?;
        let resumable = part.with_added_extension("json").exists();
        Some(Unfinished { part, resumable })
    };
    let cause = match ended {
        Ok(Ended::Session(End::Complete)) if part.is_none() || required.is_none() => {
            // A player that is paused takes its time over what is queued.
            let finished = tokio::select! {
                finished = sink.finish(resume.checked_digest()) => finished,
                () = stop(commands) => return Ok(Outcome::Stopped(seen())),
            };
            return match (finished, required) {
                (Err(error), _) if error.is_closed_pipe() => Ok(Outcome::PipeClosed),
                (Err(error), _) => Err(error.into()),
                (Ok(_), Some(why)) => Err(Error::Unverified(why)),
                (Ok(_), None) if resume.is_patchwork() => Err(Error::PartsMissing),
                (Ok(published), None) => Ok(Outcome::Complete(published)),
            };
        }
        Ok(Ended::Session(End::Complete)) => required.map(Error::Unverified),
        Ok(Ended::Session(End::Stopped) | Ended::SinkFailed) => None,
        Ok(Ended::Session(end)) => Some(Error::Session(end)),
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
