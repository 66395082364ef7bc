//! Files as sources, and what all open files of a library share.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::task::Poll;

use bytes::Bytes;
use quick_cache::sync::Cache as Bounded;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::block::BLOCK;
use super::cache::{Cache, SourceId};
use super::digest::Digester;
use super::file::File;
use super::identity::FileIdentity;
use super::source::{Pending, Read, Source};
use super::validators::Validators;
use super::{Error, Found, MediaCounters, blocking, finished};
use crate::protocol::Digest;

/// Descriptors that no media takes, so that a catalogue can be made however many titles are open:
/// a walk needs two, and more where the system does not resolve its paths for it.
const SPARE_DESCRIPTORS: u64 = 5;

/// Files that are known to be open, and so are opened only once. Past that some may be open
/// twice, which costs a descriptor and nothing else.
const MAX_KNOWN_OPEN: usize = 4096;

/// The open files of a library, with their digests and validators.
#[derive(Debug)]
pub(super) struct Files {
    cache: Arc<Cache>,
    open: Bounded<FileIdentity, Weak<File>>,
    pub(super) digester: Arc<Digester>,
    validators: Validators,
}

impl Files {
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        Self {
            digester: Arc::new(Digester::new(cache.clone())),
            cache,
            open: Bounded::new(MAX_KNOWN_OPEN),
            validators: Validators::new(),
        }
    }

    /// Makes a source of a file that was opened.
    ///
    /// # Errors
    /// The process is about to run out of descriptors.
    pub(super) fn source(&self, found: Found<File>) -> Result<Found<Arc<dyn Source>>, Error> {
        let Found { title, media_type, bitrate, source: file } = found;
        let opened = Arc::new(file);
        let file = self.share(&opened);
        if Arc::ptr_eq(&file, &opened) && !leaves_spare_descriptors(&file) {
            return Err(file.error(Errno::MFILE.into()));
        }
        drop(opened);
        let source = Arc::new(FileSource {
            id: file.identity().source_id(),
            validator: self.validator(&title, file.identity()),
            file,
            cache: self.cache.clone(),
            digester: Arc::downgrade(&self.digester),
        });
        Ok(Found { title, media_type, bitrate, source })
    }

    pub(super) fn counters(&self) -> MediaCounters {
        let (hits, misses, blocks) = self.cache.counts();
        let digest_queue = self.digester.queued();
        MediaCounters { hits, misses, bytes: blocks * BLOCK as u64, digest_queue }
    }

    /// The digest of what `title` was when it had this validator, if that was here and is known.
    pub(super) fn digest_behind(&self, title: &str, validator: &[u8]) -> Option<Digest> {
        self.digester.known(self.validators.state(title, validator)?)
    }

    fn validator(&self, title: &str, identity: FileIdentity) -> Bytes {
        self.validators.assign(title, identity, |other| {
            let known = self.digester.known(identity);
            known.is_some() && known == self.digester.known(other)
        })
    }

    /// Returns the file that is open already, if it is in the same state: all sessions share one
    /// descriptor and one digest. Where that has no good digest, a new one is another try.
    fn share(&self, file: &Arc<File>) -> Arc<File> {
        let identity = file.identity();
        let open = self.open.get(&identity).and_then(|open| open.upgrade());
        if let Some(open) = open.filter(|open| !open.needs_new_digest()) {
            return open;
        }
        self.open.insert(identity, Arc::downgrade(file));
        file.clone()
    }
}

/// Returns false if too few descriptors are left beside that of a file that was opened just now:
/// it has the lowest number that was free.
fn leaves_spare_descriptors(file: &File) -> bool {
    let number = u64::try_from(file.descriptor()).unwrap_or_default();
    let limit = getrlimit(Resource::Nofile).current;
    limit.is_none_or(|limit| number + SPARE_DESCRIPTORS < limit)
}

/// One title's view of an open file.
///
/// The endpoint's thread never waits for a disk: what the system has in memory is copied at once,
/// which costs less than to ask another thread, and the rest is read on the blocking pool.
#[derive(Debug)]
pub(super) struct FileSource {
    pub(super) file: Arc<File>,
    id: SourceId,
    validator: Bytes,
    cache: Arc<Cache>,
    digester: Weak<Digester>,
}

impl Source for FileSource {
    /// Returns a hash of the size and modification time, or of all that the system knows of the
    /// file's state where this server has seen its title in two that have these in common.
    fn validator(&self) -> Bytes {
        self.validator.clone()
    }

    fn goes_by(&self, validator: &[u8]) -> bool {
        validator == self.validator || validator == self.file.identity().salted_validator()
    }

    fn len(&self) -> Option<u64> {
        Some(self.file.len())
    }

    fn modified(&self) -> Option<u64> {
        self.file.identity().modified()
    }

    fn read_now(&self, offset: u64, max: usize) -> Result<Option<Read>, Error> {
        let Some(piece) = Piece::new(&self.file, offset, max) else { return Ok(Some(Read::End)) };
        if let Some(block) = piece.shared.then(|| self.cache.get(self.id, piece.offset)).flatten() {
            return Ok(Some(piece.of(&block)));
        }
        let mut buffer = self.cache.buffer(piece.length);
        if !self.file.read_from_memory(piece.offset, buffer.bytes())? {
            return Ok(None);
        }
        let block = buffer.filled();
        if piece.shared {
            self.cache.insert(self.id, piece.offset, block.clone());
        }
        Ok(Some(piece.of(&block)))
    }

