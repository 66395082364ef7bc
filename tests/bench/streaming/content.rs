//! Media whose every byte is known from its place, so that a viewer can check it without a copy.
//!
//! The beginning of every block of 64 KiB is a pattern, and the rest is zeros, which in a file take
//! no room: six thousand titles of 4 MB would not fit the memory otherwise.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;

const BLOCK: u64 = 64 * 1024;

/// A prime, so that the pattern is another one in every block.
const PERIOD: u64 = 65_521;

/// Two periods of the pattern: up to one can be cut anywhere.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let period: Vec<u8> = std::iter::repeat_with(next).take(PERIOD as usize).collect();
    period.repeat(2)
});

static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// The media of a title.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    /// Which title: each has bytes of its own.
    pub(crate) title: u64,
    /// How much of every block is pattern, bytes.
    pub(crate) dense: u64,
}

impl Content {
    /// All of it is pattern.
    pub(crate) const DENSE: u64 = BLOCK;
    /// One page of every block is.
    pub(crate) const SPARSE: u64 = 4096;

    /// Writes a file of it.
    pub(crate) fn write(self, path: &Path, size: u64) {
        let file = File::create(path).unwrap();
        file.set_len(size).unwrap();
        for start in (0..size).step_by(BLOCK as usize) {
            let end = size.min(start + self.dense);
            let mut place = start;
            while place < end {
                let bytes = self.expected(place, end - place);
                file.write_all_at(bytes, place).unwrap();
                place += bytes.len() as u64;
            }
        }
    }

    /// Whether these bytes belong at this place.
    pub(crate) fn matches(self, mut place: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.expected(place, bytes.len() as u64);
            let (head, rest) = bytes.split_at(expected.len());
            if head != expected {
                return false;
            }
            place += head.len() as u64;
            bytes = rest;
        }
        true
    }

    /// So many bytes, from a place on.
    pub(crate) fn bytes(self, mut place: u64, length: usize) -> Vec<u8> {
        let end = place + length as u64;
        let mut bytes = Vec::with_capacity(length);
        while place < end {
            let some = self.expected(place, end - place);
            bytes.extend(some);
            place += some.len() as u64;
        }
        bytes
    }

    /// What belongs at this place: at most `most` bytes, and at least one.
    fn expected(self, place: u64, most: u64) -> &'static [u8] {
        let in_block = place % BLOCK;
        if in_block < self.dense {
            let length = most.min(self.dense - in_block).min(PERIOD) as usize;
            let start = ((place + self.title * 7919) % PERIOD) as usize;
            &PATTERN[start..start + length]
        } else {
            &ZEROS[..most.min(BLOCK - in_block) as usize]
        }
    }
}
