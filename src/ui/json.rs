//! Events as JSON, one object a line, for programs.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::serve::Told;
use super::text::mean_rate;
use crate::{client, server};

/// The line for something that happened at a time since the start.
pub(super) fn line(since_start: Duration, event: Object<'_>) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Stamped<'a> {
        t: f64,
        #[serde(flatten)]
        event: Object<'a>,
    }
    serde_json::to_string(&Stamped { t: seconds(since_start), event })
}

/// What a line is about. The names and their order are a contract with scripts.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Object<'a> {
    Connected {
        server: SocketAddr,
        alpn: &'static str,
        fingerprint: String,
    },
    Accepted {
        session: u32,
        bitrate: u32,
        chunk_size: u32,
        keepalive: u32,
        timeout: u32,
    },
    Chunk {
        seq: u32,
        bytes: u64,
        total: u64,
        skipped: u64,
    },
    Paused {
        seq: u32,
    },
    Resumed {
        seq: u32,
        seconds: f64,
    },
    Closed {
        reason: &'a str,
        complete: bool,
        bytes: u64,
        chunks: u64,
        seconds: f64,
        bits_per_second: u64,
    },
    Listening {
        addr: SocketAddr,
        fingerprint: String,
    },
    SessionOpened {
        session: u32,
        peer: SocketAddr,
        version: u8,
        bitrate: u32,
        rate: u64,
    },
    SessionRefused {
        peer: SocketAddr,
        code: u16,
        reason: &'a str,
    },
    SessionPaused {
        session: u32,
        seq: u32,
    },
    SessionResumed {
        session: u32,
        seq: u32,
    },
    SessionClosed {
        session: u32,
        peer: SocketAddr,
        reason: &'a str,
        bytes: u64,
        chunks: u64,
        seconds: f64,
    },
    Error {
        message: &'a str,
        exit: u8,
    },
}

impl<'a> Object<'a> {
    /// What programs are told of a client's event, if anything.
    pub(super) fn of_client(event: &'a client::Event) -> Option<Self> {
        use client::Event;
        Some(match event {
            Event::Connected { server, version, fingerprint } => Object::Connected {
                server: *server,
                alpn: version.alpn(),
                fingerprint: fingerprint.to_string(),
            },
            Event::Requested(_) => return None,
            Event::Accepted { session, ack } => Object::Accepted {
                session: *session,
                bitrate: ack.bitrate,
                chunk_size: ack.max_chunk_size,
                keepalive: ack.keepalive,
                timeout: ack.session_timeout,
            },
            Event::Chunk { seq, bytes, total, skipped } => {
                Object::Chunk { seq: *seq, bytes: *bytes, total: *total, skipped: *skipped }
            }
            Event::Paused { seq, .. } => Object::Paused { seq: *seq },
            Event::Resumed { seq, after } => {
                Object::Resumed { seq: *seq, seconds: seconds(*after) }
            }
            Event::Closed { reason, complete, bytes, chunks, elapsed } => Object::Closed {
                reason,
                complete: *complete,
                bytes: *bytes,
                chunks: *chunks,
                seconds: seconds(*elapsed),
                bits_per_second: mean_rate(*bytes, *elapsed) as u64,
            },
        })
    }

    /// What programs are told of a server.
    pub(super) fn of_server(told: &'a Told) -> Self {
        use server::Event;
        match told {
            Told::Listening { addr, fingerprint, .. } => {
                Object::Listening { addr: *addr, fingerprint: fingerprint.to_string() }
            }
            Told::Session(Event::Opened { session, peer, version, bitrate, rate }) => {
                Object::SessionOpened {
                    session: *session,
                    peer: *peer,
                    version: version.number(),
                    bitrate: *bitrate,
                    rate: *rate,
                }
            }
            Told::Session(Event::Refused { peer, code, reason }) => {
                Object::SessionRefused { peer: *peer, code: *code, reason }
            }
            Told::Session(Event::Paused { session, seq }) => {
                Object::SessionPaused { session: *session, seq: *seq }
            }
            Told::Session(Event::Resumed { session, seq }) => {
                Object::SessionResumed { session: *session, seq: *seq }
            }
            Told::Session(Event::Closed { session, peer, reason, bytes, chunks, elapsed }) => {
                Object::SessionClosed {
                    session: *session,
                    peer: *peer,
                    reason,
                    bytes: *bytes,
                    chunks: *chunks,
                    seconds: seconds(*elapsed),
                }
            }
        }
    }
}

/// Seconds to the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{OpenAck, OpenStream, Version};
    use crate::session::client::Cause;
    use crate::transport::Fingerprint;

    const AT: Duration = Duration::from_micros(1_234_567);

    fn peer() -> SocketAddr {
        "[::1]:9000".parse().unwrap()
    }

    #[test]
    fn what_programs_are_told_of_a_client() {
        use client::Event;
        let fingerprint = Fingerprint::of(b"certificate");
        let ack =
            OpenAck { bitrate: 500_000, max_chunk_size: 65_536, keepalive: 5, session_timeout: 30 };
        let (server, version) = (peer(), Version::V1);
        let seconds = Duration::from_secs;
        for (event, json) in [
            (
                Event::Connected { server, version, fingerprint },
                format!(
                    r#""connected","server":"[::1]:9000","alpn":"quic-stream-proto","fingerprint":"{fingerprint}""#
                ),
            ),
            (
                Event::Accepted { session: 7, ack },
                r#""accepted","session":7,"bitrate":500000,"chunk_size":65536,"keepalive":5,"timeout":30"#.into(),
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
                Event::Closed {
                    reason: "complete".into(),
                    complete: true,
                    bytes: 524_288,
                    chunks: 8,
                    elapsed: seconds(8),
                },
                r#""closed","reason":"complete","complete":true,"bytes":524288,"chunks":8,"seconds":8.0,"bits_per_second":524288"#.into(),
            ),
        ] {
            let object = Object::of_client(&event).unwrap();
            assert_eq!(line(AT, object).unwrap(), format!(r#"{{"t":1.234,"event":{json}}}"#));
        }
        assert!(Object::of_client(&Event::Requested(OpenStream::default())).is_none());
    }

    #[test]
    fn what_programs_are_told_of_a_server() {
        use server::Event;
        let fingerprint = Fingerprint::of(b"certificate");
        let (addr, peer, session) = (peer(), peer(), 7);
        for (told, json) in [
            (
                Told::Listening { addr, fingerprint, media: "clip.mp4".into() },
                format!(r#""listening","addr":"[::1]:9000","fingerprint":"{fingerprint}""#),
            ),
            (
                Told::Session(Event::Opened {
                    session,
                    peer,
                    version: Version::V1,
                    bitrate: 240_000,
                    rate: 250_000,
                }),
                r#""session_opened","session":7,"peer":"[::1]:9000","version":1,"bitrate":240000,"rate":250000"#.into(),
            ),
            (
                Told::Session(Event::Refused { peer, code: 1, reason: "a \"codec\"".into() }),
                r#""session_refused","peer":"[::1]:9000","code":1,"reason":"a \"codec\"""#.into(),
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
            assert_eq!(line(AT, object).unwrap(), format!(r#"{{"t":1.234,"event":{json}}}"#));
        }
    }

    #[test]
    fn what_programs_are_told_of_a_failure() {
        let error = Object::Error { message: "no route\nto host", exit: 4 };
        assert_eq!(
            line(Duration::ZERO, error).unwrap(),
            r#"{"t":0.0,"event":"error","message":"no route\nto host","exit":4}"#
        );
    }
}
