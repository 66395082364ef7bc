//! What a server grants to what a client asks for.

use std::time::Duration;

use crate::protocol::{NackCode, OpenAck, OpenStream};

/// The longest that a chunk may take to send, whatever the keepalive interval: clients follow no
/// longer interval than this.
const MAX_CHUNK_TIME: Duration = Duration::from_secs(60);

/// What a server is ready to grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Codec names it accepts; case does not matter.
    pub codecs: Vec<String>,
    /// The highest bitrate, bit/s.
    pub bitrate: u32,
    /// The largest payload of a chunk, bytes.
    pub chunk_size: u32,
    /// Time between heartbeats; whole seconds go on the wire.
    pub keepalive: Duration,
    /// Time without a PDU from the client after which a session is over; whole seconds likewise.
    pub session_timeout: Duration,
}

impl Offer {
    /// The terms for one client.
    ///
    /// # Errors
    /// The code to refuse it with.
    pub fn negotiate(&self, open: &OpenStream) -> Result<OpenAck, NackCode> {
        if !self.codecs.iter().any(|codec| codec.eq_ignore_ascii_case(&open.codec)) {
            return Err(NackCode::UnsupportedCodec);
        }
        if open.encryption != 0 {
            return Err(NackCode::UnsupportedEncryption);
        }
        match open.delivery {
            0 => {}
            1 => return Err(NackCode::MulticastUnsupported),
            _ => return Err(NackCode::ProtocolViolation),
        }
        let bitrate = self.choose_bitrate(&open.bitrates);
        Ok(OpenAck {
            bitrate,
            max_chunk_size: self.chunk_size_at(bitrate.into()),
            keepalive: wire_seconds(self.keepalive),
            session_timeout: wire_seconds(self.session_timeout),
        })
    }

    /// The highest bitrate offered that is within the limit; else the lowest offered; else the
    /// limit itself. A bitrate of 0 cannot be paced and counts as not offered.
    fn choose_bitrate(&self, offered: &[u32]) -> u32 {
        let offered = || offered.iter().copied().filter(|bitrate| *bitrate > 0);
        offered()
            .filter(|bitrate| *bitrate <= self.bitrate)
            .max()
            .or_else(|| offered().min())
            .unwrap_or(self.bitrate)
    }

    /// The largest payload at a rate in bit/s, where 0 is no limit. A chunk must not take longer
    /// to send than the keepalive interval, nor than 60 s, or the client would think the server
    /// stalled.
    pub fn chunk_size_at(&self, rate: u64) -> u32 {
        let rate = if rate == 0 { u64::MAX } else { rate };
        let seconds = wire_seconds(self.keepalive.min(MAX_CHUNK_TIME));
        let in_time = rate.saturating_mul(seconds.into()) / 8;
        u32::try_from(in_time).unwrap_or(u32::MAX).clamp(1, self.chunk_size)
    }
}

fn wire_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            codecs: vec!["h264".into(), "opus".into()],
            bitrate: 500_000,
            chunk_size: 65_536,
            keepalive: Duration::from_secs(5),
            session_timeout: Duration::from_secs(30),
        }
    }

    fn open(bitrates: &[u32]) -> OpenStream {
        OpenStream { codec: "h264".into(), bitrates: bitrates.into(), ..OpenStream::default() }
    }

    #[test]
    fn the_highest_bitrate_within_the_limit_is_chosen() {
        let chosen = |bitrates: &[u32]| offer().negotiate(&open(bitrates)).map(|ack| ack.bitrate);
        assert_eq!(chosen(&[240_000, 480_000, 900_000]), Ok(480_000));
        assert_eq!(chosen(&[500_000, 240_000]), Ok(500_000));
        assert_eq!(chosen(&[900_000, 700_000]), Ok(700_000), "none fits: the lowest offered");
        assert_eq!(chosen(&[]), Ok(500_000), "none offered: the server's");
        assert_eq!(chosen(&[0]), Ok(500_000), "0 cannot be paced");
    }

    #[test]
    fn a_chunk_never_takes_longer_than_the_keepalive_interval() {
        let size = |bitrate| offer().negotiate(&open(&[bitrate])).map(|ack| ack.max_chunk_size);
        assert_eq!(size(500_000), Ok(65_536));
        assert_eq!(size(8_000), Ok(5_000));
        assert_eq!(size(1), Ok(1));
    }

    #[test]
    fn what_cannot_be_granted_is_refused_with_its_own_code() {
        let refusal = |open: OpenStream| offer().negotiate(&open).err();
        let good = || open(&[]);
        assert_eq!(refusal(good()), None);
        assert_eq!(refusal(OpenStream { codec: "OPUS".into(), ..good() }), None);
        assert_eq!(
            refusal(OpenStream { codec: "mpeg1".into(), ..good() }),
            Some(NackCode::UnsupportedCodec)
        );
        assert_eq!(
            refusal(OpenStream { encryption: 1, ..good() }),
            Some(NackCode::UnsupportedEncryption)
        );
        assert_eq!(
            refusal(OpenStream { delivery: 1, ..good() }),
            Some(NackCode::MulticastUnsupported)
        );
        assert_eq!(
            refusal(OpenStream { delivery: 7, ..good() }),
            Some(NackCode::ProtocolViolation)
        );
    }
}
