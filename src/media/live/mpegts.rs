//! Where a decoder of MPEG-TS (ISO 13818-1) can begin: at a packet whose random access indicator is
//! set, of a video stream where there is one. It needs the newest PAT and PMT before that.

use bytes::Bytes;

use super::scan::Scan;

/// Bytes of a packet, and what each begins with.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// How many packets in a row show what it is.
const SHOWN_BY: usize = 3;

/// The stream types of video.
const VIDEO: [u8; 10] = [0x01, 0x02, 0x10, 0x1b, 0x20, 0x21, 0x24, 0x33, 0x42, 0xd1];

/// A scanner. It is fed the stream from its first byte on.
#[derive(Debug, Default)]
pub(super) struct MpegTs {
    /// The begin of a packet of which the rest is to come.
    partial: Vec<u8>,
    /// Where the next byte to be fed belongs.
    offset: u64,
    pat: Option<Bytes>,
    pmt: Option<Bytes>,
    pmt_pid: Option<u16>,
    video_pid: Option<u16>,
}

impl MpegTs {
    /// Whether a stream begins as one does; `None` while too little of it is there.
    pub(super) fn recognises(bytes: &[u8]) -> Option<bool> {
        let mut packets = bytes.chunks(PACKET).take(SHOWN_BY);
        if !packets.all(|packet| packet.first() == Some(&SYNC)) {
            return Some(false);
        }
        (bytes.len() > PACKET * (SHOWN_BY - 1)).then_some(true)
    }

    fn packet(&mut self, packet: &[u8], offset: u64, join: &mut dyn FnMut(u64)) {
        let [_, high, low, control, rest @ ..] = packet else { return };
        let pid = u16::from_be_bytes([high & 0x1f, *low]);
        let starts = high & 0x40 != 0;
        let (adaptation, payload) = match control & 0x20 {
            0 => (&[][..], rest),
            _ => {
                let length = rest.first().copied().map_or(0, usize::from);
                rest.get(1..).unwrap_or_default().split_at(length.min(rest.len().saturating_sub(1)))
            }
        };
        if pid == 0 && starts {
            self.pat = Some(Bytes::copy_from_slice(packet));
            self.pmt_pid = section(payload).and_then(program_map_pid).or(self.pmt_pid);
        } else if Some(pid) == self.pmt_pid && starts {
            self.pmt = Some(Bytes::copy_from_slice(packet));
            if let Some(section) = section(payload) {
                self.video_pid = video_pid(section);
            }
        } else if adaptation.first().is_some_and(|flags| flags & 0x40 != 0)
            && self.pmt.is_some()
            && self.video_pid.is_none_or(|video| video == pid)
        {
            join(offset);
        }
    }
}

impl Scan for MpegTs {
    fn header(&self) -> Option<Bytes> {
        Some([self.pat.as_deref()?, self.pmt.as_deref()?].concat().into())
    }

    fn feed(&mut self, mut bytes: &[u8], join: &mut dyn FnMut(u64)) -> bool {
        if !self.partial.is_empty() {
            let missing = (PACKET - self.partial.len()).min(bytes.len());
            let (rest, after) = bytes.split_at(missing);
            self.partial.extend_from_slice(rest);
            bytes = after;
            self.offset += missing as u64;
            if self.partial.len() < PACKET {
                return true;
            }
            let packet = std::mem::take(&mut self.partial);
            self.packet(&packet, self.offset - PACKET as u64, join);
        }
        while let Some(first) = bytes.first() {
            if *first != SYNC {
                // Out of step: the next byte that may begin a packet is tried.
                let skipped = bytes.iter().position(|byte| *byte == SYNC).unwrap_or(bytes.len());
                self.offset += skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            match bytes.split_at_checked(PACKET) {
                Some((packet, after)) => {
                    self.packet(packet, self.offset, join);
                    self.offset += PACKET as u64;
                    bytes = after;
                }
                None => {
                    self.offset += bytes.len() as u64;
                    self.partial.extend_from_slice(bytes);
                    return true;
                }
            }
        }
        true
    }
}

/// The section that begins in a payload, behind its pointer.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let (pointer, rest) = payload.split_first()?;
    rest.get(usize::from(*pointer)..)
}

