//! Where a decoder of Matroska or WebM (RFC 9559) can begin: at a Cluster whose first block of video is
//! a key frame, or at any Cluster where there is no video. It needs what is before the first Cluster.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::{self, Finder};

use super::scan::{Fault, MAX_HEADER, Scan, Step, Walker, pass};

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

/// What each stream begins with.
static MAGIC: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(&EBML_ID));
const EBML_ID: [u8; 4] = EBML.to_be_bytes();

/// The names of the two formats in that head.
const NAMES: [&[u8]; 2] = [b"matroska", b"webm"];

/// The most bytes that such a head has after its size.
const MAX_EBML: u64 = 256;

/// The track type of video.
const VIDEO: u64 = 1;

/// A scanner.
#[derive(Debug, Default)]
pub(super) struct WebM {
    walker: Walker,
    layout: Layout,
}

/// What is known of the stream up to some element.
#[derive(Debug, Default)]
struct Layout {
    /// Where the element ends that is passed over.
    end: u64,
    /// All since the stream began, up to its first Cluster.
    before: Option<Vec<u8>>,
    header: Bytes,
    /// The first track of video.
    video: Option<u64>,
    /// Where the Cluster begins of which no block of the video has come.
    cluster: Option<u64>,
    /// The BlockGroup that has not ended.
    group: Option<Group>,
}

#[derive(Debug)]
struct Group {
    end: u64,
    track: Option<u64>,
    refers_to_others: bool,
}

impl WebM {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(first: &[u8]) -> Option<bool> {
        first.get(..4).map(|id| id == EBML_ID)
    }
}

impl Scan for WebM {
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Self { walker, layout } = self;
        walker.feed(bytes, |rest, offset| {
            let step = layout.step(rest, offset, join);
            if let (Step::Used(used), Some(before)) = (&step, &mut layout.before) {
                before.extend_from_slice(rest.get(..*used).unwrap_or_default());
                if before.len() > MAX_HEADER {
                    return Err(Fault::Lost);
                }
            }
            Ok(step)
        })
    }
}

impl Layout {
    fn step(&mut self, rest: &[u8], offset: u64, join: &mut dyn FnMut(u64, &Bytes)) -> Step {
        if offset < self.end {
            if let Some(step) = pass(rest, self.end - offset, &MAGIC, 0) {
                return step;
            }
            match begins_stream(rest) {
                Err(needed) => return Step::Need(needed),
                Ok(false) => return Step::Used(1),
                Ok(true) => {}
            }
        }
        match head_of(rest) {
            Head::Needs => Step::Need(rest.len() + 1),
            Head::Element { id, head, size } => self.enter(rest, offset, (id, head, size), join),
            Head::Other => {
                // Out of step until a stream begins.
                self.end = u64::MAX;
                Step::Used(1)
            }
        }
    }

    /// Enters an element, which has this id, so many bytes of its head, and so many of contents
    /// where that is known.
    fn enter(
        &mut self,
        rest: &[u8],
        offset: u64,
        (id, head, size): (u32, usize, Option<u64>),
        join: &mut dyn FnMut(u64, &Bytes),
    ) -> Step {
        let begin = offset + head as u64;
        let end = size.map_or(u64::MAX, |size| begin.saturating_add(size));
        match id {
            EBML => *self = Self { before: Some(Vec::new()), ..Self::default() },
            CLUSTER => {
                if let Some(mut before) = self.before.take() {
                    self.video = video_track(&before);
                    forget_size(&mut before);
                    self.header = before.into();
                }
                self.cluster = Some(offset);
                self.group = None;
                if self.video.is_none() {
                    self.begin(join);
                }
            }
            BLOCK_GROUP if self.cluster.is_some() => {
                self.group = Some(Group { end, track: None, refers_to_others: false });
            }
            SIMPLE_BLOCK | BLOCK if self.cluster.is_some() => {
                let content = rest.get(head..).unwrap_or_default();
                match block_head(content, size.unwrap_or(u64::MAX)) {
                    Err(needed) => return Step::Need(head + needed),
                    Ok(None) => {}
                    Ok(Some((track, flags))) => match &mut self.group {
                        Some(group) if id == BLOCK => group.track = Some(track),
                        _ => self.block(track, id == SIMPLE_BLOCK && flags & 0x80 != 0, join),
                    },
                }
            }
            REFERENCE_BLOCK => {
                self.group.iter_mut().for_each(|group| group.refers_to_others = true);
            }
            _ => {}
        }
        // What is within these is looked at.
        let is_outer = matches!(id, SEGMENT | CLUSTER) || id == BLOCK_GROUP && self.group.is_some();
        self.end = if is_outer { begin } else { end };
        if let Some(group) = self.group.take_if(|group| !is_outer && group.end <= end)
            && let Some(track) = group.track
        {
            self.block(track, !group.refers_to_others, join);
        }
        Step::Used(1)
    }

