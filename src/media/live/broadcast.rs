//! One broadcast: what its producer has sent, as far as it is kept.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::runtime;
use tokio::sync::Notify;

use super::audience::Audience;
use super::joins::Joins;
use super::recording::Recording;
use super::scanner::Scanner;
use super::window::Window;
use crate::media::Error;
use crate::media::source::Read;
use crate::protocol::Digest;

/// Bytes of a validator: random, so that no two broadcasts have the same.
const VALIDATOR: usize = 16;

/// How many times at which bytes came are remembered: one a second, for what is kept at most.
const MOST_TIMES: usize = 24 * 60 * 60;

/// Over how long a bitrate is measured at most.
const MEASURED: Duration = Duration::from_secs(10);

/// A broadcast, which all its viewers share.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) validator: [u8; VALIDATOR],
    pub(super) started: SystemTime,
    /// The most to keep in memory, bytes.
    window: u64,
    pub(super) recording: Option<Arc<Recording>>,
    intake: Mutex<Intake>,
    state: Mutex<State>,
    /// Told when there is more, or no more: one task of each runtime, which tells the others.
    grown: Notify,
    crowds: Mutex<HashMap<runtime::Id, Arc<Crowd>>>,
    pub(super) audience: Audience,
}

/// The viewers on one runtime. They are woken there, all of them before the endpoint runs: woken
/// from the producer's thread, each would have the endpoint send for it alone.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Told when there is more, or no more.
    pub(super) grown: Notify,
}

/// What looks at each byte that comes. It is the producer's: no viewer waits for it.
#[derive(Default)]
struct Intake {
    hasher: blake3::Hasher,
    scanner: Scanner,
}

#[derive(Default)]
struct State {
    window: Window,
    end: Option<Ending>,
    /// How many bytes there were at these times.
    times: VecDeque<(Instant, u64)>,
    joins: Joins,
    /// From which byte on one place to begin at is as good as any other, for all that is known.
    blind_from: Option<u64>,
}

/// How a broadcast ended.
#[derive(Debug, Clone)]
enum Ending {
    /// All of it came, which has this digest.
    Whole(Digest),
    /// Its producer could not be read any further.
    Broken(Arc<io::Error>),
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("scanner", &self.scanner).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("window", &self.window).finish_non_exhaustive()
    }
}

/// How a broadcast does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveStatus {
    /// The title it has.
    pub title: String,
    /// The first byte that is kept.
    pub oldest: u64,
    /// How many bytes there are.
    pub edge: u64,
    /// Bytes of it that are in memory.
    pub window: u64,
    /// Places that are kept where a decoder can begin.
    pub joins: usize,
    /// bit/s, over the last seconds.
    pub bitrate: Option<u32>,
    /// Who watches.
    pub viewers: usize,
    /// Bytes that the viewer has before it that is furthest behind.
    pub behind: u64,
}

/// Where the bytes at an offset are.
pub(super) enum Place {
    /// Here.
    Here(Read),
    /// In the recording.
    Recorded,
    /// They have not come yet.
    Later,
    /// They never come.
    Missing(Arc<io::Error>),
}

impl Broadcast {
    /// A broadcast without a byte, which keeps so many in memory.
    pub(super) fn new(window: u64, recording: Option<Arc<Recording>>) -> Self {
        Self {
            validator: rand::random(),
            started: SystemTime::now(),
            window,
            recording,
            intake: Mutex::default(),
            state: Mutex::default(),
            grown: Notify::new(),
            crowds: Mutex::default(),
            audience: Audience::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// [`Error::NotFragmented`]; it is not taken then.
    pub(super) fn append(&self, bytes: Bytes) -> Result<(), Error> {
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        let Intake { hasher, scanner } = &mut *intake;
        let mut found = Vec::new();
        scanner.feed(&bytes, |offset, header| found.push((offset, header.clone())))?;
        hasher.update(&bytes);
        let now = Instant::now();
        let mut state = self.state();
        let State { window, times, joins, blind_from, .. } = &mut *state;
        let edge = window.edge();
        found.into_iter().for_each(|(offset, header)| joins.push(offset, header));
        if scanner.is_blind() {
            blind_from.get_or_insert(if joins.count() == 0 { 0 } else { edge });
        }
        if times.back().is_none_or(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1)) {
            times.push_back((now, edge));
        }
        window.push(bytes);
        // What is not on the disk yet stays: it is in memory until it is, anyway.
        let recorded = self.recording.as_deref().and_then(Recording::reaches).unwrap_or(u64::MAX);
        window.forget_before(window.edge().saturating_sub(self.window).min(recorded));
        let oldest = self.oldest(&state);
        let State { times, joins, .. } = &mut *state;
        joins.forget_before(oldest);
        // A bitrate is measured over more than is kept of a fast one.
        let is_over = |(at, offset): &(Instant, u64)| {
            *offset <= oldest && now.duration_since(*at) >= MEASURED
        };
        while times.get(1).is_some_and(is_over) || times.len() > MOST_TIMES {
            times.pop_front();
        }
        drop(state);
        self.grown.notify_waiters();
        Ok(())
    }

    /// Says that nothing more comes: that it is over, or why the rest is missing. Returns the number
    /// of bytes.
    pub(super) fn end(&self, broken: Option<Arc<io::Error>>) -> u64 {
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = || Ending::Whole(intake.hasher.finalize().into());
        let end = broken.map_or_else(whole, Ending::Broken);
        let mut state = self.state();
        state.end = Some(end);
        let edge = state.window.edge();
        drop(state);
        self.grown.notify_waiters();
        edge
    }

    /// Whether nothing more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.state().end.is_some()
    }

