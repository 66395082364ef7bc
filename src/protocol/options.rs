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
/// The longest RETRY_WITH, in bytes.
pub const MAX_RETRY_WITH: usize = 1024;
/// The number of BLAKE3-256 among the digest algorithms.
const BLAKE3: u8 = 1;

/// BLAKE3-256 of a whole media.
pub type Digest = [u8; 32];

/// Makes [`Options`] of one line per option: its field, its type on the wire, the lengths that its
/// value may have there, and its words in the log.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $kind:literal, $length:expr, $words:expr;)*) => {
        /// Every option that this version knows. Which of them means something depends on the PDU;
        /// the others are ignored there, as unknown ones are.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Options {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Options {
            pub(super) fn encode(&self, out: &mut BytesMut) {
                $(if let Some(value) = self.$name.to_wire() {
                    out.put_u16($kind);
                    out.put_u16(value.len() as u16);
                    out.put_slice(&value);
                })*
            }

            fn set(&mut self, kind: u16, value: Bytes) -> Result<(), &'static str> {
                match kind {
                    $($kind if !$length.contains(&value.len()) => Err(LENGTH),
                    $kind => self.$name.set(value),)*
                    _ => Ok(()),
                }
            }
        }

        impl fmt::Display for Options {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(if let Some(value) = self.$name.value() {
                    write!(f, ", {}", words(value, $words))?;
                })*
                Ok(())
            }
        }
    };
}

options! {
    /// Which media: a relative path with `/`.
    title: Option<String> = 1, (1..=MAX_TITLE), |title| format!("title {title:?}");
    /// The byte of the media at which chunk 1 starts.
    start_offset: Option<u64> = 2, (8..=8), |offset| format!("start {offset}");
    /// Opaque bytes that change when the media's bytes do.
    validator: Option<Bytes> = 3, (1..=MAX_VALIDATOR), |validator| {
        format!("validator {}", hex(validator))
    };
    /// Bytes of the whole media.
    total_size: Option<u64> = 4, (8..=8), |size| format!("size {size}");
    /// An IANA media type.
    media_type: Option<String> = 5, (0..=MAX_TITLE), |name| format!("type {name:?}");
    /// Opaque proof that a client may ask.
    token: Option<Bytes> = 6, (0..=MAX_TOKEN), |token| format!("token of {} bytes", token.len());
    /// bit/s to pace at; 0 is as fast as the transport goes.
    rate: Option<u64> = 7, (8..=8), |rate| format!("rate {rate} bit/s");
    /// Why, for a person.
    reason: Option<String> = 8, (0..=MAX_REASON), |reason| format!("reason {reason:?}");
    /// The media has no end yet.
    live: bool = 9, (0..=0), |()| "live".to_owned();
    /// BLAKE3-256 of the whole media. Other algorithms are ignored.
    digest: Option<Digest> = 10, (1..), |digest| format!("digest {}", hex(digest));
    /// Seconds after which to try again.
    retry_after: Option<u32> = 11, (4..=4), |seconds| format!("retry after {seconds} s");
    /// bit/s.
    bitrate: Option<u32> = 12, (4..=4), |bitrate| format!("bitrate {bitrate} bit/s");
    /// The byte of the media after the last one that is wanted.
    end_offset: Option<u64> = 13, (8..=8), |offset| format!("end {offset}");
    /// Bytes of a header, before the first of the media, that count in no offset.
    header_length: Option<u32> = 14, (4..=4), |bytes| format!("header of {bytes} bytes");
    /// The first byte of a broadcast that is still kept.
    oldest: Option<u64> = 15, (8..=8), |offset| format!("kept from {offset}");
    /// How many bytes of a broadcast there are so far.
    edge: Option<u64> = 16, (8..=8), |offset| format!("edge {offset}");
    /// Of a broadcast: so many milliseconds ago, or earlier, where a decoder can begin.
    start_ago: Option<u32> = 17, (4..=4), |millis| format!("start {millis} ms ago");
    /// Other servers that have the same titles: HOST:PORT, separated by commas.
    retry_with: Option<String> = 18, (1..=MAX_RETRY_WITH), |others| format!("or {others:?}");
    /// When the media was last changed, milliseconds since the Unix epoch.
    modified: Option<u64> = 19, (8..=8), |millis| format!("modified {millis} ms after 1970");
    /// The client has no use for a digest. An addition: with a value it means something else to
    /// somebody, which is no error.
    unverified: bool = 0x8001, (0..), |()| "unverified".to_owned();
}

impl Options {
    /// Whether OPEN_STREAM goes on with something of which a part has come.
    pub fn goes_on(&self) -> bool {
        self.validator.is_some() && self.start_offset.is_some()
    }

    /// Only a REASON, cut to what fits.
    pub fn reason(text: &str) -> Self {
        let fits = text.floor_char_boundary(MAX_REASON);
        Self { reason: text.get(..fits).map(str::to_owned), ..Self::default() }
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
}

const LENGTH: &str = "an option has a length that it cannot have";

/// A field of [`Options`], as it stands on the wire.
trait Field {
    type Value;

    /// Returns the value, if there is the option.
    fn value(&self) -> Option<&Self::Value>;

    /// Returns the value's bytes, if there is the option.
    fn to_wire(&self) -> Option<Bytes>;

    /// Takes a value of a length that was checked.
    fn set(&mut self, value: Bytes) -> Result<(), &'static str>;
}

macro_rules! fields {
    ($($value:ty, |$field:ident| $to_wire:expr, |$bytes:ident| $from_wire:expr;)*) => {
        $(impl Field for Option<$value> {
            type Value = $value;

            fn value(&self) -> Option<&$value> {
                self.as_ref()
            }

            fn to_wire(&self) -> Option<Bytes> {
                self.as_ref().map(|$field| $to_wire)
            }

            fn set(&mut self, $bytes: Bytes) -> Result<(), &'static str> {
                *self = $from_wire;
                Ok(())
            }
        })*
    };
}

fields! {
    u32, |number| Bytes::copy_from_slice(&number.to_be_bytes()),
        |bytes| Some(u32::from_be_bytes(exact(&bytes)?));
    u64, |number| Bytes::copy_from_slice(&number.to_be_bytes()),
        |bytes| Some(u64::from_be_bytes(exact(&bytes)?));
    Bytes, |bytes| bytes.clone(), |bytes| Some(bytes);
    String, |text| Bytes::copy_from_slice(text.as_bytes()),
        |bytes| Some(String::from_utf8(bytes.into()).map_err(|_| "a text is not UTF-8")?);
    Digest, |digest| [&[BLAKE3], &digest[..]].concat().into(), |bytes| match bytes.split_first() {
        Some((&BLAKE3, digest)) => Some(exact(digest)?),
        _ => None,
    };
}

impl Field for bool {
    type Value = ();

    fn value(&self) -> Option<&()> {
        self.then_some(&())
    }

    fn to_wire(&self) -> Option<Bytes> {
        self.then(Bytes::new)
    }

    fn set(&mut self, value: Bytes) -> Result<(), &'static str> {
        *self = value.is_empty();
        Ok(())
    }
}

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N], &'static str> {
    value.try_into().map_err(|_| LENGTH)
}

fn words<T>(value: &T, words: impl Fn(&T) -> String) -> String {
    words(value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
