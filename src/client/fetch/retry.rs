//! Whether and when to try again after a session was lost.

use std::time::Duration;

use tokio::time::Instant;

use super::resume_state::ResumeState;
use super::session_driver::Ended;
use crate::client::{Error, PlaySettings};
use crate::protocol::{CloseReason, NackCode};
use crate::session::client::End;
use crate::transport;

/// Bytes that count as progress. A server that brings less with each session would be tried for
/// ever.
const PROGRESS: u64 = 64 * 1024;

/// A session that was lost in a way that another one can repair.
#[derive(Debug, Default)]
pub(super) struct Loss {
    pub(super) cause: String,
    /// How long the server wants to be left alone.
    not_before: Duration,
    /// The server is busy.
    busy: bool,
    /// Another server may have room, or not be about to end.
    pub(super) sends_away: bool,
    /// It is tried again at once, if something came since the last such loss.
    at_once: bool,
    /// Such servers, where this one names some.
    pub(super) others: Option<String>,
    /// It is tried again only if media came since the last such loss.
    once: bool,
    /// The server does not keep paused sessions: it is tried again when the play is resumed.
    pub(super) waits_for_user: bool,
}

impl Loss {
    /// Whether another session can repair that one ended like this.
    pub(super) fn of(ended: &Result<Ended, Error>, resume: &ResumeState) -> Option<Self> {
        if resume.accepted && !resume.is_resumable() && !resume.is_between() {
            return None;
        }
        match ended {
            Err(Error::Transport(transport::Error::ClosedWithError(code))) => {
                let reason = CloseReason(u16::try_from(*code).ok()?);
                Self::of_close(reason, resume)
            }
            Err(Error::Transport(error)) if error.is_transient() => Some(Self::default()),
            Err(Error::NoAnswer { .. } | Error::BrokenOff(_)) => Some(Self::default()),
            Ok(Ended::Session(end)) | Err(Error::Session(end)) => match end {
                End::Stalled(_) | End::Timeout(_) | End::NoAnswer(_) | End::Cut => {
                    Some(Self::default())
                }
                End::Closed { reason, .. } => Self::of_close(*reason, resume),
                End::Refused { code, .. } if *code == NackCode::Busy as u16 => {
                    Some(Self { busy: true, sends_away: true, ..Self::default() })
                }
                _ => None,
            }
            .map(|loss| Self {
                not_before: end.retry_after().unwrap_or_default(),
                others: end.retry_with().map(str::to_owned),
                ..loss
            }),
            _ => None,
        }
        .map(|loss| Self { cause: cause(ended), ..loss })
    }

    /// That of a broadcast which another session joins anew.
    pub(super) fn joining_anew(ended: &Result<Ended, Error>) -> Self {
        Self { at_once: true, cause: cause(ended), ..Self::default() }
    }

    fn of_close(reason: CloseReason, resume: &ResumeState) -> Option<Self> {
        let paused = resume.paused_by_user || resume.paused_by_sink;
        match reason {
            CloseReason::SHUTDOWN => Some(Self { sends_away: true, ..Self::default() }),
            CloseReason::TIMEOUT => Some(Self::default()),
            CloseReason::MEDIA => Some(Self { once: true, ..Self::default() }),
            CloseReason::LIMIT => {
                let sends_away = !paused;
                Some(Self { waits_for_user: paused, sends_away, ..Self::default() })
            }
            _ => None,
        }
    }
}

fn cause(ended: &Result<Ended, Error>) -> String {
    match ended {
        Ok(Ended::Session(end)) => end.to_string(),
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    }
}

/// Counts the tries since the last progress, and the time that they take.
#[derive(Debug)]
pub(super) struct Retries {
    /// How long to try to open a first session.
    wait: Duration,
    /// How long to try to get a lost one back.
    retry_for: Duration,
    backoff: Backoff,
    /// Bytes that had come at the last progress.
    bytes: u64,
    /// Whether there has been a session.
    accepted: bool,
    /// When the first loss since the last progress happened.
    since: Option<Instant>,
    /// Where in the media the server last failed to read it.
    failed_at: Option<u64>,
    /// Bytes that had come when a broadcast was last joined anew.
    joined_at: Option<u64>,
}

impl Retries {
    pub(super) fn new(settings: &PlaySettings, resume: &ResumeState) -> Self {
        Self {
            wait: settings.wait,
            retry_for: settings.retry_for,
            backoff: Backoff::new(),
            bytes: resume.bytes(),
            accepted: false,
            since: None,
            failed_at: None,
            joined_at: None,
        }
    }

    /// Notes the end of a session, or of a try to get one. Returns true if it made progress.
    pub(super) fn note(&mut self, resume: &mut ResumeState, now: Instant) -> bool {
        let moved = resume.bytes().saturating_sub(self.bytes) >= PROGRESS;
        let opened = resume.accepted && !self.accepted;
        let was_quiet = std::mem::take(&mut resume.was_quiet);
        let progress = moved || opened || was_quiet;
        if progress {
            self.bytes = resume.bytes();
            self.accepted = resume.accepted;
            self.backoff = Backoff::new();
            self.since = None;
        }
        self.since.get_or_insert(now);
        progress
    }

