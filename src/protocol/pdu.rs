//! The PDUs and their bodies.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use super::header::FLAG;
use super::{CloseReason, Error, HEADER_LEN, Header, Kind, Options, Payload, Version};

/// Bytes of a STREAM_CHUNK body before the payload: seq and payload_length.
pub const CHUNK_PREFIX_LEN: usize = 8;

/// The most entries of a LIST_REPLY: with more, they would be so short that what they are decoded
/// into takes many times the room.
pub const MAX_ENTRIES: u32 = 65_536;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenStream {
    /// Codec name, such as `h264`.
    pub codec: String,
    /// Codec profile, such as `baseline`.
    pub profile: String,
    /// Bitrates the client can take, bit/s; at most 255 of them fit the wire.
    pub bitrates: Vec<u32>,
    /// 0 = the transport's own encryption; anything else asks for a second layer.
    pub encryption: u8,
    /// 0 = unicast, 1 = multicast.
    pub delivery: u8,
}

/// The terms a server grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAck {
    /// The bitrate the session is about, bit/s.
    pub bitrate: u32,
    /// The largest payload of a chunk, bytes.
    pub max_chunk_size: u32,
    /// Seconds between heartbeats.
    pub keepalive: u32,
    /// Seconds without a PDU after which the session is over.
    pub session_timeout: u32,
}

/// A STREAM_CHUNK as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Sequence number, from 1 by 1.
    pub seq: u32,
    /// The media bytes.
    pub payload: Payload,
}

impl Chunk {
    /// What goes on the wire before a payload of `length` bytes: the header of a STREAM_CHUNK and
    /// the first two fields of its body. The payload itself follows without being copied.
    pub fn prefix(
        version: Version,
        session_id: u32,
        seq: u32,
        length: u32,
    ) -> [u8; HEADER_LEN + CHUNK_PREFIX_LEN] {
        let header = Header {
            kind: Kind::StreamChunk as u8,
            flags: 0,
            session_id,
            body_length: length.saturating_add(CHUNK_PREFIX_LEN as u32),
        };
        let mut prefix = [0; HEADER_LEN + CHUNK_PREFIX_LEN];
        let mut out = &mut prefix[..];
        out.put_slice(&header.encode(version));
        out.put_u32(seq);
        out.put_u32(length);
        prefix
    }
}

/// One PDU. Version 1 has no options: they are not written, and read as none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    /// The client asks for a session.
    OpenStream(OpenStream, Options),
    /// The server grants it.
    OpenAck(OpenAck, Options),
    /// The server refuses it, with a code (see [`super::NackCode`]).
    OpenNack(u16, Options),
    /// Media.
    Chunk(Chunk),
    /// The client asks the server to stop making chunks.
    Pause,
    /// The client asks it to go on.
    Resume,
    /// The session is over.
    Close(CloseReason, Options),
    /// A sign of life.
    Heartbeat {
        /// The clock of whoever sent it first, ms since the Unix epoch.
        timestamp: u64,
        /// It is sent back with the timestamp it came with, since version 2.
        echo: bool,
    },
    /// The client asks for the catalogue.
    List(Options),
    /// A part of it.
    ListReply {
        /// One set of options a title.
        entries: Vec<Options>,
        /// More LIST_REPLY follow.
        more: bool,
    },
    /// How far a broadcast is.
    Edge {
        /// How many bytes there are so far.
        edge: u64,
        /// The first byte that is still kept.
        oldest: u64,
    },
}

