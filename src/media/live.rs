//! Broadcasts: media that grows while it is watched.
//!
//! One producer appends, and is never made to wait by a viewer. The newest bytes are kept in blocks
//! that all viewers share; a viewer is an offset.

mod adts;
mod annexb;
mod frames;
mod joins;
mod mp3;
mod mp4;
mod mpegts;
mod ogg;
mod scan;
mod scanner;
#[cfg(test)]
mod tests;
mod webm;

use std::collections::VecDeque;
use std::future::ready;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;

use super::source::{Pending, Read, Source};
use super::{Entry, Error, Found, title};
use crate::protocol::Digest;
use joins::Joins;

pub use scanner::Scanner;

/// Bytes of a validator: random, so that no two broadcasts have the same.
const VALIDATOR: usize = 16;

/// How many times at which bytes came are remembered: one a second, for what is kept at most.
const MOST_TIMES: usize = 24 * 60 * 60;

/// What happens to a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// Its first byte came.
    Started,
    /// It has this many bytes, and gets no more.
    Ended(u64),
}

/// A broadcast, seen by its viewers.
#[derive(Debug)]
pub(super) struct LiveSource {
    validator: [u8; VALIDATOR],
    started: SystemTime,
    /// The most to keep, bytes.
    window: u64,
    state: Mutex<State>,
    /// Told when there is more, or no more.
    grown: Notify,
}

struct State {
    /// What is kept, each block with the byte that it begins at.
    blocks: VecDeque<(u64, Bytes)>,
    /// How many bytes there are.
    edge: u64,
    hasher: blake3::Hasher,
    /// The digest of all, at the end.
    digest: Option<Digest>,
    /// How many bytes there were at these times.
    times: VecDeque<(Instant, u64)>,
    scanner: Scanner,
    joins: Joins,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("edge", &self.edge).finish_non_exhaustive()
    }
}

impl State {
    fn oldest(&self) -> u64 {
        self.blocks.front().map_or(self.edge, |(offset, _)| *offset)
    }

    fn at(&self, offset: u64, max: usize) -> Option<Read> {
        if offset >= self.edge {
            return self.digest.is_some().then_some(Read::End);
        }
        let after = self.blocks.partition_point(|(first, _)| *first <= offset);
        let Some((first, block)) = after.checked_sub(1).and_then(|at| self.blocks.get(at)) else {
            return Some(Read::NotKept);
        };
        let start = usize::try_from(offset - first).unwrap_or(usize::MAX).min(block.len());
        let end = block.len().min(start.saturating_add(max));
        Some(Read::Bytes(block.slice(start..end)))
    }
}

impl LiveSource {
    fn new(window: u64) -> Self {
        Self {
            validator: rand::random(),
            started: SystemTime::now(),
            window,
            state: Mutex::new(State {
                blocks: VecDeque::new(),
                edge: 0,
                hasher: blake3::Hasher::new(),
                digest: None,
                times: VecDeque::new(),
                scanner: Scanner::default(),
                joins: Joins::default(),
            }),
            grown: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`Error::NotFragmented`]; they are not added then.
    fn append(&self, bytes: Bytes) -> Result<(), Error> {
        let now = Instant::now();
        let mut state = self.state();
        let State { blocks, edge, hasher, times, scanner, joins, .. } = &mut *state;
        scanner.feed(&bytes, |offset, header| joins.push(offset, header))?;
        hasher.update(&bytes);
        if times.back().is_none_or(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1)) {
            times.push_back((now, *edge));
        }
        let length = bytes.len() as u64;
        blocks.push_back((*edge, bytes));
        *edge += length;
        let from = edge.saturating_sub(self.window);
        // A block of which a part is within the window stays as a whole.
        while blocks.get(1).is_some_and(|(second, _)| *second <= from) {
            blocks.pop_front();
        }
        let oldest = blocks.front().map_or(*edge, |(offset, _)| *offset);
        joins.forget_before(oldest);
        while times.get(1).is_some_and(|(_, at)| *at <= oldest) || times.len() > MOST_TIMES {
            times.pop_front();
        }
        drop(state);
        self.grown.notify_waiters();
        Ok(())
    }