/// The PID of the first program's PMT in a PAT.
fn program_map_pid(section: &[u8]) -> Option<u16> {
    let length = section_length(section)?;
    let programs = section.get(8..(3 + length).checked_sub(4)?)?;
    programs.chunks_exact(4).find_map(|program| match program {
        [0, 0, ..] => None,
        [_, _, high, low] => Some(u16::from_be_bytes([high & 0x1f, *low])),
        _ => None,
    })
}

/// The PID of the first video stream in a PMT.
fn video_pid(section: &[u8]) -> Option<u16> {
    let length = section_length(section)?;
    let section = section.get(..(3 + length).checked_sub(4)?)?;
    let of_program = twelve_bits(section.get(10..12)?)?;
    let mut streams = section.get(12 + of_program..)?;
    while let [kind, high, low, info_high, info_low, rest @ ..] = streams {
        if VIDEO.contains(kind) {
            return Some(u16::from_be_bytes([high & 0x1f, *low]));
        }
        streams = rest.get(twelve_bits(&[*info_high, *info_low])?..)?;
    }
    None
}

/// The length of a section, behind its first three bytes.
fn section_length(section: &[u8]) -> Option<usize> {
    twelve_bits(section.get(1..3)?)
}

fn twelve_bits(bytes: &[u8]) -> Option<usize> {
    let [high, low] = bytes else { return None };
    Some(usize::from(u16::from_be_bytes([high & 0x0f, *low])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(pid: u16, starts: bool, random_access: bool, payload: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![SYNC, high | if starts { 0x40 } else { 0 }, low];
        if random_access {
            packet.extend([0x30, 1, 0x40]);
        } else {
            packet.push(0x10);
        }
        packet.extend_from_slice(payload);
        packet.resize(PACKET, 0xff);
        packet
    }

    /// PAT, PMT with audio in 0x101 and video in 0x100, a key frame, audio and another frame.
    fn stream() -> Vec<u8> {
        let pat = [0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 1, 2, 3, 4];
        let pmt = [
            0, 2, 0xb0, 23, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0, 0x1b, 0xe1,
            0, 0xf0, 0, 1, 2, 3, 4,
        ];
        [
            packet(0, true, false, &pat),
            packet(0x1000, true, false, &pmt),
            packet(0x100, true, true, b"key frame"),
            packet(0x101, true, true, b"sound"),
            packet(0x100, true, false, b"frame"),
        ]
        .concat()
    }

    fn joins(bytes: &[u8], piece: usize) -> Vec<u64> {
        let mut scanner = MpegTs::default();
        let mut joins = Vec::new();
        bytes
            .chunks(piece)
            .for_each(|piece| _ = scanner.feed(piece, &mut |offset| joins.push(offset)));
        joins
    }

    #[test]
    fn a_decoder_begins_at_a_key_frame_of_the_video() {
        let twice = [stream(), stream()].concat();
        let group = stream().len() as u64;
        assert_eq!(joins(&twice, 10_000), [376, group + 376]);
        let mut scanner = MpegTs::default();
        scanner.feed(&twice, &mut |_| ());
        assert_eq!(scanner.header().unwrap(), stream()[..376]);
        assert_eq!(MpegTs::recognises(&twice), Some(true));
        assert_eq!(MpegTs::recognises(&twice[..200]), None);
        assert_eq!(MpegTs::recognises(b"ftyp"), Some(false));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_the_same(piece in 1_usize..600, junk in 0_usize..400) {
            let bytes = [stream(), vec![0; junk], stream()].concat();
            prop_assert_eq!(joins(&bytes, piece), joins(&bytes, bytes.len()));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000), at in 0_usize..900) {
            joins(&bytes, 100);
            let mut changed = stream();
            let end = changed.len().min(at + bytes.len());
            changed[at..end].copy_from_slice(&bytes[..end - at]);
            joins(&changed, 188);
        }
    }
}
