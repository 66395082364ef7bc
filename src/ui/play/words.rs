//! What happens during a play, in words.

use crate::client::{Kept, Place, PlayEvent, Unverified, Verdict};
use crate::session::client::Cause;
use crate::ui::screen::EventLine;
use crate::ui::text::{bit_rate, bytes, count, escape, hex, length};

/// Returns what people are told of an event, if anything.
pub(super) fn words(event: &PlayEvent) -> Vec<EventLine> {
    let (symbol, color, name, text, second) = match event {
        PlayEvent::Connected { server, version, fingerprint } => {
            let version = version.number();
            // The first four bytes are enough to compare by eye.
            let short = format!("{:.11}", fingerprint.to_string());
            let text = format!("to {server}, protocol version {version}, certificate {short}…");
            ('●', "cyan", "connected", text, None)
        }
        PlayEvent::Requested(open) => {
            let rates: Vec<_> = open.bitrates.iter().map(|rate| bit_rate((*rate).into())).collect();
            let wanted = [open.codec.as_str(), open.profile.as_str()].map(escape).join(" ");
            ('→', "cyan", "OPEN_STREAM", format!("{wanted}, {}", rates.join(" or ")), None)
        }
        PlayEvent::Accepted {
            session,
            bitrate,
            chunk_size,
            keepalive,
            timeout,
            title,
            size,
            media_type,
            start,
            rate,
        } => {
            let (bits, chunk) = (bit_rate((*bitrate).into()), bytes((*chunk_size).into()));
            let text = format!(
                "session {session}, {bits}, {chunk} chunks, keepalive {keepalive} s, timeout {timeout} s"
            );
            ('←', "cyan", "OPEN_ACK", text, media_line(title, media_type, *size, *start, *rate))
        }
        PlayEvent::Continuing { offset } => {
            let text = format!("at {}: that much is in the file already", bytes(*offset));
            ('→', "cyan", "continuing", text, None)
        }
        PlayEvent::Reconnecting { attempt, delay, offset, cause } => {
            let cause = escape(cause);
            let when = match delay.is_zero() {
                true => "at once".to_owned(),
                false => format!("in {}", length(*delay)),
            };
            let from = match *offset {
                0 => "the start".to_owned(),
                offset => bytes(offset),
            };
            let text = format!("{cause}; try {attempt} {when}, from {from}");
            ('↻', "red", "trying again:", text, None)
        }
        PlayEvent::Chunk { .. } => return Vec::new(),
        PlayEvent::Paused { seq, cause } => {
            let cause = match cause {
                Cause::User => "by you",
                Cause::Script(_) => "by the script",
                Cause::Sink => "because the player takes nothing",
            };
            ('⏸', "yellow", "PAUSE_STREAM", format!("after chunk {seq}, {cause}"), None)
        }
        PlayEvent::Resumed { after, .. } => {
            ('▶', "green", "RESUME_STREAM", format!("after {}", length(*after)), None)
        }
        PlayEvent::Closed {
            reason,
            complete,
            bytes: total,
            chunks,
            elapsed,
            bits_per_second,
            verdict,
        } => {
            let text = format!(
                "{}, {} in {}, {}, {}",
                escape(reason),
                bytes(*total),
                count(*chunks, "chunk"),
                length(*elapsed),
                bit_rate(*bits_per_second as f64),
            );
            let color = if *complete { "green" } else { "yellow" };
            ('■', color, "CLOSE_STREAM", text, verdict_line(verdict))
        }
    };
    let first = EventLine::new(symbol, color, name, text);
    std::iter::once(first).chain(second).collect()
}

/// What will come and how fast, as far as the server said.
fn media_line(
    title: &Option<String>,
    media_type: &Option<String>,
    size: Option<u64>,
    start: Option<u64>,
    rate: Option<u64>,
) -> Option<EventLine> {
    let escaped = |text: &Option<String>| text.as_deref().map(|text| escape(text).into_owned());
    let start = start.filter(|start| *start > 0);
    let fields = [
        escaped(title),
        escaped(media_type),
        size.map(bytes),
        start.map(|start| format!("from {}", bytes(start))),
        rate.map(|rate| match rate {
            0 => "as fast as it goes".to_owned(),
            rate => format!("paced at {}", bit_rate(rate as f64)),
        }),
    ];
    let mut fields = fields.into_iter().flatten();
    let first = fields.next()?;
    let rest = fields.collect::<Vec<_>>().join(", ");
    let comma = if rest.is_empty() { "" } else { "," };
    Some(EventLine::new('←', "cyan", format!("{first}{comma}"), rest))
}

