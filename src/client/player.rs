//! One play, through as many sessions as it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::connect::connect;
use super::course::{Backoff, Course, Discontinuity};
use super::driver::{Driver, Ended, Parts};
use super::progress::{Event, Reporter, Snapshot, Title};
use super::sink::Sink;
use super::{Command, Error, Server, Settings, Start, ask};
use crate::protocol::{CloseReason, NackCode, Version};
use crate::session::client::End;
use crate::transport::{self, Connection, Connector, Fingerprint};

/// The least time that a try to get a connection back has, however little of `retry_for` is left.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Everything that a play holds.
pub(super) struct Player<'a, R> {
    server: &'a Server,
    settings: &'a Settings,
    connector: Arc<Connector>,
    pub(super) sink: Sink,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) reporter: Reporter<R>,
    pub(super) course: Course,
}

impl<'a, R: FnMut(Event)> Player<'a, R> {
    pub(super) fn new(
        server: &'a Server,
        settings: &'a Settings,
        sink: Sink,
        commands: mpsc::UnboundedReceiver<Command>,
        snapshot: watch::Sender<Snapshot>,
        report: R,
    ) -> Result<Self, Error> {
        let connector = connector(server, settings)?;
        let start = match settings.start {
            Start::Byte(start) => start,
            Start::Fraction(_) => 0,
        };
        let course = Course::new(settings, start, sink.is_discard());
        let reporter = Reporter::new(snapshot, report);
        let mut player = Self { server, settings, connector, sink, commands, reporter, course };
        player.take_up()?;
        Ok(player)
    }

    /// Goes on with what an earlier play left, if it is what is asked for now.
    fn take_up(&mut self) -> Result<(), Error> {
        let Some((origin, bytes)) = self.sink.resumed().cloned() else { return Ok(()) };
        let same_title = self.settings.title.is_none() || self.settings.title == origin.title;
        let same_start = match self.settings.start {
            Start::Byte(start) => start == origin.start,
            Start::Fraction(_) => true,
        };
        if !same_title || !same_start {
            return Ok(self.sink.start_over()?);
        }
        self.course.continue_from(&origin, bytes);
        if bytes > 0 {
            self.reporter.continuing(bytes);
        }
        Ok(())
    }

    /// Gives up what an earlier play left, if it may be replaced, and starts at this byte.
    fn start_over(&mut self, start: u64) -> Result<(), Error> {
        self.sink.start_over()?;
        let mut course = Course::new(self.settings, start, self.sink.is_discard());
        (course.script, course.paused) = (self.course.script, self.course.paused);
        self.course = course;
        Ok(())
    }

    /// Plays to the end, or to what cannot be repaired.
    pub(super) async fn run(&mut self) -> Result<Ended, Error> {
        let mut backoff = Backoff::new();
        let mut position = self.course.position;
        let mut progress = Instant::now();
        let mut patience = self.patience();
        loop {
            let ended = self.session(patience).await;
            let rested = std::mem::take(&mut self.course.rested);
            if self.course.position > position {
                position = self.course.position;
                progress = Instant::now();
                backoff = Backoff::new();
            } else if rested {
                progress = Instant::now();
            }
            if self.replaces_earlier(&ended) {
                continue;
            }
            let Some(loss) = self.loss(&ended) else { return ended };
            let delay = backoff.next().max(loss.not_before);
            if progress.elapsed() + delay > self.settings.retry_for {
                return ended;
            }
            self.reporter.reconnecting(backoff.attempt, delay, position, loss.cause);
            tokio::select! {
                () = sleep(delay) => {}
                () = stop_or_toggle(&mut self.commands, &mut self.course.paused) => {
                    return Ok(Ended::Session(End::Stopped));
                }
            }
            let left = self.settings.retry_for.saturating_sub(progress.elapsed());
            patience = self.patience().min(left.max(LEAST_PATIENCE));
        }
    }

    /// One session over one connection, which is to be had within `patience`, to its end.
    async fn session(&mut self, patience: Duration) -> Result<Ended, Error> {
        let (mut connection, fingerprint) = tokio::select! {
            connected = dial(self.server, &self.connector, patience) => connected?,
            () = stop_or_toggle(&mut self.commands, &mut self.course.paused) => {
                return Ok(Ended::Session(End::Stopped));
            }
        };
        self.reporter.connected(connection.handle(), fingerprint);
        let version = connection.handle().version();
        if version == Version::V1 {
            self.do_without_version_2()?;
        } else if let (Start::Fraction(part), None) = (self.settings.start, self.course.size) {
            self.find_start(&mut connection, part).await?;
        }
        let stream = connection.open_stream().await?;
        let ended = Driver::new(stream, connection.handle().clone(), self.parts()).run().await;
        // What came before the end is not to wait for the next session.
        self.sink.flush();
        let ended = match ended {
            // A reset takes away what was under way: the same as an end without CLOSE_STREAM.
            Err(transport::Error::Reset(_)) => Ok(Ended::Session(End::Cut)),
            Ok(Ended::Session(End::Refused { code, .. }))
                if code == NackCode::NoSuchTitle as u16 && !self.course.has_title() =>
            {
                Err(Error::TitleNeeded(ask::titles(&mut connection, self.patience()).await?))
            }
            ended => ended.map_err(Error::from),
        };
        let broken = matches!(ended, Ok(Ended::Session(End::Violation(_)) | Ended::Broken(_)));
        connection.shut(if broken { CloseReason::VIOLATION.0 } else { 0 }).await;
        ended
    }

