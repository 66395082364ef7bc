//! What the scanners of all containers are made of.

use bytes::Bytes;

/// The most bytes of a header: what the wire's HEADER_LENGTH allows.
pub(super) const MAX_HEADER: u64 = 1024 * 1024;

/// Finds where a decoder can begin.
pub(super) trait Scan: std::fmt::Debug + Send {
    /// Takes the next bytes in, and tells where a decoder can begin. Returns false where the stream
    /// is not what its first bytes said.
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64)) -> bool;

    /// What it needs first.
    fn header(&self) -> Option<Bytes>;
}