/// What became of the media, and whether it is what the server has. Nothing of a part, which the
/// last line of the play names.
pub(in crate::ui) fn verdict_line(verdict: &Verdict) -> Option<EventLine> {
    let (place, total, unverified) = match &verdict.kept {
        Kept::Discarded => {
            let text =
                "-O saves it under its title's name, -o FILE as FILE, -o - pipes it to a player";
            return Some(EventLine::new('○', "yellow", "nothing kept:", text));
        }
        Kept::Nothing | Kept::Media { place: Place::Part(_), .. } => return None,
        Kept::Media { place, bytes, unverified } => (place, *bytes, *unverified),
    };
    let (name, place) = match place {
        Place::Stream(what) => ("written", format!("to {}", escape(what))),
        Place::File(path) | Place::Part(path) => {
            ("saved", escape(&path.to_string_lossy()).into_owned())
        }
    };
    let whole = !matches!(unverified, Some(Unverified::Incomplete | Unverified::NotSaved));
    // Of what was not checked, the digest that the server announced may not be the digest.
    let computed = matches!(unverified, None | Some(Unverified::NoDigest));
    let digest = verdict.digest.filter(|_| computed).map(hex);
    let (symbol, color, verified) = match unverified {
        None => ('✓', "green", "verified".to_owned()),
        Some(why) => ('!', "yellow", format!("NOT verified: {why}")),
    };
    let fields = [
        Some(place),
        whole.then(|| bytes(total)),
        digest.map(|digest| format!("BLAKE3 {digest:.8}…")),
        Some(verified),
    ];
    let text = fields.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(EventLine::new(symbol, color, name, text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::{OpenStream, Version};
    use crate::transport::Fingerprint;

    #[test]
    fn off_a_terminal_words_say_it_all() {
        let open = OpenStream {
            codec: "h264".into(),
            profile: "\x1b[2Jbase".into(),
            bitrates: vec![240_000, 500_000],
            ..OpenStream::default()
        };
        let connected = PlayEvent::Connected {
            server: "[::1]:9000".parse().unwrap(),
            version: Version::V1,
            fingerprint: Fingerprint::of(b"x"),
        };
        let closed = PlayEvent::Closed {
            reason: "complete".into(),
            complete: true,
            bytes: 524_288,
            chunks: 8,
            elapsed: Duration::from_secs(8),
            bits_per_second: 524_288,
            verdict: Verdict { digest: None, kept: Kept::Nothing },
        };
        let reconnecting = |offset| {
            let delay = Duration::from_millis(500);
            PlayEvent::Reconnecting { attempt: 2, delay, offset, cause: "reset\x07".into() }
        };
        for (event, text) in [
            (connected, "connected to [::1]:9000, protocol version 1, certificate 2D:71:16:42…"),
            (
                PlayEvent::Requested(open),
                r"OPEN_STREAM h264 \u{1b}[2Jbase, 240 kbit/s or 500 kbit/s",
            ),
            (
                PlayEvent::Continuing { offset: 12 << 20 },
                "continuing at 12 MiB: that much is in the file already",
            ),
            (reconnecting(12 << 20), r"trying again: reset\u{7}; try 2 in 0.5 s, from 12 MiB"),
            (reconnecting(0), r"trying again: reset\u{7}; try 2 in 0.5 s, from the start"),
            (
                PlayEvent::Paused { seq: 3, cause: Cause::Script(Duration::ZERO) },
                "PAUSE_STREAM after chunk 3, by the script",
            ),
            (
                PlayEvent::Paused { seq: 3, cause: Cause::Sink },
                "PAUSE_STREAM after chunk 3, because the player takes nothing",
            ),
            (
                PlayEvent::Resumed { seq: 3, after: Duration::from_secs(2) },
                "RESUME_STREAM after 2.0 s",
            ),
            (closed, "CLOSE_STREAM complete, 512 KiB in 8 chunks, 8.0 s, 524 kbit/s"),
        ] {
            let [line] = &words(&event)[..] else { panic!("{text}") };
            assert_eq!(line.plain(), text);
        }
    }

    #[test]
    fn what_became_of_the_media_is_said_and_whether_it_was_checked() {
        let said = |digest, kept| verdict_line(&Verdict { digest, kept }).map(|line| line.plain());
        let media = |place, unverified| {
            said(Some([0xc1; 32]), Kept::Media { place, bytes: 3_187_671, unverified })
        };
        let file = || Place::File("a\x07.mp4".into());
        let stdout = || Place::Stream("stdout".into());
        assert_eq!(said(None, Kept::Nothing), None);
        assert_eq!(media(Place::Part("a.part".into()), Some(Unverified::Incomplete)), None);
        for (text, said) in [
            (
                "nothing kept: -O saves it under its title's name, -o FILE as FILE, -o - pipes it to \
                 a player",
                said(None, Kept::Discarded),
            ),
            (r"saved a\u{7}.mp4, 3.04 MiB, BLAKE3 c1c1c1c1…, verified", media(file(), None)),
            (
                r"saved a\u{7}.mp4, 3.04 MiB, NOT verified: --no-verify was given",
                media(file(), Some(Unverified::NotWanted)),
            ),
            (
                "written to stdout, 3.04 MiB, BLAKE3 c1c1c1c1…, NOT verified: the server sent no \
                 digest: it has none, or not yet",
                media(stdout(), Some(Unverified::NoDigest)),
            ),
            (
                "written to stdout, NOT verified: it is not complete",
                media(stdout(), Some(Unverified::Incomplete)),
            ),
        ] {
            assert_eq!(said.as_deref(), Some(text));
        }
    }

    #[test]
    fn of_the_media_there_is_as_much_as_the_server_said() {
        let lines = |title: Option<&str>, size, media_type: Option<&str>, start, rate| {
            let event = PlayEvent::Accepted {
                session: 1,
                bitrate: 500_000,
                chunk_size: 65_536,
                keepalive: 5,
                timeout: 30,
                title: title.map(String::from),
                size,
                media_type: media_type.map(String::from),
                start,
                rate,
            };
            words(&event).iter().map(EventLine::plain).collect::<Vec<_>>()
        };
        let terms = "OPEN_ACK session 1, 500 kbit/s, 64 KiB chunks, keepalive 5 s, timeout 30 s";
        assert_eq!(lines(None, None, None, None, None), [terms]);
        let said = r"a film\u{7}.mp4, video/mp4, 20 MiB, from 5 MiB, as fast as it goes";
        let (size, start) = (Some(20 << 20), Some(5 << 20));
        let film = lines(Some("a film\x07.mp4"), size, Some("video/mp4"), start, Some(0));
        assert_eq!(film, [terms, said]);
        assert_eq!(lines(Some("live"), None, None, Some(0), None), [terms, "live"]);
        let silent = lines(None, None, None, None, Some(500_000));
        assert_eq!(silent, [terms, "paced at 500 kbit/s"]);
    }
}
