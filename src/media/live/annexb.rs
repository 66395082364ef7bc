//! Where a decoder of H.264 or H.265 as a byte stream (Annex B of either) can begin: at an access unit
//! with an IDR or, in H.265, any IRAP picture. It needs the newest parameter sets first. A recovery
//! point of H.264 without an IDR picture is no such place: what is decoded from there on may have faults.

use bytes::Bytes;
use memchr::memmem;

use super::scan::{Fault, MAX_HEADER, Scan, Step, Walker};

/// What comes before each NAL unit.
const START: &[u8; 3] = &[0, 0, 1];

/// How many bytes, with those, say what a NAL unit is.
const HEAD: usize = 6;

/// The most bytes of a parameter set.
const MAX_SET: usize = 8 * 1024;

/// The highest id of a parameter set.
const MAX_ID: u32 = 255;

/// How many bytes of a parameter set are looked at: its id is within them.
const LOOKED_AT: usize = 100;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    H265,
}

/// A scanner.
#[derive(Debug)]
pub(super) struct AnnexB {
    walker: Walker,
    layout: Layout,
}

/// What is known of the stream up to some NAL unit.
#[derive(Debug)]
struct Layout {
    codec: Codec,
    /// Whether the last byte was zero: it belongs to the start code behind it then.
    after_zero: bool,
    /// Where the access unit begins of which no slice has come.
    begin: Option<u64>,
    /// The parameter set that has not ended.
    open: Option<(Kind, Vec<u8>)>,
    sets: Vec<Set>,
    /// The newest parameter sets, for a decoder; `None` if they have changed since.
    header: Option<Bytes>,
}

/// A parameter set.
#[derive(Debug)]
struct Set {
    kind: Kind,
    id: u32,
    nal: Vec<u8>,
}

/// The kinds of parameter sets. Each may refer to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Video,
    Sequence,
    Picture,
}

/// What a NAL unit is within its access unit.
enum Nal {
    /// It begins one.
    Delimiter,
    Set(Kind),
    /// Something else that comes before the first slice.
    Prefix,
    Slice {
        is_first: bool,
        /// Whether a decoder can begin with the picture.
        is_key: bool,
    },
    Other,
}

impl Codec {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(self, first: &[u8]) -> Option<bool> {
        let zeros = first.iter().take_while(|byte| **byte == 0).count();
        if *first.get(zeros)? != 1 || zeros < 2 {
            return Some(false);
        }
        // The first parameter set tells.
        for start in memmem::find_iter(first, START) {
            let [_, _, _, a, b, _] = first.get(start..start + HEAD)? else { return None };
            let is_h264 = matches!(a, 0x27 | 0x47 | 0x67);
            let is_h265 = matches!(a, 0x40 | 0x42 | 0x44) && *b == 1;
            if is_h264 || is_h265 {
                return Some(is_h264 == (self == Self::H264));
            }
            // In no NAL unit, but in MPEG-1, MPEG-2 and others.
            if a & 0x80 != 0 {
                return Some(false);
            }
        }
        None
    }

    /// What begins with these bytes.
    fn nal(self, [a, b, c]: [u8; 3]) -> Nal {
        match self {
            Self::H264 => match a & 0x1f {
                1 | 2 | 5 => Nal::Slice { is_first: b & 0x80 != 0, is_key: a & 0x1f == 5 },
                7 => Nal::Set(Kind::Sequence),
                8 => Nal::Set(Kind::Picture),
                9 => Nal::Delimiter,
                6 | 14..=18 => Nal::Prefix,
                _ => Nal::Other,
            },
            // Of another layer than the base.
            Self::H265 if a & 0x01 != 0 || b & 0xf8 != 0 => Nal::Other,
            Self::H265 => match a >> 1 {
                kind @ 0..=31 => {
                    Nal::Slice { is_first: c & 0x80 != 0, is_key: matches!(kind, 16..=21) }
                }
                32 => Nal::Set(Kind::Video),
                33 => Nal::Set(Kind::Sequence),
                34 => Nal::Set(Kind::Picture),
                35 => Nal::Delimiter,
                39 | 41..=44 | 48..=55 => Nal::Prefix,
                _ => Nal::Other,
            },
        }
    }

    /// The id of a parameter set.
    fn id(self, kind: Kind, nal: &[u8]) -> Option<u32> {
        let mut bits = Bits::of(nal);
        match (self, kind) {
            // The header of the NAL unit, profile, constraints and level.
            (Self::H264, Kind::Sequence) => bits.skip(8 + 24).exp_golomb(),
            (Self::H264, _) => bits.skip(8).exp_golomb(),
            (Self::H265, Kind::Video) => bits.skip(16).take(4),
            (Self::H265, Kind::Picture) => bits.skip(16).exp_golomb(),
            (Self::H265, Kind::Sequence) => {
                let layers = bits.skip(16 + 4).take(3)?;
                // The profile and level of all, which of the layers have their own, and those.
                bits.skip(1 + 88 + 8);
                let mut own = 0;
                for _ in 0..layers {
                    own += 88 * bits.take(1)? + 8 * bits.take(1)?;
                }
                let padding = if layers > 0 { 2 * (8 - layers) } else { 0 };
                bits.skip((padding + own) as usize).exp_golomb()
            }
        }
    }
}

