//! Options: what version 2 adds to bodies, as type, length and value.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Payload;

/// The longest TITLE, in bytes.
pub const MAX_TITLE: usize = 255;
/// The longest VALIDATOR, in bytes.
const MAX_VALIDATOR: usize = 64;
/// The longest TOKEN, in bytes.
pub const MAX_TOKEN: usize = 4 * 1024;
/// The longest REASON, in bytes.
const MAX_REASON: usize = 512;
/// The number of BLAKE3-256 among the digest algorithms.
const BLAKE3: u8 = 1;

/// The option types.
mod kind {
    pub(super) const TITLE: u16 = 1;
    pub(super) const START_OFFSET: u16 = 2;
    pub(super) const VALIDATOR: u16 = 3;
    pub(super) const TOTAL_SIZE: u16 = 4;
    pub(super) const MEDIA_TYPE: u16 = 5;
    pub(super) const TOKEN: u16 = 6;
    pub(super) const RATE: u16 = 7;
    pub(super) const REASON: u16 = 8;
    pub(super) const LIVE: u16 = 9;
    pub(super) const DIGEST: u16 = 10;
    pub(super) const RETRY_AFTER: u16 = 11;
    pub(super) const BITRATE: u16 = 12;
    pub(super) const UNVERIFIED: u16 = 0x8001;
}

/// BLAKE3-256 of a whole media.
pub type Digest = [u8; 32];

/// Every option that this version knows. Which of them means something depends on the PDU; the
/// others are ignored there, as unknown ones are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Which media: a relative path with `/`.
    pub title: Option<String>,
    /// The byte of the media at which chunk 1 starts.
    pub start_offset: Option<u64>,
    /// Opaque bytes that change when the media's bytes do.
    pub validator: Option<Bytes>,
    /// Bytes of the whole media.
    pub total_size: Option<u64>,
    /// An IANA media type.
    pub media_type: Option<String>,
    /// Opaque proof that a client may ask.
    pub token: Option<Bytes>,
    /// bit/s to pace at; 0 is as fast as the transport goes.
    pub rate: Option<u64>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// The media has no end yet.
    pub live: bool,
    /// BLAKE3-256 of the whole media. Other algorithms are ignored.
    pub digest: Option<Digest>,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
    /// bit/s.
    pub bitrate: Option<u32>,
    /// The client has no use for a digest.
    pub unverified: bool,
}

impl Options {
    /// Only a REASON, cut to what fits.
    pub fn reason(text: &str) -> Self {
        let fits = text.floor_char_boundary(MAX_REASON);
        Self { reason: text.get(..fits).map(str::to_owned), ..Self::default() }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let mut put = |kind: u16, value: &[u8]| {
            out.put_u16(kind);
            out.put_u16(value.len() as u16);
            out.put_slice(value);
        };
        if let Some(title) = &self.title {
            put(kind::TITLE, title.as_bytes());
        }
        if let Some(offset) = self.start_offset {
            put(kind::START_OFFSET, &offset.to_be_bytes());
        }
        if let Some(validator) = &self.validator {
            put(kind::VALIDATOR, validator);
        }
        if let Some(size) = self.total_size {
            put(kind::TOTAL_SIZE, &size.to_be_bytes());
        }
        if let Some(media_type) = &self.media_type {
            put(kind::MEDIA_TYPE, media_type.as_bytes());
        }
        if let Some(token) = &self.token {
            put(kind::TOKEN, token);
        }
        if let Some(rate) = self.rate {
            put(kind::RATE, &rate.to_be_bytes());
        }
        if let Some(reason) = &self.reason {
            put(kind::REASON, reason.as_bytes());
        }
        if self.live {
            put(kind::LIVE, &[]);
        }
        if let Some(digest) = &self.digest {
            put(kind::DIGEST, &[&[BLAKE3], &digest[..]].concat());
        }
        if let Some(seconds) = self.retry_after {
            put(kind::RETRY_AFTER, &seconds.to_be_bytes());
        }
        if let Some(bitrate) = self.bitrate {
            put(kind::BITRATE, &bitrate.to_be_bytes());
        }
        if self.unverified {
            put(kind::UNVERIFIED, &[]);
        }
    }