    /// Whether it ended before its time.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state().end, Some(Ending::Broken(_)))
    }

    /// The digest of all, once it has ended.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.state().digest()
    }

    /// Bytes in all, once it has ended.
    pub(super) fn len(&self) -> Option<u64> {
        let state = self.state();
        state.digest().map(|_| state.window.edge())
    }

    /// When it began, milliseconds since the Unix epoch.
    pub(super) fn began(&self) -> Option<u64> {
        let since = self.started.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    /// The first byte that is kept and how many there are, unless it has ended and is whole.
    pub(super) fn kept(&self) -> Option<Range<u64>> {
        let state = self.state();
        let oldest = self.oldest(&state);
        (state.digest().is_none() || oldest > 0).then_some(oldest..state.window.edge())
    }

    /// The first byte from which on all are kept.
    fn oldest(&self, state: &State) -> u64 {
        let in_memory = state.window.oldest();
        let recorded = self.recording.as_deref().map_or(0, Recording::bytes);
        if recorded >= in_memory { 0 } else { in_memory }
    }

    /// Where a decoder can begin, so long ago or earlier; where that is not kept, the oldest such
    /// place.
    pub(super) fn join(&self, ago: Duration) -> u64 {
        let state = self.state();
        let oldest = self.oldest(&state);
        let then = match ago {
            Duration::ZERO => state.window.edge(),
            ago => {
                let time = Instant::now().checked_sub(ago);
                let after = state.times.partition_point(|(at, _)| Some(*at) <= time);
                let before = after.checked_sub(1).and_then(|index| state.times.get(index));
                before.map_or(0, |(_, offset)| *offset).max(oldest)
            }
        };
        if state.is_blind_at(then) {
            return then;
        }
        match state.joins.before(then) {
            Some(join) => join.offset,
            // Nothing to begin at has come, or all that is there leads up to it.
            None if oldest == 0 && !state.joins.has_forgotten() => 0,
            None => state.joins.first().map_or(oldest, |join| join.offset),
        }
    }

    /// What a decoder needs that begins at this byte.
    pub(super) fn header_at(&self, offset: u64) -> Option<Bytes> {
        let state = self.state();
        if offset == 0 || state.is_blind_at(offset) {
            return None;
        }
        let join = state.joins.before(offset)?;
        Some(join.header.clone()).filter(|header| !header.is_empty())
    }

    /// Where 1 to `max` bytes at `offset` are.
    pub(super) fn at(&self, offset: u64, max: usize) -> Place {
        let state = self.state();
        if offset >= state.window.edge() {
            return match &state.end {
                None => Place::Later,
                Some(Ending::Whole(_)) => Place::Here(Read::End),
                Some(Ending::Broken(error)) => Place::Missing(error.clone()),
            };
        }
        if let Some(bytes) = state.window.get(offset, max) {
            return Place::Here(Read::Bytes(bytes));
        }
        drop(state);
        let recorded = self.recording.as_deref().map_or(0, Recording::bytes);
        if offset < recorded { Place::Recorded } else { Place::Here(Read::NotKept) }
    }

    /// bit/s over the last seconds, once a second is over.
    pub(super) fn bitrate(&self) -> Option<u32> {
        self.state().bitrate()
    }

    /// The viewers on the runtime that this is called on.
    pub(super) fn crowd(self: &Arc<Self>) -> Arc<Crowd> {
        let runtime = runtime::Handle::current();
        let mut crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let crowd = Arc::new(Crowd::default());
            runtime.spawn(self.clone().wake(crowd.clone()));
            crowd
        };
        crowds.entry(runtime.id()).or_insert_with(begin).clone()
    }

    /// Wakes the viewers of a runtime whenever there is more, to the end.
    async fn wake(self: Arc<Self>, crowd: Arc<Crowd>) {
        let mut seen = None;
        loop {
            // What comes from here on is told.
            let grown = self.grown.notified();
            let (edge, has_ended) = {
                let state = self.state();
                (state.window.edge(), state.end.is_some())
            };
            if seen.replace(edge) != Some(edge) || has_ended {
                crowd.grown.notify_waiters();
            }
            if has_ended {
                return;
            }
            grown.await;
        }
    }

    /// How it does.
    pub(super) fn status(&self, title: &str) -> LiveStatus {
        let (viewers, last) = self.audience.count_and_last();
        let state = self.state();
        LiveStatus {
            title: title.to_owned(),
            oldest: self.oldest(&state),
            edge: state.window.edge(),
            window: state.window.edge() - state.window.oldest(),
            joins: state.joins.count(),
            bitrate: state.bitrate(),
            viewers,
            behind: last.map_or(0, |position| state.window.edge().saturating_sub(position)),
        }
    }
}

impl State {
    /// Whether it is not known what a decoder would need there.
    fn is_blind_at(&self, offset: u64) -> bool {
        self.blind_from.is_some_and(|from| offset >= from)
    }

    fn digest(&self) -> Option<Digest> {
        match self.end {
            Some(Ending::Whole(digest)) => Some(digest),
            Some(Ending::Broken(_)) | None => None,
        }
    }

    fn bitrate(&self) -> Option<u32> {
        let now = Instant::now();
        let since = self.times.partition_point(|(at, _)| now.duration_since(*at) > MEASURED);
        let (at, offset) = self.times.get(since)?;
        let time = now.duration_since(*at);
        let bits = (self.window.edge() - offset).saturating_mul(8);
        (time >= Duration::from_secs(1)).then(|| (bits as f64 / time.as_secs_f64()) as u32)
    }
}
