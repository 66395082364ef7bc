//! Where a decoder of MPEG-TS (ISO 13818-1) can begin: at a packet of the video whose random access
//! indicator is set. It needs the newest PAT and PMTs first.
//!
//! Of a stream that never sets the indicator, it is a packet with which a frame and parameter sets (or
//! a sequence header) begin; of one without video, any packet with which a unit of the audio begins.

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::scan::{Fault, Scan, Step, Walker};

/// Bytes of a packet, and what each begins with.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// How many packets in a row show what it is.
const SHOWN_BY: usize = 3;

/// The ids of tables.
const PAT: u8 = 0;
const PMT: u8 = 2;

/// The most bytes that a section has after its length.
const MAX_SECTION: usize = 1021;

/// The most packets of a section: two more than it fills.
const MAX_PACKETS: usize = 8;

/// The stream types of video.
const VIDEO: [u8; 10] = [0x01, 0x02, 0x10, 0x1b, 0x20, 0x21, 0x24, 0x33, 0x42, 0xd1];

/// Those of audio.
const AUDIO: [u8; 8] = [0x03, 0x04, 0x0f, 0x11, 0x1c, 0x81, 0x84, 0x87];

/// A scanner.
#[derive(Debug, Default)]
pub(super) struct MpegTs {
    walker: Walker,
    tables: Tables,
}

/// What is known of the programs.
#[derive(Debug, Default)]
struct Tables {
    pat: Table,
    pmts: Vec<Program>,
    /// The stream with which a decoder is to begin.
    stream: Option<Stream>,
    /// The newest PAT and PMTs, for a decoder; `None` if they have changed since.
    header: Option<Bytes>,
}

/// A program that the PAT names.
#[derive(Debug)]
struct Program {
    number: [u8; 2],
    /// That of its PMT.
    pid: u16,
    pmt: Table,
}

/// A table of one section.
#[derive(Debug, Default)]
struct Table {
    newest: Section,
    /// The one that has not ended.
    open: Option<Section>,
}

/// A section, and the packets that it came in.
#[derive(Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    packets: Vec<u8>,
}

/// An elementary stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stream {
    pid: u16,
    kind: u8,
    /// Whether it has set the random access indicator.
    indicates: bool,
}

/// A packet.
struct Packet<'a> {
    pid: u16,
    /// Whether a unit or a section begins in it.
    starts: bool,
    indicates: bool,
    payload: &'a [u8],
    all: &'a [u8],
}

impl MpegTs {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(first: &[u8]) -> Option<bool> {
        let mut packets = first.chunks(PACKET).take(SHOWN_BY);
        if !packets.all(|packet| packet.first() == Some(&SYNC)) {
            return Some(false);
        }
        (first.len() > PACKET * (SHOWN_BY - 1)).then_some(true)
    }
}

impl Scan for MpegTs {
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault> {
        let Self { walker, tables } = self;
        walker.feed(bytes, |rest, offset| {
            let Some((packet, [next, ..])) = rest.split_at_checked(PACKET) else {
                return Ok(Step::Need(PACKET + 1));
            };
            if packet.first() == Some(&SYNC) && *next == SYNC {
                if let Some(packet) = Packet::parse(packet) {
                    tables.packet(&packet, offset, join);
                }
                return Ok(Step::Used(PACKET));
            }
            // Out of step until two packets follow each other.
            let next = packet.get(1..).and_then(|rest| memchr(SYNC, rest));
            Ok(Step::Used(next.map_or(PACKET, |at| at + 1)))
        })
    }
}

impl<'a> Packet<'a> {
    fn parse(all: &'a [u8]) -> Option<Self> {
        let [_, high, low, control, rest @ ..] = all else { return None };
        let has_error = high & 0x80 != 0;
        if has_error {
            return None;
        }
        let (mut payload, mut flags) = (rest, 0);
        if control & 0x20 != 0 {
            let (length, rest) = rest.split_first()?;
            let (adaptation, after) = rest.split_at_checked(usize::from(*length))?;
            flags = adaptation.first().copied().unwrap_or_default();
            payload = after;
        }
        if control & 0x10 == 0 {
            payload = &[];
        }
        Some(Self {
            pid: u16::from_be_bytes([high & 0x1f, *low]),
            starts: high & 0x40 != 0,
            indicates: flags & 0x40 != 0,
            payload,
            all,
        })
    }
}

impl Tables {
    fn packet(&mut self, packet: &Packet<'_>, offset: u64, join: &mut dyn FnMut(u64, &Bytes)) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.pid == packet.pid) {
            stream.indicates |= packet.indicates;
            if stream.begins_with(packet) {
                join(offset, self.header());
            }
        } else if packet.pid == 0 {
            if self.pat.take(packet, |section| section.first() == Some(&PAT)) {
                let mut older = std::mem::take(&mut self.pmts);
                self.pmts.extend(programs(&self.pat.newest.bytes).map(|(number, pid)| {
                    let is_it = |older: &Program| (older.number, older.pid) == (number, pid);
                    let known = older.iter().position(is_it).map(|at| older.swap_remove(at));
                    known.unwrap_or_else(|| Program { number, pid, pmt: Table::default() })
                }));
                self.change();
            }
        } else {
            let mut has_changed = false;
            for program in self.pmts.iter_mut().filter(|program| program.pid == packet.pid) {
                let is_its = |section: &[u8]| {
                    section.first() == Some(&PMT) && section.get(3..5) == Some(&program.number)
                };
                has_changed |= program.pmt.take(packet, is_its);
            }
            if has_changed {
                self.change();
            }
        }
    }

    /// Takes in what the newest tables say.
    fn change(&mut self) {
        self.header = None;
        let all = self.pmts.iter().flat_map(|program| streams(&program.pmt.newest.bytes));
        let of = |kinds: &[u8]| all.clone().find(|(kind, _)| kinds.contains(kind));
        let found = of(&VIDEO).or_else(|| of(&AUDIO)).or_else(|| all.clone().next());
        let older = self.stream;
        self.stream = found.map(|(kind, pid)| Stream {
            pid,
            kind,
            indicates: older
                .is_some_and(|older| (older.kind, older.pid) == (kind, pid) && older.indicates),
        });
    }

    fn header(&mut self) -> &Bytes {
        self.header.get_or_insert_with(|| {
            let pmts = self.pmts.iter().map(|program| &*program.pmt.newest.packets);
            [&*self.pat.newest.packets].into_iter().chain(pmts).collect::<Vec<_>>().concat().into()
        })
    }
}

