//! What a session reads, whatever stands behind it.

use std::any::Any;
use std::fmt::Debug;
use std::future::ready;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::Error;
use crate::protocol::Digest;

/// A future of a source, which may be kept and sent to another thread.
pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a read comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// At least one byte.
    Bytes(Bytes),
    /// The media ends here.
    End,
    /// What was asked for is not kept any more.
    NotKept,
}

/// The bytes behind a title. They do not change, or reading them fails. There may be more of them
/// later where the source is live.
pub(super) trait Source: Any + Debug + Send + Sync {
    /// Returns 1 to 64 bytes that other media does not have.
    fn validator(&self) -> Bytes;

    /// Returns true if `validator` was given out for these bytes.
    fn goes_by(&self, validator: &[u8]) -> bool {
        validator == self.validator()
    }

    /// Bytes in all; `None` while there may be more.
    fn len(&self) -> Option<u64>;

    /// When it was last changed, milliseconds since the Unix epoch, if that is known.
    fn modified(&self) -> Option<u64> {
        None
    }

    /// The first byte that is kept and how many there are so far, while there may be more.
    fn kept(&self) -> Option<Range<u64>> {
        None
    }

    /// Where a decoder can begin, so long ago or earlier, as far as that is kept.
    fn join(&self, _: Duration) -> u64 {
        0
    }

    /// What a decoder needs that begins at this byte.
    fn header_at(&self, _: u64) -> Option<Bytes> {
        None
    }

    /// How long a session's next chunk waits after its last one, if what is there does not fill one.
    fn hold(&self) -> Duration {
        Duration::ZERO
    }

    /// Reads 1 to `max` bytes at `offset` without waiting for anything; `None` if that cannot be.
    fn read_now(&self, offset: u64, max: usize) -> Result<Option<Read>, Error>;

    /// Reads 1 to `max` bytes at `offset` and waits until they can be had. The `ahead` bytes after
    /// them are likely to be read next.
    fn read(
        self: Arc<Self>,
        offset: u64,
        max: usize,
        ahead: u64,
    ) -> Pending<'static, Result<Read, Error>>;

    /// The digest of all bytes, if it is known now.
    fn digest(&self) -> Option<Digest> {
        None
    }

    /// Has the digest computed while the source is in use.
    fn request_digest(&self) {}

    /// Waits for the digest, which must have been requested; `None` if there will be none.
    fn digested(&self) -> Pending<'_, Option<Digest>> {
        Box::pin(ready(self.digest()))
    }

    /// Returns the digest, or `None` if there is none. Else has it computed even if the source is
    /// not in use meanwhile, for as long as somebody asks again within a few seconds.
    fn resolve_digest(&self) -> Poll<Option<Digest>> {
        Poll::Ready(self.digest())
    }
}
