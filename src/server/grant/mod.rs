//! Whether and how a session can be granted.

use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::connection_context::ConnectionContext;
use super::tokens::{Access, TokenPermit};
use super::{Pacing, Server};
use crate::media::{self, Library, Media};
use crate::protocol::{Digest, NackCode, OpenAck, OpenStream, Options, Version};
use crate::session::server::{Refusal, ResumableMedia, Resumed, resume};

/// The terms of a session, and its media.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) ack: OpenAck,
    pub(super) media: Media,
    /// Bytes in all; `None` while it is live.
    size: Option<u64>,
    /// The first byte that is kept, and how many there are so far, of a broadcast.
    kept: Option<Range<u64>>,
    /// What the client is to know the media by.
    validator: Bytes,
    /// The byte of the media at which it starts.
    pub(super) start: u64,
    /// What a decoder needs before that.
    pub(super) header: Bytes,
    /// The byte after the last one that is sent, where that is not the end of the media.
    pub(super) end: Option<u64>,
    /// What it is paced at, bit/s; 0 is as fast as it goes.
    pub(super) rate: u64,
    /// Whether the client is to get the digest of the media.
    pub(super) verified: bool,
    /// Whether the client is to hear how far the broadcast is.
    pub(super) reports_edge: bool,
    pub(super) access: Access,
    /// Keeps the connection in the count of its token.
    _permit: Option<Arc<TokenPermit>>,
    _place: OwnedSemaphorePermit,
}

impl Grant {
    /// Grants what a client asks for, within what the server offers.
    ///
    /// # Errors
    /// It cannot be granted.
    pub(super) async fn new(
        context: &ConnectionContext,
        open: &OpenStream,
        options: &Options,
    ) -> Result<Self, Refusal> {
        let Server { settings, library, .. } = &*context.server;
        let version = context.handle.version();
        let access = context.server.access(version, options)?;
        if options.title.as_deref().is_some_and(|title| !access.allows(title)) {
            return Err(NackCode::NotAuthorised.into());
        }
        let place = context.session_place().ok_or_else(connection_full)?;
        let ack = settings.offer.negotiate(open)?;
        let media = match version {
            Version::V1 => library.open_first(ack.bitrate).await,
            Version::V2 => library.open(options.title.as_deref(), ack.bitrate).await,
        };
        let media = media.map_err(|error| match error {
            // What the client has a part of is gone.
            media::Error::BrokeOff if options.goes_on() => NackCode::MediaChanged.into(),
            error => refusal(&error),
        })?;
        if !access.allows(media.title()) {
            return Err(NackCode::NotAuthorised.into());
        }
        let permit = match access.token() {
            None => None,
            Some(token) => Some(context.permit(token).ok_or_else(token_in_use)?),
        };
        let in_library = InLibrary::new(library, &media);
        let resumed = resume(version, options, &in_library).map_err(|refused| {
            let begins = refused.code == NackCode::NotKept && options.start_offset.is_none();
            match begins && library.may_broadcast(media.title()) {
                true => Refusal { oldest: refused.oldest, ..not_begun() },
                false => refused,
            }
        });
        let Resumed { start, end, validator } = resumed?;
        let InLibrary { size, kept, .. } = in_library;
        let joined = options.start_offset.is_none().then(|| media.header_at(start)).flatten();
        // Who wants nothing of the media wants nothing before it, either.
        let header = joined.filter(|_| end != Some(start)).unwrap_or_default();
        let bitrate = media.bitrate().unwrap_or(ack.bitrate);
        let rate = match version {
            // The producer of a broadcast paces it.
            _ if kept.is_some() => Some(options.rate.unwrap_or(0)),
            Version::V1 => Some(bitrate.min(settings.offer.bitrate).into()),
            Version::V2 => options.rate,
        };
        let of_token = access.token().and_then(|token| token.max_rate).unwrap_or(0);
        let max_rate = limit_rate(settings.max_rate, of_token);
        let rate = grant_rate(settings.pacing, max_rate, rate, bitrate);
        let max_chunk_size = settings.offer.chunk_size_at(rate);
        let media = media.at_rate(rate);
        let verified = version != Version::V1 && !options.unverified && end.is_none();
        if verified {
            media.request_digest();
        }
        let ack = OpenAck { bitrate, max_chunk_size, ..ack };
        Ok(Self {
            ack,
            media,
            size,
            kept,
            validator,
            start,
            header,
            end,
            rate,
            verified,
            reports_edge: options.start_ago.is_some(),
            access,
            _permit: permit,
            _place: place,
        })
    }