impl Table {
    /// Takes in a packet. Returns true if a section that `is_its` has changed the table.
    fn take(&mut self, packet: &Packet<'_>, is_its: impl Fn(&[u8]) -> bool) -> bool {
        if !packet.starts {
            return !packet.payload.is_empty() && self.go_on(packet.payload, packet, &is_its);
        }
        // The pointer is how much of the section before is left.
        let Some((pointer, payload)) = packet.payload.split_first() else { return false };
        let Some((end, begin)) = payload.split_at_checked(usize::from(*pointer)) else {
            return false;
        };
        let has_changed = self.go_on(end, packet, &is_its);
        if !self.newest.bytes.is_empty() && begin.starts_with(&self.newest.bytes) {
            self.open = None;
            return has_changed;
        }
        self.open = Some(Section::default());
        self.go_on(begin, packet, &is_its) || has_changed
    }

    /// The section that has not ended goes on.
    fn go_on(
        &mut self,
        bytes: &[u8],
        packet: &Packet<'_>,
        is_its: &impl Fn(&[u8]) -> bool,
    ) -> bool {
        let Some(open) = &mut self.open else { return false };
        open.bytes.extend_from_slice(bytes);
        open.packets.extend_from_slice(packet.all);
        let is_too_long = open.packets.len() >= MAX_PACKETS * PACKET;
        let length = twelve_bits(&open.bytes, 1);
        if !is_too_long && length.is_none_or(|length| open.bytes.len() < 3 + length) {
            return false;
        }
        let (Some(mut section), Some(length)) = (self.open.take(), length) else { return false };
        section.bytes.truncate(3 + length);
        let is_good = length <= MAX_SECTION && section.is_current() && crc(&section.bytes) == 0;
        let is_new = is_good && is_its(&section.bytes) && section.bytes != self.newest.bytes;
        if is_new {
            self.newest = section;
        }
        is_new
    }
}

impl Section {
    /// Whether it is in force, and not one that is to come.
    fn is_current(&self) -> bool {
        self.bytes.get(5).is_some_and(|flags| flags & 0x01 != 0)
    }
}

impl Stream {
    /// Returns true if a decoder can begin with a packet of it.
    fn begins_with(&self, packet: &Packet<'_>) -> bool {
        if !VIDEO.contains(&self.kind) {
            return packet.starts;
        }
        if self.indicates || !packet.starts {
            return packet.indicates;
        }
        let is_first = |code: u8| match self.kind {
            0x01 | 0x02 => code == 0xb3,
            0x10 => code == 0xb0,
            0x1b => code & 0x9f == 7,
            0x24 => matches!(code, 0x40 | 0x42),
            _ => false,
        };
        memmem::find_iter(packet.payload, &[0, 0, 1])
            .filter_map(|start| packet.payload.get(start + 3))
            .any(|code| is_first(*code))
    }
}

/// The programs in a PAT: their numbers, and the PIDs of their PMTs.
fn programs(section: &[u8]) -> impl Iterator<Item = ([u8; 2], u16)> {
    let end = section.len().saturating_sub(4);
    let programs = section.get(8..end).unwrap_or_default();
    programs.chunks_exact(4).filter_map(|program| match program {
        // The network.
        [0, 0, ..] => None,
        [a, b, high, low] => Some(([*a, *b], u16::from_be_bytes([high & 0x1f, *low]))),
        _ => None,
    })
}

/// The streams in a PMT: their types and PIDs.
fn streams(section: &[u8]) -> impl Iterator<Item = (u8, u16)> + Clone {
    let end = section.len().saturating_sub(4);
    let of_program = twelve_bits(section, 10).unwrap_or_default();
    let mut streams = section.get(12 + of_program..end).unwrap_or_default();
    std::iter::from_fn(move || {
        let [kind, high, low, _, _, rest @ ..] = streams else { return None };
        let of_stream = twelve_bits(streams, 3)?;
        streams = rest.get(of_stream..).unwrap_or_default();
        Some((*kind, u16::from_be_bytes([high & 0x1f, *low])))
    })
}

fn twelve_bits(bytes: &[u8], at: usize) -> Option<usize> {
    let (high, low) = (bytes.get(at)?, bytes.get(at + 1)?);
    Some(usize::from(u16::from_be_bytes([high & 0x0f, *low])))
}

/// The CRC of a section (ISO 13818-1, annex A): 0 of one with its own.
fn crc(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 0 { 0 } else { 0x04c1_1db7 }
        })
    })
}
