//! The frames of MPEG audio (ISO 11172-3 and 13818-3): MP3, and layers I and II.
//!
//! A frame of MP3 may need bytes of those before it. A decoder that begins with it is silent until it
//! has them.

use super::frames::Frame;

/// The bitrates, kbit/s, of version 1's layers I, II and III, and of the others' layers I, and II and
/// III. The first is of the stream's own choice, and no length follows from it.
const BITRATES: [[u32; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// The sampling frequencies of version 1, Hz. Those of version 2 are half of them, and those of 2.5 a
/// quarter.
const FREQUENCIES: [u32; 3] = [44_100, 48_000, 32_000];

/// A frame.
#[derive(Debug)]
pub(super) struct Mp3 {
    /// Version, layer and sampling frequency, which do not change within a stream.
    fixed: [u8; 2],
    length: u32,
}

impl PartialEq for Mp3 {
    fn eq(&self, other: &Self) -> bool {
        self.fixed == other.fixed
    }
}

impl Frame for Mp3 {
    const HEADER: usize = 4;

    fn parse(header: &[u8]) -> Option<Self> {
        let [0xff, b, c, _] = header else { return None };
        if b & 0xe0 != 0xe0 {
            return None;
        }
        let (version, layer) = (b >> 3 & 0x3, b >> 1 & 0x3);
        let frequency = FREQUENCIES.get(usize::from(c >> 2 & 0x3))?;
        let frequency = match version {
            0 => frequency / 4,
            2 => frequency / 2,
            3 => *frequency,
            _ => return None,
        };
        let (bitrates, samples) = match (version, layer) {
            (_, 0) => return None,
            (3, 3) => (0, 384),
            (3, 2) => (1, 1152),
            (3, 1) => (2, 1152),
            (_, 3) => (3, 384),
            (_, 2) => (4, 1152),
            _ => (4, 576),
        };
        let bitrate = BITRATES.get(bitrates)?.get(usize::from(c >> 4)).filter(|rate| **rate > 0)?;
        // A frame of layer I is made of words of four bytes.
        let word = if layer == 3 { 4 } else { 1 };
        let words = samples / 8 * bitrate * 1000 / frequency / word + u32::from(c >> 1 & 1);
        Some(Self { fixed: [b & 0xfe, c & 0x0c], length: words * word })
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}
