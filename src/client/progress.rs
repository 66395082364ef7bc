//! The progress of a play, for whoever watches it. Nothing here ever waits for the watcher.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::event::{PlayEvent, mean_rate};
use super::verdict::Verdict;
use crate::protocol::{OpenAck, OpenStream, Options};
use crate::session::client::{Cause, State};
use crate::transport::{ConnectionHandle, Fingerprint, PathStats};

/// The least time between two [`PlayEvent::Chunk`]: there are at most 100 a second.
const CHUNK_EVENT_GAP: Duration = Duration::from_millis(10);

/// How long a broadcast has to be watched before it is known how fast it grows.
const GROWTH_KNOWN: Duration = Duration::from_secs(2);

/// One title of a server's catalogue.
///
/// Serializes to a line of `--list --json`. The names and the order of the keys are a contract with
/// scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Title {
    /// Its name.
    pub title: String,
    /// Bytes, where it has an end.
    pub size: Option<u64>,
    /// IANA media type.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// bit/s, where the server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u32>,
    /// Whether it has no end yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// When it began, where it has: milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// How far a broadcast is that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveEdge {
    /// How many bytes there are, as far as is known.
    pub edge: u64,
    /// The first byte that is kept.
    pub oldest: u64,
    /// bit/s that it grows by, once that is known.
    pub growth: Option<u64>,
}

impl LiveEdge {
    /// How long so many bytes of it take, once that is known.
    pub fn time_of(&self, bytes: u64) -> Option<Duration> {
        let growth = self.growth.filter(|growth| *growth > 0)?;
        Duration::try_from_secs_f64(bytes as f64 * 8.0 / growth as f64).ok()
    }
}

/// What the session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlayPhase {
    /// No OPEN_ACK yet.
    #[default]
    Connecting,
    /// Chunks arrive.
    Streaming,
    /// A pause that the user or the script asked for.
    Paused,
    /// A pause because the sink (a player, a pipe) takes nothing.
    WaitingForSink,
    /// The connection is lost, and tried again.
    Reconnecting,
    /// Over.
    Closed,
}

/// The state of a play at one time. Only the newest one is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    /// What the session is doing.
    pub phase: PlayPhase,
    /// The last chunk that came; 0 before the first.
    pub seq: u32,
    /// Media bytes received by this play, in all its sessions.
    pub bytes: u64,
    /// Where in the media the next byte belongs: `bytes`, and where playing started.
    pub position: u64,
    /// Bytes of the whole media, where the server said.
    pub size: Option<u64>,
    /// How far it is, where it is a broadcast.
    pub live: Option<LiveEdge>,
    /// The agreed bitrate, bit/s; 0 before OPEN_ACK.
    pub bitrate: u32,
    /// What the server paces the session at, bit/s; 0 is as fast as it goes.
    pub rate: Option<u64>,
    /// The round trip of a heartbeat between the two applications, once one was echoed.
    pub echo: Option<Duration>,
    /// QUIC's smoothed round trip time, once there is one.
    pub rtt: Option<Duration>,
    /// Packets that this side has sent and QUIC declared lost. What the server lost on the way here
    /// comes again, and cannot be counted here: a gap in its packet numbers may be meant.
    pub lost_packets: u64,
}

/// Counts what a play receives, publishes its snapshots and reports its events.
pub(super) struct Reporter<R> {
    report: R,
    publish: watch::Sender<Snapshot>,
    snapshot: Snapshot,
    chunks: u64,
    /// How far the broadcast was when its session began.
    edge_at_first: Option<(Instant, u64)>,
    /// When the first OPEN_ACK came.
    opened_at: Option<Instant>,
    paused_at: Option<Instant>,
    /// When the last [`PlayEvent::Chunk`] was reported.
    chunk_event_at: Option<Instant>,
    /// Chunks since then.
    skipped: u64,
    /// Bytes of the newest chunk.
    last_bytes: u64,
}

impl<R: FnMut(PlayEvent)> Reporter<R> {
    pub(super) fn new(publish: watch::Sender<Snapshot>, report: R) -> Self {
        Self {
            report,
            publish,
            snapshot: Snapshot::default(),
            chunks: 0,
            edge_at_first: None,
            opened_at: None,
            paused_at: None,
            chunk_event_at: None,
            skipped: 0,
            last_bytes: 0,
        }
    }

    pub(super) fn continuing(&mut self, offset: u64) {
        (self.report)(PlayEvent::Continuing { offset });
    }

    pub(super) fn reconnecting(
        &mut self,
        attempt: u32,
        delay: Duration,
        offset: u64,
        cause: String,
    ) {
        self.snapshot.phase = PlayPhase::Reconnecting;
        self.publish.send_replace(self.snapshot);
        (self.report)(PlayEvent::Reconnecting { attempt, delay, offset, cause });
    }

    pub(super) fn echo(&mut self, round_trip: Duration) {
        self.snapshot.echo = Some(round_trip);
        self.publish.send_replace(self.snapshot);
    }

    pub(super) fn connected(&mut self, connection: &ConnectionHandle, fingerprint: Fingerprint) {
        let (server, version) = (connection.peer(), connection.version());
        (self.report)(PlayEvent::Connected { server, version, fingerprint });
    }

    pub(super) fn requested(&mut self, open: OpenStream) {
        (self.report)(PlayEvent::Requested(open));
    }

