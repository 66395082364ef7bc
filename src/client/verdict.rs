//! What a play leaves behind, and whether it was checked.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::fetch::ResumeState;
use super::{Error, Outcome, PlaySettings, Published, SinkError, Start};
use crate::protocol::{Digest, Version};

/// What became of the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// BLAKE3 of the whole media: as it was computed, or else as the server announced it.
    pub digest: Option<Digest>,
    /// What is left of it.
    pub kept: Kept,
}

impl Verdict {
    /// The verdict on a play that ended like this, whose sink is called `what` (`None` if there is
    /// none) and may have left a `part`.
    pub(super) fn of(
        result: &Result<Outcome, Error>,
        resume: &ResumeState,
        what: Option<String>,
        part: Option<PathBuf>,
    ) -> Self {
        let bytes = resume.bytes();
        let Some(what) = what else { return Self { digest: resume.digest, kept: Kept::Discarded } };
        if let Ok(Outcome::Complete(Published { path, digest })) = result {
            let place = path.clone().map_or(Place::Stream(what), Place::File);
            let kept = Kept::Media { place, bytes, unverified: resume.unverified() };
            return Self { digest: digest.or(resume.digest), kept };
        }
        let why = result.as_ref().err().map_or(Unverified::Incomplete, Unverified::of);
        let media = |place| Kept::Media { place, bytes, unverified: Some(why) };
        let kept = match part {
            Some(part) if part.exists() => media(Place::Part(part)),
            None if bytes > 0 => media(Place::Stream(what)),
            _ => Kept::Nothing,
        };
        Self { digest: resume.digest, kept }
    }
}

/// The keys of a verdict in the JSON event `closed`; their names and order are a contract with
/// scripts.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Keys {
            #[serde(skip_serializing_if = "Option::is_none")]
            file: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            digest: Option<String>,
            /// `None` where nothing was kept.
            verified: Option<bool>,
            #[serde(skip_serializing_if = "Option::is_none")]
            why: Option<String>,
        }

        let (place, unverified) = match &self.kept {
            Kept::Media { place, unverified, .. } => (Some(place), Some(unverified)),
            Kept::Discarded | Kept::Nothing => (None, None),
        };
        let file = place.and_then(Place::path);
        Keys {
            file: file.map(|path| path.to_string_lossy().into_owned()),
            digest: self.digest.map(|digest| blake3::Hash::from_bytes(digest).to_string()),
            verified: unverified.map(Option::is_none),
            why: unverified.and_then(|why| why.map(|why| why.to_string())),
        }
        .serialize(serializer)
    }
}

/// What is left of the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// There is no output.
    Discarded,
    /// Nothing came for the output.
    Nothing,
    /// Some or all of it.
    Media {
        /// Where it is.
        place: Place,
        /// Bytes of it, those of earlier plays included.
        bytes: u64,
        /// Why it counts as not verified; `None` if it is verified.
        unverified: Option<Unverified>,
    },
}

/// Where media is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file that has its name.
    File(PathBuf),
    /// In a file that has its provisional name.
    Part(PathBuf),
    /// At the other end of a pipe, or in a device: as it is called.
    Stream(String),
}

impl Place {
    /// The file, where it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Part(path) => Some(path),
            Self::Stream(_) => None,
        }
    }
}

/// Why media counts as not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The user did not want it.
    #[error("--no-verify was given")]
    NotWanted,
    /// It begins in the middle.
    #[error("it begins at --start, and a digest is one of the whole")]
    Start,
    /// It begins where a decoder can, in the middle of a broadcast.
    #[error("it begins within the broadcast, and a digest is one of the whole")]
    Joined,
    /// It is of several broadcasts, or the server did not keep all that was to come.
    #[error("parts of the broadcast are missing")]
    Patchwork,
    /// The protocol cannot say.
    #[error("protocol version 1 has no digests")]
    Version1,
    /// No DIGEST stood in OPEN_ACK, nor in CLOSE_STREAM.
    #[error("the server sent no digest: it has none, or not yet")]
    NoDigest,
    /// The digest is another.
    #[error("its BLAKE3 digest is not the server's")]
    Differs,
    /// It did not come to its end.
    #[error("it is not complete")]
    Incomplete,
    /// It came, but could not be written or given its name.
    #[error("it could not be saved")]
    NotSaved,
}

impl Unverified {
    /// Why what a play failed with keeps its media from being verified.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Partial { cause, .. } => Self::of(cause),
            Error::Unverified(why) => *why,
            Error::PartsMissing => Unverified::Patchwork,
            Error::Sink(SinkError::Digest) => Self::Differs,
            Error::Sink(_) => Self::NotSaved,
            _ => Self::Incomplete,
        }
    }
}

impl PlaySettings {
    /// Makes sure that media can be verified where it has to be, over a link of these versions.
    ///
    /// # Errors
    /// Another setting rules that out.
    pub fn require_verifiable(&self, versions: &[Version]) -> Result<(), Error> {
        let from_start = matches!(self.start, Start::Usual | Start::Byte(0) | Start::Fraction(0.0));
        let (flag, why) = match *versions {
            _ if !self.require_digest => return Ok(()),
            _ if !self.verify => ("--no-verify", Unverified::NotWanted),
            _ if !from_start => ("--start", Unverified::Start),
            [Version::V1] => ("--protocol 1", Unverified::Version1),
            _ => return Ok(()),
        };
        Err(Error::Unverifiable { flag, why })
    }
}
