//! Where a decoder of WebM or Matroska (RFC 9559) can begin: at a Cluster whose first block of video
//! is a key frame. It needs what is before the first Cluster.

use bytes::Bytes;

use super::boxes::{Step, Walker};
use super::scan::{MAX_HEADER, Scan};

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const REFERENCE_BLOCK: u32 = 0xfb;

/// The track type of video.
const VIDEO: u64 = 1;

/// The most bytes of a block that are looked at: its track, time and flags.
const BLOCK_HEAD: usize = 8 + 3;

/// The most bytes of an element's head: an ID of four and a size of eight.
const HEAD: usize = 12;

/// A scanner. It is fed the stream from its first byte on.
#[derive(Debug, Default)]
pub(super) struct WebM {
    walker: Walker,
    /// What came before the first Cluster, once that is known.
    header: Option<Bytes>,
    /// That so far.
    before: Vec<u8>,
    video: Option<u64>,
    /// Where the Cluster begins of which no block of the video was seen.
    cluster: Option<u64>,
}

impl WebM {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(bytes: &[u8]) -> Option<bool> {
        bytes.get(..4).map(|id| id == EBML.to_be_bytes())
    }
}

impl Scan for WebM {
    fn header(&self) -> Option<Bytes> {
        self.header.clone()
    }

    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64)) -> bool {
        let Self { walker, header, before, video, cluster, .. } = self;
        if header.is_none() {
            before.extend_from_slice(bytes);
            if before.len() as u64 > MAX_HEADER {
                return false;
            }
        }
        walker.feed(bytes, |element, offset| {
            let Some((id, head, size)) = head_of(element) else {
                return if element.len() < HEAD { Step::More } else { Step::Lost };
            };
            let whole = size.map(|size| head as u64 + size);
            let body = element.get(head..).unwrap_or_default();
            match id {
                SEGMENT => Step::Skip(head as u64),
                CLUSTER => {
                    if header.is_none() {
                        before.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                        *header = Some(std::mem::take(before).into());
                    }
                    *cluster = Some(offset);
                    Step::Skip(head as u64)
                }
                _ if header.is_none() && offset >= MAX_HEADER => Step::Lost,
                TRACKS | BLOCK_GROUP => {
                    let limit = if id == TRACKS || cluster.is_some() { MAX_HEADER } else { 0 };
                    let Some(size) = size.filter(|size| *size <= limit) else {
                        return whole.map_or(Step::Lost, Step::Skip);
                    };
                    let Some(body) = usize::try_from(size).ok().and_then(|size| body.get(..size))
                    else {
                        return Step::More;
                    };
                    if id == TRACKS {
                        *video = video_track(body);
                    } else if let Some(block) = find(body, BLOCK) {
                        let is_key = find(body, REFERENCE_BLOCK).is_none();
                        note_block(block, is_key, *video, cluster, join);
                    }
                    whole.map_or(Step::Lost, Step::Skip)
                }
                SIMPLE_BLOCK if cluster.is_some() => {
                    let wanted = size.map_or(BLOCK_HEAD, |size| {
                        BLOCK_HEAD.min(usize::try_from(size).unwrap_or(BLOCK_HEAD))
                    });
                    if body.len() < wanted {
                        return Step::More;
                    }
                    let is_key = number(body)
                        .and_then(|(_, length)| body.get(length + 2))
                        .is_some_and(|flags| flags & 0x80 != 0);
                    note_block(body, is_key, *video, cluster, join);
                    whole.map_or(Step::Lost, Step::Skip)
                }
                _ => whole.map_or(Step::Lost, Step::Skip),
            }
        })
    }
}

/// Notes the first block of the video in a Cluster.
fn note_block(
    block: &[u8],
    is_key: bool,
    video: Option<u64>,
    cluster: &mut Option<u64>,
    join: &mut dyn FnMut(u64),
) {
    let Some((track, _)) = number(block) else { return };
    if video.is_some_and(|video| video != track) {
        return;
    }
    if let Some(begin) = cluster.take().filter(|_| is_key) {
        join(begin);
    }
}

/// The number of the first video track.
fn video_track(tracks: &[u8]) -> Option<u64> {
    elements(tracks).filter(|(id, _)| *id == TRACK_ENTRY).find_map(|(_, entry)| {
        let value = |id| {
            find(entry, id).map(|bytes| {
                bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
            })
        };
        (value(TRACK_TYPE) == Some(VIDEO)).then(|| value(TRACK_NUMBER)).flatten()
    })
}

fn find(bytes: &[u8], wanted: u32) -> Option<&[u8]> {
    elements(bytes).find(|(id, _)| *id == wanted).map(|(_, body)| body)
}

/// The elements in these bytes that are there as a whole: their ids and contents.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, head, size) = head_of(bytes)?;
        let end = head.checked_add(usize::try_from(size?).ok()?)?;
        let (whole, rest) = bytes.split_at_checked(end)?;
        bytes = rest;
        Some((id, whole.get(head..)?))
    })
}

/// The id of an element, the bytes of its head, and of its contents if that is known.
fn head_of(bytes: &[u8]) -> Option<(u32, usize, Option<u64>)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes.get(..length).filter(|_| length <= 4)?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let (size, size_length) = number(bytes.get(length..)?)?;
    let unknown = (1_u64 << (7 * size_length)) - 1;
    Some((id, length + size_length, (size != unknown).then_some(size)))
}

/// A number of a length of its own, and that length.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let all = bytes.get(..length).filter(|_| length <= 8)?;
    let value = all.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Some((value & ((1_u64 << (7 * length)) - 1), length))
}
