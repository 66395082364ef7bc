//! Where a decoder of Ogg (RFC 3533) can begin: at a page with which a packet begins, of a key frame
//! where there is video (Theora, VP8). It needs the header pages of all logical streams first.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::{self, Finder};

use super::scan::{Fault, MAX_HEADER, Scan, Step, Walker, pass};

/// What each page begins with.
const CAPTURE: &[u8; 4] = b"OggS";

/// What the first page of a logical stream begins with: version 0, and no time has passed.
static FIRST: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"OggS\0\x02\0\0\0\0\0\0\0\0"));

/// Bytes of a page before its segment table.
const HEAD: usize = 27;

/// The flags of a page: it begins with the rest of a packet; it is the first of its logical stream.
const CONTINUED: u8 = 0x01;
const BEGIN: u8 = 0x02;

/// How much of a stream's first packet says what it is, bytes.
const IDENTIFIED_BY: usize = 72;

/// The most logical streams beside each other.
const MOST_STREAMS: usize = 64;

/// A scanner.
#[derive(Debug, Default)]
pub(super) struct Ogg {
    walker: Walker,
    layout: Layout,
}

/// What is known of the stream up to some page.
#[derive(Debug, Default)]
struct Layout {
    /// Where the page ends that is passed over.
    end: u64,
    /// The header pages, while there may be more.
    before: Option<Vec<u8>>,
    /// Whether the page belongs there.
    is_header: bool,
    header: Bytes,
    streams: Vec<Stream>,
    /// Whether all pages so far were first ones.
    begins: bool,
}

/// A logical stream.
#[derive(Debug)]
struct Stream {
    serial: [u8; 4],
    codec: Codec,
    /// Packets of its header that have not ended, where that is known.
    left: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Theora,
    Vp8,
    /// Its packets are all alike.
    Other,
}

/// A page.
struct Page<'a> {
    flags: u8,
    granule: [u8; 8],
    serial: [u8; 4],
    segments: &'a [u8],
}

impl Ogg {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(first: &[u8]) -> Option<bool> {
        first.get(..4).map(|capture| capture == CAPTURE)
    }
}

impl Scan for Ogg {
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Self { walker, layout } = self;
        walker.feed(bytes, |rest, offset| {
            let step = layout.step(rest, offset, join);
            if let (Ok(Step::Used(used)), Some(before)) = (&step, &mut layout.before)
                && layout.is_header
            {
                before.extend_from_slice(rest.get(..*used).unwrap_or_default());
                if before.len() > MAX_HEADER {
                    return Err(Fault::Lost);
                }
            }
            step
        })
    }
}

impl Layout {
    fn step(
        &mut self,
        rest: &[u8],
        offset: u64,
        join: &mut dyn FnMut(u64, &Bytes),
    ) -> Result<Step, Fault> {
        if offset < self.end {
            if let Some(step) = pass(rest, self.end - offset, &FIRST, 0) {
                return Ok(step);
            }
            self.begins = false;
        }
        self.is_header = false;
        self.end = offset;
        let page = match page_at(rest) {
            Ok(Some(page)) => page,
            Err(needed) => return Ok(Step::Need(needed)),
            Ok(None) => {
                self.begins = false;
                let next = rest.get(1..).and_then(|rest| memmem::find(rest, CAPTURE));
                return Ok(Step::Used(next.map_or(rest.len() - (CAPTURE.len() - 1), |at| at + 1)));
            }
        };
        let head = HEAD + page.segments.len();
        let length = page.segments.iter().map(|length| usize::from(*length)).sum::<usize>();
        let wanted = if page.flags & BEGIN != 0 { IDENTIFIED_BY } else { 1 };
        let Some(content) = rest.get(head..head + length.min(wanted)) else {
            return Ok(Step::Need(head + length.min(wanted)));
        };
        if page.flags & BEGIN != 0 {
            self.begin(&page, content)?;
        }
        self.begins &= page.flags & BEGIN != 0;
        if let Some(stream) = self.streams.iter_mut().find(|one| one.serial == page.serial) {
            self.is_header = self.before.is_some() && stream.takes_as_header(&page);
            let codec = stream.codec;
            if !self.is_header {
                if let Some(before) = self.before.take() {
                    self.header = before.into();
                }
                let is_audio = self.streams.iter().all(|stream| stream.codec == Codec::Other);
                let is_key = is_audio || content.first().is_some_and(|first| codec.is_key(*first));
                if page.flags & CONTINUED == 0 && length > 0 && is_key {
                    join(offset, &self.header);
                }
            }
        }
        self.end = offset + (head + length) as u64;
        Ok(Step::Used(1))
    }

