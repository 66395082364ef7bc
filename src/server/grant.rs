//! Whether and how a session can be granted.

use std::sync::Arc;

use bytes::Bytes;

use super::resume::resume;
use super::{Pacing, ServeSettings};
use crate::media::{self, Library, Media};
use crate::protocol::{NackCode, OpenAck, OpenStream, Options, Version};
use crate::session::server::Refusal;

/// A session as it is granted.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) ack: OpenAck,
    pub(super) media: Media,
    /// What the client is to know the media by.
    validator: Bytes,
    /// The byte of the media at which it starts.
    pub(super) start: u64,
    /// What it is paced at, bit/s; 0 is as fast as it goes.
    pub(super) rate: u64,
    /// Whether the client is to get the digest of the media.
    pub(super) verified: bool,
}

impl Grant {
    /// What a client gets of what it asks for.
    pub(super) async fn new(
        settings: &ServeSettings,
        library: &Arc<Library>,
        version: Version,
        open: &OpenStream,
        options: &Options,
    ) -> Result<Self, Refusal> {
        let ack = settings.offer.negotiate(open)?;
        let media = match version {
            Version::V1 => library.open_first(ack.bitrate).await,
            Version::V2 => library.open(options.title.as_deref(), ack.bitrate).await,
        };
        let media = media.map_err(|error| refusal(&error))?;
        let validator = match (&options.validator, options.start_offset) {
            (Some(theirs), Some(_)) => resume(library, &media, theirs, options)?,
            _ => media.validator(),
        };
        let start = options.start_offset.unwrap_or(0);
        if start > media.len() {
            let reason = Some(format!("it has {} bytes", media.len()));
            return Err(Refusal { reason, ..NackCode::PastTheEnd.into() });
        }
        let bitrate = media.bitrate().unwrap_or(ack.bitrate);
        let rate = match version {
            Version::V1 => bitrate.into(),
            Version::V2 => grant_rate(settings, options.rate, bitrate),
        };
        let max_chunk_size = settings.offer.chunk_size_at(rate);
        let media = media.at_rate(rate);
        let verified = version != Version::V1 && !options.unverified;
        if verified {
            library.request_digest(&media);
        }
        let ack = OpenAck { bitrate, max_chunk_size, ..ack };
        Ok(Self { ack, media, validator, start, rate, verified })
    }

    /// What version 2 says beside the terms.
    pub(super) fn options(&self) -> Options {
        Options {
            title: Some(self.media.title().to_owned()),
            start_offset: Some(self.start),
            validator: Some(self.validator.clone()),
            total_size: Some(self.media.len()),
            media_type: Some(self.media.media_type().to_owned()),
            rate: Some(self.rate),
            digest: self.media.digest(),
            ..Options::default()
        }
    }
}

/// The rate for a client that asks for this one, or for none: then the bitrate is meant.
fn grant_rate(settings: &ServeSettings, asked: Option<u64>, bitrate: u32) -> u64 {
    let wanted = match settings.pacing {
        Pacing::Bitrate => bitrate.into(),
        Pacing::Client => asked.unwrap_or(bitrate.into()),
    };
    match settings.max_rate {
        0 => wanted,
        max if wanted == 0 => max,
        max => wanted.min(max),
    }
}

/// Seconds after which a client may try again where the server was in trouble.
const RETRY_AFTER: u32 = 2;

/// What a client is told of media that cannot be opened: nothing that it could not know. The log
/// has the cause.
fn refusal(error: &media::Error) -> Refusal {
    let reason = match error {
        media::Error::Io { .. } => return in_trouble(),
        media::Error::TitleNeeded => "there is more than one title; name one",
        _ => "it is not in the library",
    };
    Refusal { reason: Some(reason.to_owned()), ..NackCode::NoSuchTitle.into() }
}

/// What a client is told where the server cannot get at its media just now.
pub(super) fn in_trouble() -> Refusal {
    Refusal {
        code: NackCode::Busy,
        reason: Some("the server cannot read its media just now: try again".to_owned()),
        retry_after: Some(RETRY_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::Offer;

    fn settings(max_rate: u64, pacing: Pacing) -> ServeSettings {
        let offer = Offer {
            codecs: vec!["h264".into()],
            bitrate: 500_000,
            chunk_size: 65_536,
            keepalive: Duration::from_secs(5),
            session_timeout: Duration::from_secs(30),
        };
        ServeSettings { offer, max_connections: 1, max_rate, pacing }
    }

    #[test]
    fn a_client_gets_the_rate_it_asks_for_within_the_limit() {
        let rate = |max, asked| grant_rate(&settings(max, Pacing::Client), asked, 500_000);
        assert_eq!(rate(0, None), 500_000, "the bitrate");
        assert_eq!(rate(0, Some(0)), 0, "as fast as it goes");
        assert_eq!(rate(0, Some(7)), 7);
        assert_eq!(rate(1_000, Some(0)), 1_000, "as fast as the limit goes");
        assert_eq!(rate(1_000, Some(7)), 7);
        assert_eq!(rate(1_000, None), 1_000);
    }

    #[test]
    fn a_server_can_force_the_bitrate() {
        let rate = |max, asked| grant_rate(&settings(max, Pacing::Bitrate), asked, 500_000);
        assert_eq!(rate(0, Some(0)), 500_000);
        assert_eq!(rate(0, Some(7)), 500_000);
        assert_eq!(rate(400_000, Some(0)), 400_000);
    }
}
