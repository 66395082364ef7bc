//! What a play has come to, and what to ask for next. It outlives the sessions: when one is lost,
//! the next goes on at the byte where it stopped.

use bytes::Bytes;

use crate::client::link::Request;
use crate::client::sink::Origin;
use crate::client::{PlaySettings, Rate, Secret, Start, Unverified};
use crate::protocol::{Digest, Options, Version};
use crate::session::client::{Earlier, ScriptedPause, Validator};

/// What earlier sessions of a play left for the next one.
#[derive(Debug)]
pub(in crate::client) struct ResumeState {
    title: Option<String>,
    token: Option<Bytes>,
    rate: Option<u64>,
    /// Whether whole media is to be compared with its digest.
    verify: bool,
    /// What the newest session speaks.
    version: Option<Version>,
    /// What tells the media from any other, once the server said.
    validator: Option<Bytes>,
    /// Where in the media the play started.
    pub(in crate::client) start: u64,
    /// The byte after the last one that is wanted, where that is not the end of the media.
    end: Option<u64>,
    /// Where in the media the next byte belongs.
    pub(in crate::client) position: u64,
    /// Bytes of a header that are still to come before the media.
    pub(in crate::client) header_left: u64,
    /// Bytes of the header that came before the first byte of the media.
    header: u64,
    /// Whether the server chose where in a broadcast the play started.
    pub(in crate::client) joined: bool,
    /// Bytes that came of broadcasts that were left.
    came: u64,
    /// Of a broadcast: to begin where a decoder can, so many milliseconds ago or earlier.
    start_ago: Option<u32>,
    /// Whether what came is not in one piece: of several broadcasts, or with a part missing.
    is_patchwork: bool,
    /// What tells the broadcast that was left, and where.
    left_off: Option<(Option<Bytes>, u64)>,
    /// Whether it is a broadcast.
    pub(in crate::client) live: bool,
    pub(in crate::client) size: Option<u64>,
    pub(in crate::client) digest: Option<Digest>,
    /// The pause that is still to be made.
    pub(in crate::client) script: Option<ScriptedPause>,
    /// Whether the user wants silence.
    pub(in crate::client) paused_by_user: bool,
    /// Whether the sink took nothing for so long that the newest session was paused.
    pub(in crate::client) paused_by_sink: bool,
    /// Whether a session was accepted under these terms.
    pub(in crate::client) accepted: bool,
    /// Whether the newest session was paused, or at the edge of a broadcast: then it is no fault that
    /// no bytes came.
    pub(in crate::client) was_quiet: bool,
}

/// What is missing of a broadcast that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Missing {
    /// So many bytes: it went on.
    Bytes(u64),
    /// What was left of it: it is another now.
    Rest,
}

impl ResumeState {
    /// A play from `start` on; `discards` says that nobody keeps or watches the media.
    pub(in crate::client) fn new(settings: &PlaySettings, start: u64, discards: bool) -> Self {
        let rate = match settings.rate {
            // A player's pipe paces by itself, and a file wants to be whole.
            Rate::Auto if discards => None,
            Rate::Bitrate => None,
            Rate::Auto | Rate::Max => Some(0),
            Rate::BitsPerSecond(rate) => Some(rate),
        };
        Self {
            title: settings.title.clone(),
            token: settings.token.as_ref().map(Secret::to_wire),
            rate,
            verify: settings.verify && !discards,
            version: None,
            validator: settings.validator.clone(),
            start,
            end: settings.end,
            position: start,
            header_left: 0,
            header: 0,
            joined: false,
            came: 0,
            start_ago: match settings.start {
                Start::Usual => Some(0),
                Start::Ago(ago) => Some(u32::try_from(ago.as_millis()).unwrap_or(u32::MAX)),
                Start::Byte(_) | Start::Fraction(_) => None,
            },
            is_patchwork: false,
            left_off: None,
            live: false,
            size: None,
            digest: None,
            script: settings.script,
            paused_by_user: false,
            paused_by_sink: false,
            accepted: false,
            was_quiet: false,
        }
    }

    /// The same play as an earlier one, of which these bytes are there.
    pub(in crate::client) fn continue_from(&mut self, origin: &Origin, bytes: u64) {
        self.title = origin.title.clone();
        if bytes > 0 {
            self.validator = Some(origin.validator.clone().into());
            self.digest = origin.digest;
        } else if origin.joined {
            // A broadcast that is on now is joined where it is now.
            return;
        }
        (self.start, self.header, self.joined) = (origin.start, origin.header, origin.joined);
        self.position = self.start.saturating_add(bytes.saturating_sub(origin.header));
    }

    /// Whether a lost session can be gone on with.
    pub(in crate::client) fn is_resumable(&self) -> bool {
        self.accepted && self.validator.is_some()
    }

