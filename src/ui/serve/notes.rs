//! What happens on a server, in words.

use std::net::SocketAddr;

use crate::server::Event;
use crate::transport::Fingerprint;
use crate::ui::screen::Note;
use crate::ui::text::{bit_rate, bytes, count, escape, length};

/// What people are told when the server is ready: where it is, who it is, and how to get there.
pub(super) fn welcome(addr: SocketAddr, fingerprint: Fingerprint, media: &str) -> [Note; 3] {
    let host = match addr.ip() {
        // Which of this machine's addresses the other one can reach, only people know.
        ip if ip.is_unspecified() => format!("HOST:{}", addr.port()),
        _ => addr.to_string(),
    };
    let pin = fingerprint.to_string().replace(':', "").to_lowercase();
    let media = escape(media);
    [
        ('●', "listening", format!("on {addr}, serving {media}")),
        (' ', "certificate", format!("SHA-256 {fingerprint}")),
        (' ', "play with", format!("quicstream play {host} --pin {pin}")),
    ]
    .map(|(symbol, name, text)| Note { symbol, color: "cyan", name: name.to_owned(), text })
}

/// What people are told of an event.
pub(super) fn note(event: &Event) -> Note {
    let (symbol, color, name, text) = match event {
        Event::Opened { session, peer, version, bitrate, rate } => {
            let pace = match *rate {
                0 => ", as fast as it goes".to_owned(),
                rate if rate == u64::from(*bitrate) => String::new(),
                rate => format!(", paced at {}", bit_rate(rate as f64)),
            };
            let (version, bitrate) = (version.number(), bit_rate((*bitrate).into()));
            let text = format!("opened by {peer}, protocol version {version}, {bitrate}{pace}");
            ('▶', "green", format!("session {session}"), text)
        }
        Event::Refused { peer, code, reason } => {
            let text = format!("{peer}: {} (OPEN_NACK {code})", escape(reason));
            ('✗', "red", "refused".to_owned(), text)
        }
        Event::Paused { session, seq } => {
            ('⏸', "yellow", format!("session {session}"), format!("paused after chunk {seq}"))
        }
        Event::Resumed { session, seq } => {
            ('▶', "green", format!("session {session}"), format!("resumed after chunk {seq}"))
        }
        Event::Closed { session, peer, reason, bytes: total, chunks, elapsed } => {
            let text = format!(
                "closed, {peer}: {}, {} in {}, {}",
                escape(reason),
                bytes(*total),
                count(*chunks, "chunk"),
                length(*elapsed),
            );
            ('■', "cyan", format!("session {session}"), text)
        }
    };
    Note { symbol, color, name, text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::Version;

    #[test]
    fn off_a_terminal_words_say_it_all() {
        let (session, peer) = (7, "[::1]:9000".parse().unwrap());
        let opened =
            |rate| Event::Opened { session, peer, version: Version::V1, bitrate: 500_000, rate };
        let closed = Event::Closed {
            session,
            peer,
            reason: "client\x07 gone".into(),
            bytes: 65_536,
            chunks: 1,
            elapsed: Duration::from_secs(90),
        };
        for (event, text) in [
            (opened(500_000), "session 7 opened by [::1]:9000, protocol version 1, 500 kbit/s"),
            (
                opened(600_000),
                "session 7 opened by [::1]:9000, protocol version 1, 500 kbit/s, paced at 600 kbit/s",
            ),
            (
                Event::Refused { peer, code: 1, reason: "unsupported codec".into() },
                "refused [::1]:9000: unsupported codec (OPEN_NACK 1)",
            ),
            (Event::Paused { session, seq: 3 }, "session 7 paused after chunk 3"),
            (Event::Resumed { session, seq: 3 }, "session 7 resumed after chunk 3"),
            (closed, r"session 7 closed, [::1]:9000: client\u{7} gone, 64 KiB in 1 chunk, 1:30"),
        ] {
            assert_eq!(note(&event).plain(), text);
        }
    }

    #[test]
    fn the_welcome_says_where_who_and_how() {
        let fingerprint = Fingerprint::of(b"x");
        let text = |addr: &str| {
            welcome(addr.parse().unwrap(), fingerprint, "a\nb.mp4").map(|note| note.plain())
        };
        let [listening, certificate, play] = text("0.0.0.0:9000");
        assert_eq!(listening, r"listening on 0.0.0.0:9000, serving a\u{a}b.mp4");
        assert_eq!(certificate, format!("certificate SHA-256 {fingerprint}"));
        assert!(play.starts_with("play with quicstream play HOST:9000 --pin 2d711642"), "{play}");
        let [.., play] = text("[::1]:9000");
        assert!(play.starts_with("play with quicstream play [::1]:9000 --pin "), "{play}");
        let pin = play.rsplit(' ').next().unwrap();
        assert_eq!(pin.parse(), Ok(fingerprint));
    }
}
