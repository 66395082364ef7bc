//! The digest of media that comes in pieces.

use std::io::{self, Write};

use crate::protocol::Digest;

/// BLAKE3 of pieces as they come. It gets them in whole runs of the same size, for which it has
/// vector instructions: shorter ones, and such that begin anywhere, take it up to seven times as
/// long, and to copy them takes next to nothing.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    hasher: blake3::Hasher,
    /// The beginning of a run.
    run: Vec<u8>,
}

impl Hasher {
    /// Bytes in a run.
    pub(super) const RUN: usize = 64 * 1024;

    /// Takes in the next piece.
    pub(super) fn update(&mut self, mut piece: &[u8]) {
        while let Some((head, tail)) = piece.split_at_checked(Self::RUN - self.run.len()) {
            if self.run.is_empty() {
                self.hasher.update(head);
            } else {
                self.run.extend_from_slice(head);
                self.hasher.update(&self.run);
                self.run.clear();
            }
            piece = tail;
        }
        self.run.extend_from_slice(piece);
    }

    /// The digest of all that came.
    pub(super) fn finish(&mut self) -> Digest {
        self.hasher.update(&self.run);
        self.run.clear();
        self.hasher.finalize().into()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..3 * Hasher::RUN + 1000).map(|at| (at % 251) as u8).collect();
        let whole = blake3::hash(&bytes);
        for length in [1, 1000, Hasher::RUN - 1, Hasher::RUN, Hasher::RUN + 1, bytes.len()] {
            let mut hasher = Hasher::default();
            bytes.chunks(length).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), *whole.as_bytes(), "in pieces of {length}");
        }
        assert_eq!(Hasher::default().finish(), *blake3::hash(b"").as_bytes());
    }
}
