//! What can be wrong with bytes that came from a peer.

use super::Kind;

/// The peer broke the protocol. None of these can be repaired by reading on, except a malformed
/// OPEN_STREAM body, which the server answers with OPEN_NACK 99.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The version byte of a header is not that of the connection.
    #[error("protocol version {got} in a header where {want} was agreed")]
    Version {
        /// The byte that came.
        got: u8,
        /// The number of the version that ALPN selected.
        want: u8,
    },
    /// A body is longer than what its type may carry.
    #[error("a body of {length} bytes for PDU type {kind}, over the limit of {limit}")]
    BodyTooLong {
        /// The type byte of the PDU.
        kind: u8,
        /// The body_length that its header announced.
        length: u32,
        /// The most that is accepted, in bytes.
        limit: u32,
    },
    /// A body does not have the shape that its type asks for.
    #[error("malformed {}: {what}", kind.name())]
    Malformed {
        /// The PDU whose body it is.
        kind: Kind,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Chunks must count from 1, by 1.
    #[error("STREAM_CHUNK {got} arrived where {want} was due")]
    Sequence {
        /// The seq that came.
        got: u32,
        /// The seq that was due.
        want: u32,
    },
    /// A PDU belongs to another session than the one on this stream.
    #[error("a PDU of session {got} on the stream of session {want}")]
    SessionId {
        /// The session id that came.
        got: u32,
        /// The one that was assigned.
        want: u32,
    },
    /// A header is larger than HEADER_LENGTH may say.
    #[error("a header of {got} bytes, over the limit of {limit}", limit = super::MAX_HEADER)]
    HeaderTooLarge {
        /// Bytes that OPEN_ACK announced.
        got: u32,
    },
    /// A payload is larger than OPEN_ACK allowed.
    #[error("a chunk of {got} bytes where OPEN_ACK allowed {limit}")]
    ChunkTooLarge {
        /// Bytes of payload that came.
        got: u32,
        /// max_chunk_size of OPEN_ACK, in bytes.
        limit: u32,
    },
    /// A chunk of version 2 has no payload.
    #[error("STREAM_CHUNK {seq} is empty")]
    EmptyChunk {
        /// The seq that came.
        seq: u32,
    },
    /// The media goes on after the end that OPEN_ACK announced.
    #[error("a chunk of {got} bytes where {left} were left of the announced size")]
    PastTheEnd {
        /// Bytes of payload that came.
        got: u32,
        /// Bytes that were still to come.
        left: u64,
    },
}