impl Pdu {
    /// The type of this PDU.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OpenStream(..) => Kind::OpenStream,
            Self::OpenAck(..) => Kind::OpenAck,
            Self::OpenNack(..) => Kind::OpenNack,
            Self::Chunk(_) => Kind::StreamChunk,
            Self::Pause => Kind::PauseStream,
            Self::Resume => Kind::ResumeStream,
            Self::Close(..) => Kind::CloseStream,
            Self::Heartbeat { .. } => Kind::Heartbeat,
            Self::List(_) => Kind::List,
            Self::ListReply { .. } => Kind::ListReply,
            Self::Edge { .. } => Kind::Edge,
        }
    }

    /// The whole PDU as it goes on the wire.
    ///
    /// A text over 65,535 bytes and bitrates past the 255th do not fit the wire and are cut.
    pub fn encode(&self, version: Version, session_id: u32) -> Bytes {
        let mut body = BytesMut::new();
        let mut flags = 0;
        let put_options = |options: &Options, body: &mut BytesMut| match version {
            Version::V1 => {}
            Version::V2 => options.encode(body),
        };
        match self {
            Self::OpenStream(open, options) => {
                put_text(&mut body, &open.codec);
                put_text(&mut body, &open.profile);
                let count = u8::try_from(open.bitrates.len()).unwrap_or(u8::MAX);
                body.put_u8(count);
                open.bitrates.iter().take(count.into()).for_each(|rate| body.put_u32(*rate));
                body.put_u8(open.encryption);
                body.put_u8(open.delivery);
                put_options(options, &mut body);
            }
            Self::OpenAck(ack, options) => {
                body.put_u32(ack.bitrate);
                body.put_u32(ack.max_chunk_size);
                body.put_u32(ack.keepalive);
                body.put_u32(ack.session_timeout);
                put_options(options, &mut body);
            }
            Self::OpenNack(code, options) => {
                body.put_u16(*code);
                put_options(options, &mut body);
            }
            Self::Chunk(chunk) => {
                body.put_u32(chunk.seq);
                body.put_u32(chunk.payload.len() as u32);
                chunk.payload.pieces().iter().for_each(|piece| body.put_slice(piece));
            }
            Self::Pause | Self::Resume => {}
            Self::Close(reason, options) => {
                if version != Version::V1 {
                    body.put_u16(reason.0);
                }
                put_options(options, &mut body);
            }
            Self::Heartbeat { timestamp, echo } => {
                body.put_u64(*timestamp);
                if *echo && version != Version::V1 {
                    flags |= FLAG;
                }
            }
            Self::List(options) => put_options(options, &mut body),
            Self::ListReply { entries, more } => {
                body.put_u32(entries.len() as u32);
                for entry in entries {
                    let mut options = BytesMut::new();
                    entry.encode(&mut options);
                    body.put_u16(options.len() as u16);
                    body.put(options);
                }
                if *more {
                    flags |= FLAG;
                }
            }
            Self::Edge { edge, oldest } => {
                body.put_u64(*edge);
                body.put_u64(*oldest);
            }
        }
        let kind = self.kind() as u8;
        let header = Header { kind, flags, session_id, body_length: body.len() as u32 };
        let mut out = BytesMut::with_capacity(HEADER_LEN + body.len());
        out.put_slice(&header.encode(version));
        out.put(body);
        out.freeze()
    }

    /// Reads a whole body. A chunk keeps the pieces of `body` as its payload.
    pub(super) fn decode(
        version: Version,
        kind: Kind,
        flags: u8,
        mut body: Payload,
    ) -> Result<Self, Error> {
        let malformed = |what| Error::Malformed { kind, what };
        let short = |_: TryGetError| malformed("the body ends too early");
        let flag = flags & FLAG != 0;
        // What is left in version 1 is no option, and caught below.
        let take_options = |body: &mut Payload| match version {
            Version::V1 => Ok(Options::default()),
            Version::V2 => Options::decode(body).map_err(malformed),
        };
        let pdu = match kind {
            Kind::OpenStream => {
                let codec = take_text(&mut body).map_err(malformed)?;
                let profile = take_text(&mut body).map_err(malformed)?;
                let count = body.try_get_u8().map_err(short)?;
                let bitrates = (0..count)
                    .map(|_| body.try_get_u32())
                    .collect::<Result<_, _>>()
                    .map_err(short)?;
                let encryption = body.try_get_u8().map_err(short)?;
                let delivery = body.try_get_u8().map_err(short)?;
                let open = OpenStream { codec, profile, bitrates, encryption, delivery };
                Self::OpenStream(open, take_options(&mut body)?)
            }
            Kind::OpenAck => {
                let ack = OpenAck {
                    bitrate: body.try_get_u32().map_err(short)?,
                    max_chunk_size: body.try_get_u32().map_err(short)?,
                    keepalive: body.try_get_u32().map_err(short)?,
                    session_timeout: body.try_get_u32().map_err(short)?,
                };
                Self::OpenAck(ack, take_options(&mut body)?)
            }
            Kind::OpenNack => {
                let code = body.try_get_u16().map_err(short)?;
                Self::OpenNack(code, take_options(&mut body)?)
            }
            Kind::StreamChunk => {
                let seq = body.try_get_u32().map_err(short)?;
                let length = body.try_get_u32().map_err(short)?;
                if length as usize != body.len() {
                    return Err(malformed("payload_length disagrees with body_length"));
                }
                return Ok(Self::Chunk(Chunk { seq, payload: body }));
            }
            Kind::PauseStream => Self::Pause,
            Kind::ResumeStream => Self::Resume,
            Kind::CloseStream => {
                let reason = match version {
                    Version::V1 => CloseReason::COMPLETE,
                    Version::V2 => CloseReason(body.try_get_u16().map_err(short)?),
                };
                Self::Close(reason, take_options(&mut body)?)
            }
            Kind::Heartbeat => {
                Self::Heartbeat { timestamp: body.try_get_u64().map_err(short)?, echo: flag }
            }
            Kind::List => Self::List(take_options(&mut body)?),
            Kind::ListReply => {
                let count = body.try_get_u32().map_err(short)?;
                if count > MAX_ENTRIES {
                    return Err(malformed("it has too many entries"));
                }
                let entry = |body: &mut Payload| {
                    let length = usize::from(body.try_get_u16().map_err(short)?);
                    if length > body.len() {
                        return Err(malformed("an entry is longer than the body"));
                    }
                    let mut entry = Payload::from(body.copy_to_bytes(length));
                    Options::decode(&mut entry).map_err(malformed)
                };
                let entries = (0..count).map(|_| entry(&mut body)).collect::<Result<_, _>>()?;
                Self::ListReply { entries, more: flag }
            }
            Kind::Edge => Self::Edge {
                edge: body.try_get_u64().map_err(short)?,
                oldest: body.try_get_u64().map_err(short)?,
            },
        };
        if !body.is_empty() {
            return Err(malformed("bytes are left over after the last field"));
        }
        Ok(pdu)
    }
}

