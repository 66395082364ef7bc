//! The client: a session driven over a transport into a sink.

mod connect;
mod driver;
mod progress;
mod sink;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::protocol::{NackCode, OpenStream};
use crate::session::client::{End, ScriptedPause};
use crate::transport::{self, Address, Connector, Trust};
use connect::connect;
use driver::{Driver, Ended};
use progress::Reporter;

pub use progress::{Event, Phase, Snapshot};
pub use sink::{Error as SinkError, Sink, Target};

/// How long what is queued may take to reach the sink when playing is over before its end.
const ABANDON_GRACE: Duration = Duration::from_secs(1);

/// How to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What to ask the server for.
    pub open: OpenStream,
    /// The pause to make on the way, if any.
    pub script: Option<ScriptedPause>,
    /// How long to try to connect, and then to wait for the answer to OPEN_STREAM.
    pub connect_timeout: Duration,
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
    /// The user stopped it. What came so far is in this file, if it went to one.
    Stopped(Option<PathBuf>),
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
    /// As the cause says; what came before it is kept in a file of its own.
    #[error("{cause}; what came so far is in {}", part.display())]
    Partial {
        /// What went wrong.
        cause: Box<Error>,
        /// The provisional file.
        part: PathBuf,
    },
}

/// Plays from a server into a sink. `report` hears of every event and `snapshot` always has the
/// newest state; neither may block. `commands` may be closed at any time.
///
/// # Errors
/// See [`Error`]; a partial file is kept and named.
pub async fn play(
    server: &Server,
    settings: &Settings,
    sink: Sink,
    mut commands: mpsc::UnboundedReceiver<Command>,
    snapshot: watch::Sender<Snapshot>,
    report: impl FnMut(Event),
) -> Result<Outcome, Error> {
    let mut reporter = Reporter::new(snapshot, report);
    let ended = attempt(server, settings, &sink, &mut commands, &mut reporter).await;
    let result = conclude(ended, sink, &mut commands).await;
    match &result {
        Ok(Outcome::Complete) => reporter.closed("complete", true),
        Ok(Outcome::Stopped(_)) => reporter.closed("stopped by the user", false),
        Ok(Outcome::PipeClosed) => reporter.closed("the reader of the pipe has gone", false),
        Err(error) => reporter.closed(&error.to_string(), false),
    }
    result
}

/// One session over one connection, to its end.
async fn attempt(
    server: &Server,
    settings: &Settings,
    sink: &Sink,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    reporter: &mut Reporter<impl FnMut(Event)>,
) -> Result<Ended, Error> {
    let connector = Arc::new(Connector::new(&server.transport, &server.trust)?);
    let name = server.name.as_ref().unwrap_or(&server.address.host);
    let (mut connection, fingerprint) = tokio::select! {
        connected = connect(&connector, &server.address, name, settings.connect_timeout) => {
            connected?
        }
        () = stop(commands) => return Ok(Ended::Session(End::Stopped)),
    };
    reporter.connected(&connection, fingerprint);
    let stream = connection.open_stream().await?;
    let driver = Driver::new(stream, settings, sink, commands, reporter, connector.telemetry());
    let ended = driver.run(settings.open.clone()).await;
    let broken = matches!(&ended, Ok(Ended::Session(End::Violation(_))));
    connection.shut(if broken { NackCode::ProtocolViolation as u16 } else { 0 }).await;
    match ended {
        // A reset takes away what was under way: the same as an end without CLOSE_STREAM.
        Err(transport::Error::Reset(_)) => Ok(Ended::Session(End::Cut)),
        ended => Ok(ended?),
    }
}

/// Brings the sink to the end that the session deserves.
async fn conclude(
    ended: Result<Ended, Error>,
    sink: Sink,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) -> Result<Outcome, Error> {
    let part = sink.part();
    let cause = match ended {
        Ok(Ended::Session(End::Complete)) => {
            // A player that is paused takes its time over what is queued.
            let finished = tokio::select! {
                finished = sink.finish() => finished,
                () = stop(commands) => return Ok(Outcome::Stopped(part)),
            };
            return match finished {
                Err(error) if error.is_closed_pipe() => Ok(Outcome::PipeClosed),
                finished => Ok(finished.map(|()| Outcome::Complete)?),
            };
        }
        Ok(Ended::Session(End::Stopped)) => None,
        Ok(Ended::Session(end)) => Some(Error::Session(end)),
        Ok(Ended::SinkFailed) => None,
        Err(error) => Some(error),
    };
    // A player that is paused must not keep us from leaving.
    let written = timeout(ABANDON_GRACE, sink.abandon()).await;
    let kept = part.filter(|part| part.exists());
    match (cause, written) {
        (None, Ok(Err(error))) if error.is_closed_pipe() => Ok(Outcome::PipeClosed),
        (None, Ok(Err(error))) => Err(error.into()),
        (None, _) => Ok(Outcome::Stopped(kept)),
        (Some(cause), _) => Err(match kept {
            Some(part) => Error::Partial { cause: Box::new(cause), part },
            None => cause,
        }),
    }
}

/// Waits until the user asks to stop.
async fn stop(commands: &mut mpsc::UnboundedReceiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Stop) => return,
            Some(Command::TogglePause) => {}
            None => std::future::pending().await,
        }
    }
}
