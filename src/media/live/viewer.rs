//! A broadcast as a source: what one session reads.

use std::future::ready;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::broadcast::{Broadcast, Crowd, Place};
use crate::media::block::BLOCK;
use crate::media::cache::{Cache, SourceId};
use crate::media::source::{Pending, Read, Source};
use crate::media::{Error, blocking, finished};
use crate::protocol::Digest;

/// One viewer of a broadcast.
#[derive(Debug)]
pub(super) struct Viewer {
    title: String,
    broadcast: Arc<Broadcast>,
    /// For what is read from the recording.
    cache: Arc<Cache>,
    /// Whom it is woken with.
    crowd: OnceLock<Arc<Crowd>>,
    number: u64,
    /// The byte after the last one that was read; the greatest number before the first.
    position: Arc<AtomicU64>,
}

impl Viewer {
    pub(super) fn new(title: &str, broadcast: Arc<Broadcast>, cache: Arc<Cache>) -> Self {
        let (number, position) = broadcast.audience.add();
        Self { title: title.to_owned(), broadcast, cache, crowd: OnceLock::new(), number, position }
    }

    /// Reads from the recording.
    async fn load(self: Arc<Self>, offset: u64, max: usize) -> Result<Read, Error> {
        let Some(recording) = self.broadcast.recording.clone() else { return Ok(Read::NotKept) };
        let start = offset - offset % BLOCK as u64;
        let there = recording.bytes().saturating_sub(start);
        let length = usize::try_from(there).unwrap_or(usize::MAX).min(BLOCK);
        let mut buffer = self.cache.buffer(length);
        let read = recording.clone();
        let load = blocking(move || {
            read.read(start, buffer.bytes())?;
            Ok(buffer.filled())
        });
        let block = match length == BLOCK {
            true => self.cache.get_or_load(self.source_id(), start, load).await,
            // The last one in the file is still to be filled.
            false => load.await,
        };
        match block {
            Err(_) if recording.is_spoiled() => Ok(Read::NotKept),
            block => Ok(self.part(&block?, offset, max)),
        }
    }

    fn part(&self, block: &Bytes, offset: u64, max: usize) -> Read {
        let from = usize::try_from(offset % BLOCK as u64).unwrap_or(usize::MAX).min(block.len());
        match block.slice(from..block.len().min(from.saturating_add(max))) {
            empty if empty.is_empty() => Read::NotKept,
            bytes => self.note(offset, Read::Bytes(bytes)),
        }
    }

    /// Notes how far the viewer is.
    fn note(&self, offset: u64, read: Read) -> Read {
        if let Read::Bytes(bytes) = &read {
            self.position.store(offset + bytes.len() as u64, Ordering::Relaxed);
        }
        read
    }

    /// Why the rest of the broadcast is missing.
    fn missing(&self, error: &io::Error) -> Error {
        let source = io::Error::new(error.kind(), error.to_string());
        Error::Io { path: self.title.clone().into(), source }
    }

    fn source_id(&self) -> SourceId {
        SourceId(self.broadcast.validator)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.broadcast.audience.remove(self.number);
    }
}

impl Source for Viewer {
    fn validator(&self) -> Bytes {
        Bytes::copy_from_slice(&self.broadcast.validator)
    }

    fn len(&self) -> Option<u64> {
        self.broadcast.len()
    }

    fn modified(&self) -> Option<u64> {
        self.broadcast.began()
    }

    fn kept(&self) -> Option<Range<u64>> {
        self.broadcast.kept()
    }

    fn join(&self, ago: Duration) -> u64 {
        self.broadcast.join(ago)
    }

    fn header_at(&self, offset: u64) -> Option<Bytes> {
        self.broadcast.header_at(offset)
    }

    fn hold(&self) -> Duration {
        self.broadcast.audience.hold()
    }

    fn read_now(&self, offset: u64, max: usize) -> Result<Option<Read>, Error> {
        Ok(match self.broadcast.at(offset, max) {
            Place::Here(read) => Some(self.note(offset, read)),
            Place::Recorded => {
                let block = self.cache.get(self.source_id(), offset - offset % BLOCK as u64);
                block.map(|block| self.part(&block, offset, max))
            }
            Place::Later => None,
            Place::Missing(error) => return Err(self.missing(&error)),
        })
    }

