//! Events as JSON, one object a line, for programs.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::serve::Told;
use super::text::{hex, mean_rate};
use super::timestamp;
use crate::client::{Kept, Place};
use crate::{client, server};

/// The line for something that happened a moment ago.
pub(super) fn line(start: Instant, at: Instant, event: Object<'_>) -> serde_json::Result<String> {
    let time = timestamp::to_the_millisecond(timestamp::of(at));
    stamped(at.saturating_duration_since(start), time, event)
}

fn stamped(since_start: Duration, time: String, event: Object<'_>) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Stamped<'a> {
        t: f64,
        time: String,
        #[serde(flatten)]
        event: Object<'a>,
    }
    serde_json::to_string(&Stamped { t: seconds(since_start), time, event })
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
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rate: Option<u64>,
    },
    Continuing {
        offset: u64,
    },
    Reconnecting {
        attempt: u32,
        delay: f64,
        offset: u64,
        cause: &'a str,
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
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// `None` if nothing was kept.
        verified: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    Listening {
        addr: SocketAddr,
        fingerprint: String,
        url: &'a str,
    },
    SessionOpened {
        session: u32,
        peer: SocketAddr,
        version: u8,
        bitrate: u32,
        rate: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<u64>,
    },
    SessionRefused {
        peer: SocketAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
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
    Lost {
        events: u64,
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
            Event::Accepted { session, ack, media, start, rate } => Object::Accepted {
                session: *session,
                bitrate: ack.bitrate,
                chunk_size: ack.max_chunk_size,
                keepalive: ack.keepalive,
                timeout: ack.session_timeout,
                title: media.title.as_deref(),
                size: media.size,
                start: of_what(media.title.is_some() || media.size.is_some(), *start),
                rate: *rate,
            },
            Event::Continuing { offset } => Object::Continuing { offset: *offset },
            Event::Reconnecting { attempt, delay, offset, cause } => Object::Reconnecting {
                attempt: *attempt,
                delay: seconds(*delay),
                offset: *offset,
                cause,
            },
            Event::Chunk { seq, bytes, total, skipped } => {
                Object::Chunk { seq: *seq, bytes: *bytes, total: *total, skipped: *skipped }
            }
            Event::Paused { seq, .. } => Object::Paused { seq: *seq },
            Event::Resumed { seq, after } => {
                Object::Resumed { seq: *seq, seconds: seconds(*after) }
            }
            Event::Closed { reason, complete, bytes, chunks, elapsed, verdict } => {
                let (file, verified, why) = of_kept(&verdict.kept);
                Object::Closed {
                    reason,
                    complete: *complete,
                    bytes: *bytes,
                    chunks: *chunks,
                    seconds: seconds(*elapsed),
                    bits_per_second: mean_rate(*bytes, *elapsed) as u64,
                    file,
                    digest: verdict.digest.map(hex),
                    verified,
                    why,
                }
            }
        })
    }

    /// What programs are told of a server.
    pub(super) fn of_server(told: &'a Told) -> Self {
        use server::Event;
        match told {
            Told::Listening { addr, fingerprint, url, .. } => {
                Object::Listening { addr: *addr, fingerprint: fingerprint.to_string(), url }
            }
            Told::Session(Event::Opened {
                session,
                peer,
                version,
                bitrate,
                rate,
                title,
                start,
            }) => Object::SessionOpened {
                session: *session,
                peer: *peer,
                version: version.number(),
                bitrate: *bitrate,
                rate: *rate,
                title: (!title.is_empty()).then_some(title),
                start: of_what(!title.is_empty(), *start),
            },
            Told::Session(Event::Refused { peer, title, code, reason }) => {
                Object::SessionRefused { peer: *peer, title: title.as_deref(), code: *code, reason }
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

/// The file where media was kept, whether it is verified, and why not.
fn of_kept(kept: &Kept) -> (Option<String>, Option<bool>, Option<String>) {
    let Kept::Media { place, unverified, .. } = kept else { return (None, None, None) };
    let file = match place {
        Place::File(path) | Place::Part(path) => Some(path.to_string_lossy().into_owned()),
        Place::Stream(_) => None,
    };
    (file, Some(unverified.is_none()), unverified.map(|why| why.to_string()))
}

/// Where it starts, if that says something: a start at 0 does where it is known of what.
fn of_what(known: bool, start: u64) -> Option<u64> {
    (known || start > 0).then_some(start)
}

/// Seconds to the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