impl fmt::Display for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            Self::OpenStream(open, options) => write!(
                f,
                " codec {:?}, profile {:?}, bitrates {:?}, encryption {}, delivery {}{options}",
                open.codec, open.profile, open.bitrates, open.encryption, open.delivery
            ),
            Self::OpenAck(ack, options) => write!(
                f,
                " bitrate {} bit/s, chunk size {}, keepalive {} s, timeout {} s{options}",
                ack.bitrate, ack.max_chunk_size, ack.keepalive, ack.session_timeout
            ),
            Self::OpenNack(code, options) => write!(f, " code {code}{options}"),
            Self::Chunk(chunk) => write!(f, " seq {}, {} bytes", chunk.seq, chunk.payload.len()),
            Self::Pause | Self::Resume => Ok(()),
            Self::Close(reason, options) => write!(f, " {reason}{options}"),
            Self::Heartbeat { timestamp, echo } => {
                write!(f, " timestamp {timestamp}{}", if *echo { ", echo" } else { "" })
            }
            Self::List(options) => write!(f, "{options}"),
            Self::ListReply { entries, more } => {
                write!(f, " {} titles{}", entries.len(), if *more { ", more follow" } else { "" })
            }
            Self::Edge { edge, oldest } => write!(f, " {edge}, kept from {oldest}"),
        }
    }
}

/// Writes a u16 length and the text, cut at a character boundary where it is too long.
fn put_text(out: &mut BytesMut, text: &str) {
    let fits = text.floor_char_boundary(u16::MAX.into());
    out.put_u16(fits as u16);
    out.put_slice(text.as_bytes().get(..fits).unwrap_or_default());
}

/// Reads a u16 length and as many bytes of UTF-8.
fn take_text(body: &mut Payload) -> Result<String, &'static str> {
    const SHORT: &str = "a text is longer than the body";
    let length = usize::from(body.try_get_u16().map_err(|_| SHORT)?);
    if length > body.len() {
        return Err(SHORT);
    }
    String::from_utf8(body.copy_to_bytes(length).into()).map_err(|_| "a text is not UTF-8")
}