    fn read(
        self: Arc<Self>,
        offset: u64,
        max: usize,
        ahead: u64,
    ) -> Pending<'static, Result<Read, Error>> {
        // A task of its own: others may wait for the block although this reader gave up, and a
        // client must not have a slow disk asked for the same with every PDU.
        let read = tokio::spawn(self.load(offset, max, ahead));
        Box::pin(async move { finished(read.await) })
    }

    fn digest(&self) -> Option<Digest> {
        let known = || self.digester.upgrade()?.known(self.file.identity());
        self.file.digest().or_else(known)
    }

    fn request_digest(&self) {
        if let Some(digester) = self.digester.upgrade() {
            digester.request(&self.file);
        }
    }

    fn digested(&self) -> Pending<'_, Option<Digest>> {
        Box::pin(self.file.digested())
    }

    fn resolve_digest(&self) -> Poll<Option<Digest>> {
        let resolve = |digester: Arc<Digester>| digester.resolve(&self.file);
        self.digester.upgrade().map_or(Poll::Ready(None), resolve)
    }
}

impl FileSource {
    async fn load(self: Arc<Self>, offset: u64, max: usize, ahead: u64) -> Result<Read, Error> {
        let Some(piece) = Piece::new(&self.file, offset, max) else { return Ok(Read::End) };
        let Piece { offset, length, shared, .. } = piece;
        let (file, mut buffer) = (self.file.clone(), self.cache.buffer(length));
        let load = blocking(move || {
            file.read(offset, buffer.bytes())?;
            file.will_read(offset + length as u64, ahead);
            Ok(buffer.filled())
        });
        let block = match shared {
            true => self.cache.get_or_load(self.id, offset, load).await?,
            false => load.await?,
        };
        Ok(piece.of(&block))
    }
}

/// What to read of a file, and which part of that is wanted.
#[derive(Debug, Clone)]
struct Piece {
    offset: u64,
    length: usize,
    wanted: Range<usize>,
    /// It is a whole block, and kept for others.
    shared: bool,
}

impl Piece {
    /// From `offset` on, at most `max` bytes; `None` at the end of the file. What nobody else
    /// has open, for a session or its digest, is not kept: its buffers then come back before they
    /// have left the processor's caches, and nothing is read that is not wanted.
    fn new(file: &Arc<File>, offset: u64, max: usize) -> Option<Self> {
        let shared = Arc::strong_count(file) > 1;
        let left =
            |offset| usize::try_from(file.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        if left(offset) == 0 || max == 0 {
            return None;
        }
        let start = if shared { offset % BLOCK as u64 } else { 0 };
        let offset = offset - start;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let length = left(offset).min(if shared { BLOCK } else { max.min(BLOCK) });
        let wanted = start..length.min(start.saturating_add(max));
        Some(Self { offset, length, wanted, shared })
    }

    /// Takes what is wanted out of what was read. A small part of a block is copied, because a
    /// slice would keep the whole block in memory.
    fn of(&self, block: &Bytes) -> Read {
        let wanted = block.slice(self.wanted.clone());
        Read::Bytes(match wanted.len() < block.len() / 4 {
            true => Bytes::copy_from_slice(&wanted),
            false => wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> Found<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let metadata = file.metadata().unwrap();
        let path = "media.mp4";
        Found::new(path, path, None, File::new(file, &metadata, path.into()))
    }

    #[tokio::test]
    async fn a_piece_takes_no_more_room_than_it_is_worth() {
        let bytes: Vec<u8> = (0..BLOCK + 1_000).map(|at| (at % 251) as u8).collect();
        let files = Files::new(Arc::new(Cache::new(1)));
        let [alone, shared] = [(); 2].map(|()| files.source(file(&bytes)).unwrap().source);
        let file_of = |source: &Arc<dyn Source>| {
            let source: &dyn std::any::Any = &**source;
            source.downcast_ref::<FileSource>().unwrap().file.clone()
        };
        let _other = file_of(&shared);
        for (source, offset, max, length) in [
            (&alone, 1, 10, 10),
            (&alone, 1, BLOCK, BLOCK),
            (&alone, BLOCK as u64, BLOCK, 1_000),
            (&shared, 1, 10, 10),
            (&shared, 1, BLOCK, BLOCK - 1),
            (&shared, BLOCK as u64 + 1, BLOCK, 999),
        ] {
            let from = offset as usize;
            let expected =
                Read::Bytes(Bytes::copy_from_slice(bytes.get(from..from + length).unwrap()));
            let read = source.clone().read(offset, max, 0).await.unwrap();
            assert_eq!(read, expected, "{offset}, {max}");
            let now = source.read_now(offset, max).unwrap();
            assert!(now.is_none_or(|now| now == expected), "{offset}, {max}");
        }
        assert_eq!(alone.read_now(bytes.len() as u64, 1).unwrap(), Some(Read::End));

        let of_shared = file_of(&shared);
        for (offset, max, is_copied) in [(1, 10, true), (1, BLOCK / 2, false), (1, BLOCK, false)] {
            let piece = Piece::new(&of_shared, offset, max).unwrap();
            let block = Bytes::from(vec![0; piece.length]);
            let Read::Bytes(part) = piece.of(&block) else { panic!("no bytes") };
            assert_eq!(!block.as_ptr_range().contains(&part.as_ptr()), is_copied, "{max}");
        }
    }
}