    /// Which try comes next, since the last progress.
    pub(super) fn attempt(&self) -> u32 {
        self.backoff.attempt
    }

    /// How long to try at all.
    fn limit(&self, resume: &ResumeState, loss: Option<&Loss>) -> Duration {
        // A server that computes the digest of what an earlier play left is not just busy.
        let compares = loss.is_some_and(|loss| loss.busy) && resume.names_digest();
        if resume.accepted || compares { self.retry_for } else { self.wait }
    }

    /// How much time is left.
    pub(super) fn left(&self, resume: &ResumeState, now: Instant) -> Duration {
        let spent = self.since.map(|since| now.saturating_duration_since(since));
        self.limit(resume, None).saturating_sub(spent.unwrap_or_default())
    }

    /// How long to wait before the next try; `None` if there is to be none.
    pub(super) fn delay(
        &mut self,
        loss: &Loss,
        resume: &ResumeState,
        now: Instant,
    ) -> Option<Duration> {
        if loss.once && self.failed_at.replace(resume.position) == Some(resume.position) {
            return None;
        }
        let came = resume.bytes();
        let is_on = |joined_at: u64| came.saturating_sub(joined_at) >= PROGRESS;
        if loss.at_once && self.joined_at.is_none_or(is_on) {
            self.joined_at = Some(came);
            return Some(Duration::ZERO);
        }
        let spent = now.saturating_duration_since(self.since.unwrap_or(now));
        let left = self.limit(resume, Some(loss)).saturating_sub(spent);
        let delay = self.backoff.next().max(loss.not_before);
        // The last try comes when the time is up.
        (!left.is_zero() && loss.not_before <= left).then(|| delay.min(left))
    }
}