    /// A logical stream begins: beside the others, or all anew.
    fn begin(&mut self, page: &Page<'_>, packet: &[u8]) -> Result<(), Fault> {
        if !self.begins || self.before.is_none() {
            *self =
                Self { before: Some(Vec::new()), begins: true, end: self.end, ..Self::default() };
        }
        if self.streams.len() == MOST_STREAMS {
            return Err(Fault::Lost);
        }
        let (codec, left) = identify(packet);
        self.streams.push(Stream { serial: page.serial, codec, left });
        Ok(())
    }
}

impl Stream {
    /// Takes in a page, if it belongs to the header of the stream.
    fn takes_as_header(&mut self, page: &Page<'_>) -> bool {
        match &mut self.left {
            Some(0) => false,
            Some(left) => {
                let ended = page.segments.iter().filter(|length| **length < u8::MAX).count();
                *left = left.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX));
                true
            }
            // Time passes behind the header.
            None => page.granule == [0; 8],
        }
    }
}

impl Codec {
    /// Returns true if a packet that begins with this byte is a key frame of video.
    fn is_key(self, first: u8) -> bool {
        match self {
            Self::Theora => first & 0xc0 == 0,
            Self::Vp8 => first & 0x01 == 0,
            Self::Other => false,
        }
    }
}

/// What a stream is that begins with this packet, and how many packets its header has, if that is
/// known.
fn identify(packet: &[u8]) -> (Codec, Option<u32>) {
    match packet {
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => (Codec::Theora, Some(3)),
        [b'O', b'V', b'P', b'8', b'0', ..] => (Codec::Vp8, Some(2)),
        [0x01, b'v', b'o', b'r', b'b', b'i', b's', ..] => (Codec::Other, Some(3)),
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => (Codec::Other, Some(2)),
        // How many packets of metadata follow, or 0 where that is not known.
        [0x7f, b'F', b'L', b'A', b'C', _, _, high, low, ..] => {
            let more = u32::from(u16::from_be_bytes([*high, *low]));
            (Codec::Other, (more > 0).then_some(more + 1))
        }
        [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => (Codec::Other, Some(2)),
        _ => (Codec::Other, None),
    }
}

/// The head of a page and its segment table, if one begins here. The error is how many bytes are needed
/// to tell.
fn page_at(bytes: &[u8]) -> Result<Option<Page<'_>>, usize> {
    if bytes.get(..4).ok_or(4_usize)? != CAPTURE {
        return Ok(None);
    }
    let head = bytes.get(..HEAD).ok_or(HEAD)?;
    let [_, _, _, _, version, flags, rest @ ..] = head else { return Ok(None) };
    let (Some((granule, rest)), [.., segments]) = (rest.split_first_chunk(), head) else {
        return Ok(None);
    };
    let Some((serial, _)) = rest.split_first_chunk() else { return Ok(None) };
    if *version != 0 || *flags > 7 {
        return Ok(None);
    }
    let end = HEAD + usize::from(*segments);
    let segments = bytes.get(HEAD..end).ok_or(end)?;
    Ok(Some(Page { flags: *flags, granule: *granule, serial: *serial, segments }))
}