    /// Takes in a block of a track.
    fn block(&mut self, track: u64, is_key: bool, join: &mut dyn FnMut(u64, &Bytes)) {
        if self.video != Some(track) {
            return;
        }
        if is_key {
            self.begin(join);
        }
        self.cluster = None;
    }

    /// A decoder can begin at the Cluster.
    fn begin(&mut self, join: &mut dyn FnMut(u64, &Bytes)) {
        if let Some(begin) = self.cluster.take() {
            join(begin, &self.header);
        }
    }
}

/// The track and the flags of a block of so many bytes, if that is what it is. The error is how many
/// bytes are needed to tell.
fn block_head(block: &[u8], size: u64) -> Result<Option<(u64, u8)>, usize> {
    let first = *block.first().ok_or(1_usize)?;
    let length = first.leading_zeros() as usize + 1;
    // The track, two bytes of time, and flags.
    let needed = length + 3;
    if first == 0 || size < needed as u64 {
        return Ok(None);
    }
    let flags = *block.get(needed - 1).ok_or(needed)?;
    Ok(number(block).map(|(track, _)| (track, flags)))
}

/// Returns true if a new stream begins here. The error is how many bytes are needed to tell.
fn begins_stream(bytes: &[u8]) -> Result<bool, usize> {
    match head_of(bytes) {
        Head::Needs => Err(bytes.len() + 1),
        Head::Element { id: EBML, head, size: Some(size) } if size <= MAX_EBML => {
            let end = head + size as usize;
            let content = bytes.get(head..end).ok_or(end)?;
            Ok(NAMES.iter().any(|name| memmem::find(content, name).is_some()))
        }
        Head::Element { .. } | Head::Other => Ok(false),
    }
}

/// Leaves the size of the Segment open in what is before the first Cluster: whoever begins later gets
/// less of it.
fn forget_size(header: &mut [u8]) {
    let mut rest = header;
    while let Head::Element { id, head, size: Some(size) } = head_of(rest) {
        if id == SEGMENT {
            if let Some([first, others @ ..]) = rest.get_mut(SEGMENT.to_be_bytes().len()..head) {
                // All ones, behind those zeros that say how many bytes there are.
                *first = 0xff >> others.len();
                others.fill(0xff);
            }
            return;
        }
        let end = usize::try_from(size).ok().and_then(|size| head.checked_add(size));
        let Some(next) = end.and_then(|end| rest.get_mut(end..)) else { return };
        rest = next;
    }
}

/// The number of the first video track in what is before the first Cluster.
fn video_track(mut header: &[u8]) -> Option<u64> {
    while let Head::Element { id, head, size } = head_of(header) {
        let content = header.get(head..)?;
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        header = match id {
            SEGMENT => content,
            TRACKS => {
                let entries = elements(content.get(..size)?);
                return entries.filter(|(id, _)| *id == TRACK_ENTRY).find_map(|(_, entry)| {
                    let is_video = value(entry, TRACK_TYPE) == Some(VIDEO);
                    value(entry, TRACK_NUMBER).filter(|_| is_video)
                });
            }
            _ => content.get(size..)?,
        };
    }
    None
}

/// The number in the first element of this id.
fn value(bytes: &[u8], wanted: u32) -> Option<u64> {
    let (_, content) = elements(bytes).find(|(id, _)| *id == wanted)?;
    Some(content.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// The elements in these bytes that are there as a whole: their ids and contents.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let Head::Element { id, head, size } = head_of(bytes) else { return None };
        let end = head.checked_add(usize::try_from(size?).ok()?)?;
        let (whole, rest) = bytes.split_at_checked(end)?;
        bytes = rest;
        Some((id, whole.get(head..)?))
    })
}

/// What may be the head of an element.
enum Head {
    /// More of it must be there to tell.
    Needs,
    /// Its id, the bytes of its head, and those of its contents where that is known.
    Element {
        id: u32,
        head: usize,
        size: Option<u64>,
    },
    Other,
}

fn head_of(bytes: &[u8]) -> Head {
    let Some(first) = bytes.first() else { return Head::Needs };
    let length = first.leading_zeros() as usize + 1;
    if length > 4 || bytes.get(length) == Some(&0) {
        return Head::Other;
    }
    let Some((id, (size, size_length))) =
        bytes.get(..length).zip(bytes.get(length..).and_then(number))
    else {
        return Head::Needs;
    };
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let unknown = (1_u64 << (7 * size_length)) - 1;
    let size = (size != unknown).then_some(size);
    Head::Element { id, head: length + size_length, size }
}

/// A number of a length of its own, and that length; `None` if it is not there as a whole, or begins
/// with a zero byte.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let all = bytes.get(..length).filter(|_| length <= 8)?;
    let value = all.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Some((value & ((1_u64 << (7 * length)) - 1), length))
}
