//! Where a session starts, and whether what a client has a part of is what there is now.

use std::ops::Range;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::Refusal;
use crate::protocol::{Digest, NackCode, Options, Version};

/// Seconds after which a client comes back whose part of the media is compared by digest.
const COMPARED_AFTER: u32 = 1;

/// What has to be known of media to go on with a part of it.
pub trait ResumableMedia {
    /// Bytes in all; `None` while it is live.
    fn size(&self) -> Option<u64>;
    /// The first byte that is kept, and how many there are so far, of a broadcast.
    fn kept(&self) -> Option<Range<u64>> {
        None
    }
    /// Where a decoder can begin, so long ago or earlier, of a broadcast.
    fn join(&self, _: Duration) -> u64 {
        0
    }
    /// What it is known by.
    fn validator(&self) -> Bytes;
    /// Returns true if `validator` was given out for it.
    fn goes_by(&self, validator: &[u8]) -> bool;
    /// Its digest, if it is known.
    fn digest(&self) -> Option<Digest>;
    /// Returns its digest, or `None` if there is none. Else has it computed, for a client that
    /// comes back.
    fn resolve_digest(&self) -> Poll<Option<Digest>>;
    /// The digest of what the title was when it had this validator, if that is known.
    fn digest_behind(&self, validator: &[u8]) -> Option<Digest>;
}

/// Where a session starts.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The first byte of the media that is sent.
    pub start: u64,
    /// The byte after the last one that is sent, where the client wants no more.
    pub end: Option<u64>,
    /// What the client is to know the media by.
    pub validator: Bytes,
}

/// Checks START_OFFSET, END_OFFSET, VALIDATOR and DIGEST of an OPEN_STREAM.
///
/// # Errors
/// The media is another, or shorter, or is being compared with what the client has.
pub fn resume(
    version: Version,
    options: &Options,
    media: &impl ResumableMedia,
) -> Result<Resumed, Refusal> {
    let validator = match (&options.validator, options.start_offset) {
        (Some(theirs), Some(_)) => common_validator(theirs, options.digest, media)?,
        _ => media.validator(),
    };
    let start = start(options, version, media)?;
    let past_the_end = |reason| Refusal { reason: Some(reason), ..NackCode::PastTheEnd.into() };
    if let Some(size) = media.size().filter(|size| start > *size) {
        return Err(past_the_end(format!("it has {size} bytes")));
    }
    // Who asks for the end of a broadcast cannot know where it will start.
    let knows_start = options.start_offset.is_some() || media.kept().is_none();
    if options.end_offset.is_some_and(|end| end < start && knows_start) {
        return Err(past_the_end("it would end before its start".to_owned()));
    }
    let end = options.end_offset.map(|end| media.size().map_or(end, |size| end.min(size)));
    let end = end.map(|end| end.max(start));
    Ok(Resumed { start, end, validator })
}

/// The first byte of a session.
fn start(options: &Options, version: Version, media: &impl ResumableMedia) -> Result<u64, Refusal> {
    let Some(kept) = media.kept() else { return Ok(options.start_offset.unwrap_or(0)) };
    let start = match (options.start_offset, options.start_ago) {
        (Some(start), _) => start,
        // What has ended is not joined, even if its beginning is not kept any more.
        _ if media.size().is_some() => 0,
        // More may have come meanwhile.
        (None, Some(ago)) => return Ok(media.join(Duration::from_millis(ago.into()))),
        (None, None) if version == Version::V1 => return Ok(media.join(Duration::ZERO)),
        (None, None) => 0,
    };
    if start > kept.end {
        let reason = Some(format!("it has {} bytes so far", kept.end));
        return Err(Refusal { reason, ..NackCode::PastTheEnd.into() });
    }
    if start < kept.start {
        let reason = Some(format!("it is kept from byte {} on", kept.start));
        return Err(Refusal { reason, oldest: Some(kept.start), ..NackCode::NotKept.into() });
    }
    Ok(start)
}

/// The validator of a session that goes on with a part of media that had the validator `theirs`
/// and this digest when it came.
fn common_validator(
    theirs: &Bytes,
    digest: Option<Digest>,
    media: &impl ResumableMedia,
) -> Result<Bytes, Refusal> {
    if media.goes_by(theirs) {
        // An edit while the server was away may have kept size and time.
        return match (digest, media.digest()) {
            (Some(digest), Some(own)) if own != digest => Err(NackCode::MediaChanged.into()),
            _ => Ok(theirs.clone()),
        };
    }
    // A client that does not know the digest may have its part from this server, which does.
    let (digest, validator) = match digest {
        Some(digest) => (digest, media.validator()),
        None => match media.digest_behind(theirs) {
            Some(digest) => (digest, theirs.clone()),
            None => return Err(NackCode::MediaChanged.into()),
        },
    };
    match media.resolve_digest() {
        Poll::Ready(Some(own)) if own == digest => Ok(validator),
        Poll::Ready(_) => Err(NackCode::MediaChanged.into()),
        Poll::Pending => Err(Refusal {
            reason: Some("it is being compared with what you have".to_owned()),
            retry_after: Some(COMPARED_AFTER),
            ..NackCode::Busy.into()
        }),
    }
}
