//! One stretch of one title into a sink, through as many sessions as it takes.

mod farewell;
mod first;
mod resume_state;
mod retry;
mod session_driver;
mod silence;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::event::PlayEvent;
use super::link::{Link, Opened, Tries};
use super::progress::{Reporter, Snapshot};
use super::sink::Sink;
use super::{Error, PlayCommand, PlaySettings, SinkError, Start};
use crate::protocol::{CloseReason, NackCode};
use crate::session::client::{Discontinuity, End};
use retry::{Loss, Retries};
use session_driver::{FetchContext, Outcome, SessionDriver};
use silence::Silence;

pub(super) use resume_state::ResumeState;
pub(super) use session_driver::Ended;

/// The least time that a try to get a connection back has, however little of `retry_for` is left.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// A fetch under way.
pub(super) struct Fetch<'a, R> {
    link: &'a Link,
    settings: &'a PlaySettings,
    tries: Tries,
    silence: Silence,
    pub(super) sink: Sink,
    pub(super) commands: mpsc::UnboundedReceiver<PlayCommand>,
    pub(super) reporter: Reporter<R>,
    pub(super) resume: ResumeState,
}

/// What follows when a session is lost.
enum Next {
    /// It is tried to get it back.
    Try,
    /// It stays lost.
    GiveUp,
    /// The play is over.
    Stop,
}

impl<'a, R: FnMut(PlayEvent)> Fetch<'a, R> {
    pub(super) fn new(
        link: &'a Link,
        settings: &'a PlaySettings,
        sink: Sink,
        commands: mpsc::UnboundedReceiver<PlayCommand>,
        snapshot: watch::Sender<Snapshot>,
        report: R,
    ) -> Result<Self, Error> {
        let start = match settings.start {
            Start::Byte(start) => start,
            Start::Usual | Start::Ago(_) | Start::Fraction(_) => 0,
        };
        let mut fetch = Self {
            link,
            settings,
            tries: Tries::new(link.clone()),
            silence: Silence::new(Instant::now()),
            commands,
            reporter: Reporter::new(snapshot, report),
            resume: ResumeState::new(settings, start, sink.is_discard()),
            sink,
        };
        fetch.continue_earlier()?;
        Ok(fetch)
    }

    /// Goes on with what an earlier play left, if it is what is asked for now.
    fn continue_earlier(&mut self) -> Result<(), Error> {
        let Some((origin, bytes)) = self.sink.resumed().cloned() else { return Ok(()) };
        let same_title = self.settings.title.is_none() || self.settings.title == origin.title;
        let same_start = match self.settings.start {
            Start::Usual => origin.start == 0 || origin.joined,
            Start::Byte(start) => start == origin.start,
            Start::Ago(_) => origin.joined,
            Start::Fraction(_) => true,
        };
        if !same_title || !same_start {
            return Ok(self.sink.start_over()?);
        }
        self.resume.continue_from(&origin, bytes);
        if bytes > 0 {
            self.reporter.continuing(bytes);
        }
        Ok(())
    }

    /// Gives up what an earlier play left, if it may be replaced, and starts at this byte.
    fn start_over(&mut self, start: u64) -> Result<(), Error> {
        self.sink.start_over()?;
        let mut resume = ResumeState::new(self.settings, start, self.sink.is_discard());
        resume.script = self.resume.script;
        resume.paused_by_user = self.resume.paused_by_user;
        self.resume = resume;
        Ok(())
    }

