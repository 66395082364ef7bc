//! What a play has come to, and what to ask for next. It outlives the sessions: when one is lost,
//! the next goes on at the byte where it stopped.

use std::time::Duration;

use bytes::Bytes;

use super::sink::Origin;
use super::{Rate, Settings};
use crate::protocol::{Digest, Options, Version};
use crate::session::client::ScriptedPause;

/// The course of a play.
#[derive(Debug)]
pub(super) struct Course {
    title: Option<String>,
    rate: Option<u64>,
    /// Whether whole media is to be compared with its digest.
    verify: bool,
    /// What tells the media from any other, once the server said.
    validator: Option<Bytes>,
    /// Where in the media the play started.
    pub(super) start: u64,
    /// Where in the media the next byte belongs.
    pub(super) position: u64,
    pub(super) size: Option<u64>,
    pub(super) digest: Option<Digest>,
    /// The pause that is still to be made.
    pub(super) script: Option<ScriptedPause>,
    /// Whether the user wants silence.
    pub(super) paused: bool,
    /// Whether a session was accepted under these terms.
    accepted: bool,
    /// Whether the newest session was paused: then it is no fault that no bytes came.
    pub(super) rested: bool,
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
    /// It was complete too early or too late.
    #[error("{got} bytes of media came where the server announced {want}")]
    Size {
        /// Where in the media the stream ended.
        got: u64,
        /// Bytes of the whole media.
        want: u64,
    },
}

impl Course {
    /// A play from `start` on; `discards` says that nobody keeps or watches the media.
    pub(super) fn new(settings: &Settings, start: u64, discards: bool) -> Self {
        let rate = match settings.rate {
            // A player's pipe paces by itself, and a file wants to be whole.
            Rate::Auto if discards => None,
            Rate::Bitrate => None,
            Rate::Auto | Rate::Max => Some(0),
            Rate::BitsPerSecond(rate) => Some(rate),
        };
        Self {
            title: settings.title.clone(),
            rate,
            verify: settings.verify && !discards,
            validator: None,
            start,
            position: start,
            size: None,
            digest: None,
            script: settings.script,
            paused: false,
            accepted: false,
            rested: false,
        }
    }

    /// The same play as an earlier one, of which these bytes are there.
    pub(super) fn continue_from(&mut self, origin: &Origin, bytes: u64) {
        self.title = origin.title.clone();
        if bytes > 0 {
            self.validator = Some(origin.validator.clone().into());
            self.digest = origin.digest;
        }
        self.start = origin.start;
        self.position = self.start.saturating_add(bytes);
    }

    /// Whether a lost session can be gone on with.
    pub(super) fn is_resumable(&self) -> bool {
        self.accepted && self.validator.is_some()
    }

    /// Whether it is known what to play; else the server has to have only one title.
    pub(super) fn has_title(&self) -> bool {
        self.title.is_some()
    }

    /// What to add to the next OPEN_STREAM.
    pub(super) fn request(&self) -> Options {
        Options {
            title: self.title.clone(),
            // A validator is only looked at together with an offset.
            start_offset: (self.position > 0 || self.validator.is_some()).then_some(self.position),
            validator: self.validator.clone(),
            rate: self.rate,
            unverified: !self.is_verified(),
            ..Options::default()
        }
    }

    /// Whether the media is compared with its digest: that is one of the whole.
    pub(super) fn is_verified(&self) -> bool {
        self.verify && self.start == 0
    }

    /// Takes in what OPEN_ACK says, if it goes on with what was begun.
    pub(super) fn accept(
        &mut self,
        version: Version,
        options: &Options,
    ) -> Result<(), Discontinuity> {
        if version == Version::V1 {
            return Ok(());
        }
        let got = options.start_offset.unwrap_or(0);
        if got != self.position {
            return Err(Discontinuity::Start { got, want: self.position });
        }
        let other = |known: &Option<Bytes>| known.is_some() && *known != options.validator;
        if other(&self.validator) || self.size.is_some_and(|size| Some(size) != options.total_size)
        {
            return Err(Discontinuity::Media);
        }
        self.validator = options.validator.clone();
        self.size = options.total_size;
        self.digest = options.digest.or(self.digest);
        // The server's only title has a name from now on.
        self.title = self.title.take().or_else(|| options.title.clone());
        self.accepted = true;
        Ok(())
    }