    /// Says that nothing more comes. Returns the number of bytes.
    fn end(&self) -> u64 {
        let mut state = self.state();
        state.digest = Some(state.hasher.finalize().into());
        let edge = state.edge;
        drop(state);
        self.grown.notify_waiters();
        edge
    }
}

impl Source for LiveSource {
    fn validator(&self) -> Bytes {
        Bytes::copy_from_slice(&self.validator)
    }

    fn len(&self) -> Option<u64> {
        let state = self.state();
        state.digest.map(|_| state.edge)
    }

    fn modified(&self) -> Option<u64> {
        let since = self.started.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    fn kept(&self) -> Option<Range<u64>> {
        let state = self.state();
        (state.digest.is_none() || state.oldest() > 0).then(|| state.oldest()..state.edge)
    }

    fn join(&self, ago: Duration) -> u64 {
        let state = self.state();
        let then = match ago {
            Duration::ZERO => state.edge,
            ago => {
                let time = Instant::now().checked_sub(ago);
                let after = state.times.partition_point(|(at, _)| Some(*at) <= time);
                let before = after.checked_sub(1).and_then(|index| state.times.get(index));
                before.map_or(0, |(_, offset)| *offset).max(state.oldest())
            }
        };
        match state.joins.before(then) {
            Some(join) => join.offset,
            None if state.scanner.is_blind() => then,
            // Nothing to begin at has come: all that is there leads up to it.
            None => state.oldest(),
        }
    }

    fn header_at(&self, offset: u64) -> Option<Bytes> {
        let state = self.state();
        let join = state.joins.before(offset).filter(|_| offset > 0)?;
        Some(join.header.clone()).filter(|header| !header.is_empty())
    }

    fn read_now(&self, offset: u64, max: usize) -> Result<Option<Read>, Error> {
        Ok(self.state().at(offset, max))
    }

    fn read(
        self: Arc<Self>,
        offset: u64,
        max: usize,
        _: u64,
    ) -> Pending<'static, Result<Read, Error>> {
        Box::pin(async move {
            loop {
                let grown = self.grown.notified();
                // What comes from here on is told.
                if let Some(read) = self.state().at(offset, max) {
                    return Ok(read);
                }
                grown.await;
            }
        })
    }

    fn digest(&self) -> Option<Digest> {
        self.state().digest
    }

    fn digested(&self) -> Pending<'_, Option<Digest>> {
        Box::pin(ready(self.digest()))
    }
}

/// Where a producer's bytes go in, and a title of a library. It may carry one broadcast after the
/// other.
#[derive(Debug)]
pub struct Broadcaster {
    title: String,
    window: u64,
    current: Mutex<Option<Arc<LiveSource>>>,
}

impl Broadcaster {
    /// A title that keeps so many bytes of its broadcast.
    pub fn new(title: String, window: u64) -> Self {
        Self { title, window, current: Mutex::default() }
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<LiveSource>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends bytes to all viewers. The first ones after an end begin a new broadcast.
    ///
    /// # Errors
    /// [`Error::NotFragmented`]: they are not sent, and nothing that its producer adds is any better.
    pub fn send(&self, bytes: Bytes) -> Result<Option<LiveEvent>, Error> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut current = self.current();
        let going_on = current.as_ref().filter(|source| source.digest().is_none()).cloned();
        let started = going_on.is_none().then_some(LiveEvent::Started);
        let source = going_on.unwrap_or_else(|| Arc::new(LiveSource::new(self.window)));
        source.append(bytes)?;
        *current = Some(source);
        Ok(started)
    }

    /// Ends the broadcast, if there is one. Its viewers get what is left of it.
    pub fn end(&self) -> Option<LiveEvent> {
        let current = self.current();
        let source = current.as_ref().filter(|source| source.digest().is_none())?;
        Some(LiveEvent::Ended(source.end()))
    }

    /// Opens what is on the air, or what was last.
    pub(super) fn open(&self) -> Result<Found<Arc<dyn Source>>, Error> {
        let source = self.current().clone().ok_or(Error::NothingYet)?;
        let source: Arc<dyn Source> = source;
        Ok(Found::new(&self.title, &self.title, None, source))
    }

    pub(super) fn entry(&self) -> Entry {
        let size = self.current().as_ref().and_then(|source| source.len());
        let media_type = title::media_type(&self.title);
        Entry { title: self.title.clone(), size, media_type, bitrate: None }
    }
}