    /// Plays to the end, or to what cannot be repaired.
    pub(super) async fn run(&mut self) -> Result<Ended, Error> {
        let mut retries = Retries::new(self.settings, &self.resume);
        let mut left = Duration::MAX;
        let mut asked_at = Instant::now();
        let mut moved = None;
        loop {
            let opened = match moved.take() {
                Some(opened) => Ok(Some(opened)),
                None => {
                    asked_at = Instant::now();
                    self.open(left).await
                }
            };
            let outcome = match opened {
                Ok(Some(opened)) => self.stream(opened).await,
                Ok(None) => return Ok(Ended::Session(End::Stopped)),
                Err(error) => Err(error),
            };
            self.tries.give_up();
            if retries.note(&mut self.resume, Instant::now()) {
                self.link.note_progress();
            }
            let ended = match outcome {
                Ok(Outcome::Moved(opened))
                    if retries.left(&self.resume, Instant::now()).is_zero() =>
                {
                    opened.connected.release(0).await;
                    return Err(Error::NoProgress(self.settings.retry_for));
                }
                Ok(Outcome::Moved(opened)) => {
                    self.silence.was_dead();
                    let silent = self.silence.length(Instant::now()).as_secs_f64();
                    let cause = format!("nothing came for {silent:.1} s");
                    self.reporter.reconnecting(1, Duration::ZERO, self.resume.position, cause);
                    self.report_opened(&opened);
                    asked_at = Instant::now();
                    moved = Some(*opened);
                    continue;
                }
                // Nobody asked for more.
                Ok(Outcome::Ended(Ended::Session(End::Stopped))) if self.resume.is_at_end() => {
                    Ok(Ended::Session(End::Complete))
                }
                Ok(Outcome::Ended(ended)) => Ok(ended),
                Err(error) => Err(error),
            };
            if self.is_other_than_earlier(&ended) {
                // Where to join another broadcast is for the server to say.
                let start = if self.resume.joined { 0 } else { self.resume.start };
                match self.start_over(start) {
                    Ok(()) => continue,
                    Err(Error::Sink(SinkError::OtherPlay { part, origin })) => {
                        return Err(SinkError::OtherMedia { part, origin }.into());
                    }
                    Err(error) => return Err(error),
                }
            }
            let loss = if self.joins_anew(&ended) {
                self.resume.join_anew();
                Loss::joining_anew(&ended)
            } else if self.resume.is_between() && has_no_beginning(&ended) {
                // It has ended meanwhile, and not even its beginning is there to join.
                return Err(Error::PartsMissing);
            } else {
                match Loss::of(&ended, &self.resume) {
                    Some(loss) => loss,
                    None => return ended,
                }
            };
            match self.before_next_try(loss, asked_at, &mut retries).await {
                Next::Try => {
                    left = retries.left(&self.resume, Instant::now()).max(LEAST_PATIENCE);
                }
                Next::GiveUp => return ended,
                Next::Stop => return Ok(Ended::Session(End::Stopped)),
            }
        }
    }

    /// Makes ready for the next try to get a session back that was asked for at `asked_at`, and waits
    /// until it is time.
    async fn before_next_try(
        &mut self,
        loss: Loss,
        asked_at: Instant,
        retries: &mut Retries,
    ) -> Next {
        if loss.sends_away {
            let passed_over = self.link.pass_over(asked_at, loss.others.as_deref());
            match self.unless_over(passed_over).await {
                None => return Next::Stop,
                Some(true) => {
                    let (attempt, position) = (retries.attempt().max(1), self.resume.position);
                    self.reporter.reconnecting(attempt, Duration::ZERO, position, loss.cause);
                    return Next::Try;
                }
                Some(false) => {}
            }
        }
        if loss.waits_for_user {
            if !self.wait_for_resume(&loss).await {
                return Next::Stop;
            }
            // However long that took.
            retries.begin_anew(Instant::now());
        }
        let Some(delay) = retries.delay(&loss, &self.resume, Instant::now()) else {
            return Next::GiveUp;
        };
        if delay.is_zero() {
            return Next::Try;
        }
        self.reporter.reconnecting(retries.attempt(), delay, self.resume.position, loss.cause);
        match self.unless_over(sleep(delay)).await {
            Some(()) => Next::Try,
            None => Next::Stop,
        }
    }

    /// Gets a session within the time that is left; `None` if the play is over before.
    async fn open(&mut self, left: Duration) -> Result<Option<Opened>, Error> {
        if !self.resume.is_resumable() {
            return self.open_first(self.link.answer_within().min(left)).await;
        }
        let request = self.resume.request(self.settings);
        let Self { tries, sink, commands, resume, .. } = self;
        let opened = tries.run(&request, left);
        match unless_over(sink, commands, &mut resume.paused_by_user, opened).await {
            Some(opened) => {
                let opened = opened?;
                self.report_opened(&opened);
                Ok(Some(opened))
            }
            None => Ok(None),
        }
    }

    /// Runs a session to its end.
    async fn stream(&mut self, opened: Opened) -> Result<Outcome, Error> {
        let Opened { connected, granted } = opened;
        let handle = connected.handle().clone();
        let outcome = SessionDriver::run(granted, handle, self.context()).await;
        // What came before the end is not to wait for the next session.
        self.sink.flush();
        let is_silent = |end: &End| matches!(end, End::Stalled(_) | End::Timeout(_));
        if matches!(&outcome, Ok(Outcome::Ended(Ended::Session(end))) if is_silent(end)) {
            self.link.forget(&connected).await;
        }
        let broken =
            matches!(&outcome, Ok(Outcome::Ended(Ended::Session(end))) if end.is_violation());
        connected.release(if broken { CloseReason::VIOLATION.0 } else { 0 }).await;
        outcome
    }

