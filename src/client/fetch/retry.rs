//! Whether and when to try again after a session was lost.

#[cfg(test)]
mod tests;

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
            self.begin_anew(now);
        }
        self.since.get_or_insert(now);
        progress
    }

    /// Takes what was lost before for lost now.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.backoff = Backoff::new();
        self.since = Some(now);
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
