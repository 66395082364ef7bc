//! Protocol events in words.

use crate::client::{Event, Kept, MediaInfo, Place, Unverified, Verdict};
use crate::session::client::Cause;
use crate::ui::screen::Note;
use crate::ui::text::{bit_rate, bytes, count, escape, hex, length, mean_rate};

/// What people are told of an event, if anything.
pub(super) fn notes(event: &Event) -> Vec<Note> {
    match event {
        Event::Accepted { media, start, rate, .. } => {
            note(event).into_iter().chain(of_media(media, *start, *rate)).collect()
        }
        Event::Closed { verdict, .. } => {
            note(event).into_iter().chain(of_verdict(verdict)).collect()
        }
        event => note(event).into_iter().collect(),
    }
}

/// What will come and how fast, as far as the server said, on a line of its own.
fn of_media(media: &MediaInfo, start: u64, rate: Option<u64>) -> Option<Note> {
    let rate = rate.map(|rate| match rate {
        0 => "as fast as it goes".to_owned(),
        rate => format!("paced at {}", bit_rate(rate as f64)),
    });
    let said = |text: &Option<String>| text.as_deref().map(|text| escape(text).into_owned());
    let fields = [
        said(&media.title),
        said(&media.media_type),
        media.size.map(bytes),
        (start > 0).then(|| format!("from {}", bytes(start))),
        rate,
    ];
    let mut fields: Vec<_> = fields.into_iter().flatten().collect();
    if let Some((_, but_last)) = fields.split_last_mut() {
        but_last.iter_mut().for_each(|field| field.push(','));
    }
    let (name, rest) = fields.split_first()?;
    Some(Note { symbol: '←', color: "cyan", name: name.clone(), text: rest.join(" ") })
}

/// What became of the media, and whether it is what the server has. Of a part there is no more to
/// say than the last word of the play does.
fn of_verdict(verdict: &Verdict) -> Option<Note> {
    let (place, total, unverified) = match &verdict.kept {
        Kept::Discarded => {
            let text =
                "-O saves it under its title's name, -o FILE as FILE, -o - pipes it to a player";
            let name = "nothing kept:".to_owned();
            return Some(Note { symbol: '○', color: "yellow", name, text: text.to_owned() });
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
    // Of what was not checked, an announced digest would say what it is not known to be.
    let computed = matches!(unverified, None | Some(Unverified::NoDigest));
    let digest = verdict.digest.filter(|_| computed).map(hex);
    let short = |digest: String| format!("BLAKE3 {digest:.8}…");
    let (symbol, color, verified) = match unverified {
        None => ('✓', "green", "verified".to_owned()),
        Some(why) => ('!', "yellow", format!("NOT verified: {why}")),
    };
    let fields = [Some(place), whole.then(|| bytes(total)), digest.map(short), Some(verified)];
    let text = fields.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(Note { symbol, color, name: name.to_owned(), text })
}

fn note(event: &Event) -> Option<Note> {
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
        Event::Accepted { session, ack, .. } => {
            let rate = bit_rate(ack.bitrate.into());
            let chunk = bytes(ack.max_chunk_size.into());
            let (keepalive, timeout) = (ack.keepalive, ack.session_timeout);
            let text = format!(
                "session {session}, {rate}, {chunk} chunks, keepalive {keepalive} s, timeout {timeout} s"
            );
            ('←', "cyan", "OPEN_ACK", text)
        }
        Event::Continuing { offset } => {
            let text = format!("at {}: that much is in the file already", bytes(*offset));
            ('→', "cyan", "continuing", text)
        }
        Event::Reconnecting { attempt, delay, offset, cause } => {
            let (cause, delay) = (escape(cause), length(*delay));
            let from = match *offset {
                0 => "the start".to_owned(),
                offset => bytes(offset),
            };
            let text = format!("{cause}; try {attempt} in {delay}, from {from}");
            ('↻', "red", "trying again:", text)
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
        Event::Closed { reason, complete, bytes: total, chunks, elapsed, .. } => {
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
            verdict: Verdict { digest: None, kept: Kept::Nothing },
        };
        let reconnecting = |offset| {
            let delay = Duration::from_millis(500);
            Event::Reconnecting { attempt: 2, delay, offset, cause: "reset\x07".into() }
        };
        for (event, text) in [
            (connected, "connected to [::1]:9000, protocol version 1, certificate 2D:71:16:42…"),
            (Event::Requested(open), r"OPEN_STREAM h264 \u{1b}[2Jbase, 240 kbit/s or 500 kbit/s"),
            (
                Event::Continuing { offset: 12 << 20 },
                "continuing at 12 MiB: that much is in the file already",
            ),
            (reconnecting(12 << 20), r"trying again: reset\u{7}; try 2 in 0.5 s, from 12 MiB"),
            (reconnecting(0), r"trying again: reset\u{7}; try 2 in 0.5 s, from the start"),
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
            let [note] = &notes(&event)[..] else { panic!("{text}") };
            assert_eq!(note.plain(), text);
        }
    }

    #[test]
    fn what_became_of_the_media_is_said_and_whether_it_was_checked() {
        let said = |digest, kept| of_verdict(&Verdict { digest, kept }).map(|note| note.plain());
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
        let ack =
            OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };
        let lines = |media, start, rate| {
            let event = Event::Accepted { session: 1, ack, media, start, rate };
            notes(&event).iter().map(Note::plain).collect::<Vec<_>>()
        };
        let terms = "OPEN_ACK session 1, 500 kbit/s, 64 KiB chunks, keepalive 5 s, timeout 30 s";
        assert_eq!(lines(MediaInfo::default(), 0, None), [terms]);
        let film = MediaInfo {
            title: Some("film\x07.mp4".into()),
            size: Some(20 << 20),
            media_type: Some("video/mp4".into()),
        };
        let said = r"film\u{7}.mp4, video/mp4, 20 MiB, from 5 MiB, as fast as it goes";
        assert_eq!(lines(film, 5 << 20, Some(0)), [terms, said]);
        let live = MediaInfo { title: Some("live".into()), ..MediaInfo::default() };
        assert_eq!(lines(live, 0, None), [terms, "live"]);
        let silent = MediaInfo::default();
        assert_eq!(lines(silent, 0, Some(500_000)), [terms, "paced at 500 kbit/s"]);
    }
}