    /// Whether all that was asked for is there.
    pub(in crate::client) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    /// How many bytes are wanted yet, where that is not for the server to say.
    pub(in crate::client) fn left(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.position))
    }

    /// Whether it is known what to play; else the server has to have only one title.
    pub(in crate::client) fn has_title(&self) -> bool {
        self.title.is_some()
    }

    /// Whether a server may have to compute a digest before it can say whether it has the media
    /// that was begun.
    pub(in crate::client) fn names_digest(&self) -> bool {
        self.validator.is_some() && self.digest.is_some()
    }

    /// What to ask for the next session with.
    pub(in crate::client) fn request(&self, settings: &PlaySettings) -> Request {
        Request {
            open: settings.open.clone(),
            options: self.options(),
            earlier: Earlier {
                position: if self.joins() { 0 } else { self.position },
                joins: self.joins(),
                validator: self.known_validator().and_then(|known| Validator::new(known)),
                size: self.size,
                digest: self.digest.filter(|_| self.validator.is_some()),
            },
            script: self.script,
            paused: self.paused_by_user,
        }
    }

    /// What to add to the next OPEN_STREAM.
    pub(in crate::client) fn options(&self) -> Options {
        Options {
            title: self.title.clone(),
            token: self.token.clone(),
            // A validator is only looked at together with an offset.
            start_offset: (!self.joins()).then_some(self.position),
            // Beside an offset it says that the play wants to hear how far a broadcast is.
            start_ago: Some(self.start_ago.filter(|_| self.joins()).unwrap_or(0)),
            validator: self.known_validator().cloned(),
            digest: self.digest.filter(|_| self.validator.is_some()),
            end_offset: self.end,
            rate: self.rate,
            unverified: !self.is_verified(),
            ..Options::default()
        }
    }

    /// Whether a broadcast is to be begun somewhere; else the next byte is known. One whose header
    /// did not come as a whole has not begun.
    fn joins(&self) -> bool {
        let has_begun = self.position > 0 || self.validator.is_some();
        self.start_ago.is_some() && (!has_begun || self.header_left > 0)
    }

    /// What tells the media that was begun from any other.
    fn known_validator(&self) -> Option<&Bytes> {
        self.validator.as_ref().filter(|_| !self.joins())
    }

    /// Leaves a broadcast, for what is the newest of its title.
    pub(in crate::client) fn join_anew(&mut self) {
        self.is_patchwork = true;
        self.came += self.position.saturating_sub(self.start);
        self.left_off = Some((self.validator.take(), self.position));
        self.digest = None;
        self.size = None;
        (self.start, self.position, self.start_ago) = (0, 0, Some(0));
    }

    /// Whether a broadcast was left and no other begun yet.
    pub(in crate::client) fn is_between(&self) -> bool {
        self.left_off.is_some()
    }

    /// Whether parts of the broadcast are missing in what came.
    pub(in crate::client) fn is_patchwork(&self) -> bool {
        self.is_patchwork
    }

    /// Bytes of media that came.
    pub(in crate::client) fn bytes(&self) -> u64 {
        self.came + self.position.saturating_sub(self.start)
    }

    /// Whether the media is compared with its digest: that is one of the whole.
    pub(in crate::client) fn is_verified(&self) -> bool {
        self.verify && self.start == 0 && self.end.is_none() && !self.is_patchwork
    }

    /// What the media that came is to be compared with, at its end.
    pub(in crate::client) fn checked_digest(&self) -> Option<Digest> {
        self.digest.filter(|_| self.is_verified())
    }

    /// Why the media cannot be compared with its digest, now that it is complete.
    pub(in crate::client) fn unverified(&self) -> Option<Unverified> {
        match self.digest {
            _ if !self.verify => Some(Unverified::NotWanted),
            _ if self.is_patchwork => Some(Unverified::Patchwork),
            _ if self.start > 0 && self.joined => Some(Unverified::Joined),
            _ if self.start > 0 || self.end.is_some() => Some(Unverified::Start),
            _ if self.version == Some(Version::V1) => Some(Unverified::Version1),
            None => Some(Unverified::NoDigest),
            Some(_) => None,
        }
    }

    /// Takes in what OPEN_ACK says, which goes on with what was begun. Returns what is missing
    /// between that and a broadcast that was left.
    pub(in crate::client) fn accept(
        &mut self,
        version: Version,
        options: &Options,
    ) -> Option<Missing> {
        self.version = Some(version);
        self.accepted = true;
        if version == Version::V1 {
            return None;
        }
        // What was a broadcast when it was asked for may have ended meanwhile: then it begins at 0.
        if self.joins() {
            self.start = options.start_offset.unwrap_or(0);
            self.position = self.start;
            self.joined = options.live;
            self.header = options.header_length.unwrap_or(0).into();
        }
        self.live = options.live;
        self.header_left = options.header_length.unwrap_or(0).into();
        self.validator = options.validator.clone();
        self.size = options.total_size;
        self.digest = options.digest.or(self.digest);
        // The server's only title has a name from now on.
        self.title = self.title.take().or_else(|| options.title.clone());
        let (left, position) = self.left_off.take()?;
        let missing = Missing::Bytes(self.position.saturating_sub(position));
        Some(if left == options.validator { missing } else { Missing::Rest })
    }

    /// What to keep beside an unfinished file.
    pub(in crate::client) fn origin(&self, server: String) -> Option<Origin> {
        let validator = self.validator.as_ref()?.to_vec();
        let (title, start, digest) = (self.title.clone(), self.start, self.digest);
        let (header, joined) = (self.header, self.joined);
        Some(Origin { server, title, validator, start, digest, header, joined })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Start;
    use crate::protocol::OpenStream;

    fn settings() -> PlaySettings {
        PlaySettings {
            open: OpenStream::default(),
            script: None,
            title: None,
            start: Start::Byte(0),
            end: None,
            validator: None,
            rate: Rate::Auto,
            wait: Duration::ZERO,
            retry_for: Duration::from_secs(1),
            verify: true,
            require_digest: false,
            token: None,
        }
    }

    fn resume() -> ResumeState {
        ResumeState::new(&settings(), 0, false)
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
        let mut resume = resume();
        resume.accept(Version::V2, &ack(0, b"a", 100));
        resume.position = 40;
        let request = resume.options();
        assert_eq!(request.start_offset, Some(40));
        assert_eq!(request.validator.as_deref(), Some(&b"a"[..]));
        assert_eq!(request.title.as_deref(), Some("clip"));
        let earlier = resume.request(&settings()).earlier;
        assert_eq!((earlier.position, earlier.size), (40, Some(100)));
        assert_eq!(earlier.validator, Validator::new(b"a"));
    }

    #[test]
    fn a_file_of_a_joined_broadcast_goes_on_behind_its_header() {
        let usual = PlaySettings { start: Start::Usual, ..settings() };
        let mut joined = ResumeState::new(&usual, 0, false);
        assert_eq!((joined.options().start_offset, joined.options().start_ago), (None, Some(0)));
        let live = Options { live: true, total_size: None, ..ack(1_000, b"a", 0) };
        joined.accept(Version::V2, &Options { header_length: Some(300), ..live });
        assert_eq!(joined.unverified(), Some(Unverified::Joined));
        let origin = joined.origin("server".into()).unwrap();
        let mut later = ResumeState::new(&usual, 0, false);
        later.continue_from(&origin, 350);
        assert_eq!(later.position, 1_050);
        let options = later.options();
        assert_eq!((options.start_offset, options.start_ago), (Some(1_050), Some(0)));
        let mut empty = ResumeState::new(&usual, 0, false);
        empty.continue_from(&origin, 0);
        let options = empty.options();
        assert_eq!((options.start_offset, options.start_ago), (None, Some(0)), "it joins anew");
        assert_eq!((options.title.as_deref(), options.validator), (Some("clip"), None));
    }

    #[test]
    fn a_broadcast_whose_header_did_not_come_may_have_ended_meanwhile() {
        let usual = PlaySettings { start: Start::Usual, ..settings() };
        let mut resume = ResumeState::new(&usual, 0, false);
        let live = Options { live: true, total_size: None, ..ack(1_000, b"a", 0) };
        resume.accept(Version::V2, &Options { header_length: Some(300), ..live });
        // What has ended is not joined: it starts at byte 0.
        assert_eq!(resume.request(&usual).earlier.position, 0);
        resume.accept(Version::V2, &ack(0, b"a", 5_000));
        resume.position += 700;
        assert_eq!(resume.options().start_offset, Some(700));
        assert_eq!((resume.bytes(), resume.is_verified()), (700, true));
        let origin = resume.origin("server".into()).unwrap();
        assert_eq!((origin.start, origin.header, origin.joined), (0, 0, false));
    }

    #[test]
    fn a_digest_goes_with_a_validator() {
        let digest = Some([1; 32]);
        let mut resume = resume();
        assert_eq!(resume.options().digest, None);
        resume.accept(Version::V2, &Options { digest, ..ack(0, b"a", 100) });
        assert_eq!(resume.options().digest, digest);
        resume.accept(Version::V2, &ack(40, b"b", 100));
        assert_eq!(resume.options().digest, digest, "it is that of the copy, too");
        assert_eq!(resume.options().validator.as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn a_server_need_not_compute_a_digest_that_nothing_is_compared_with() {
        let unverified = |settings: PlaySettings, start, discards| {
            ResumeState::new(&settings, start, discards).options().unverified
        };
        assert!(!unverified(settings(), 0, false));
        assert!(unverified(settings(), 0, true), "nothing is kept");
        assert!(unverified(settings(), 1, false), "it is that of the whole");
        assert!(unverified(PlaySettings { verify: false, ..settings() }, 0, false));
    }
}
