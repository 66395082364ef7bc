//! The frames of ADTS (AAC, ISO 14496-3).

use super::frames::Frame;

/// A frame.
#[derive(Debug)]
pub(super) struct Adts {
    /// What does not change within a stream.
    fixed: [u8; 4],
    length: usize,
}

impl PartialEq for Adts {
    fn eq(&self, other: &Self) -> bool {
        self.fixed == other.fixed
    }
}

impl Frame for Adts {
    const HEADER: usize = 7;

    fn parse(header: &[u8]) -> Option<Self> {
        let [0xff, b, c, d, e, f, _] = header else { return None };
        // The rest of the sync word, and a layer that is always 0.
        let is_frame = b & 0xf6 == 0xf0;
        // Bits 13 to 15 of the sampling frequency's index are reserved.
        let has_frequency = c & 0x3c < 13 << 2;
        let length = usize::from(d & 0x03) << 11 | usize::from(*e) << 3 | usize::from(f >> 5);
        let is_whole = length >= Self::HEADER;
        (is_frame && has_frequency && is_whole)
            .then_some(Self { fixed: [0xff, *b, *c, d & 0xf0], length })
    }

    fn length(&self) -> usize {
        self.length
    }
}
