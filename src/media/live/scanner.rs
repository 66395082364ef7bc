//! Where a decoder can begin in a stream of any container.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::adts::Adts;
use super::annexb::{AnnexB, Codec};
use super::frames::Frames;
use super::mp3::Mp3;
use super::mp4::Mp4;
use super::mpegts::MpegTs;
use super::ogg::Ogg;
use super::scan::{Fault, MAX_HEADER, Scan};
use super::webm::WebM;
use crate::media::Error;

/// Finds where a decoder can begin in a stream. Its first bytes tell which container it is of; of one
/// that is not known nothing is found.
#[derive(Debug, Default)]
pub struct Scanner {
    container: Container,
}

#[derive(Debug)]
enum Container {
    /// The bytes so far do not say which it is.
    NotYet(Vec<u8>),
    Known(Box<dyn Scan>),
    /// One offset is as good as another.
    Other,
}

impl Default for Container {
    fn default() -> Self {
        Self::NotYet(Vec::new())
    }
}

/// Whether a stream that begins like this is of some container, where that can be said.
type Recognises = fn(&[u8]) -> Option<bool>;

/// Makes a scanner of a container.
type MakeScanner = fn() -> Box<dyn Scan>;

/// The containers. Of two that recognise a stream, it is the first.
const CONTAINERS: [(Recognises, MakeScanner); 8] = [
    (Mp4::recognises, || Box::<Mp4>::default()),
    (WebM::recognises, || Box::<WebM>::default()),
    (Ogg::recognises, || Box::<Ogg>::default()),
    (MpegTs::recognises, || Box::<MpegTs>::default()),
    (Frames::<Adts>::recognises, || Box::<Frames<Adts>>::default()),
    (Frames::<Mp3>::recognises, || Box::<Frames<Mp3>>::default()),
    (|first| Codec::H264.recognises(first), || Box::new(AnnexB::new(Codec::H264))),
    (|first| Codec::H265.recognises(first), || Box::new(AnnexB::new(Codec::H265))),
];

impl Container {
    /// The container that begins like this; [`Container::NotYet`] without a byte where that cannot be
    /// said.
    fn of(first: &[u8]) -> Self {
        // No more of it is looked at, however it comes.
        let (looked_at, is_enough) = match first.get(..MAX_HEADER) {
            Some(begin) => (begin, true),
            None => (first, false),
        };
        for (recognises, scanner) in CONTAINERS {
            match recognises(looked_at) {
                Some(true) => return Self::Known(scanner()),
                None if !is_enough => return Self::default(),
                Some(false) | None => {}
            }
        }
        Self::Other
    }
}

impl Scanner {
    /// Takes the next bytes in. Calls `join` with each offset where a decoder can begin, in order, and
    /// with what that decoder needs first: nothing, if that is empty.
    ///
    /// # Errors
    /// [`Error::NotFragmented`]: a decoder can begin nowhere but at the first byte.
    pub fn feed(&mut self, bytes: &[u8], mut join: impl FnMut(u64, &Bytes)) -> Result<(), Error> {
        let Container::NotYet(first) = &mut self.container else {
            return self.scan(bytes, &mut join);
        };
        first.extend_from_slice(bytes);
        let first = std::mem::take(first);
        self.container = Container::of(&first);
        if let Container::NotYet(none) = &mut self.container {
            *none = first;
            return Ok(());
        }
        self.scan(&first, &mut join)
    }

    /// Whether a decoder can begin at one offset as well as at any other, for all that is known.
    pub(super) fn is_blind(&self) -> bool {
        matches!(self.container, Container::Other)
    }

    fn scan(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64, &Bytes)) -> Result<(), Error> {
        let Container::Known(scanner) = &mut self.container else { return Ok(()) };
        match scanner.feed(bytes, join) {
            Ok(()) => Ok(()),
            Err(Fault::Lost) => {
                self.container = Container::Other;
                Ok(())
            }
            Err(Fault::NotFragmented) => Err(Error::NotFragmented),
        }
    }
}
