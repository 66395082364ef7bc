//! One state of one object.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta};
use tokio::sync::SetOnce;

use super::blocks::Claim;
use super::failure::Failure;
use super::store::{Body, Store, in_time};
use crate::media::block::BLOCK;
use crate::media::cache::SourceId;
use crate::protocol::Digest;
use futures_util::StreamExt;

/// An object as it was found. Whatever is read of it is of that state, or reading it fails.
#[derive(Debug)]
pub(super) struct ObjectState {
    pub(super) key: Path,
    /// What people call it.
    pub(super) url: String,
    pub(super) size: u64,
    pub(super) e_tag: String,
    /// Milliseconds since the Unix epoch.
    pub(super) modified: Option<u64>,
    /// Its digest, once it is known what that is, or that there will be none.
    pub(super) digest: SetOnce<Option<Digest>>,
}

impl ObjectState {
    /// What `meta` says of an object that people call `url`.
    ///
    /// # Errors
    /// There is nothing to tell this state from others by.
    pub(super) fn new(meta: ObjectMeta, url: String) -> Result<Self, Failure> {
        let ObjectMeta { location: key, last_modified, size, e_tag, .. } = meta;
        let e_tag = e_tag.ok_or_else(|| Failure::trouble("the store tells no ETag of it"))?;
        let modified = u64::try_from(last_modified.timestamp_millis()).ok();
        Ok(Self { key, url, size, e_tag, modified, digest: SetOnce::new() })
    }

    /// Lets everybody know the digest, or that there will be none. Only the first call counts.
    pub(super) fn publish_digest(&self, digest: Option<Digest>) {
        let _ = self.digest.set(digest);
    }

    /// Stands for this state among all that a store has.
    pub(super) fn id(&self) -> SourceId {
        let mut id = [0; 16];
        let hash = hash(&[self.key.as_ref().as_bytes(), self.e_tag.as_bytes()], self.size);
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        SourceId(id)
    }

    /// What a client may know of it, hashed: the same wherever it has the same ETag and size.
    pub(super) fn validator(&self) -> Bytes {
        Bytes::copy_from_slice(&hash(&[self.e_tag.as_bytes()], self.size))
    }

    /// Fetches what is claimed, block by block.
    pub(super) async fn fetch(&self, store: &Store, mut claim: Claim) {
        if let Err(failure) = self.fill(store, &mut claim).await {
            tracing::debug!(url = self.url, ?failure, "cannot be fetched");
            claim.fail(&failure);
        }
    }

    async fn fill(&self, store: &Store, claim: &mut Claim) -> Result<(), Failure> {
        let Range { start, end } = claim.left();
        let mut body = self.body(store, block_start(start)..block_start(end)).await?;
        let mut rest = Bytes::new();
        while !claim.left().is_empty() {
            let left = self.size.saturating_sub(block_start(claim.left().start));
            let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let mut buffer = claim.buffer(length);
            in_time(async {
                let mut empty = buffer.bytes();
                while !empty.is_empty() {
                    if rest.is_empty() {
                        rest = body.next().await.unwrap_or_else(|| Err(short()))?;
                    }
                    let piece = rest.split_to(rest.len().min(empty.len()));
                    let (now, later) = empty.split_at_mut(piece.len());
                    now.copy_from_slice(&piece);
                    empty = later;
                }
                Ok(())
            })
            .await?;
            claim.fill(buffer.filled());
        }
        Ok(())
    }

    /// Asks for a part of the object, as far as it goes, in this state and no other.
    pub(super) async fn body(&self, store: &Store, part: Range<u64>) -> Result<Body, Failure> {
        let part = part.start..part.end.min(self.size);
        let options = GetOptions {
            if_match: Some(self.e_tag.clone()),
            range: Some(GetRange::Bounded(part)),
            ..GetOptions::default()
        };
        let answer = store.get(&self.key, options).await?;
        // Not every store heeds If-Match.
        let is_same = answer.meta.e_tag.as_ref() == Some(&self.e_tag);
        if !is_same || answer.meta.size != self.size {
            return Err(Failure::Changed);
        }
        Ok(answer.into_stream())
    }
}

/// A body that ends too soon.
fn short() -> object_store::Error {
    let source = "the store sent less than was asked for".into();
    object_store::Error::Generic { store: "object store", source }
}

fn block_start(index: u64) -> u64 {
    index.saturating_mul(BLOCK as u64)
}

/// Of one length, whatever a store says; different for different texts.
fn hash(texts: &[&[u8]], number: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&text.len().to_be_bytes());
        hasher.update(text);
    }
    hasher.update(&number.to_be_bytes());
    hasher.finalize().into()
}
