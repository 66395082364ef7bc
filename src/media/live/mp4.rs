//! Where a decoder of fragmented MP4 (ISO 14496-12) can begin: at a moof of which the first sample of
//! each track is a sync sample. It needs what is before the first moof, ftyp and moov.

use bytes::Bytes;

use super::boxes::{Step, Walker};
use super::scan::{MAX_HEADER, Scan};

/// The flag of a sample that is no sync sample.
const NO_SYNC: u32 = 0x0001_0000;

/// A scanner. It is fed the stream from its first byte on.
#[derive(Debug, Default)]
pub(super) struct Mp4 {
    walker: Walker,
    /// What came before the first fragment, once that is known.
    header: Option<Bytes>,
    /// That so far.
    before: Vec<u8>,
}

impl Mp4 {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(bytes: &[u8]) -> Option<bool> {
        bytes.get(4..8).map(|kind| kind == b"ftyp" || kind == b"styp")
    }
}

impl Scan for Mp4 {
    fn header(&self) -> Option<Bytes> {
        self.header.clone()
    }

    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64)) -> bool {
        let Self { walker, header, before, .. } = self;
        if header.is_none() {
            before.extend_from_slice(bytes);
            if before.len() as u64 > MAX_HEADER {
                return false;
            }
        }
        walker.feed(bytes, |element, offset| {
            let Some((kind, head, size)) = head_of(element) else {
                return if element.len() < 16 { Step::More } else { Step::Lost };
            };
            if kind != b"moof" {
                // Without fragments, or with more before them than anybody keeps.
                let has_fragments = header.is_some() || kind != b"mdat" && offset < MAX_HEADER;
                return if has_fragments { Step::Skip(size) } else { Step::Lost };
            }
            if size > MAX_HEADER {
                return Step::Lost;
            }
            let Some(moof) = usize::try_from(size).ok().and_then(|size| element.get(head..size))
            else {
                return Step::More;
            };
            if header.is_none() {
                before.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                *header = Some(std::mem::take(before).into());
            }
            if begins_with_sync_samples(moof) {
                join(offset);
            }
            Step::Skip(size)
        })
    }
}

/// The type of a box, the bytes of its header, and those of all of it.
fn head_of(bytes: &[u8]) -> Option<(&[u8], usize, u64)> {
    let size = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = bytes.get(4..8)?;
    match size {
        1 => {
            let size = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
            (size >= 16).then_some((kind, 16, size))
        }
        size if size >= 8 => Some((kind, 8, size.into())),
        _ => None,
    }
}

/// The boxes in these bytes that are there as a whole: their types and contents.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, head, size) = head_of(bytes)?;
        let (whole, rest) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
        bytes = rest;
        Some((kind, whole.get(head..)?))
    })
}

fn begins_with_sync_samples(moof: &[u8]) -> bool {
    let mut tracks =
        boxes(moof).filter(|(kind, _)| kind == b"traf").map(|(_, traf)| traf).peekable();
    tracks.peek().is_some()
        && tracks.all(|traf| first_sample_flags(traf).is_none_or(|flags| flags & NO_SYNC == 0))
}

/// The flags of the first sample of a track's fragment, if it says them.
fn first_sample_flags(traf: &[u8]) -> Option<u32> {
    let of_kind =
        |wanted: &[u8]| boxes(traf).find(|(kind, _)| *kind == wanted).map(|(_, body)| body);
    let word = |bytes: &[u8], at: usize| {
        Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    let trun = of_kind(b"trun")?;
    let flags = word(trun, 0)?;
    // Version and flags, the number of samples, and an offset where there is one.
    let mut at = if flags & 0x1 == 0 { 8 } else { 12 };
    if flags & 0x4 != 0 {
        return word(trun, at);
    }
    if flags & 0x400 != 0 {
        at += if flags & 0x100 == 0 { 0 } else { 4 };
        at += if flags & 0x200 == 0 { 0 } else { 4 };
        return word(trun, at);
    }
    let tfhd = of_kind(b"tfhd")?;
    let flags = word(tfhd, 0)?;
    let before = [(0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)];
    let at = 8 + before
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, size)| size)
        .sum::<usize>();
    if flags & 0x20 == 0 { None } else { word(tfhd, at) }
}