    /// Reads options to the end of `body`; the error says what is wrong with them.
    pub(super) fn decode(body: &mut Payload) -> Result<Self, &'static str> {
        const SHORT: &str = "an option is longer than the body";
        let mut options = Self::default();
        let mut kinds = Vec::new();
        while !body.is_empty() {
            let kind = body.try_get_u16().map_err(|_| SHORT)?;
            let length = usize::from(body.try_get_u16().map_err(|_| SHORT)?);
            if length > body.len() {
                return Err(SHORT);
            }
            options.set(kind, body.copy_to_bytes(length))?;
            kinds.push(kind);
        }
        // Sorted once, because to look each of thousands up among the others takes too long.
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() < count {
            return Err("an option stands there twice");
        }
        Ok(options)
    }

    fn set(&mut self, kind: u16, value: Bytes) -> Result<(), &'static str> {
        match kind {
            kind::TITLE => self.title = Some(text(value, 1, MAX_TITLE)?),
            kind::START_OFFSET => self.start_offset = Some(u64::from_be_bytes(exact(&value)?)),
            kind::VALIDATOR => self.validator = Some(opaque(value, 1, MAX_VALIDATOR)?),
            kind::TOTAL_SIZE => self.total_size = Some(u64::from_be_bytes(exact(&value)?)),
            kind::MEDIA_TYPE => self.media_type = Some(text(value, 0, MAX_TITLE)?),
            kind::TOKEN => self.token = Some(opaque(value, 0, MAX_TOKEN)?),
            kind::RATE => self.rate = Some(u64::from_be_bytes(exact(&value)?)),
            kind::REASON => self.reason = Some(text(value, 0, MAX_REASON)?),
            kind::LIVE => {
                exact::<0>(&value)?;
                self.live = true;
            }
            kind::DIGEST => match value.split_first() {
                Some((&BLAKE3, digest)) => self.digest = Some(exact(digest)?),
                Some(_) => {}
                None => return Err(LENGTH),
            },
            kind::RETRY_AFTER => self.retry_after = Some(u32::from_be_bytes(exact(&value)?)),
            kind::BITRATE => self.bitrate = Some(u32::from_be_bytes(exact(&value)?)),
            // An addition: to whom it means something else, that is not an error.
            kind::UNVERIFIED => self.unverified = value.is_empty(),
            _ => {}
        }
        Ok(())
    }
}

const LENGTH: &str = "an option has a length that it cannot have";

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N], &'static str> {
    value.try_into().map_err(|_| LENGTH)
}

fn opaque(value: Bytes, least: usize, most: usize) -> Result<Bytes, &'static str> {
    if (least..=most).contains(&value.len()) { Ok(value) } else { Err(LENGTH) }
}

fn text(value: Bytes, least: usize, most: usize) -> Result<String, &'static str> {
    String::from_utf8(opaque(value, least, most)?.into()).map_err(|_| "a text is not UTF-8")
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let fields = [
            self.title.as_ref().map(|title| format!("title {title:?}")),
            self.start_offset.map(|offset| format!("start {offset}")),
            self.validator.as_ref().map(|validator| format!("validator {}", hex(validator))),
            self.total_size.map(|size| format!("size {size}")),
            self.media_type.as_ref().map(|media_type| format!("type {media_type:?}")),
            self.token.as_ref().map(|token| format!("token of {} bytes", token.len())),
            self.rate.map(|rate| format!("rate {rate} bit/s")),
            self.reason.as_ref().map(|reason| format!("reason {reason:?}")),
            self.live.then(|| "live".to_owned()),
            self.digest.as_ref().map(|digest| format!("digest {}", hex(digest))),
            self.retry_after.map(|seconds| format!("retry after {seconds} s")),
            self.bitrate.map(|bitrate| format!("bitrate {bitrate} bit/s")),
            self.unverified.then(|| "unverified".to_owned()),
        ];
        fields.into_iter().flatten().try_for_each(|field| write!(f, ", {field}"))
    }
}
