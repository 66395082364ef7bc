//! What happens on a server, in words.

use crate::server::ServeEvent;
use crate::ui::screen::EventLine;
use crate::ui::text::{bit_rate, bytes, count, escape, length};

/// Returns what people are told of an event.
pub(super) fn words(event: &ServeEvent) -> Vec<EventLine> {
    let name = |session: &u32| format!("session {session}");
    let line = match event {
        ServeEvent::Listening { addr, fingerprint, media, url, admin } => {
            let listening = format!("on {addr}, serving {}", escape(media));
            // A quote would end the quotes in the shell; in a URL %27 is the same.
            let command = format!("quicstream play '{}'", escape(&url.replace('\'', "%27")));
            let mut lines = vec![
                EventLine::new('●', "cyan", "listening", listening),
                EventLine::new(' ', "cyan", "certificate", format!("SHA-256 {fingerprint}")),
                EventLine::new(' ', "cyan", "play with:", command),
            ];
            let metrics =
                |admin| EventLine::new(' ', "cyan", "metrics", format!("http://{admin}/metrics"));
            lines.extend(admin.map(metrics));
            return lines;
        }
        ServeEvent::LiveStarted { title } => {
            EventLine::new('●', "red", escape(title), "is on the air")
        }
        ServeEvent::LiveEnded { title, bytes: total, cause } => {
            let text = format!("has ended after {}: {}", bytes(*total), escape(cause));
            EventLine::new('■', "cyan", escape(title), text)
        }
        ServeEvent::Opened { session, peer, version, bitrate, rate, title, start, token } => {
            let start = start.filter(|start| *start > 0);
            let fields = [
                title.as_deref().map(escape).map(|title| format!(" {title}")),
                start.map(|start| format!(" from {}", bytes(start))),
            ];
            let what: String = fields.into_iter().flatten().collect();
            let comma = if what.is_empty() { "" } else { "," };
            let (version, bitrate_text) = (version.number(), bit_rate((*bitrate).into()));
            let pace = match *rate {
                0 => ", as fast as it goes".to_owned(),
                rate if rate == u64::from(*bitrate) => String::new(),
                rate => format!(", paced at {}", bit_rate(rate as f64)),
            };
            let peer = match token {
                Some(token) => format!("{} at {peer}", escape(token)),
                None => peer.to_string(),
            };
            let text =
                format!("opened by {peer}:{what}{comma} version {version}, {bitrate_text}{pace}");
            EventLine::new('▶', "green", name(session), text)
        }
        ServeEvent::Refused { peer, title, code, reason, more } => {
            let title = title.as_deref().map(|title| format!(" {},", escape(title)));
            let (title, reason) = (title.unwrap_or_default(), escape(reason));
            let more = match more {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let text = format!("{peer}:{title} {reason} (OPEN_NACK {code}){more}");
            EventLine::new('✗', "red", "refused", text)
        }
        ServeEvent::Paused { session, seq } => {
            EventLine::new('⏸', "yellow", name(session), format!("paused after chunk {seq}"))
        }
        ServeEvent::Resumed { session, seq } => {
            EventLine::new('▶', "green", name(session), format!("resumed after chunk {seq}"))
        }
        ServeEvent::Closed { session, peer, reason, bytes: total, chunks, elapsed } => {
            let text = format!(
                "closed, {peer}: {}, {} in {}, {}",
                escape(reason),
                bytes(*total),
                count(*chunks, "chunk"),
                length(*elapsed),
            );
            EventLine::new('■', "cyan", name(session), text)
        }
    };
    vec![line]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::Version;
    use crate::transport::Fingerprint;

    #[test]
    fn off_a_terminal_words_say_it_all() {
        let (session, peer) = (7, "[::1]:9000".parse().unwrap());
        let opened = |title: Option<&str>, start, rate| {
            let (version, bitrate) = (Version::V1, 500_000);
            let title = title.map(String::from);
            ServeEvent::Opened { session, peer, version, bitrate, rate, title, start, token: None }
        };
        let refused = |title| {
            let reason = "unsupported codec".to_owned();
            ServeEvent::Refused { peer, title, code: 1, reason, more: 0 }
        };
        let closed = ServeEvent::Closed {
            session,
            peer,
            reason: "client\x07 gone".into(),
            bytes: 65_536,
            chunks: 1,
            elapsed: Duration::from_secs(90),
        };
        for (event, text) in [
            (
                opened(Some("a\x07.mp4"), Some(5 << 20), 500_000),
                r"session 7 opened by [::1]:9000: a\u{7}.mp4 from 5 MiB, version 1, 500 kbit/s",
            ),
            (
                opened(Some("a.mp4"), Some(0), 600_000),
                "session 7 opened by [::1]:9000: a.mp4, version 1, 500 kbit/s, paced at 600 kbit/s",
            ),
            (
                opened(None, Some(1), 0),
                "session 7 opened by [::1]:9000: from 1 B, version 1, 500 kbit/s, as fast as it goes",
            ),
            (opened(None, None, 500_000), "session 7 opened by [::1]:9000: version 1, 500 kbit/s"),
            (refused(None), "refused [::1]:9000: unsupported codec (OPEN_NACK 1)"),
            (
                refused(Some("a\x07.mp4".into())),
                r"refused [::1]:9000: a\u{7}.mp4, unsupported codec (OPEN_NACK 1)",
            ),
            (ServeEvent::Paused { session, seq: 3 }, "session 7 paused after chunk 3"),
            (ServeEvent::Resumed { session, seq: 3 }, "session 7 resumed after chunk 3"),
            (closed, r"session 7 closed, [::1]:9000: client\u{7} gone, 64 KiB in 1 chunk, 1:30"),
        ] {
            let [line] = &words(&event)[..] else { panic!("{text}") };
            assert_eq!(line.plain(), text);
        }
    }

    #[test]
    fn the_welcome_says_where_who_and_how() {
        let fingerprint = Fingerprint::of(b"x");
        let addr = "0.0.0.0:9000".parse().unwrap();
        let (media, url) =
            ("a\nb.mp4".into(), "quicstream://192.0.2.7:9000/it's.mp4?pin=2d71".into());
        let lines = words(&ServeEvent::Listening { addr, fingerprint, media, url, admin: None });
        let lines: Vec<_> = lines.iter().map(EventLine::plain).collect();
        let [listening, certificate, play] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(listening, r"listening on 0.0.0.0:9000, serving a\u{a}b.mp4");
        assert_eq!(*certificate, format!("certificate SHA-256 {fingerprint}"));
        assert_eq!(
            play,
            "play with: quicstream play 'quicstream://192.0.2.7:9000/it%27s.mp4?pin=2d71'"
        );
    }
}
