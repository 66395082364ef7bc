use super::*;
use crate::client::{MediaInfo, Unverified, Verdict};
use crate::protocol::{OpenAck, OpenStream, Version};
use crate::session::client::Cause;
use crate::transport::Fingerprint;

/// The line for something that happened 1.234 s after the start.
fn line(object: Object<'_>) -> String {
    let time = "2026-11-25T04:44:30.123Z".to_owned();
    stamped(Duration::from_micros(1_234_567), time, object).unwrap()
}

/// The same line, from what is special to the event.
fn expected(event: &str) -> String {
    format!(r#"{{"t":1.234,"time":"2026-11-25T04:44:30.123Z","event":{event}}}"#)
}

fn peer() -> SocketAddr {
    "[::1]:9000".parse().unwrap()
}

const CLOSED: &str = r#""closed","reason":"complete","complete":true,"bytes":524288,"chunks":8,"seconds":8.0,"bits_per_second":524288"#;

#[test]
fn what_programs_are_told_of_a_client() {
    use client::Event;
    let fingerprint = Fingerprint::of(b"certificate");
    let ack =
        OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };
    let (server, version) = (peer(), Version::V1);
    let seconds = Duration::from_secs;
    let closed = |digest, kept| Event::Closed {
        reason: "complete".into(),
        complete: true,
        bytes: 524_288,
        chunks: 8,
        elapsed: seconds(8),
        verdict: Verdict { digest, kept },
    };
    let kept = |place, unverified| Kept::Media { place, bytes: 524_288, unverified };
    let accepted = |media, start, rate| Event::Accepted { session: 7, ack, media, start, rate };
    let film =
        MediaInfo { title: Some("a/b.mp4".into()), size: Some(524_288), ..MediaInfo::default() };
    let nameless = MediaInfo { media_type: Some("video/mp4".into()), ..MediaInfo::default() };
    for (event, json) in [
        (
            Event::Connected { server, version, fingerprint },
            format!(
                r#""connected","server":"[::1]:9000","alpn":"quic-stream-proto","fingerprint":"{fingerprint}""#
            ),
        ),
        (
            accepted(MediaInfo::default(), 0, None),
            r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30"#.into(),
        ),
        (
            accepted(film, 0, Some(0)),
            r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30,"title":"a/b.mp4","size":524288,"start":0,"rate":0"#.into(),
        ),
        (
            accepted(nameless, 9, None),
            r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30,"start":9"#.into(),
        ),
        (Event::Continuing { offset: 65_536 }, r#""continuing","offset":65536"#.into()),
        (
            Event::Reconnecting {
                attempt: 2,
                delay: Duration::from_micros(500_700),
                offset: 65_536,
                cause: "reset\nby peer".into(),
            },
            r#""reconnecting","attempt":2,"delay":0.5,"offset":65536,"cause":"reset\nby peer""#.into(),
        ),
        (
            Event::Chunk { seq: 3, bytes: 65_536, total: 196_608, skipped: 0 },
            r#""chunk","seq":3,"bytes":65536,"total":196608,"skipped":0"#.into(),
        ),
        (Event::Paused { seq: 3, cause: Cause::User }, r#""paused","seq":3"#.into()),
        (
            Event::Resumed { seq: 3, after: Duration::from_micros(2_003_900) },
            r#""resumed","seq":3,"seconds":2.003"#.into(),
        ),
        (
            closed(None, Kept::Discarded),
            format!(r#"{CLOSED},"verified":null"#),
        ),
        (
            closed(None, Kept::Nothing),
            format!(r#"{CLOSED},"verified":null"#),
        ),
        (
            closed(Some([0xc1; 32]), kept(Place::File("a\n.mp4".into()), None)),
            format!(r#"{CLOSED},"file":"a\n.mp4","digest":"{}","verified":true"#, "c1".repeat(32)),
        ),
        (
            closed(None, kept(Place::Stream("stdout".into()), Some(Unverified::Version1))),
            format!(r#"{CLOSED},"verified":false,"why":"protocol version 1 has no digests""#),
        ),
        (
            closed(None, kept(Place::Part("a.mp4.part".into()), Some(Unverified::Incomplete))),
            format!(r#"{CLOSED},"file":"a.mp4.part","verified":false,"why":"it is not complete""#),
        ),
    ] {
        let object = Object::of_client(&event).unwrap();
        assert_eq!(line(object), expected(&json));
    }
    assert!(Object::of_client(&Event::Requested(OpenStream::default())).is_none());
}

#[test]
fn what_programs_are_told_of_a_server() {
    use server::Event;
    let fingerprint = Fingerprint::of(b"certificate");
    let (addr, peer, session) = (peer(), peer(), 7);
    let opened = |title: &str, start| {
        let (version, bitrate, rate, title) = (Version::V1, 240_000, 250_000, title.to_owned());
        Told::Session(Event::Opened { session, peer, version, bitrate, rate, title, start })
    };
    let refused = |title: Option<&str>| {
        let (title, reason) = (title.map(String::from), "a \"codec\"".into());
        Told::Session(Event::Refused { peer, title, code: 1, reason })
    };
    for (told, json) in [
        (
            Told::Listening {
                addr,
                fingerprint,
                media: "clip.mp4".into(),
                url: "quicstream://[::1]:9000/clip.mp4".into(),
            },
            format!(
                r#""listening","addr":"[::1]:9000","fingerprint":"{fingerprint}","url":"quicstream://[::1]:9000/clip.mp4""#
            ),
        ),
        (
            opened("", 0),
            r#""session_opened","session":7,"peer":"[::1]:9000","version":1,"bitrate":240000,"rate":250000"#.into(),
        ),
        (
            opened("a/b.mp4", 9),
            r#""session_opened","session":7,"peer":"[::1]:9000","version":1,"bitrate":240000,"rate":250000,"title":"a/b.mp4","start":9"#.into(),
        ),
        (
            refused(None),
            r#""session_refused","peer":"[::1]:9000","code":1,"reason":"a \"codec\"""#.into(),
        ),
        (
            refused(Some("a/b.mp4")),
            r#""session_refused","peer":"[::1]:9000","title":"a/b.mp4","code":1,"reason":"a \"codec\"""#.into(),
        ),
        (
            Told::Session(Event::Paused { session, seq: 3 }),
            r#""session_paused","session":7,"seq":3"#.into(),
        ),
        (
            Told::Session(Event::Resumed { session, seq: 3 }),
            r#""session_resumed","session":7,"seq":3"#.into(),
        ),
        (
            Told::Session(Event::Closed {
                session,
                peer,
                reason: "complete".into(),
                bytes: 10,
                chunks: 2,
                elapsed: Duration::from_millis(1500),
            }),
            r#""session_closed","session":7,"peer":"[::1]:9000","reason":"complete","bytes":10,"chunks":2,"seconds":1.5"#.into(),
        ),
    ] {
        let object = Object::of_server(&told);
        assert_eq!(line(object), expected(&json));
    }
}

#[test]
fn what_programs_are_told_of_failures() {
    let error = Object::Error { message: "no route\nto host", exit: 4 };
    assert_eq!(line(error), expected(r#""error","message":"no route\nto host","exit":4"#));
    assert_eq!(line(Object::Lost { events: 12 }), expected(r#""lost","events":12"#));
}
