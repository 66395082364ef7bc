//! Where a decoder can begin in a stream of frames of audio, each of which has a header: at any of them.

use std::marker::PhantomData;

use bytes::Bytes;
use memchr::memchr2;

use super::scan::{Fault, MAX_HEADER, Scan, Step, Walker};

/// How many frames in a row show what a stream is.
const SHOWN_BY: usize = 3;

/// What each frame begins with.
const SYNC: u8 = 0xff;

/// Bytes of the head of an ID3v2 tag.
const TAG: usize = 10;

/// A kind of frame.
pub(super) trait Frame: Sized + PartialEq + std::fmt::Debug + Send {
    /// Bytes of its header.
    const HEADER: usize;

    /// The frame that these bytes begin with, if they are a header. Two frames are equal if they may
    /// follow each other.
    fn parse(header: &[u8]) -> Option<Self>;

    /// Bytes of all of it: those of its header at least.
    fn length(&self) -> usize;
}

/// A scanner.
#[derive(Debug)]
pub(super) struct Frames<F> {
    walker: Walker,
    frame: PhantomData<F>,
    /// Where a tag ends that is passed over.
    end: u64,
}

impl<F> Default for Frames<F> {
    fn default() -> Self {
        Self { walker: Walker::default(), frame: PhantomData, end: 0 }
    }
}

impl<F: Frame> Frames<F> {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(first: &[u8]) -> Option<bool> {
        let mut rest = first;
        while let Some(length) = tag(rest).ok()? {
            rest = rest.get(length..)?;
        }
        for _ in 1..SHOWN_BY {
            match frame::<F>(rest).ok()? {
                Some(frame) => rest = rest.get(frame.length()..)?,
                None => return Some(false),
            }
        }
        Some(true)
    }
}

impl<F: Frame> Scan for Frames<F> {
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Self { walker, end, .. } = self;
        let mut step = |rest: &[u8], offset| {
            if offset < *end {
                let left = usize::try_from(*end - offset).unwrap_or(usize::MAX);
                return Ok(Step::Used(left.min(rest.len())));
            }
            if let Some(length) = tag(rest)? {
                *end = offset + length as u64;
                return Ok(Step::Used(TAG));
            }
            if let Some(frame) = frame::<F>(rest)? {
                join(offset, &Bytes::new());
                return Ok(Step::Used(frame.length()));
            }
            // Out of step until two frames follow each other.
            let next = rest.get(1..).and_then(|rest| memchr2(SYNC, b'I', rest));
            Ok(Step::Used(next.map_or(rest.len(), |at| at + 1)))
        };
        walker.feed(bytes, |rest, offset| match step(rest, offset) {
            Ok(step) => Ok(step),
            Err(needed) => Ok(Step::Need(needed)),
        })
    }
}

/// The length of the ID3v2 tag that begins here, if one does. The error is how many bytes are needed to
/// tell.
fn tag(bytes: &[u8]) -> Result<Option<usize>, usize> {
    if bytes.first().is_some_and(|first| *first != b'I') {
        return Ok(None);
    }
    let head = bytes.get(..TAG).ok_or(TAG)?;
    let [b'I', b'D', b'3', _, _, flags, size @ ..] = head else { return Ok(None) };
    let size = size.iter().fold(0, |size, byte| size << 7 | usize::from(*byte & 0x7f));
    let footer = if flags & 0x10 == 0 { 0 } else { TAG };
    Ok(Some(TAG + size + footer).filter(|length| *length <= MAX_HEADER))
}

/// The frame that begins here, if another follows it. The error is how many bytes are needed to tell.
fn frame<F: Frame>(bytes: &[u8]) -> Result<Option<F>, usize> {
    if bytes.first().is_some_and(|first| *first != SYNC) {
        return Ok(None);
    }
    let Some(frame) = F::parse(bytes.get(..F::HEADER).ok_or(F::HEADER)?) else { return Ok(None) };
    let end = frame.length() + F::HEADER;
    let next = bytes.get(frame.length()..end).ok_or(end)?;
    Ok(F::parse(next).is_some_and(|next| next == frame).then_some(frame))
}
