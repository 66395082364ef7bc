//! The computing of one digest, slice by slice.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use tracing::debug;

use crate::media::Error;
use crate::media::block::BLOCK;
use crate::media::cache::{Cache, SourceId};
use crate::media::file::File;
use crate::media::identity::FileIdentity;
use crate::protocol::Digest;

/// Blocks that are hashed before it is another file's turn: 4 MiB take a few milliseconds, and a
/// disk that has to seek for them loses little time.
const SLICE: usize = 64;

/// How often a file that grows is hashed at most, to find the same twice.
const PASSES: u32 = 4;

/// A file that waits for its digest, without being kept open by that.
#[derive(Debug)]
pub(super) struct Job {
    file: Weak<File>,
    identity: FileIdentity,
    /// The pass that was begun.
    pass: Option<Box<Pass>>,
    passes: u32,
    /// What the pass before came to, during which the file changed.
    earlier: Option<Digest>,
}

/// One way through the bytes of a file.
#[derive(Debug)]
struct Pass {
    /// The state of the file when it began.
    began: FileIdentity,
    /// Whether a change after that shows in the state.
    settled: bool,
    /// Of the blocks that the cache may have.
    blocks: SourceId,
    hasher: blake3::Hasher,
    offset: u64,
}

/// What a slice came to.
#[derive(Debug)]
pub(super) enum Slice {
    /// There is more to hash, or nobody has the file open any more.
    More,
    /// The digest of the file in the state in which it was opened: good for whoever opens it so.
    Lasting(Digest),
    /// The digest of the first bytes of a file that grew, or of one that changed a moment before:
    /// good for those who have it open.
    Passing(Digest),
    /// It changes too often.
    Restless,
}

impl Job {
    pub(super) fn new(file: &Arc<File>) -> Self {
        let identity = file.identity();
        Self { file: Arc::downgrade(file), identity, pass: None, passes: 0, earlier: None }
    }

    /// The file, unless nobody has it open any more.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.upgrade()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.file.strong_count() > 0
    }

    pub(super) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Bytes to hash, as far as is known.
    pub(super) fn left(&self) -> u64 {
        self.identity.size() - self.pass.as_ref().map_or(0, |pass| pass.offset)
    }

    /// Hashes a slice of `file`. `buffer` has room for a block.
    pub(super) fn advance(
        &mut self,
        file: &Arc<File>,
        cache: &Cache,
        buffer: &mut [u8],
        stop: impl Fn() -> bool,
    ) -> Result<Slice, Error> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => {
                self.passes += 1;
                Box::new(Pass::begin(file)?)
            }
        };
        for _ in 0..SLICE {
            if pass.offset == file.len() {
                return self.finish(*pass, file.state()?);
            }
            // The only one who has it is the caller.
            if Arc::strong_count(file) == 1 || stop() {
                break;
            }
            pass.hash_block(file, cache, buffer)?;
        }
        self.pass = Some(pass);
        Ok(Slice::More)
    }

    fn finish(&mut self, pass: Pass, now: FileIdentity) -> Result<Slice, Error> {
        let digest = pass.hasher.finalize().into();
        // A write between two blocks would give the digest of what never was in the file.
        let unchanged = now == pass.began;
        if unchanged && now == self.identity && pass.settled {
            Ok(Slice::Lasting(digest))
        } else if unchanged || self.earlier == Some(digest) {
            Ok(Slice::Passing(digest))
        } else if self.passes < PASSES {
            self.earlier = Some(digest);
            Ok(Slice::More)
        } else {
            Ok(Slice::Restless)
        }
    }
}

/// Whatever becomes of a job, nobody waits for it for ever.
impl Drop for Job {
    fn drop(&mut self) {
        if let Some(file) = self.file() {
            file.publish_digest(None);
        }
    }
}

impl Pass {
    fn begin(file: &File) -> Result<Self, Error> {
        let began = file.state()?;
        let settled = began.is_settled(SystemTime::now());
        let blocks = file.identity().source_id();
        Ok(Self { began, settled, blocks, hasher: blake3::Hasher::new(), offset: 0 })
    }

    fn hash_block(&mut self, file: &File, cache: &Cache, buffer: &mut [u8]) -> Result<(), Error> {
        // The cache has the blocks of the state in which the file was opened, and no other.
        let is_cached = self.settled && self.began == file.identity();
        if let Some(block) = is_cached.then(|| cache.peek(self.blocks, self.offset)).flatten() {
            self.hasher.update(&block);
            self.offset += block.len() as u64;
            return Ok(());
        }
        let left = usize::try_from(file.len() - self.offset).unwrap_or(usize::MAX);
        let block = buffer.get_mut(..left.min(BLOCK)).unwrap_or_default();
        let read = file.read(self.offset, block);
        read.inspect_err(|error| debug!(%error, "there is no digest"))?;
        self.hasher.update(block);
        self.offset += block.len() as u64;
        Ok(())
    }
}
