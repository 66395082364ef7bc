//! Bytes in, PDUs out.

use std::fmt;

use bytes::{Buf, Bytes};

use super::{
    CHUNK_PREFIX_LEN, Error, HEADER_LEN, Header, Kind, MAX_CHUNK_SIZE, Payload, Pdu, Version,
};

/// The longest body of a PDU that is kept whole to be read, other than a chunk, in bytes. An
/// OPEN_STREAM with 255 bitrates takes little over 1 KiB; the rest is room for long texts.
pub const MAX_CONTROL_BODY: u32 = 16 * 1024;

/// The longest body of any PDU, in bytes: the largest chunk. A longer one is a violation even
/// where its type is unknown and it would only be skipped.
pub const MAX_BODY: u32 = MAX_CHUNK_SIZE + CHUNK_PREFIX_LEN as u32;

/// Which end of the session reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what servers send.
    Client,
    /// Reads what clients send.
    Server,
}

impl Role {
    /// Whether PDUs of this kind are sent to this end.
    const fn receives(self, kind: Kind) -> bool {
        match kind {
            Kind::OpenStream | Kind::PauseStream | Kind::ResumeStream | Kind::List => {
                matches!(self, Self::Server)
            }
            Kind::OpenAck | Kind::OpenNack | Kind::StreamChunk | Kind::ListReply | Kind::Edge => {
                matches!(self, Self::Client)
            }
            Kind::CloseStream | Kind::Heartbeat => true,
        }
    }
}

/// What the decoder found.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is soon taken apart")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A well-formed PDU and the session id of its header.
    Pdu {
        /// The session id in the header.
        session_id: u32,
        /// The PDU.
        pdu: Pdu,
    },
    /// A PDU of this end's business whose body is malformed. The stream itself is still in step.
    Malformed(Error),
    /// A PDU of unknown type, or of one that is not sent to this end; its body is skipped.
    Skipped {
        /// The type byte.
        kind: u8,
    },
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pdu { session_id, pdu } => write!(f, "{pdu}, session {session_id}"),
            Self::Malformed(error) => write!(f, "{error}"),
            Self::Skipped { kind } => match Kind::from_byte(*kind) {
                Some(kind) => f.write_str(kind.name()),
                None => write!(f, "a PDU of unknown type {kind}"),
            },
        }
    }
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Expect {
    Header,
    Body { kind: Kind, flags: u8, session_id: u32, left: usize },
    Skip { left: usize },
}

/// Cuts a byte stream into PDUs, wherever the transport split it.
///
/// "Not enough bytes yet" is `Ok(None)`; an error ends the stream for good. What is buffered is
/// bounded by [`MAX_CONTROL_BODY`] or by the chunk in flight.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    role: Role,
    expect: Expect,
    header: [u8; HEADER_LEN],
    header_len: usize,
    body: Payload,
}

impl Decoder {
    /// A decoder for one stream.
    pub fn new(version: Version, role: Role) -> Self {
        Self {
            version,
            role,
            expect: Expect::Header,
            header: [0; HEADER_LEN],
            header_len: 0,
            body: Payload::default(),
        }
    }

    /// Takes bytes from the front of `input` until a PDU is complete or `input` is empty.
    ///
    /// # Errors
    /// [`Error::Version`] and [`Error::BodyTooLong`]: after them the stream cannot be followed.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Frame>, Error> {
        loop {
            match &mut self.expect {
                Expect::Header => {
                    let Some(missing) = self.header.get_mut(self.header_len..) else {
                        return Ok(None);
                    };
                    let count = missing.len().min(input.len());
                    if let Some(missing) = missing.get_mut(..count) {
                        input.copy_to_slice(missing);
                    }
                    self.header_len += count;
                    if self.header_len < HEADER_LEN {
                        return Ok(None);
                    }
                    self.header_len = 0;
                    let header = Header::decode(self.header, self.version)?;
                    self.expect = self.expect_body(header)?;
                    if let Expect::Skip { .. } = self.expect {
                        return Ok(Some(Frame::Skipped { kind: header.kind }));
                    }
                }
                Expect::Body { kind, flags, session_id, left } => {
                    let count = input.len().min(*left);
                    if count > 0 {
                        self.body.push(input.split_to(count));
                        *left -= count;
                    }
                    if *left > 0 {
                        return Ok(None);
                    }
                    let (kind, flags, session_id) = (*kind, *flags, *session_id);
                    self.expect = Expect::Header;
                    self.body.seal();
                    let body = std::mem::take(&mut self.body);
                    return Ok(Some(match Pdu::decode(self.version, kind, flags, body) {
                        Ok(pdu) => Frame::Pdu { session_id, pdu },
                        Err(error) => Frame::Malformed(error),
                    }));
                }
                Expect::Skip { left } => {
                    let count = input.len().min(*left);
                    input.advance(count);
                    *left -= count;
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.expect = Expect::Header;
                }
            }
        }
    }

    /// What follows a header, once its length is known to be in bounds.
    fn expect_body(&self, header: Header) -> Result<Expect, Error> {
        let kind = Kind::from_byte(header.kind)
            .filter(|kind| self.role.receives(*kind) && kind.since() <= self.version);
        let limit = match kind {
            Some(Kind::StreamChunk | Kind::ListReply) | None => MAX_BODY,
            Some(_) => MAX_CONTROL_BODY,
        };
        if header.body_length > limit {
            return Err(Error::BodyTooLong {
                kind: header.kind,
                length: header.body_length,
                limit,
            });
        }
        let left = header.body_length as usize;
        Ok(match kind {
            Some(kind) => {
                let Header { flags, session_id, .. } = header;
                Expect::Body { kind, flags, session_id, left }
            }
            None => Expect::Skip { left },
        })
    }
}
