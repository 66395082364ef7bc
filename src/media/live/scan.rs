//! What the scanners of all containers are made of.

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::protocol;

/// The most bytes of a header: what the wire's HEADER_LENGTH allows.
pub(super) const MAX_HEADER: usize = protocol::MAX_HEADER as usize;

/// Finds where a decoder can begin in a stream of one container.
pub(super) trait Scan: std::fmt::Debug + Send {
    /// Takes the next bytes in, from the first byte of the stream on. Calls `join` with each offset
    /// where a decoder can begin, in order, and with what that decoder needs first.
    ///
    /// # Errors
    /// A decoder can begin nowhere from here on.
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Fault>;
}

/// Why a decoder can begin nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The stream is not what its first bytes said, or its header is larger than [`MAX_HEADER`].
    Lost,
    /// It is an MP4 that only those can decode who have its first byte.
    NotFragmented,
}

/// What comes of looking at the bytes of a stream from one offset on.
pub(super) enum Step {
    /// Nothing can be said before there are so many bytes.
    Need(usize),
    /// So many bytes are done with: at least one, at most as many as there are.
    Used(usize),
}

/// Walks over a stream that comes in pieces. Only what a step needs to see as a whole and came in
/// two pieces is copied.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// The end of the last piece, of which too little is there.
    kept: Vec<u8>,
    /// How many bytes are needed.
    needed: usize,
    /// The offset of the next byte that is not done with.
    offset: u64,
}

impl Walker {
    /// Takes the next bytes in, and has `step` look at all from the first on that is not done with,
    /// until it needs more. It is told their offset.
    ///
    /// # Errors
    /// Those of `step`.
    pub(super) fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        mut step: impl FnMut(&[u8], u64) -> Result<Step, E>,
    ) -> Result<(), E> {
        // How many of `bytes` are behind what was kept.
        let mut copied = 0;
        while !self.kept.is_empty() {
            let missing = self.needed.saturating_sub(self.kept.len());
            let more = bytes.get(copied..).unwrap_or_default();
            let (more, _) = more.split_at_checked(missing).unwrap_or((more, &[]));
            self.kept.extend_from_slice(more);
            copied += more.len();
            if more.len() < missing {
                return Ok(());
            }
            match step(&self.kept, self.offset)? {
                Step::Need(needed) => self.needed = needed.max(self.kept.len() + 1),
                Step::Used(used) => {
                    self.offset += used as u64;
                    self.needed = 0;
                    let earlier = self.kept.len() - copied;
                    match used.checked_sub(earlier) {
                        Some(used) => {
                            self.kept.clear();
                            bytes = bytes.get(used..).unwrap_or_default();
                        }
                        None => drop(self.kept.drain(..used)),
                    }
                }
            }
        }
        while !bytes.is_empty() {
            match step(bytes, self.offset)? {
                Step::Need(needed) => {
                    self.needed = needed.max(bytes.len() + 1);
                    self.kept.extend_from_slice(bytes);
                    return Ok(());
                }
                Step::Used(used) => {
                    self.offset += used as u64;
                    bytes = bytes.get(used..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

/// Passes over what an element contains, of which `left` bytes are left, up to the next place where
/// the pattern of `finder` comes `before` bytes further on. Returns `None` where that is here: the
/// writer of the element may have gone in the middle of it, and another begin a new stream.
pub(super) fn pass(rest: &[u8], left: u64, finder: &Finder<'_>, before: usize) -> Option<Step> {
    let length = finder.needle().len();
    let all = before + length;
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    // What begins behind the element is no affair of it.
    let end = rest.len().min(left.saturating_add(all - 1));
    let Some(searched) = rest.get(before..end).filter(|searched| searched.len() >= length) else {
        return Some(Step::Need(all));
    };
    match finder.find(searched) {
        Some(0) => None,
        Some(at) => Some(Step::Used(at)),
        None => Some(Step::Used(end - (all - 1))),
    }
}
