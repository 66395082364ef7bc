//! Where a decoder of fragmented MP4 (ISO 14496-12) can begin: at a moof whose video begins with a
//! sync sample, or at any moof where there is no video. It needs ftyp and moov first.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::scan::{Fault, MAX_HEADER, Scan, Step, Walker, pass};

/// The flag of a sample that is no sync sample.
const NO_SYNC: u32 = 0x0001_0000;

/// The flag of a tfhd that says where in the file the samples are.
const BASE_DATA_OFFSET: u32 = 0x1;

/// What a stream begins with, behind a size.
static FTYP: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"ftyp"));

/// The sizes of that box, bytes.
const FTYP_SIZE: RangeInclusive<u64> = 16..=1024;

/// Boxes of which a stream may consist from its first byte on.
const FIRST: [&[u8; 4]; 8] =
    [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pdin"];

/// Boxes that may follow an ftyp.
const AFTER_FTYP: [&[u8; 4]; 11] = [
    b"moov", b"mdat", b"free", b"skip", b"wide", b"pdin", b"uuid", b"meta", b"styp", b"sidx",
    b"moof",
];

/// Boxes that lead up to a moof, and belong to it.
const LEADING: [&[u8]; 4] = [b"styp", b"sidx", b"emsg", b"prft"];

/// A scanner.
#[derive(Debug, Default)]
pub(super) struct Mp4 {
    walker: Walker,
    layout: Layout,
}

/// What is known of the stream up to some box.
#[derive(Debug, Default)]
struct Layout {
    /// Where the box ends that is passed over.
    end: u64,
    /// So much of the box as has been passed, if it is to be looked at.
    wanted: Option<(Wanted, Vec<u8>)>,
    /// The newest ftyp, whose moov has not come.
    ftyp: Vec<u8>,
    movie: Option<Movie>,
    /// Where the boxes begin that lead up to the next moof.
    lead: Option<u64>,
}

/// A box that is looked at as a whole.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Ftyp,
    Moov,
    /// With the offset where a decoder can begin.
    Moof(u64),
}

/// What a moov says.
#[derive(Debug)]
struct Movie {
    header: Bytes,
    /// The tracks of video, each with the flags of samples that say nothing else.
    video: Vec<(u32, u32)>,
}

impl Mp4 {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(first: &[u8]) -> Option<bool> {
        let kind = first.get(4..8)?;
        Some(FIRST.iter().any(|first| kind == *first))
    }
}

impl Scan for Mp4 {
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Self { walker, layout } = self;
        walker.feed(bytes, |rest, offset| layout.step(rest, offset, join))
    }
}

impl Layout {
    fn step(
        &mut self,
        rest: &[u8],
        offset: u64,
        join: &mut dyn FnMut(u64, &Bytes),
    ) -> Result<Step, Fault> {
        let mut step = None;
        if offset < self.end {
            step = pass(rest, self.end - offset, &FTYP, 4);
            if step.is_none() {
                match begins_stream(rest) {
                    Err(needed) => return Ok(Step::Need(needed)),
                    Ok(false) => step = Some(Step::Used(1)),
                    Ok(true) => {}
                }
            }
        }
        let step = match step {
            Some(step) => step,
            None => match head_of(rest) {
                Head::Needs(needed) => Step::Need(needed),
                Head::Box { kind, size, .. } => {
                    self.enter(kind, offset, size)?;
                    Step::Used(1)
                }
                Head::Other => {
                    // Out of step until a stream begins.
                    (self.end, self.lead, self.wanted) = (u64::MAX, None, None);
                    Step::Used(1)
                }
            },
        };
        if let Step::Used(used) = step
            && let Some((_, whole)) = &mut self.wanted
        {
            whole.extend_from_slice(rest.get(..used).unwrap_or_default());
            if offset + used as u64 == self.end {
                self.leave(join)?;
            }
        }
        Ok(step)
    }

    /// Enters a box.
    fn enter(&mut self, kind: &[u8], offset: u64, size: u64) -> Result<(), Fault> {
        let lead = self.lead.take();
        let wanted = match kind {
            b"ftyp" if FTYP_SIZE.contains(&size) => Some(Wanted::Ftyp),
            // Only of a plain MP4 is it that large.
            b"moov" if size > (MAX_HEADER - self.ftyp.len()) as u64 => {
                return Err(Fault::NotFragmented);
            }
            b"moov" => Some(Wanted::Moov),
            b"mdat" if self.movie.is_none() => return Err(Fault::NotFragmented),
            b"moof" if self.movie.is_none() => return Err(Fault::Lost),
            b"moof" if size <= MAX_HEADER as u64 => Some(Wanted::Moof(lead.unwrap_or(offset))),
            _ => None,
        };
        if LEADING.contains(&kind) {
            self.lead = lead.or(Some(offset));
        }
        self.wanted = wanted.map(|wanted| (wanted, Vec::new()));
        self.end = offset.saturating_add(size);
        Ok(())
    }

    /// Looks at the box that has been passed.
    fn leave(&mut self, join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Some((wanted, whole)) = self.wanted.take() else { return Ok(()) };
        let content = boxes(&whole).next().map(|(_, content)| content).unwrap_or_default();
        match wanted {
            Wanted::Ftyp => {
                self.ftyp = whole;
                self.movie = None;
            }
            Wanted::Moov => {
                let video = video_tracks(content).ok_or(Fault::NotFragmented)?;
                let header = [std::mem::take(&mut self.ftyp), whole].concat();
                self.movie = Some(Movie { header: header.into(), video });
            }
            Wanted::Moof(begin) => {
                let Some(movie) = &self.movie else { return Err(Fault::Lost) };
                if is_bound_to_file(content) {
                    return Err(Fault::NotFragmented);
                }
                if begins_with_sync_sample(content, &movie.video) {
                    join(begin, &movie.header);
                }
            }
        }
        Ok(())
    }
}

