//! What an earlier session left, and whether a new one goes on with it.

use crate::protocol::{Digest, Options};

/// The longest validator, bytes: the limit of the wire's VALIDATOR option.
const LONGEST_VALIDATOR: usize = 64;

/// What tells media from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    /// Zero beyond its length.
    bytes: [u8; LONGEST_VALIDATOR],
    length: usize,
}

impl Validator {
    /// The validator of these bytes; `None` where there are more than one can have.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut validator = Self { bytes: [0; LONGEST_VALIDATOR], length: bytes.len() };
        validator.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(validator)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What earlier sessions of a play have come to. A server's OPEN_ACK has to go on with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The byte of the media at which the session has to start.
    pub position: u64,
    /// Whether a broadcast may start elsewhere: it was asked for where a decoder can begin.
    pub joins: bool,
    /// What tells the media from any other, once a server said.
    pub validator: Option<Validator>,
    /// Bytes of the whole media, once a server said.
    pub size: Option<u64>,
    /// BLAKE3 of the whole media, once a server said.
    pub digest: Option<Digest>,
}

impl Earlier {
    /// Whether OPEN_ACK with these options goes on with it.
    ///
    /// # Errors
    /// It starts elsewhere, or is of other media.
    pub(super) fn check(&self, granted: &Options) -> Result<(), Discontinuity> {
        let got = granted.start_offset.unwrap_or(0);
        if got != self.position && !(self.joins && granted.live) {
            return Err(Discontinuity::Start { got, want: self.position });
        }
        let same_validator = self
            .validator
            .is_none_or(|validator| granted.validator.as_deref() == Some(validator.as_bytes()));
        // A copy of the media has another validator and the same digest.
        let same_digest = self.digest.is_some() && granted.digest == self.digest;
        let same_size = self.size.is_none_or(|size| granted.total_size == Some(size));
        match same_size && (same_validator || same_digest) {
            true => Ok(()),
            false => Err(Discontinuity::Media),
        }
    }
}

/// A server's answer does not go on with what was begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Discontinuity {
    /// It starts at another byte.
    #[error("the server starts at byte {got} instead of {want}")]
    Start {
        /// Where it starts.
        got: u64,
        /// Where it was asked to.
        want: u64,
    },
    /// It is other media.
    #[error("the server has other media than before")]
    Media,
    /// It was complete before its header was.
    #[error("{missing} bytes of the header did not come")]
    Header {
        /// Bytes that were announced and did not come.
        missing: u64,
    },
    /// It was complete too early.
    #[error("{got} bytes of media came where the server announced {want}")]
    Size {
        /// Where in the media the stream ended.
        got: u64,
        /// Bytes of the whole media.
        want: u64,
    },
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn granted(start: u64, validator: &'static [u8], digest: Option<u8>, size: u64) -> Options {
        Options {
            start_offset: Some(start),
            validator: Some(Bytes::from_static(validator)),
            digest: digest.map(|byte| [byte; 32]),
            total_size: Some(size),
            ..Options::default()
        }
    }

    fn earlier(digest: Option<u8>) -> Earlier {
        let digest = digest.map(|byte| [byte; 32]);
        Earlier {
            position: 40,
            joins: false,
            validator: Validator::new(b"a"),
            size: Some(100),
            digest,
        }
    }

    #[test]
    fn only_the_next_byte_of_the_same_media_goes_on() {
        let check = |options| earlier(None).check(&options);
        assert_eq!(check(granted(40, b"a", None, 100)), Ok(()));
        let start = Discontinuity::Start { got: 0, want: 40 };
        assert_eq!(check(granted(0, b"a", None, 100)), Err(start));
        for other in [granted(40, b"b", None, 100), granted(40, b"a", None, 99)] {
            assert_eq!(check(other), Err(Discontinuity::Media));
        }
        let silent = Options { start_offset: Some(40), ..Options::default() };
        assert_eq!(check(silent), Err(Discontinuity::Media));
    }

    #[test]
    fn a_copy_of_the_media_is_told_by_its_digest() {
        let copy = |digest| granted(40, b"b", digest, 100);
        assert_eq!(earlier(Some(1)).check(&copy(Some(1))), Ok(()));
        for refused in [None, Some(2)] {
            let other = Err(Discontinuity::Media);
            assert_eq!(earlier(Some(1)).check(&copy(refused)), other);
            assert_eq!(earlier(None).check(&copy(refused)), other);
        }
        let larger = granted(40, b"b", Some(1), 101);
        assert_eq!(earlier(Some(1)).check(&larger), Err(Discontinuity::Media));
    }

    #[test]
    fn a_validator_has_64_bytes_at_most() {
        assert_eq!(Validator::new(&[7; 64]).map(|it| it.as_bytes().to_vec()), Some(vec![7; 64]));
        assert_eq!(Validator::new(&[7; 65]), None);
    }
}
