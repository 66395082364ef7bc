#![doc = include_str!("wire.md")]

mod codes;
mod decoder;
mod error;
mod header;
mod options;
mod payload;
mod pdu;
#[cfg(test)]
mod tests;

pub use codes::{CloseReason, NackCode};
pub use decoder::{Decoder, Frame, MAX_BODY, MAX_CONTROL_BODY, Role};
pub use error::Error;
pub use header::{HEADER_LEN, Header, Kind, Version};
pub use options::{Digest, MAX_RETRY_WITH, MAX_TITLE, MAX_TOKEN, Options};
pub use payload::Payload;
pub use pdu::{CHUNK_PREFIX_LEN, Chunk, MAX_ENTRIES, OpenAck, OpenStream, Pdu};

/// The largest payload of a chunk, in bytes: the most that `server.chunk_size` may be.
pub const MAX_CHUNK_SIZE: u32 = 1024 * 1024;

/// The largest header before the media of a broadcast, in bytes.
pub const MAX_HEADER: u32 = 1024 * 1024;
