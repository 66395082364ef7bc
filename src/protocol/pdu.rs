//! The PDUs and their bodies.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use super::{Error, HEADER_LEN, Header, Kind, Payload, Version};

/// Bytes of a STREAM_CHUNK body before the payload: seq and payload_length.
pub const CHUNK_PREFIX_LEN: usize = 8;

/// Why a server refused an OPEN_STREAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u16)]
pub enum NackCode {
    /// The codec is not one that the server offers.
    #[error("unsupported codec")]
    UnsupportedCodec = 1,
    /// A second layer of encryption was asked for.
    #[error("unsupported encryption")]
    UnsupportedEncryption = 2,
    /// Multicast delivery was asked for.
    #[error("multicast unsupported")]
    MulticastUnsupported = 3,
    /// Malformed body, or an OPEN_STREAM out of order.
    #[error("protocol violation")]
    ProtocolViolation = 99,
}

impl NackCode {
    const ALL: [Self; 4] = [
        Self::UnsupportedCodec,
        Self::UnsupportedEncryption,
        Self::MulticastUnsupported,
        Self::ProtocolViolation,
    ];

    /// The cause that a code from the wire stands for, if it is known.
    pub fn from_wire(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u16 == code)
    }
}

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

/// One PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    /// The client asks for a session.
    OpenStream(OpenStream),
    /// The server grants it.
    OpenAck(OpenAck),
    /// The server refuses it, with a code (see [`NackCode`]).
    OpenNack(u16),
    /// Media.
    Chunk(Chunk),
    /// The client asks the server to stop making chunks.
    Pause,
    /// The client asks it to go on.
    Resume,
    /// The session is over.
    Close,
    /// A sign of life, with the sender's clock in ms since the Unix epoch.
    Heartbeat(u64),
}

impl Pdu {
    /// The type of this PDU.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OpenStream(_) => Kind::OpenStream,
            Self::OpenAck(_) => Kind::OpenAck,
            Self::OpenNack(_) => Kind::OpenNack,
            Self::Chunk(_) => Kind::StreamChunk,
            Self::Pause => Kind::PauseStream,
            Self::Resume => Kind::ResumeStream,
            Self::Close => Kind::CloseStream,
            Self::Heartbeat(_) => Kind::Heartbeat,
        }
    }

    /// The whole PDU as it goes on the wire.
    ///
    /// A text over 65,535 bytes and bitrates past the 255th do not fit the wire and are cut.
    pub fn encode(&self, version: Version, session_id: u32) -> Bytes {
        let mut body = BytesMut::new();
        match self {
            Self::OpenStream(open) => {
                put_text(&mut body, &open.codec);
                put_text(&mut body, &open.profile);
                let count = u8::try_from(open.bitrates.len()).unwrap_or(u8::MAX);
                body.put_u8(count);
                open.bitrates.iter().take(count.into()).for_each(|rate| body.put_u32(*rate));
                body.put_u8(open.encryption);
                body.put_u8(open.delivery);
            }
            Self::OpenAck(ack) => {
                body.put_u32(ack.bitrate);
                body.put_u32(ack.max_chunk_size);
                body.put_u32(ack.keepalive);
                body.put_u32(ack.session_timeout);
            }
            Self::OpenNack(code) => body.put_u16(*code),
            Self::Chunk(chunk) => {
                body.put_u32(chunk.seq);
                body.put_u32(chunk.payload.len() as u32);
                chunk.payload.pieces().iter().for_each(|piece| body.put_slice(piece));
            }
            Self::Pause | Self::Resume | Self::Close => {}
            Self::Heartbeat(timestamp) => body.put_u64(*timestamp),
        }
        let header = Header { kind: self.kind() as u8, session_id, body_length: body.len() as u32 };
        let mut out = BytesMut::with_capacity(HEADER_LEN + body.len());
        out.put_slice(&header.encode(version));
        out.put(body);
        out.freeze()
    }

    /// Reads a whole body. A chunk keeps the pieces of `body` as its payload.
    pub(super) fn decode(kind: Kind, mut body: Payload) -> Result<Self, Error> {
        let malformed = |what| Error::Malformed { kind, what };
        let short = |_: TryGetError| malformed("the body ends too early");
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
                Self::OpenStream(OpenStream { codec, profile, bitrates, encryption, delivery })
            }
            Kind::OpenAck => Self::OpenAck(OpenAck {
                bitrate: body.try_get_u32().map_err(short)?,
                max_chunk_size: body.try_get_u32().map_err(short)?,
                keepalive: body.try_get_u32().map_err(short)?,
                session_timeout: body.try_get_u32().map_err(short)?,
            }),
            Kind::OpenNack => Self::OpenNack(body.try_get_u16().map_err(short)?),
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
            Kind::CloseStream => Self::Close,
            Kind::Heartbeat => Self::Heartbeat(body.try_get_u64().map_err(short)?),
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
            Self::OpenStream(open) => write!(
                f,
                " codec {:?}, profile {:?}, bitrates {:?}, encryption {}, delivery {}",
                open.codec, open.profile, open.bitrates, open.encryption, open.delivery
            ),
            Self::OpenAck(ack) => write!(
                f,
                " bitrate {} bit/s, chunk size {}, keepalive {} s, timeout {} s",
                ack.bitrate, ack.max_chunk_size, ack.keepalive, ack.session_timeout
            ),
            Self::OpenNack(code) => write!(f, " code {code}"),
            Self::Chunk(chunk) => write!(f, " seq {}, {} bytes", chunk.seq, chunk.payload.len()),
            Self::Pause | Self::Resume | Self::Close => Ok(()),
            Self::Heartbeat(timestamp) => write!(f, " timestamp {timestamp}"),
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