impl AnnexB {
    pub(super) fn new(codec: Codec) -> Self {
        let (sets, begin, open, header) = Default::default();
        let layout = Layout { codec, after_zero: false, begin, open, sets, header };
        Self { walker: Walker::default(), layout }
    }
}

impl Scan for AnnexB {
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Self { walker, layout } = self;
        walker.feed(bytes, |rest, offset| {
            let passed = match memmem::find(rest, START) {
                Some(0) => {
                    let Some([_, _, _, a, b, c]) = rest.first_chunk() else {
                        return Ok(Step::Need(HEAD));
                    };
                    layout.enter([*a, *b, *c], offset, join)?;
                    return Ok(Step::Used(START.len()));
                }
                Some(at) => at,
                None if rest.len() < START.len() => return Ok(Step::Need(START.len())),
                None => rest.len() - (START.len() - 1),
            };
            layout.pass(rest.get(..passed).unwrap_or_default());
            Ok(Step::Used(passed))
        })
    }
}

impl Layout {
    /// Passes over a part of a NAL unit.
    fn pass(&mut self, bytes: &[u8]) {
        self.after_zero = bytes.last() == Some(&0);
        if let Some((_, nal)) = &mut self.open {
            nal.extend_from_slice(bytes);
            self.open.take_if(|(_, nal)| nal.len() > MAX_SET);
        }
    }

    /// Enters a NAL unit, whose start code is at this offset.
    fn enter(
        &mut self,
        head: [u8; 3],
        offset: u64,
        join: &mut dyn FnMut(u64, &Bytes),
    ) -> Result<(), Fault> {
        if let Some((kind, nal)) = self.open.take() {
            self.keep(kind, nal);
        }
        let offset = offset - u64::from(self.after_zero);
        self.after_zero = false;
        match self.codec.nal(head) {
            Nal::Delimiter => self.begin = Some(offset),
            Nal::Set(kind) => {
                self.begin.get_or_insert(offset);
                self.open = Some((kind, Vec::new()));
            }
            Nal::Prefix => _ = self.begin.get_or_insert(offset),
            Nal::Slice { is_first, is_key } => {
                let begin = self.begin.take().unwrap_or(offset);
                if is_first && is_key && self.is_complete() {
                    join(begin, self.header()?);
                }
            }
            Nal::Other => {}
        }
        Ok(())
    }

    /// Keeps a parameter set in place of an older one.
    fn keep(&mut self, kind: Kind, mut nal: Vec<u8>) {
        // Zeros behind it belong to the next start code.
        nal.truncate(nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        let Some(id) = self.codec.id(kind, &nal).filter(|id| *id <= MAX_ID) else { return };
        match self.sets.iter().find(|set| (set.kind, set.id) == (kind, id)) {
            Some(older) if older.nal == nal => return,
            // What refers to it comes anew, too.
            Some(_) => self.sets.retain(|set| (set.kind, set.id) != (kind, id) && set.kind <= kind),
            None => {}
        }
        let at = self.sets.partition_point(|set| set.kind <= kind);
        self.sets.insert(at, Set { kind, id, nal });
        self.header = None;
    }

    /// Whether there is a parameter set of each kind.
    fn is_complete(&self) -> bool {
        let has = |kind| self.sets.iter().any(|set| set.kind == kind);
        let has_video = self.codec == Codec::H264 || has(Kind::Video);
        has_video && has(Kind::Sequence) && has(Kind::Picture)
    }

    fn header(&mut self) -> Result<&Bytes, Fault> {
        let sets = self.sets.iter().flat_map(|set| [&[0][..], START, &set.nal]);
        let length = sets.clone().map(<[u8]>::len).sum::<usize>();
        if length > MAX_HEADER {
            return Err(Fault::Lost);
        }
        Ok(self.header.get_or_insert_with(|| sets.collect::<Vec<_>>().concat().into()))
    }
}

/// The bits of a NAL unit.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The first ones, without the bytes that keep a start code from appearing.
    fn of(nal: &[u8]) -> Self {
        let mut zeros = 0;
        let mut is_content = |byte: &u8| {
            let inserted = zeros >= 2 && *byte == 3;
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            !inserted
        };
        let bytes = nal.iter().copied().filter(|byte| is_content(byte)).take(LOOKED_AT).collect();
        Self { bytes, at: 0 }
    }

    fn skip(&mut self, bits: usize) -> &mut Self {
        self.at += bits;
        self
    }

    /// A number of so many bits.
    fn take(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |number, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(number << 1 | u32::from(bit))
        })
    }

    /// A number with a length of its own: ue(v).
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
        }
        let rest = self.take(zeros)?;
        (zeros < 16).then(|| (1 << zeros) - 1 + rest)
    }
}
