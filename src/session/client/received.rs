//! What came of the media, and what may come next.

use super::Discontinuity;
use crate::protocol::{Chunk, Error, MAX_CHUNK_SIZE, OpenAck, Options, Version};

/// The media of one session, as far as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// The most bytes of payload that a chunk may have.
    max_chunk_size: u32,
    /// seq of the chunk that is due.
    next_seq: u32,
    /// The byte of the media after the last one of the session, where the server announced it.
    end: Option<u64>,
    /// Bytes of a header that are to come before the media.
    header_left: u64,
    /// Where in the media the next byte belongs.
    position: u64,
}

impl Received {
    /// Nothing, of a session with these terms.
    pub(super) fn nothing(ack: OpenAck, options: &Options) -> Self {
        Self {
            max_chunk_size: ack.max_chunk_size.min(MAX_CHUNK_SIZE),
            next_seq: 1,
            end: options.end_offset.or(options.total_size),
            header_left: options.header_length.unwrap_or(0).into(),
            position: options.start_offset.unwrap_or(0),
        }
    }

    /// seq of the last chunk that came; 0 before the first.
    pub(super) fn last_seq(&self) -> u32 {
        self.next_seq.wrapping_sub(1)
    }

    /// Takes a chunk in.
    ///
    /// # Errors
    /// It is not the one due, or not within what OPEN_ACK announced.
    pub(super) fn take(&mut self, chunk: &Chunk, version: Version) -> Result<(), Error> {
        let got = chunk.payload.len() as u32;
        let header = self.header_left.min(got.into());
        let left = self.end.map(|end| end.saturating_sub(self.position).saturating_add(header));
        if chunk.seq != self.next_seq {
            return Err(Error::Sequence { got: chunk.seq, want: self.next_seq });
        }
        if got > self.max_chunk_size {
            return Err(Error::ChunkTooLarge { got, limit: self.max_chunk_size });
        }
        if got == 0 && version != Version::V1 {
            return Err(Error::EmptyChunk { seq: chunk.seq });
        }
        if let Some(left) = left.filter(|left| u64::from(got) > *left) {
            return Err(Error::PastTheEnd { got, left });
        }
        self.next_seq = self.next_seq.wrapping_add(1);
        self.header_left -= header;
        self.position = self.position.saturating_add(u64::from(got) - header);
        Ok(())
    }

    /// Whether the media is whole, now that the server says so.
    ///
    /// # Errors
    /// It has fewer bytes than were announced.
    pub(super) fn complete(&self) -> Result<(), Discontinuity> {
        match self.end {
            _ if self.header_left > 0 => Err(Discontinuity::Header { missing: self.header_left }),
            Some(want) if want != self.position => {
                Err(Discontinuity::Size { got: self.position, want })
            }
            _ => Ok(()),
        }
    }
}

/// The media of a session that was not granted yet.
impl Default for Received {
    fn default() -> Self {
        Self { max_chunk_size: 0, next_seq: 1, end: None, header_left: 0, position: 0 }
    }
}