    fn read(
        self: Arc<Self>,
        offset: u64,
        max: usize,
        _: u64,
    ) -> Pending<'static, Result<Read, Error>> {
        Box::pin(async move {
            let crowd = self.crowd.get_or_init(|| self.broadcast.crowd());
            loop {
                // What comes from here on is told.
                let grown = crowd.grown.notified();
                match self.broadcast.at(offset, max) {
                    Place::Here(read) => return Ok(self.note(offset, read)),
                    // A task of its own: others may wait for the block although this viewer left.
                    Place::Recorded => {
                        return finished(tokio::spawn(self.clone().load(offset, max)).await);
                    }
                    Place::Later => grown.await,
                    Place::Missing(error) => return Err(self.missing(&error)),
                }
            }
        })
    }

    fn digest(&self) -> Option<Digest> {
        self.broadcast.digest()
    }

    fn digested(&self) -> Pending<'_, Option<Digest>> {
        Box::pin(ready(self.digest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Broadcaster, LiveEvent};

    fn viewer(broadcast: &Arc<Broadcast>) -> Arc<Viewer> {
        Arc::new(Viewer::new("a", broadcast.clone(), Arc::new(Cache::new(0))))
    }

    fn read(viewer: &Viewer, offset: u64) -> Option<Read> {
        viewer.read_now(offset, 3).unwrap()
    }

    #[test]
    fn the_newest_bytes_are_kept() {
        let broadcast = Arc::new(Broadcast::new(10, None));
        let viewer = viewer(&broadcast);
        assert_eq!(read(&viewer, 0), None);
        for block in ["abcd", "efgh", "ijkl", "mnop"] {
            broadcast.append(block.into()).unwrap();
        }
        assert_eq!(viewer.kept(), Some(4..16));
        assert_eq!(read(&viewer, 3), Some(Read::NotKept));
        assert_eq!(read(&viewer, 4), Some(Read::Bytes("efg".into())));
        assert_eq!(read(&viewer, 7), Some(Read::Bytes("h".into())));
        assert_eq!(read(&viewer, 16), None);
        assert_eq!((viewer.len(), viewer.join(Duration::ZERO)), (None, 16));
        broadcast.end(None);
        assert_eq!((viewer.len(), read(&viewer, 16)), (Some(16), Some(Read::End)));
        assert_eq!(viewer.digest(), Some(blake3::hash(b"abcdefghijklmnop").into()));
    }

    #[test]
    fn small_pieces_become_blocks() {
        let broadcast = Arc::new(Broadcast::new(1 << 20, None));
        let bytes: Vec<u8> = (0..150_000_u32).map(|at| (at % 251) as u8).collect();
        bytes.chunks(100).for_each(|piece| {
            broadcast.append(Bytes::copy_from_slice(piece)).unwrap();
        });
        let viewer = viewer(&broadcast);
        let mut read = Vec::new();
        let mut reads = 0;
        while let Some(Read::Bytes(piece)) = viewer.read_now(read.len() as u64, 1 << 20).unwrap() {
            read.extend_from_slice(&piece);
            reads += 1;
        }
        assert!(read == bytes);
        // Two blocks of 64 KiB, and what is not enough for one.
        assert!(reads < 200, "{reads}");
    }

    #[test]
    fn where_no_decoder_can_begin_any_more_a_viewer_joins_at_the_edge() {
        let broadcast = Arc::new(Broadcast::new(1 << 30, None));
        let viewer = viewer(&broadcast);
        let nal = |nal: &[u8]| [&[0, 0, 0, 1], nal].concat();
        let sps = nal(&[0x67, 0x64, 0, 30, 0xac, 0xd9, 0x41, 0x9f]);
        let pps = nal(&[0x68, 0xeb, 0xe3]);
        let key = nal(&[&[0x65, 0x88][..], &[7; 58]].concat());
        let header = [&sps[..], &pps].concat();
        let begin = [&header[..], &key, &key, &key].concat();
        broadcast.append(begin.clone().into()).unwrap();
        let join = viewer.join(Duration::ZERO);
        assert!((1..begin.len() as u64).contains(&join), "{join}");
        assert_eq!(viewer.header_at(join).as_deref(), Some(&header[..]));
        // Parameter sets that no header has room for, each with an id of its own (Exp-Golomb).
        let large: Vec<u8> = (1..=160_u16)
            .map(|code| (code << (15 - 2 * code.ilog2())).to_be_bytes())
            .flat_map(|id| nal(&[&[0x68][..], &id, &[7; 8_000]].concat()))
            .collect();
        broadcast.append([&large[..], &key, &key].concat().into()).unwrap();
        broadcast.append(key.into()).unwrap();
        let edge = viewer.kept().unwrap().end;
        assert_eq!(viewer.join(Duration::ZERO), edge);
        assert_eq!((viewer.header_at(edge), viewer.header_at(join)), (None, Some(header.into())));
    }

    #[tokio::test]
    async fn a_viewer_at_the_edge_waits_for_more() {
        let broadcast = Arc::new(Broadcast::new(10, None));
        let viewer = viewer(&broadcast);
        broadcast.append("ab".into()).unwrap();
        let next = tokio::spawn(viewer.clone().read(2, 10, 0));
        tokio::task::yield_now().await;
        broadcast.append("cd".into()).unwrap();
        assert_eq!(next.await.unwrap().unwrap(), Read::Bytes("cd".into()));
        let last = tokio::spawn(viewer.read(4, 10, 0));
        tokio::task::yield_now().await;
        broadcast.end(None);
        assert_eq!(last.await.unwrap().unwrap(), Read::End);
    }

    #[tokio::test]
    async fn one_that_breaks_off_is_never_whole_and_a_new_one_may_begin() {
        let cache = Arc::new(Cache::new(0));
        let title = Broadcaster::new("a".into(), 100);
        title.send("ab".into()).unwrap();
        let viewer = title.open(&cache).unwrap().source;
        let waiting = tokio::spawn(viewer.clone().read(2, 10, 0));
        tokio::task::yield_now().await;
        let broken = Arc::new(io::Error::other("it is gone"));
        assert_eq!(title.end(Some(broken)), Some(LiveEvent::Ended(2)));
        assert_eq!(viewer.read_now(0, 10).unwrap(), Some(Read::Bytes("ab".into())));
        viewer.read_now(2, 10).unwrap_err();
        waiting.await.unwrap().unwrap_err();
        assert_eq!((viewer.len(), viewer.digest()), (None, None));
        assert!(matches!(title.open(&cache), Err(Error::BrokeOff)));
        assert_eq!(title.send("c".into()).unwrap(), Some(LiveEvent::Started));
    }

    #[test]
    fn a_title_that_can_have_no_broadcast_any_more_is_none() {
        let title = Broadcaster::new("a".into(), 100);
        assert!(title.is_there());
        title.close();
        assert!(!title.is_there());
        assert!(matches!(title.open(&Arc::new(Cache::new(0))), Err(Error::NoSuchTitle)));
        let title = Broadcaster::new("a".into(), 100);
        title.send("ab".into()).unwrap();
        title.end(None);
        title.close();
        assert!(title.is_there());
        title.open(&Arc::new(Cache::new(0))).unwrap();
    }

    #[test]
    fn each_broadcast_of_a_title_is_another() {
        let cache = Arc::new(Cache::new(0));
        let title = Broadcaster::new("a".into(), 100);
        assert!(matches!(title.open(&cache), Err(Error::NothingYet)));
        assert_eq!(title.send("x".into()).unwrap(), Some(LiveEvent::Started));
        assert_eq!(title.send("y".into()).unwrap(), None);
        let first = title.open(&cache).unwrap().source.validator();
        assert_eq!(title.end(None), Some(LiveEvent::Ended(2)));
        assert_eq!(title.end(None), None);
        assert_eq!(title.send("z".into()).unwrap(), Some(LiveEvent::Started));
        assert_ne!(title.open(&cache).unwrap().source.validator(), first);
    }

    #[tokio::test]
    async fn of_a_recording_that_somebody_else_makes_shorter_nothing_is_read_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let title = Broadcaster::new("a".into(), 1_000).recorded_in(dir.path()).unwrap();
        title.send(vec![7; 200_000].into()).unwrap();
        title.flush();
        let viewer = title.open(&Arc::new(Cache::new(0))).unwrap().source;
        title.send(vec![8; 200_000].into()).unwrap();
        title.flush();
        let read = viewer.clone().read(150_000, 10, 0).await.unwrap();
        assert_eq!(read, Read::Bytes(vec![7; 10].into()));
        let path = dir.path().join("a");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(100_000).unwrap();
        assert_eq!(viewer.clone().read(0, 10, 0).await.unwrap(), Read::NotKept);
        assert_eq!(viewer.kept(), Some(200_000..400_000));
        title.send(vec![9; 200_000].into()).unwrap();
        title.flush();
        assert_eq!(file.metadata().unwrap().len(), 100_000, "no hole in it");
    }

    #[tokio::test]
    async fn what_is_recorded_is_kept_from_the_first_byte_on() {
        let dir = tempfile::tempdir().unwrap();
        let title = Broadcaster::new("a".into(), 1_000).recorded_in(dir.path()).unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        bytes.chunks(700).for_each(|piece| {
            title.send(Bytes::copy_from_slice(piece)).unwrap();
        });
        let source = title.open(&Arc::new(Cache::new(0))).unwrap().source;
        assert_eq!(source.kept(), Some(0..200_000));
        let mut read = Vec::new();
        while read.len() < bytes.len() {
            match source.clone().read(read.len() as u64, 3_000, 0).await.unwrap() {
                Read::Bytes(piece) => read.extend_from_slice(&piece),
                other => panic!("{other:?} at {}", read.len()),
            }
        }
        assert!(read == bytes);
        let status = title.status().unwrap();
        assert_eq!((status.viewers, status.behind, status.oldest), (1, 0, 0));
        drop(source);
        assert_eq!(title.status().unwrap().viewers, 0);
        // The next one takes its name, and not what is read of it.
        title.end(None);
        let older = title.open(&Arc::new(Cache::new(0))).unwrap().source;
        title.send("new".into()).unwrap();
        while std::fs::read_dir(dir.path()).unwrap().count() < 2 {
            std::thread::yield_now();
        }
        let Read::Bytes(first) = older.read(0, 10, 0).await.unwrap() else { panic!("no bytes") };
        assert_eq!(first, bytes[..10]);
    }
}
