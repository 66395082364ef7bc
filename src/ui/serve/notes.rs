//! What happens on a server, in words.

use std::net::SocketAddr;

use crate::server::Event;
use crate::transport::Fingerprint;
use crate::ui::screen::Note;
use crate::ui::text::{bit_rate, bytes, count, escape, length};

/// What people are told when the server is ready: where it is, who it is, and how to get there.
pub(super) fn welcome(
    addr: SocketAddr,
    fingerprint: Fingerprint,
    media: &str,
    url: &str,
) -> [Note; 3] {
    let media = escape(media);
    // A quote would end the quotes in the shell that it is pasted into; to a URL it is the same.
    let url = url.replace('\'', "%27");
    let url = escape(&url);
    [
        ('●', "listening", format!("on {addr}, serving {media}")),
        (' ', "certificate", format!("SHA-256 {fingerprint}")),
        (' ', "play with:", format!("quicstream play '{url}'")),
    ]
    .map(|(symbol, name, text)| Note { symbol, color: "cyan", name: name.to_owned(), text })
}

/// What people are told of an event.
pub(super) fn note(event: &Event) -> Note {
    let (symbol, color, name, text) = match event {
        Event::Opened { session, peer, version, bitrate, rate, title, start } => {
            let pace = match *rate {
                0 => ", as fast as it goes".to_owned(),
                rate if rate == u64::from(*bitrate) => String::new(),
                rate => format!(", paced at {}", bit_rate(rate as f64)),
            };
            let (version, bitrate) = (version.number(), bit_rate((*bitrate).into()));
            let what = match (escape(title), *start) {
                (title, 0) if title.is_empty() => String::new(),
                (title, 0) => format!(" {title},"),
                (title, start) if title.is_empty() => format!(" from {},", bytes(start)),
                (title, start) => format!(" {title} from {},", bytes(start)),
            };
            let text = format!("opened by {peer}:{what} version {version}, {bitrate}{pace}");
            ('▶', "green", format!("session {session}"), text)
        }
        Event::Refused { peer, title, code, reason } => {
            let title = title.as_deref().map(|title| format!(" {},", escape(title)));
            let (title, reason) = (title.unwrap_or_default(), escape(reason));
            let text = format!("{peer}:{title} {reason} (OPEN_NACK {code})");
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
        let opened = |title: &str, start, rate| {
            let (version, bitrate, title) = (Version::V1, 500_000, title.to_owned());
            Event::Opened { session, peer, version, bitrate, rate, title, start }
        };
        let refused = |title| {
            let reason = "unsupported codec".to_owned();
            Event::Refused { peer, title, code: 1, reason }
        };
        let closed = Event::Closed {
            session,
            peer,
            reason: "client\x07 gone".into(),
            bytes: 65_536,
            chunks: 1,
            elapsed: Duration::from_secs(90),
        };
        for (event, text) in [
            (
                opened("a\x07.mp4", 5 << 20, 500_000),
                r"session 7 opened by [::1]:9000: a\u{7}.mp4 from 5 MiB, version 1, 500 kbit/s",
            ),
            (
                opened("a.mp4", 0, 600_000),
                "session 7 opened by [::1]:9000: a.mp4, version 1, 500 kbit/s, paced at 600 kbit/s",
            ),
            (
                opened("", 1, 0),
                "session 7 opened by [::1]:9000: from 1 B, version 1, 500 kbit/s, as fast as it goes",
            ),
            (opened("", 0, 500_000), "session 7 opened by [::1]:9000: version 1, 500 kbit/s"),
            (refused(None), "refused [::1]:9000: unsupported codec (OPEN_NACK 1)"),
            (
                refused(Some("a\x07.mp4".into())),
                r"refused [::1]:9000: a\u{7}.mp4, unsupported codec (OPEN_NACK 1)",
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
        let addr = "0.0.0.0:9000".parse().unwrap();
        let url = "quicstream://192.0.2.7:9000/it's.mp4?pin=2d71";
        let [listening, certificate, play] =
            welcome(addr, fingerprint, "a\nb.mp4", url).map(|note| note.plain());
        assert_eq!(listening, r"listening on 0.0.0.0:9000, serving a\u{a}b.mp4");
        assert_eq!(certificate, format!("certificate SHA-256 {fingerprint}"));
        assert_eq!(
            play,
            "play with: quicstream play 'quicstream://192.0.2.7:9000/it%27s.mp4?pin=2d71'"
        );
    }
}
