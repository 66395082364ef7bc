//! An object as a source, for one session.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::blocks::{Blocks, Lookup, Stretch};
use super::failure::Failure;
use super::state::ObjectState;
use super::store::Store;
use crate::media::Error;
use crate::media::block::BLOCK;
use crate::media::cache::SourceId;
use crate::media::source::{Pending, Read, Source};
use crate::protocol::Digest;

/// The least and the most to ask a store for at once, bytes.
const LEAST: u64 = 1 << 20;
const MOST: u64 = 8 << 20;

/// How many times what a session has read ahead of a disk it has fetched ahead of a store, at least:
/// of a paced session that is so many seconds, in which a store may fail and be tried again.
const TIMES_AHEAD: u64 = 8;

/// Who has waited less than this for a request that failed has come late to its tries, and has one of
/// its own. With that it waits no longer than a client does.
const LATE: Duration = Duration::from_secs(2);

/// One session's view of an object.
#[derive(Debug)]
pub(super) struct ObjectSource {
    pub(super) state: Arc<ObjectState>,
    id: SourceId,
    store: Arc<Store>,
    blocks: Arc<Blocks>,
    /// The first byte that was read; none yet where it is `u64::MAX`.
    first: AtomicU64,
    /// What has been asked for, by this session or another: all up to this byte.
    asked: AtomicU64,
    /// How much to ask for at once, bytes.
    step: AtomicU64,
}

impl ObjectSource {
    pub(super) fn new(state: Arc<ObjectState>, store: Arc<Store>, blocks: Arc<Blocks>) -> Self {
        Self {
            id: state.id(),
            state,
            store,
            blocks,
            first: AtomicU64::new(u64::MAX),
            asked: AtomicU64::new(0),
            step: AtomicU64::new(LEAST),
        }
    }

    /// Returns true if it is time to ask for more than was: whenever less than a step is ahead.
    fn is_due(&self, offset: u64) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked < self.state.size && asked.saturating_sub(offset) < self.step.load(Ordering::Relaxed)
    }

    /// Has what comes after `offset` fetched. A session begins with small steps: it may be a seek of
    /// somebody who is still looking.
    fn ask_ahead(&self, offset: u64, ahead: u64) {
        let first = self.first.fetch_min(offset, Ordering::Relaxed).min(offset);
        let most = ahead.saturating_mul(TIMES_AHEAD).clamp(LEAST, MOST);
        let step = offset.saturating_sub(first).clamp(LEAST, most);
        self.step.store(step, Ordering::Relaxed);
        if self.is_due(offset) {
            let from = self.asked.load(Ordering::Relaxed).max(offset);
            let asked = self.ask(from..from.saturating_add(step), step, 0);
            self.asked.store(asked, Ordering::Relaxed);
        }
    }

    /// Has what is wanted fetched unless it is here or on its way, `step` bytes in a request and
    /// `least` blocks even where there is no room. Returns the byte up to which all is asked for.
    fn ask(&self, wanted: Range<u64>, step: u64, least: u64) -> u64 {
        let size = self.state.size;
        let up_to = |byte: u64| byte.min(size).div_ceil(BLOCK as u64);
        let stretch = Stretch {
            wanted: wanted.start / BLOCK as u64..up_to(wanted.end),
            step: up_to(step),
            least,
            end: up_to(size),
        };
        let (claims, asked) = self.blocks.claim(self.id, stretch, Instant::now());
        for claim in claims {
            let (state, store) = (self.state.clone(), self.store.clone());
            drop(self.store.spawn(async move { state.fetch(&store, claim).await }));
        }
        asked.saturating_mul(BLOCK as u64).min(size)
    }

    async fn load(&self, offset: u64, max: usize) -> Result<Read, Error> {
        if offset >= self.state.size || max == 0 {
            return Ok(Read::End);
        }
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let fetched = match self.blocks.find(self.id, offset / BLOCK as u64) {
                Lookup::Here(block) => return Ok(part(&block, offset, max)),
                Lookup::Coming(block) => block.await,
                Lookup::Nowhere => {
                    self.ask(offset..offset + 1, LEAST, 1);
                    continue;
                }
            };
            let given_up = |_| Err(Failure::trouble("the request was given up"));
            match fetched.unwrap_or_else(given_up) {
                Ok(block) => return Ok(part(&block, offset, max)),
                Err(Failure::Trouble(_) | Failure::Forbidden(_))
                    if tries == 0 && began.elapsed() < LATE =>
                {
                    tries = 1
                }
                Err(failure) => return Err(failure.at(&self.state.url)),
            }
        }
    }
}

impl Source for ObjectSource {
    /// Returns a hash of ETag and size.
    fn validator(&self) -> Bytes {
        self.state.validator()
    }

    fn len(&self) -> Option<u64> {
        Some(self.state.size)
    }

    fn modified(&self) -> Option<u64> {
        self.state.modified
    }

    /// Takes what is here. Says that it has to wait, too, when it is time to ask for more, which
    /// [`Source::read`] does.
    fn read_now(&self, offset: u64, max: usize) -> Result<Option<Read>, Error> {
        if offset >= self.state.size || max == 0 {
            return Ok(Some(Read::End));
        }
        if self.is_due(offset) {
            return Ok(None);
        }
        let block = self.blocks.get(self.id, offset / BLOCK as u64);
        Ok(block.map(|block| part(&block, offset, max)))
    }

    fn read(
        self: Arc<Self>,
        offset: u64,
        max: usize,
        ahead: u64,
    ) -> Pending<'static, Result<Read, Error>> {
        self.ask_ahead(offset, ahead);
        Box::pin(async move { self.load(offset, max).await })
    }

    fn digest(&self) -> Option<Digest> {
        self.state.digest.get().copied().flatten()
    }

    fn digested(&self) -> Pending<'_, Option<Digest>> {
        Box::pin(async { *self.state.digest.wait().await })
    }

    fn resolve_digest(&self) -> Poll<Option<Digest>> {
        self.state.digest.get().map_or(Poll::Pending, |digest| Poll::Ready(*digest))
    }
}

/// Takes at most `max` bytes out of the block that has `offset`. A small part is copied, because a
/// slice would keep the whole block in memory.
fn part(block: &Bytes, offset: u64, max: usize) -> Read {
    let start = usize::try_from(offset % BLOCK as u64).unwrap_or_default().min(block.len());
    let wanted = block.slice(start..block.len().min(start.saturating_add(max)));
    Read::Bytes(match wanted.len() < block.len() / 4 {
        true => Bytes::copy_from_slice(&wanted),
        false => wanted,
    })
}