    /// Drops what version 1 cannot do, or says that it cannot.
    fn do_without_version_2(&mut self) -> Result<(), Error> {
        if self.settings.title.is_some() {
            return Err(Error::NeedsVersion2("titles"));
        }
        if self.settings.start != Start::Byte(0) {
            return Err(Error::NeedsVersion2("start offset"));
        }
        // What came of this play is with its player, or in its file.
        if self.course.is_resumable() && self.course.position > 0 {
            return Err(Error::CannotContinue);
        }
        self.start_over(0).map_err(|_| Error::CannotContinue)
    }

    /// Finds out at which byte a part of the whole begins.
    async fn find_start(&mut self, connection: &mut Connection, part: f64) -> Result<(), Error> {
        let open = self.settings.open.clone();
        let options = self.course.request();
        let size = ask::size(connection, open, options, self.patience()).await?;
        let start = (size as f64 * part) as u64;
        // What an earlier play left may begin elsewhere.
        if self.course.start == start { Ok(()) } else { self.start_over(start) }
    }

    fn patience(&self) -> Duration {
        self.settings.connect_timeout
    }

    /// Whether the server has other media now than an earlier play got a part of, and that part
    /// may be replaced: then it will be.
    fn replaces_earlier(&mut self, ended: &Result<Ended, Error>) -> bool {
        let changed = match ended {
            Ok(Ended::Session(End::Refused { code, .. })) => *code == NackCode::MediaChanged as u16,
            Ok(Ended::Broken(discontinuity)) => *discontinuity == Discontinuity::Media,
            _ => false,
        };
        let is_earlier = !self.course.is_resumable() && self.sink.resumed().is_some();
        changed && is_earlier && self.start_over(self.course.start).is_ok()
    }

    /// Whether a session ended in a way that another one can repair.
    fn loss(&self, ended: &Result<Ended, Error>) -> Option<Loss> {
        if !self.course.is_resumable() {
            return None;
        }
        let loss = |cause: String| Some(Loss { cause, not_before: Duration::ZERO });
        match ended {
            Err(Error::Transport(error)) if error.is_transient() => loss(error.to_string()),
            Ok(Ended::Session(end)) => match end {
                End::Stalled(_) | End::Timeout(_) | End::NoAnswer(_) | End::Cut => {
                    loss(end.to_string())
                }
                End::Closed { reason: CloseReason::SHUTDOWN | CloseReason::TIMEOUT, .. } => {
                    let not_before = end.retry_after().unwrap_or_default();
                    Some(Loss { cause: end.to_string(), not_before })
                }
                End::Refused { code, .. } if *code == NackCode::Busy as u16 => {
                    let not_before = end.retry_after().unwrap_or_default();
                    Some(Loss { cause: end.to_string(), not_before })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What the driver of a session works with.
    pub(super) fn parts(&mut self) -> Parts<'_, R> {
        Parts {
            settings: self.settings,
            server: self.server,
            sink: &self.sink,
            commands: &mut self.commands,
            reporter: &mut self.reporter,
            course: &mut self.course,
        }
    }
}

/// A session that was lost.
struct Loss {
    cause: String,
    /// How long the server wants to be left alone.
    not_before: Duration,
}

/// Asks a server for its titles.
pub(super) async fn titles(server: &Server, settings: &Settings) -> Result<Vec<Title>, Error> {
    let connector = connector(server, settings)?;
    let (mut connection, _) = dial(server, &connector, settings.connect_timeout).await?;
    if connection.handle().version() == Version::V1 {
        return Err(Error::NeedsVersion2("catalogue"));
    }
    let titles = ask::titles(&mut connection, settings.connect_timeout).await;
    connection.shut(0).await;
    titles
}

fn connector(server: &Server, settings: &Settings) -> Result<Arc<Connector>, Error> {
    Ok(Arc::new(Connector::new(&server.transport, &server.trust, &settings.versions)?))
}

async fn dial(
    server: &Server,
    connector: &Arc<Connector>,
    patience: Duration,
) -> Result<(Connection, Fingerprint), transport::Error> {
    let name = server.name.as_ref().unwrap_or(&server.address.host);
    connect(connector, &server.address, name, patience).await
}

/// Waits until the user asks to stop.
pub(super) async fn stop(commands: &mut mpsc::UnboundedReceiver<Command>) {
    stop_or_toggle(commands, &mut false).await;
}

/// Waits until the user asks to stop; what the user says of a pause goes for the next session.
async fn stop_or_toggle(commands: &mut mpsc::UnboundedReceiver<Command>, paused: &mut bool) {
    loop {
        match commands.recv().await {
            Some(Command::Stop) => return,
            Some(Command::TogglePause) => *paused = !*paused,
            None => std::future::pending().await,
        }
    }
}
