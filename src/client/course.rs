//! What a play has come to, and what to ask for next. It outlives the sessions: when one is lost,
//! the next goes on at the byte where it stopped.

use bytes::Bytes;

use super::link::Request;
use super::sink::Origin;
use super::{Rate, Settings, Unverified};
use crate::protocol::{Digest, Options, Version};
use crate::session::client::ScriptedPause;

/// The course of a play.
#[derive(Debug)]
pub(super) struct Course {
    title: Option<String>,
    rate: Option<u64>,
    /// Whether whole media is to be compared with its digest.
    verify: bool,
    /// What the newest session speaks.
    version: Option<Version>,
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
    pub(super) paused_by_user: bool,
    /// Whether the sink took nothing for so long that the newest session was paused.
    pub(super) paused_by_sink: bool,
    /// Whether a session was accepted under these terms.
    pub(super) accepted: bool,
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
            version: None,
            validator: None,
            start,
            position: start,
            size: None,
            digest: None,
            script: settings.script,
            paused_by_user: false,
            paused_by_sink: false,
            accepted: false,
            rested: false,
        }
    }

    /// The same play as an earlier one, of which these bytes are there.
    pub(super) fn continue_from(&mut self, origin: &Origin, bytes: u64) {
        self.title = origin.title.clone();
        self.validator = Some(origin.validator.clone().into());
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

    /// Whether a server may have to compute a digest before it can say whether it has the media
    /// that was begun.
    pub(super) fn names_digest(&self) -> bool {
        self.validator.is_some() && self.digest.is_some()
    }

    /// What to ask for the next session with.
    pub(super) fn request(&self, settings: &Settings) -> Request {
        Request {
            open: settings.open.clone(),
            options: self.options(),
            script: self.script,
            paused: self.paused_by_user,
        }
    }

    /// What to add to the next OPEN_STREAM.
    pub(super) fn options(&self) -> Options {
        Options {
            title: self.title.clone(),
            // A validator is only looked at together with an offset.
            start_offset: (self.position > 0 || self.validator.is_some()).then_some(self.position),
            validator: self.validator.clone(),
            digest: self.digest.filter(|_| self.validator.is_some()),
            rate: self.rate,
            unverified: !self.is_verified(),
            ..Options::default()
        }
    }

    /// Whether the media is compared with its digest: that is one of the whole.
    pub(super) fn is_verified(&self) -> bool {
        self.verify && self.start == 0
    }

    /// Why the media cannot be compared with its digest, now that it is complete.
    pub(super) fn unverified(&self) -> Option<Unverified> {
        match self.digest {
            _ if !self.verify => Some(Unverified::NotWanted),
            _ if self.start > 0 => Some(Unverified::Start),
            _ if self.version == Some(Version::V1) => Some(Unverified::Version1),
            None => Some(Unverified::NoDigest),
            Some(_) => None,
        }
    }

    /// Takes in what OPEN_ACK says, if it goes on with what was begun.
    pub(super) fn accept(
        &mut self,
        version: Version,
        options: &Options,
    ) -> Result<(), Discontinuity> {
        self.version = Some(version);
        if version == Version::V1 {
            self.accepted = true;
            return Ok(());
        }
        let got = options.start_offset.unwrap_or(0);
        if got != self.position {
            return Err(Discontinuity::Start { got, want: self.position });
        }
        let same_digest = self.names_digest() && options.digest == self.digest;
        let other_validator = self.validator.is_some() && self.validator != options.validator;
        let other_size = self.size.is_some_and(|size| Some(size) != options.total_size);
        // A copy of the media has another validator and the same digest.
        if other_size || (other_validator && !same_digest) {
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
        Some(Origin { server, title: self.title.clone(), validator, start: self.start })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            wait: Duration::ZERO,
            retry_for: Duration::from_secs(1),
            verify: true,
            require_digest: false,
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
        let request = course.options();
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
    fn a_copy_of_the_media_is_told_by_its_digest() {
        let with = |digest: Option<u8>, ack: Options| Options {
            digest: digest.map(|byte| [byte; 32]),
            ..ack
        };
        let begun = |digest| {
            let mut course = course();
            course.accept(Version::V2, &with(digest, ack(0, b"a", 100))).unwrap();
            course.position = 40;
            course
        };
        let mut course = begun(Some(1));
        assert_eq!(course.options().digest, Some([1; 32]));
        let other = |digest| with(digest, ack(40, b"b", 100));
        for refused in [None, Some(2)] {
            assert_eq!(course.accept(Version::V2, &other(refused)), Err(Discontinuity::Media));
        }
        assert_eq!(course.accept(Version::V2, &other(Some(1))), Ok(()));
        assert_eq!(course.options().validator.as_deref(), Some(&b"b"[..]), "it is kept");

        let mut unknown = begun(None);
        assert_eq!(unknown.options().digest, None);
        assert_eq!(unknown.accept(Version::V2, &other(Some(1))), Err(Discontinuity::Media));
    }

    #[test]
    fn a_server_need_not_compute_a_digest_that_nothing_is_compared_with() {
        let unverified = |settings: Settings, start, discards| {
            Course::new(&settings, start, discards).options().unverified
        };
        assert!(!unverified(settings(), 0, false));
        assert!(unverified(settings(), 0, true), "nothing is kept");
        assert!(unverified(settings(), 1, false), "it is that of the whole");
        assert!(unverified(Settings { verify: false, ..settings() }, 0, false));
    }
}