    /// What version 2 says beside the terms.
    pub(super) fn options(&self) -> Options {
        Options {
            title: Some(self.media.title().to_owned()),
            start_offset: Some(self.start),
            validator: Some(self.validator.clone()),
            total_size: self.size,
            live: self.size.is_none(),
            media_type: Some(self.media.media_type().to_owned()),
            rate: Some(self.rate),
            digest: self.media.digest().filter(|_| self.size.is_some()),
            end_offset: self.end,
            header_length: u32::try_from(self.header.len()).ok().filter(|length| *length > 0),
            oldest: self.kept.as_ref().map(|kept| kept.start),
            // More may have come between them.
            edge: self.kept.as_ref().map(|kept| kept.end.max(self.start)),
            modified: self.media.modified(),
            ..Options::default()
        }
    }
}

/// Media with what its library remembers. A broadcast that ends meanwhile goes on here.
struct InLibrary<'a> {
    library: &'a Library,
    media: &'a Media,
    size: Option<u64>,
    kept: Option<Range<u64>>,
}

impl<'a> InLibrary<'a> {
    fn new(library: &'a Library, media: &'a Media) -> Self {
        Self { library, media, kept: media.kept(), size: media.size() }
    }
}

impl ResumableMedia for InLibrary<'_> {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn kept(&self) -> Option<Range<u64>> {
        self.kept.clone()
    }

    fn join(&self, ago: Duration) -> u64 {
        self.media.join(ago)
    }

    fn validator(&self) -> Bytes {
        self.media.validator()
    }

    fn goes_by(&self, validator: &[u8]) -> bool {
        self.media.goes_by(validator)
    }

    fn digest(&self) -> Option<Digest> {
        self.media.digest()
    }

    fn resolve_digest(&self) -> Poll<Option<Digest>> {
        self.media.resolve_digest()
    }

    fn digest_behind(&self, validator: &[u8]) -> Option<Digest> {
        self.library.digest_behind(self.media.title(), validator)
    }
}

/// The rate for a client that asks for this one, or for none: then the bitrate is meant.
fn grant_rate(pacing: Pacing, max_rate: u64, asked: Option<u64>, bitrate: u32) -> u64 {
    let wanted = match pacing {
        Pacing::Bitrate => bitrate.into(),
        Pacing::Client => asked.unwrap_or(bitrate.into()),
    };
    limit_rate(wanted, max_rate)
}

/// The lower of two rates, of which 0 is no limit.
pub(super) fn limit_rate(rate: u64, max: u64) -> u64 {
    match (rate, max) {
        (0, max) => max,
        (rate, 0) => rate,
        (rate, max) => rate.min(max),
    }
}

/// Seconds after which a client may try again where the server was in trouble.
const RETRY_AFTER: u32 = 2;

/// What a client is told of media that cannot be opened: nothing that it could not know. The log
/// has the cause.
fn refusal(error: &media::Error) -> Refusal {
    let reason = match error {
        media::Error::Io { .. } => return in_trouble(),
        media::Error::NothingYet | media::Error::BrokeOff => return not_begun(),
        media::Error::TitleNeeded => "there is more than one title; name one",
        _ => "it is not in the library",
    };
    Refusal { reason: Some(reason.to_owned()), ..NackCode::NoSuchTitle.into() }
}

/// What a client is told of a broadcast that is still to begin. Where another has been before it, it
/// hears from which byte on that is kept.
fn not_begun() -> Refusal {
    Refusal {
        reason: Some("the broadcast has not begun".to_owned()),
        retry_after: Some(1),
        ..NackCode::Busy.into()
    }
}

/// What a client is told whose connection has as many sessions as it may.
fn connection_full() -> Refusal {
    Refusal {
        reason: Some("this connection has as many sessions as it may".to_owned()),
        retry_after: Some(RETRY_AFTER),
        ..NackCode::Busy.into()
    }
}

/// What a client is told whose token has as many sessions as it may.
fn token_in_use() -> Refusal {
    Refusal {
        reason: Some("your token is in use as often as it may be: try again".to_owned()),
        retry_after: Some(RETRY_AFTER),
        ..NackCode::Busy.into()
    }
}

/// What a client is told where the server cannot get at its media just now.
pub(super) fn in_trouble() -> Refusal {
    Refusal {
        reason: Some("the server cannot read its media just now: try again".to_owned()),
        retry_after: Some(RETRY_AFTER),
        ..NackCode::Busy.into()
    }
}

#[cfg(test)]
mod tests;