    /// Tells of a session that goes on with an earlier one.
    fn report_opened(&mut self, opened: &Opened) {
        self.reporter.connected(opened.connected.handle(), opened.connected.fingerprint);
        self.reporter.requested(self.settings.open.clone());
    }

    /// Waits until a play whose paused session the server closed is to go on; false if it is over.
    async fn wait_for_resume(&mut self, loss: &Loss) -> bool {
        warn!("{}; it goes on when it is resumed", loss.cause);
        let Self { sink, commands, resume, .. } = self;
        while resume.paused_by_user || !sink.has_room() {
            tokio::select! {
                Some(command) = commands.recv() => match command {
                    PlayCommand::Stop => return false,
                    PlayCommand::TogglePause => resume.paused_by_user = !resume.paused_by_user,
                },
                () = sink.room(), if !sink.has_room() => {}
                () = sink.failed() => return false,
            }
        }
        resume.paused_by_sink = false;
        true
    }

    /// Waits for `future`; `None` if the play is over before.
    async fn unless_over<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let Self { sink, commands, resume, .. } = self;
        unless_over(sink, commands, &mut resume.paused_by_user, future).await
    }

    /// Whether the server has other media than an earlier play got a part of.
    fn is_other_than_earlier(&self, ended: &Result<Ended, Error>) -> bool {
        let is_discontinuity = matches!(
            ended,
            Ok(Ended::Session(End::Discontinuity(Discontinuity::Media)))
                | Err(Error::Session(End::Discontinuity(Discontinuity::Media)))
        );
        let is_other = is_discontinuity || refusal(ended) == Some(NackCode::MediaChanged as u16);
        is_other && !self.resume.is_resumable() && self.sink.resumed().is_some()
    }

    /// Whether a broadcast cannot be gone on with, into a player, which a new one will do for.
    fn joins_anew(&self, ended: &Result<Ended, Error>) -> bool {
        if !self.resume.live || !self.resume.is_resumable() || self.sink.part().is_some() {
            return false;
        }
        match ended {
            Ok(Ended::Session(end)) | Err(Error::Session(end)) => match end {
                End::Refused { code, .. } => {
                    let codes = [NackCode::MediaChanged as u16, NackCode::NotKept as u16];
                    codes.contains(code)
                }
                End::Closed { reason, .. } => *reason == CloseReason::BEHIND,
                end => *end == End::Discontinuity(Discontinuity::Media),
            },
            _ => false,
        }
    }

    /// What the driver of a session works with.
    fn context(&mut self) -> FetchContext<'_, R> {
        FetchContext {
            settings: self.settings,
            server: self.link.server(),
            sink: &self.sink,
            commands: &mut self.commands,
            reporter: &mut self.reporter,
            resume: &mut self.resume,
            silence: &mut self.silence,
            tries: &mut self.tries,
        }
    }
}

/// The code of OPEN_NACK, if that was the answer.
fn refusal(ended: &Result<Ended, Error>) -> Option<u16> {
    match ended {
        Ok(Ended::Session(End::Refused { code, .. }))
        | Err(Error::Session(End::Refused { code, .. })) => Some(*code),
        _ => None,
    }
}

/// Whether the server refused because the beginning of a broadcast is not kept: it may wait for
/// another after that.
fn has_no_beginning(ended: &Result<Ended, Error>) -> bool {
    let (Ok(Ended::Session(end)) | Err(Error::Session(end))) = ended else { return false };
    let says_what_is_kept = matches!(end, End::Refused { oldest: Some(_), .. });
    says_what_is_kept || refusal(ended) == Some(NackCode::NotKept as u16)
}

/// Waits for `future`; `None` if the user stops the play or its sink fails before.
async fn unless_over<T>(
    sink: &Sink,
    commands: &mut mpsc::UnboundedReceiver<PlayCommand>,
    paused: &mut bool,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = stop_or_toggle(commands, paused) => None,
        () = sink.failed() => None,
        output = future => Some(output),
    }
}

/// Waits until the user asks to stop.
pub(in crate::client) async fn stop(commands: &mut mpsc::UnboundedReceiver<PlayCommand>) {
    stop_or_toggle(commands, &mut false).await;
}

/// Waits until the user asks to stop; what the user says of a pause goes for the next session.
async fn stop_or_toggle(commands: &mut mpsc::UnboundedReceiver<PlayCommand>, paused: &mut bool) {
    loop {
        match commands.recv().await {
            Some(PlayCommand::Stop) => return,
            Some(PlayCommand::TogglePause) => *paused = !*paused,
            None => std::future::pending().await,
        }
    }
}
