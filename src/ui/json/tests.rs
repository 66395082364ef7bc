use std::net::SocketAddr;

use super::*;
use crate::client::{self, Kept, Place, Unverified, Verdict};
use crate::protocol::{OpenStream, Version};
use crate::server;
use crate::session::client::Cause;
use crate::transport::Fingerprint;

/// The line for something that happened 1.234 s after the start.
fn line(event: &impl Serialize) -> String {
    let time = "2026-11-25T04:44:30.123Z".to_owned();
    stamped(Duration::from_micros(1_234_567), time, event).unwrap()
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
    use client::PlayEvent;
    let fingerprint = Fingerprint::of(b"certificate");
    let (server, version) = (peer(), Version::V1);
    let seconds = Duration::from_secs;
    let closed = |digest, kept| PlayEvent::Closed {
        reason: "complete".into(),
        complete: true,
        bytes: 524_288,
        chunks: 8,
        elapsed: seconds(8),
        bits_per_second: 524_288,
        verdict: Verdict { digest, kept },
    };
    let kept = |place, unverified| Kept::Media { place, bytes: 524_288, unverified };
    let accepted = |title: Option<&str>, size, start, rate| PlayEvent::Accepted {
        session: 7,
        bitrate: 500_000,
        chunk_size: 65_536,
        keepalive: 5,
        timeout: 30,
        title: title.map(String::from),
        size,
        media_type: Some("video/mp4".into()),
        start,
        rate,
    };
    for (event, json) in [
        (
            PlayEvent::Connected { server, version, fingerprint },
            format!(
                r#""connected","server":"[::1]:9000","alpn":"quic-stream-proto","fingerprint":"{fingerprint}""#
            ),
        ),
        (
            accepted(None, None, None, None),
            r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30"#.into(),
        ),
        (
            accepted(Some("a/b.mp4"), Some(524_288), Some(0), Some(0)),
            r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30,"title":"a/b.mp4","size":524288,"start":0,"rate":0"#.into(),
        ),
        (
            accepted(None, None, Some(9), None),
            r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30,"start":9"#.into(),
        ),
        (PlayEvent::Continuing { offset: 65_536 }, r#""continuing","offset":65536"#.into()),
        (
            PlayEvent::Reconnecting {
                attempt: 2,
                delay: Duration::from_micros(500_700),
                offset: 65_536,
                cause: "reset\nby peer".into(),
            },
            r#""reconnecting","attempt":2,"delay":0.5,"offset":65536,"cause":"reset\nby peer""#.into(),
        ),
        (
            PlayEvent::Chunk { seq: 3, bytes: 65_536, total: 196_608, skipped: 0 },
            r#""chunk","seq":3,"bytes":65536,"total":196608,"skipped":0"#.into(),
        ),
        (PlayEvent::Paused { seq: 3, cause: Cause::User }, r#""paused","seq":3"#.into()),
        (
            PlayEvent::Resumed { seq: 3, after: Duration::from_micros(2_003_900) },
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
        assert_eq!(line(&event), expected(&json));
    }
    let for_people = PlayEvent::Requested(OpenStream::default());
    assert!(super::line(Instant::now(), Instant::now(), &for_people).is_err());
}

#[test]
fn what_programs_are_told_of_a_server() {
    use server::ServeEvent;
    let fingerprint = Fingerprint::of(b"certificate");
    let (addr, peer, session) = (peer(), peer(), 7);
    let opened = |title: Option<&str>, start| {
        let (version, bitrate, rate) = (Version::V1, 240_000, 250_000);
        let title = title.map(String::from);
        ServeEvent::Opened { session, peer, version, bitrate, rate, title, start, token: None }
    };
    let refused = |title: Option<&str>| {
        let (title, reason) = (title.map(String::from), "a \"codec\"".into());
        ServeEvent::Refused { peer, title, code: 1, reason, more: 0 }
    };
    for (event, json) in [
        (
            ServeEvent::Listening {
                addr,
                fingerprint,
                media: "clip.mp4".into(),
                url: "quicstream://[::1]:9000/clip.mp4".into(),
                admin: None,
            },
            format!(
                r#""listening","addr":"[::1]:9000","fingerprint":"{fingerprint}","url":"quicstream://[::1]:9000/clip.mp4""#
            ),
        ),
        (
            opened(None, None),
            r#""session_opened","session":7,"peer":"[::1]:9000","version":1,"bitrate":240000,"rate":250000"#.into(),
        ),
        (
            opened(Some("a/b.mp4"), Some(9)),
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
            ServeEvent::Paused { session, seq: 3 },
            r#""session_paused","session":7,"seq":3"#.into(),
        ),
        (
            ServeEvent::Resumed { session, seq: 3 },
            r#""session_resumed","session":7,"seq":3"#.into(),
        ),
        (
            ServeEvent::Closed {
                session,
                peer,
                reason: "complete".into(),
                bytes: 10,
                chunks: 2,
                elapsed: Duration::from_millis(1500),
            },
            r#""session_closed","session":7,"peer":"[::1]:9000","reason":"complete","bytes":10,"chunks":2,"seconds":1.5"#.into(),
        ),
    ] {
        assert_eq!(line(&event), expected(&json));
    }
}

#[test]
fn what_programs_are_told_of_failures() {
    let failure = Failure { message: "no route\nto host".into(), exit: 4 };
    assert_eq!(
        line(&OwnEvent::Error(&failure)),
        expected(r#""error","message":"no route\nto host","exit":4"#)
    );
    assert_eq!(line(&OwnEvent::Lost { events: 12 }), expected(r#""lost","events":12"#));
}
