//! Protocol events in words.

use crate::client::Event;
use crate::session::client::Cause;
use crate::ui::screen::Note;
use crate::ui::text::{bit_rate, bytes, count, escape, length, mean_rate};

/// What people are told of an event, if anything.
pub(super) fn note(event: &Event) -> Option<Note> {
    let (symbol, color, name, text) = match event {
        Event::Connected { server, version, fingerprint } => {
            let short: String = fingerprint.to_string().chars().take("3F:A2:9C:11".len()).collect();
            let version = version.number();
            let text = format!("to {server}, protocol version {version}, certificate {short}…");
            ('●', "cyan", "connected", text)
        }
        Event::Requested(open) => {
            let rates: Vec<_> = open.bitrates.iter().map(|rate| bit_rate((*rate).into())).collect();
            let wanted = [open.codec.as_str(), open.profile.as_str()].map(escape).join(" ");
            ('→', "cyan", "OPEN_STREAM", format!("{wanted}, {}", rates.join(" or ")))
        }
        Event::Accepted { session, ack } => {
            let rate = bit_rate(ack.bitrate.into());
            let chunk = bytes(ack.max_chunk_size.into());
            let (keepalive, timeout) = (ack.keepalive, ack.session_timeout);
            let text = format!(
                "session {session}, {rate}, {chunk} chunks, keepalive {keepalive} s, timeout {timeout} s"
            );
            ('←', "cyan", "OPEN_ACK", text)
        }
        Event::Chunk { .. } => return None,
        Event::Paused { seq, cause } => {
            let cause = match cause {
                Cause::User => "by you",
                Cause::Script(_) => "by the script",
                Cause::Sink => "because the player takes nothing",
            };
            ('⏸', "yellow", "PAUSE_STREAM", format!("after chunk {seq}, {cause}"))
        }
        Event::Resumed { after, .. } => {
            ('▶', "green", "RESUME_STREAM", format!("after {}", length(*after)))
        }
        Event::Closed { reason, complete, bytes: total, chunks, elapsed } => {
            let text = format!(
                "{}, {} in {}, {}, {}",
                escape(reason),
                bytes(*total),
                count(*chunks, "chunk"),
                length(*elapsed),
                bit_rate(mean_rate(*total, *elapsed)),
            );
            ('■', if *complete { "green" } else { "yellow" }, "CLOSE_STREAM", text)
        }
    };
    Some(Note { symbol, color, name: name.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::{OpenAck, OpenStream, Version};
    use crate::transport::Fingerprint;

    #[test]
    fn off_a_terminal_words_say_it_all() {
        let ack =
            OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };
        let open = OpenStream {
            codec: "h264".into(),
            profile: "\x1b[2Jbase".into(),
            bitrates: vec![240_000, 500_000],
            ..OpenStream::default()
        };
        let connected = Event::Connected {
            server: "[::1]:9000".parse().unwrap(),
            version: Version::V1,
            fingerprint: Fingerprint::of(b"x"),
        };
        let closed = Event::Closed {
            reason: "complete".into(),
            complete: true,
            bytes: 524_288,
            chunks: 8,
            elapsed: Duration::from_secs(8),
        };
        for (event, text) in [
            (connected, "connected to [::1]:9000, protocol version 1, certificate 2D:71:16:42…"),
            (Event::Requested(open), r"OPEN_STREAM h264 \u{1b}[2Jbase, 240 kbit/s or 500 kbit/s"),
            (
                Event::Accepted { session: 1, ack },
                "OPEN_ACK session 1, 500 kbit/s, 64 KiB chunks, keepalive 5 s, timeout 30 s",
            ),
            (
                Event::Paused { seq: 3, cause: Cause::Script(Duration::ZERO) },
                "PAUSE_STREAM after chunk 3, by the script",
            ),
            (
                Event::Paused { seq: 3, cause: Cause::Sink },
                "PAUSE_STREAM after chunk 3, because the player takes nothing",
            ),
            (Event::Resumed { seq: 3, after: Duration::from_secs(2) }, "RESUME_STREAM after 2.0 s"),
            (closed, "CLOSE_STREAM complete, 512 KiB in 8 chunks, 8.0 s, 524 kbit/s"),
        ] {
            assert_eq!(note(&event).unwrap().plain(), text);
        }
    }
}
