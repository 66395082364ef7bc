//! Elements of a container as they come: each has a header that says how long it is.

/// Walks over elements in a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// What has come and is not used up.
    buffer: Vec<u8>,
    /// Where the buffer begins in the stream.
    offset: u64,
    /// Bytes that are to be passed over.
    skip: u64,
}

/// What is to be done with the element that the buffer begins with.
pub(super) enum Step {
    /// It cannot be said before more of it has come.
    More,
    /// So many bytes are used up, or passed over if they are still to come.
    Skip(u64),
    /// The stream is not what it seemed to be.
    Lost,
}

impl Walker {
    /// Takes the next bytes in and has `step` look at each element, with the place where it begins,
    /// until more is needed. Returns false if the stream is lost.
    pub(super) fn feed(&mut self, bytes: &[u8], mut step: impl FnMut(&[u8], u64) -> Step) -> bool {
        let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= passed as u64;
        self.offset += passed as u64;
        self.buffer.extend_from_slice(bytes.get(passed..).unwrap_or_default());
        let mut used = 0;
        loop {
            let rest = self.buffer.get(used..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match step(rest, self.offset + used as u64) {
                Step::More => break,
                Step::Lost => return false,
                Step::Skip(length) => {
                    let here = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
                    used += here;
                    self.skip = length - here as u64;
                }
            }
        }
        self.buffer.drain(..used);
        self.offset += used as u64;
        true
    }
}