/// Returns true if a new stream begins here, with an ftyp that another box follows. The error is how
/// many bytes are needed to tell.
fn begins_stream(bytes: &[u8]) -> Result<bool, usize> {
    let size = match head_of(bytes) {
        Head::Box { kind: b"ftyp", head: 8, size } if FTYP_SIZE.contains(&size) => size as usize,
        Head::Needs(needed) => return Err(needed),
        Head::Box { .. } | Head::Other => return Ok(false),
    };
    let next = bytes.get(size + 4..size + 8).ok_or(size + 8)?;
    Ok(AFTER_FTYP.iter().any(|kind| next == *kind))
}

/// What may be the head of a box.
enum Head<'a> {
    /// More of it must be there to tell.
    Needs(usize),
    /// The type of the box, and the bytes of its head and of all of it.
    Box {
        kind: &'a [u8],
        head: usize,
        size: u64,
    },
    Other,
}

fn head_of(bytes: &[u8]) -> Head<'_> {
    let (Some(size), Some(kind)) = (word(bytes, 0), bytes.get(4..8)) else { return Head::Needs(8) };
    if !kind.iter().all(|byte| matches!(byte, b' '..=b'~' | 0xa9)) {
        return Head::Other;
    }
    let (head, size) = match size {
        // To the end.
        0 => (8, u64::MAX),
        1 => match (word(bytes, 8), word(bytes, 12)) {
            (Some(high), Some(low)) => (16, u64::from(high) << 32 | u64::from(low)),
            _ => return Head::Needs(16),
        },
        size => (8, size.into()),
    };
    if size < head as u64 { Head::Other } else { Head::Box { kind, head, size } }
}

/// The boxes in these bytes that are there as a whole: their types and contents.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let Head::Box { kind, head, size } = head_of(bytes) else { return None };
        let (whole, rest) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
        bytes = rest;
        Some((kind, whole.get(head..)?))
    })
}

fn all<'a>(bytes: &'a [u8], kind: &'static [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
    boxes(bytes).filter(move |(found, _)| *found == kind).map(|(_, content)| content)
}

/// The content of the box that these types lead to, each within the one before.
fn inner<'a>(bytes: &'a [u8], path: &[&'static [u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| all(bytes, kind).next())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The tracks of video in a moov, each with the flags of samples that say nothing else. `None` if not
/// all samples are in fragments.
fn video_tracks(moov: &[u8]) -> Option<Vec<(u32, u32)>> {
    let defaults = inner(moov, &[b"mvex"])?;
    let mut video = Vec::new();
    for track in all(moov, b"trak") {
        let sizes = inner(track, &[b"mdia", b"minf", b"stbl"])
            .and_then(|table| inner(table, &[b"stsz"]).or_else(|| inner(table, &[b"stz2"])));
        let samples = sizes.and_then(|sizes| word(sizes, 8)).unwrap_or_default();
        if samples > 0 {
            return None;
        }
        let handler = inner(track, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12));
        let tkhd = inner(track, &[b"tkhd"]);
        // Version 1 has times of eight bytes.
        let id = tkhd.and_then(|tkhd| word(tkhd, if tkhd.first() == Some(&1) { 20 } else { 12 }));
        if let Some(id) = id.filter(|_| handler == Some(b"vide")) {
            let of_track = all(defaults, b"trex").find(|trex| word(trex, 4) == Some(id));
            video.push((id, of_track.and_then(|trex| word(trex, 20)).unwrap_or_default()));
        }
    }
    Some(video)
}

/// Returns true if a moof says where in the file its samples are, which holds for nobody who has not
/// all of it.
fn is_bound_to_file(moof: &[u8]) -> bool {
    let mut flags = all(moof, b"traf").filter_map(|traf| word(inner(traf, &[b"tfhd"])?, 0));
    flags.any(|flags| flags & BASE_DATA_OFFSET != 0)
}

/// Returns true if each track of these in a moof begins with a sync sample, and there is one; or if
/// there is no such track at all.
fn begins_with_sync_sample(moof: &[u8], video: &[(u32, u32)]) -> bool {
    let mut firsts = all(moof, b"traf").filter_map(|traf| {
        let id = word(inner(traf, &[b"tfhd"])?, 4)?;
        let (_, default) = video.iter().find(|(track, _)| *track == id)?;
        Some(first_sample_flags(traf, *default))
    });
    let is_sync = |flags: Option<u32>| flags.is_some_and(|flags| flags & NO_SYNC == 0);
    video.is_empty() || firsts.next().is_some_and(is_sync) && firsts.all(is_sync)
}

/// The flags of the first sample of a track's fragment, if it has one. `default` is what the moov
/// says of it.
fn first_sample_flags(traf: &[u8], default: u32) -> Option<u32> {
    let trun = all(traf, b"trun").find(|trun| word(trun, 4).is_some_and(|samples| samples > 0))?;
    let flags = word(trun, 0)?;
    // Version and flags, the number of samples, and an offset where there is one.
    let at = if flags & 0x1 == 0 { 8 } else { 12 };
    if flags & 0x4 != 0 {
        return word(trun, at);
    }
    if flags & 0x400 != 0 {
        let fields = (flags & 0x100).count_ones() + (flags & 0x200).count_ones();
        return word(trun, at + 4 * fields as usize);
    }
    let tfhd = inner(traf, &[b"tfhd"])?;
    let flags = word(tfhd, 0)?;
    let before = [(0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)];
    let before = before.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size);
    if flags & 0x20 == 0 { Some(default) } else { word(tfhd, 8 + before.sum::<usize>()) }
}