    /// Whether the media is whole, now that the server says so.
    pub(super) fn complete(&self) -> Result<(), Discontinuity> {
        match self.size {
            Some(want) if want != self.position => {
                Err(Discontinuity::Size { got: self.position, want })
            }
            _ => Ok(()),
        }
    }

    /// What to keep beside an unfinished file.
    pub(super) fn origin(&self, server: String) -> Option<Origin> {
        let validator = self.validator.as_ref()?.to_vec();
        let (title, start, digest) = (self.title.clone(), self.start, self.digest);
        Some(Origin { server, title, validator, start, digest })
    }
}

/// How long to wait before a lost connection is tried again.
#[derive(Debug)]
pub(super) struct Backoff {
    /// Tries since the last progress.
    pub(super) attempt: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Self {
        Self { attempt: 0 }
    }

    /// The delay before the next try: twice that of the one before, and up to half as much again
    /// at random, so that the clients of a server that comes back do not all come at once.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.attempt.min(8));
        self.attempt += 1;
        doubled.mul_f64(rand::random_range(1.0..1.5)).min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Start;
    use crate::protocol::OpenStream;

    fn settings() -> Settings {
        Settings {
            open: OpenStream::default(),
            script: None,
            connect_timeout: Duration::from_secs(1),
            versions: Version::ALL.to_vec(),
            title: None,
            start: Start::Byte(0),
            rate: Rate::Auto,
            retry_for: Duration::from_secs(1),
            verify: true,
        }
    }

    fn course() -> Course {
        Course::new(&settings(), 0, false)
    }

    fn ack(start: u64, validator: &'static [u8], size: u64) -> Options {
        Options {
            title: Some("clip".into()),
            start_offset: Some(start),
            validator: Some(Bytes::from_static(validator)),
            total_size: Some(size),
            ..Options::default()
        }
    }

    #[test]
    fn the_next_session_goes_on_at_the_next_byte_of_the_same_media() {
        let mut course = course();
        course.accept(Version::V2, &ack(0, b"a", 100)).unwrap();
        course.position = 40;
        let request = course.request();
        assert_eq!(request.start_offset, Some(40));
        assert_eq!(request.validator.as_deref(), Some(&b"a"[..]));
        assert_eq!(request.title.as_deref(), Some("clip"));
        assert_eq!(course.accept(Version::V2, &ack(40, b"a", 100)), Ok(()));
    }

    #[test]
    fn nothing_else_is_mixed_in() {
        let mut course = course();
        course.accept(Version::V2, &ack(0, b"a", 100)).unwrap();
        course.position = 40;
        let start = Discontinuity::Start { got: 0, want: 40 };
        assert_eq!(course.accept(Version::V2, &ack(0, b"a", 100)), Err(start));
        assert_eq!(course.accept(Version::V2, &ack(40, b"b", 100)), Err(Discontinuity::Media));
        assert_eq!(course.accept(Version::V2, &ack(40, b"a", 99)), Err(Discontinuity::Media));
        let size = Discontinuity::Size { got: 40, want: 100 };
        assert_eq!(course.complete(), Err(size));
    }

    #[test]
    fn a_server_need_not_compute_a_digest_that_nothing_is_compared_with() {
        let unverified = |settings: Settings, start, discards| {
            Course::new(&settings, start, discards).request().unverified
        };
        assert!(!unverified(settings(), 0, false));
        assert!(unverified(settings(), 0, true), "nothing is kept");
        assert!(unverified(settings(), 1, false), "it is that of the whole");
        assert!(unverified(Settings { verify: false, ..settings() }, 0, false));
    }

    #[test]
    fn delays_grow_to_ten_seconds_and_are_never_the_same_for_all() {
        let mut backoff = Backoff::new();
        for base in [250, 500, 1_000, 2_000, 4_000, 8_000] {
            let delay = backoff.next();
            let base = Duration::from_millis(base);
            assert!((base..=base * 3 / 2).contains(&delay), "{delay:?} after {base:?}");
        }
        assert_eq!((0..100).map(|_| backoff.next()).max(), Some(Backoff::LONGEST));
    }
}
