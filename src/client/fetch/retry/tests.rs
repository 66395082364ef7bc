//! How patient a play is.

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
    Err(Error::Session(End::Refused {
        code,
        reason: None,
        retry_after,
        retry_with: None,
        oldest: None,
    }))
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