    pub(super) fn accepted(
        &mut self,
        session: u32,
        ack: OpenAck,
        options: &Options,
        position: u64,
        size: Option<u64>,
    ) {
        self.opened_at.get_or_insert_with(Instant::now);
        self.snapshot.bitrate = ack.bitrate;
        self.snapshot.rate = options.rate;
        self.snapshot.size = size;
        self.snapshot.position = position;
        self.snapshot.live = options.live.then(|| LiveEdge {
            edge: options.edge.unwrap_or(position),
            oldest: options.oldest.unwrap_or(0),
            growth: None,
        });
        self.edge_at_first = self.snapshot.live.map(|live| (Instant::now(), live.edge));
        let is_known = options.title.is_some() || options.total_size.is_some();
        (self.report)(PlayEvent::Accepted {
            session,
            bitrate: ack.bitrate,
            chunk_size: ack.max_chunk_size,
            keepalive: ack.keepalive,
            timeout: ack.session_timeout,
            title: options.title.clone(),
            size: options.total_size,
            media_type: options.media_type.clone(),
            start: (is_known || position > 0).then_some(position),
            rate: options.rate,
        });
    }

    /// Notes how far the broadcast is.
    pub(super) fn edge(&mut self, edge: u64, oldest: u64) {
        let (Some(live), Some((at, first))) = (&mut self.snapshot.live, self.edge_at_first) else {
            return;
        };
        live.edge = edge.max(live.edge);
        live.oldest = oldest.max(live.oldest).min(live.edge);
        let time = at.elapsed();
        if time >= GROWTH_KNOWN {
            live.growth = Some(mean_rate(live.edge - first, time));
        }
        self.publish.send_replace(self.snapshot);
    }

    pub(super) fn chunk(&mut self, seq: u32, bytes: u64, path: &PathStats) {
        self.chunks += 1;
        self.last_bytes = bytes;
        self.snapshot.seq = seq;
        self.snapshot.bytes += bytes;
        self.snapshot.position += bytes;
        if let Some(live) = &mut self.snapshot.live {
            live.edge = live.edge.max(self.snapshot.position);
        }
        self.snapshot.rtt = path.rtt();
        self.snapshot.lost_packets = path.lost_packets();
        self.publish.send_replace(self.snapshot);
        let now = Instant::now();
        if self.chunk_event_at.is_some_and(|last| now.duration_since(last) < CHUNK_EVENT_GAP) {
            self.skipped += 1;
        } else {
            self.chunk_event_at = Some(now);
            let skipped = std::mem::take(&mut self.skipped);
            self.chunk_event(skipped);
        }
    }

    fn chunk_event(&mut self, skipped: u64) {
        let (seq, bytes, total) = (self.snapshot.seq, self.last_bytes, self.snapshot.bytes);
        (self.report)(PlayEvent::Chunk { seq, bytes, total, skipped });
    }

    /// Reports a change of state by a step of the machine at `now`.
    ///
    /// A pause is as long as the machine made it: that it is reported late takes nothing from it.
    pub(super) fn state(&mut self, before: State, state: State, now: Instant) {
        if state == before {
            return;
        }
        self.snapshot.phase = match state {
            State::Idle | State::OpenSent => PlayPhase::Connecting,
            State::Streaming => PlayPhase::Streaming,
            State::Paused(Cause::Sink) => PlayPhase::WaitingForSink,
            State::Paused(_) => PlayPhase::Paused,
            State::Closing | State::Closed => self.snapshot.phase,
        };
        self.publish.send_replace(self.snapshot);
        let seq = self.snapshot.seq;
        match (before, state) {
            (State::Streaming, State::Paused(cause)) => {
                self.paused_at = Some(now);
                (self.report)(PlayEvent::Paused { seq, cause });
            }
            (State::Paused(_), State::Streaming) => {
                let paused_at = self.paused_at.take().unwrap_or(now);
                let after = now.saturating_duration_since(paused_at);
                (self.report)(PlayEvent::Resumed { seq, after });
            }
            _ => {}
        }
    }

    /// Reports the end, of a play that was accepted.
    pub(super) fn closed(&mut self, reason: &str, complete: bool, verdict: Verdict) {
        self.snapshot.phase = PlayPhase::Closed;
        self.publish.send_replace(self.snapshot);
        // The last chunk always has an event, so that the totals of the events agree.
        if let Some(skipped) = std::mem::take(&mut self.skipped).checked_sub(1) {
            self.chunk_event(skipped);
        }
        if let Some(elapsed) = self.opened_at.map(|opened| opened.elapsed()) {
            (self.report)(PlayEvent::Closed {
                reason: reason.to_owned(),
                complete,
                bytes: self.snapshot.bytes,
                chunks: self.chunks,
                elapsed,
                bits_per_second: mean_rate(self.snapshot.bytes, elapsed),
                verdict,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_between_its_steps_whenever_they_are_reported() {
        let mut pauses = Vec::new();
        let mut reporter = Reporter::new(watch::Sender::default(), |event| {
            if let PlayEvent::Resumed { after, .. } = event {
                pauses.push(after);
            }
        });
        let pause = Duration::from_secs(2);
        let paused_at = Instant::now();
        let paused = State::Paused(Cause::User);
        reporter.state(State::Streaming, paused, paused_at);
        reporter.state(paused, State::Streaming, paused_at + pause);
        assert_eq!(pauses, [pause]);
    }
}