/// How long to wait before a lost connection is tried again.
#[derive(Debug)]
struct Backoff {
    /// Tries since the last progress.
    attempt: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);

    fn new() -> Self {
        Self { attempt: 0 }
    }

    /// The delay before the next try: twice that of the one before, and up to half as much again
    /// at random, so that the clients of a server that comes back do not all come at once.
    fn next(&mut self) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.attempt.min(8));
        self.attempt += 1;
        doubled.mul_f64(rand::random_range(1.0..1.5)).min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Rate, Start};
    use crate::protocol::{OpenStream, Options, Version};

    const SECOND: Duration = Duration::from_secs(1);

    fn settings(wait: Duration, retry_for: Duration) -> PlaySettings {
        PlaySettings {
            open: OpenStream::default(),
            script: None,
            title: None,
            start: Start::Byte(0),
            end: None,
            validator: None,
            rate: Rate::Auto,
            wait,
            retry_for,
            verify: true,
            require_digest: false,
            token: None,
        }
    }

    fn accepted(settings: &PlaySettings) -> ResumeState {
        let mut resume = ResumeState::new(settings, 0, false);
        let options = Options { validator: Some("a".into()), ..Options::default() };
        resume.accept(Version::V2, &options);
        resume
    }

    fn closed(reason: CloseReason) -> Result<Ended, Error> {
        Ok(Ended::Session(End::Closed { reason, text: None, retry_after: None, retry_with: None }))
    }

    fn busy(retry_after: Option<Duration>) -> Result<Ended, Error> {
        let code = NackCode::Busy as u16;
        Err(Error::Session(End::Refused { code, reason: None, retry_after, retry_with: None }))
    }

    /// How often a session is tried again that is lost after so many bytes each time, one second
    /// after it was opened.
    fn tries(bytes: u64, ended: &Result<Ended, Error>) -> usize {
        let settings = settings(Duration::ZERO, SECOND * 60);
        let mut resume = accepted(&settings);
        let mut retries = Retries::new(&settings, &resume);
        let mut now = Instant::now();
        (0..1_000)
            .take_while(|_| {
                resume.position += bytes;
                now += SECOND;
                retries.note(&mut resume, now);
                let loss = Loss::of(ended, &resume).unwrap();
                let delay = retries.delay(&loss, &resume, now);
                now += delay.unwrap_or_default();
                delay.is_some()
            })
            .count()
    }

    #[test]
    fn what_comes_of_a_new_broadcast_is_progress() {
        let settings = settings(Duration::ZERO, SECOND * 4);
        let mut resume = accepted(&settings);
        let mut retries = Retries::new(&settings, &resume);
        let mut now = Instant::now();
        resume.position = 100 * PROGRESS;
        for _ in 0..3 {
            retries.note(&mut resume, now);
            resume.join_anew();
            let options = Options { validator: Some("b".into()), live: true, ..Options::default() };
            resume.accept(Version::V2, &options);
            resume.position += PROGRESS;
            now += SECOND * 60;
            retries.note(&mut resume, now);
            let loss = Loss::of(&closed(CloseReason::SHUTDOWN), &resume).unwrap();
            assert!(retries.delay(&loss, &resume, now).is_some());
        }
    }

    #[test]
    fn what_joins_anew_without_progress_does_so_less_and_less_often() {
        let settings = settings(Duration::ZERO, SECOND * 60);
        let mut resume = accepted(&settings);
        let mut retries = Retries::new(&settings, &resume);
        let mut now = Instant::now();
        let mut delays = Vec::new();
        loop {
            retries.note(&mut resume, now);
            let loss = Loss::joining_anew(&closed(CloseReason::BEHIND));
            let Some(delay) = retries.delay(&loss, &resume, now) else { break };
            delays.push(delay);
            now += delay + Duration::from_millis(1);
        }
        assert_eq!(delays[0], Duration::ZERO);
        // The last one is what is left of the time.
        let grown = &delays[1..delays.len() - 1];
        assert!(grown.iter().all(|delay| *delay >= Backoff::FIRST), "{delays:?}");
        assert!((5..20).contains(&delays.len()), "{delays:?}");
        resume.position += PROGRESS;
        retries.note(&mut resume, now);
        let loss = Loss::joining_anew(&closed(CloseReason::BEHIND));
        assert_eq!(retries.delay(&loss, &resume, now), Some(Duration::ZERO));
    }

    #[test]
    fn a_byte_with_each_session_is_no_progress() {
        let lost = || Err(Error::Transport(transport::Error::Idle));
        let none = tries(0, &lost());
        assert!((5..20).contains(&none), "{none}");
        assert!((none.abs_diff(tries(1, &lost()))) <= 2);
        assert_eq!(tries(PROGRESS, &lost()), 1_000);
    }

    #[test]
    fn media_that_failed_is_asked_for_once_since_the_last_new_byte() {
        assert_eq!(tries(0, &closed(CloseReason::MEDIA)), 1);
        assert!(tries(1, &closed(CloseReason::MEDIA)) > 2);
    }

    #[test]
    fn each_close_reason_has_its_own_consequence() {
        let settings = settings(Duration::ZERO, SECOND);
        let resume = accepted(&settings);
        let comes_back = |reason| Loss::of(&closed(reason), &resume).is_some();
        for reason in [2, 3, 4, 6] {
            assert!(comes_back(CloseReason(reason)), "{reason}");
            let aborted = transport::Error::ClosedWithError(reason.into());
            let loss = Loss::of(&Err(aborted.into()), &resume);
            assert!(loss.is_some(), "{reason} as the error of a connection");
        }
        for reason in [1, 5, 7, 8, 99] {
            assert!(!comes_back(CloseReason(reason)), "{reason}");
            let aborted = transport::Error::ClosedWithError(reason.into());
            assert!(Loss::of(&Err(aborted.into()), &resume).is_none(), "{reason}");
        }
    }

    #[test]
    fn a_limit_on_pauses_is_waited_out_by_whoever_pauses() {
        let settings = settings(Duration::ZERO, SECOND);
        let mut resume = accepted(&settings);
        let limit = |resume: &ResumeState| Loss::of(&closed(CloseReason::LIMIT), resume).unwrap();
        assert!(!limit(&resume).waits_for_user);
        resume.paused_by_user = true;
        assert!(limit(&resume).waits_for_user);
        (resume.paused_by_user, resume.paused_by_sink) = (false, true);
        assert!(limit(&resume).waits_for_user);
    }

    #[test]
    fn before_the_first_session_only_wait_counts_and_afterwards_only_retry_for() {
        let now = Instant::now();
        let delay = |wait: u32, retry_for: u32, ended: &Result<Ended, Error>, first: bool| {
            let settings = settings(SECOND * wait, SECOND * retry_for);
            let mut resume = match first {
                true => ResumeState::new(&settings, 0, false),
                false => accepted(&settings),
            };
            let mut retries = Retries::new(&settings, &resume);
            retries.note(&mut resume, now);
            let loss = Loss::of(ended, &resume).unwrap();
            retries.delay(&loss, &resume, now).is_some()
        };
        let unreachable = Err(Error::Transport(transport::Error::ConnectionRefused));
        for ended in [unreachable, busy(None)] {
            assert!(!delay(0, 60, &ended, true));
            assert!(delay(60, 0, &ended, true));
            assert!(delay(0, 60, &ended, false));
            assert!(!delay(60, 0, &ended, false));
        }
        assert!(delay(60, 0, &busy(Some(SECOND * 30)), true));
        assert!(!delay(60, 0, &busy(Some(SECOND * 90)), true), "it is not worth to wait for");
    }

    #[test]
    fn version_1_cannot_go_on() {
        let settings = settings(Duration::ZERO, SECOND);
        let mut resume = ResumeState::new(&settings, 0, false);
        resume.accept(Version::V1, &Options::default());
        let lost = Err(Error::Transport(transport::Error::Idle));
        assert!(Loss::of(&lost, &resume).is_none());
    }

    #[test]
    fn delays_grow_to_ten_seconds_and_are_never_the_same_for_all() {
        let mut backoff = Backoff::new();
        for base in [250, 500, 1_000, 2_000, 4_000, 8_000] {
            let delay = backoff.next();
            let base = Duration::from_millis(base);
            assert!((base..=base * 3 / 2).contains(&delay), "{delay:?} after {base:?}");
        }
        assert_eq!((0..100).map(|_| backoff.next()).max(), Some(Backoff::LONGEST));
    }
}
