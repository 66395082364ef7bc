//! Bytes in pieces, as the transport delivers them.

use bytes::{Buf, Bytes, BytesMut};

/// A piece shorter than this is copied together with its neighbours: a peer that dribbles single
/// bytes must not make us keep a list of them. Full packets are longer and are never copied.
const COPY_BELOW: usize = 1024;

/// A body, or what is left of it, in the pieces in which the transport delivered it, so that
/// media is not copied on its way to the sink. Reading it through [`Buf`] consumes it.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    pieces: Vec<Bytes>,
    /// Index of the first piece that is not used up.
    first: usize,
    /// Short pieces that came last, not yet a piece of their own.
    tail: BytesMut,
    len: usize,
}

impl Payload {
    /// Bytes that have not been read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether every byte has been read, or none was there.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < COPY_BELOW {
            self.tail.extend_from_slice(&piece);
        } else {
            self.seal();
            self.pieces.push(piece);
        }
    }

    /// Makes the short pieces at the end readable; to be called when the last byte was pushed.
    pub(super) fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Drops all but so many bytes from the front.
    pub fn truncate(&mut self, len: usize) {
        let mut left = len;
        for piece in self.pieces.get_mut(self.first..).unwrap_or_default() {
            piece.truncate(left);
            left -= piece.len();
        }
        self.len = self.len.min(len);
    }

    /// The pieces that are left, in order.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter().skip(self.first)
    }

    /// The pieces that are left, in order.
    pub fn pieces(&self) -> &[Bytes] {
        self.pieces.get(self.first..).unwrap_or_default()
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces().iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "advanced past the end of a payload");
        self.len -= count;
        while let Some(piece) = self.pieces.get_mut(self.first) {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.first += 1;
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self { len: bytes.len(), pieces: vec![bytes], ..Self::default() }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |payload: &Self| payload.pieces().concat();
        self.len == other.len && bytes(self) == bytes(other)
    }
}

impl Eq for Payload {}
