//! Digests of objects: where they are known from, and how those are made that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Attributes, GetOptions, GetRange};
use quick_cache::sync::Cache as Bounded;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::digests;
use super::failure::Failure;
use super::state::ObjectState;
use super::store::{Store, in_time};
use crate::media::cache::SourceId;
use crate::protocol::Digest;

/// Digests that are remembered, at about 60 bytes each.
const KNOWN: usize = 4096;

/// Objects that may wait for their digest.
const MOST_WAITING: usize = 1024;

/// Bytes of an object that are hashed in one request.
const SLICE: u64 = 8 << 20;

/// Looks for digests that are stored with objects. Where it is to store them itself, it reads each
/// object once that somebody opens and that has none, one after the other.
#[derive(Debug)]
pub(super) struct Digester {
    store: Arc<Store>,
    known: Bounded<SourceId, Digest>,
    is_storing: AtomicBool,
    waiting: AtomicUsize,
    turn: Semaphore,
}

impl Digester {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            known: Bounded::new(KNOWN),
            is_storing: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            turn: Semaphore::new(1),
        }
    }

    /// Has digests stored from now on.
    pub(super) fn store_digests(&self) {
        self.is_storing.store(true, Ordering::Relaxed);
    }

    /// How many objects have no digest yet of those that are to have one.
    pub(super) fn queued(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Finds out what the digest of `state` is, whose metadata is at hand, and publishes it: now, or
    /// once it is computed.
    pub(super) async fn look_up(self: &Arc<Self>, state: &Arc<ObjectState>, metadata: &Attributes) {
        let known = digests::in_metadata(metadata).or_else(|| self.known.get(&state.id()));
        let digest = match known {
            Some(digest) => Some(digest),
            None => self.read_sidecar(state).await,
        };
        let is_wanted = digest.is_none() && self.is_storing.load(Ordering::Relaxed);
        if is_wanted && self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            let (digester, state) = (self.clone(), state.clone());
            drop(self.store.spawn(async move { digester.make(&state).await }));
            return;
        }
        if is_wanted {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        state.publish_digest(digest);
    }

    async fn read_sidecar(&self, state: &ObjectState) -> Option<Digest> {
        let key = Path::parse(digests::sidecar(state.key.as_ref())).ok()?;
        let range = Some(GetRange::Bounded(0..digests::LONGEST));
        let read = async {
            let answer =
                self.store.get(&key, GetOptions { range, ..GetOptions::default() }).await?;
            in_time(answer.bytes()).await
        };
        match read.await {
            Ok(text) => digests::decode(&text, state.size, &state.e_tag),
            Err(failure) => {
                debug!(url = state.url, ?failure, "no digest is stored beside it");
                None
            }
        }
    }

    async fn make(&self, state: &ObjectState) {
        let turn = self.turn.acquire().await;
        let made = self.hash(state).await;
        if let Ok(digest) = made {
            self.known.insert(state.id(), digest);
            self.write_sidecar(state, digest).await;
        }
        drop(turn);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Err(failure) = &made {
            debug!(url = state.url, ?failure, "there is no digest");
        }
        state.publish_digest(made.ok());
    }

    /// Reads all of an object, in one state.
    async fn hash(&self, state: &ObjectState) -> Result<Digest, Failure> {
        let mut hasher = blake3::Hasher::new();
        while hasher.count() < state.size {
            let start = hasher.count();
            let mut body = state.body(&self.store, start..start.saturating_add(SLICE)).await?;
            while let Some(bytes) = in_time(async { body.next().await.transpose() }).await? {
                hasher.update(&bytes);
            }
            if hasher.count() == start {
                return Err(Failure::trouble("the store sent less than was asked for"));
            }
        }
        Ok(hasher.finalize().into())
    }

    /// Says what the digest was of an object in this state. If it is replaced meanwhile, that is no
    /// harm: what is stored names the state.
    async fn write_sidecar(&self, state: &ObjectState, digest: Digest) {
        let text = digests::encode(digest, state.size, &state.e_tag);
        let Ok(key) = Path::parse(digests::sidecar(state.key.as_ref())) else { return };
        if let Err(failure) = self.store.put(&key, text.into()).await {
            let error = failure.at(key.as_ref());
            let error: &dyn std::error::Error = &error;
            warn!(error, "the digest of {} cannot be stored", state.url);
        }
    }
}
