//! The state of a play, in words.

use std::time::Duration;

use crate::client::{PlayPhase, Snapshot};
use crate::protocol::Version;
use crate::ui::text::{bit_rate, bytes, clock, percent, round_trip};

/// A broadcast that is played no later than this counts as live: what comes is held back for
/// others, and how far it is becomes known once a second.
const AT_THE_EDGE: Duration = Duration::from_secs(2);

/// An estimate of more than this says nothing.
const ETA_LIMIT: Duration = Duration::from_secs(100 * 3600);

/// The state of a play at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    pub(super) snapshot: Snapshot,
    pub(super) failed: bool,
    /// bit/s, where it is known.
    pub(super) rate: Option<f64>,
    /// The protocol version, once there is one.
    pub(super) version: Option<Version>,
    /// While reconnecting: the number of the next try.
    pub(super) attempt: u32,
    pub(super) elapsed: Duration,
    pub(super) has_keys: bool,
}

impl Status {
    /// A symbol for the phase, its name, and its colour.
    pub(super) fn phase(&self) -> (char, &'static str, &'static str) {
        match self.snapshot.phase {
            _ if self.failed => ('✗', "failed", "red"),
            PlayPhase::Connecting => ('◌', "connecting", "cyan"),
            PlayPhase::Streaming => ('▶', "streaming", "green"),
            PlayPhase::Paused => ('⏸', "paused", "yellow"),
            PlayPhase::WaitingForSink => ('◷', "waiting for the player", "magenta"),
            PlayPhase::Reconnecting => ('↻', "reconnecting", "red"),
            PlayPhase::Closed => ('■', "closed", "green"),
        }
    }

    /// The current rate, or the number of the next try.
    pub(super) fn pace(&self) -> String {
        match self.snapshot.phase {
            PlayPhase::Reconnecting => format!("try {}", self.attempt),
            _ => self.rate.map(bit_rate).unwrap_or_default(),
        }
    }

    /// The rate once more, in the unit of file sizes.
    pub(super) fn byte_rate(&self) -> Option<String> {
        Some(format!("{}/s", bytes((self.rate? / 8.0) as u64)))
    }

    /// How much is there, and of how much.
    pub(super) fn amount(&self) -> String {
        let Snapshot { bytes: received, position, size, .. } = self.snapshot;
        match size {
            Some(size) => format!("{} of {}", bytes(position), bytes(size)),
            None => bytes(received),
        }
    }

    /// How far behind its producer a broadcast is played, while that is heard of.
    pub(super) fn behind(&self) -> Option<String> {
        if !matches!(self.snapshot.phase, PlayPhase::Streaming | PlayPhase::Paused) {
            return None;
        }
        let live = self.snapshot.live?;
        let missing = live.edge.saturating_sub(self.snapshot.position);
        let time = live.time_of(missing);
        let is_at_edge = match time {
            Some(time) => time < AT_THE_EDGE,
            None => missing == 0,
        };
        Some(match time {
            _ if is_at_edge => "live".to_owned(),
            Some(time) => format!("{} behind ({})", clock(time), bytes(missing)),
            None => format!("{} behind", bytes(missing)),
        })
    }

    /// How much of a broadcast can be gone back to.
    pub(super) fn kept(&self) -> Option<String> {
        let live = self.snapshot.live?;
        let kept = live.edge.saturating_sub(live.oldest);
        Some(match live.time_of(kept) {
            Some(time) => format!("kept {} ({})", clock(time), bytes(kept)),
            None => format!("kept {}", bytes(kept)),
        })
    }

    /// The time until the rest is there at the current rate.
    pub(super) fn eta(&self) -> Option<String> {
        let missing = self.snapshot.size?.checked_sub(self.snapshot.position)?;
        let streaming = self.snapshot.phase == PlayPhase::Streaming;
        let rate = self.rate.filter(|rate| streaming && missing > 0 && *rate > 0.0)?;
        let left = Duration::try_from_secs_f64((missing as f64 * 8.0 / rate).ceil()).ok()?;
        (left < ETA_LIMIT).then(|| format!("ETA {}", clock(left)))
    }

    pub(super) fn rtt(&self) -> String {
        format!("rtt {}", self.snapshot.rtt.map_or_else(|| "–".to_owned(), round_trip))
    }

    pub(super) fn echo(&self) -> Option<String> {
        self.snapshot.echo.map(|echo| format!("echo {}", round_trip(echo)))
    }

    /// The pace of the server. Where it did not say, that is the bitrate.
    pub(super) fn terms(&self) -> Option<String> {
        let Snapshot { bitrate, rate, .. } = self.snapshot;
        match rate.unwrap_or(bitrate.into()) {
            0 => rate.map(|_| "unpaced".to_owned()),
            rate => Some(format!("paced {}", bit_rate(rate as f64))),
        }
    }

    /// The line for where there are no bars.
    pub(super) fn line(&self) -> String {
        let Snapshot { seq, position, size, lost_packets, .. } = self.snapshot;
        let (_, phase, _) = self.phase();
        let fields = [
            Some(format!("{phase} chunk {seq}")),
            Some(self.amount()),
            size.map(|size| format!("{}%", percent(position, size))),
            self.rate.map(bit_rate),
            self.eta(),
            self.behind(),
            self.kept(),
            Some(self.rtt()),
            self.echo(),
            Some(format!("lost {lost_packets} own packets")),
        ];
        fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: PlayPhase, rate: Option<f64>) -> Status {
        let snapshot = Snapshot {
            phase,
            seq: 5,
            bytes: 327_680,
            position: 1_310_720,
            rtt: Some(Duration::from_micros(312)),
            ..Snapshot::default()
        };
        let (elapsed, version) = (Duration::from_secs(5), Some(Version::V1));
        Status { snapshot, failed: false, rate, version, attempt: 2, elapsed, has_keys: true }
    }

    #[test]
    fn off_a_terminal_there_is_a_line() {
        let mut status = status(PlayPhase::Streaming, Some(498e3));
        let text = "streaming chunk 5, 320 KiB, 498 kbit/s, rtt 0.31 ms, lost 0 own packets";
        assert_eq!(status.line(), text);
        status.snapshot.size = Some(20 << 20);
        status.snapshot.echo = Some(Duration::from_micros(800));
        let text = "streaming chunk 5, 1.25 MiB of 20 MiB, 6%, 498 kbit/s, ETA 5:16, rtt 0.31 ms, \
                    echo 0.80 ms, lost 0 own packets";
        assert_eq!(status.line(), text);
    }

    #[test]
    fn an_estimate_wants_a_rate_and_something_left() {
        let mut status = status(PlayPhase::Streaming, Some(8e6));
        assert_eq!(status.eta(), None);
        status.snapshot.size = Some(1_310_720 + 60_000_000);
        assert_eq!(status.eta().unwrap(), "ETA 1:00");
        for (rate, phase) in [
            (None, PlayPhase::Streaming),
            (Some(0.0), PlayPhase::Streaming),
            (Some(1e-9), PlayPhase::Streaming),
            (Some(8e6), PlayPhase::Paused),
            (Some(8e6), PlayPhase::WaitingForSink),
            (Some(8e6), PlayPhase::Reconnecting),
            (Some(8e6), PlayPhase::Closed),
        ] {
            (status.rate, status.snapshot.phase) = (rate, phase);
            assert_eq!(status.eta(), None, "{phase:?} {rate:?}");
        }
        (status.rate, status.snapshot.phase) = (Some(8e6), PlayPhase::Streaming);
        for size in [0, 1_310_720] {
            status.snapshot.size = Some(size);
            assert_eq!(status.eta(), None);
        }
    }

    #[test]
    fn the_granted_rate_is_the_bitrate_where_nothing_else_was_said() {
        let mut status = status(PlayPhase::Streaming, None);
        assert_eq!(status.terms(), None);
        status.snapshot.bitrate = 500_000;
        assert_eq!(status.terms().unwrap(), "paced 500 kbit/s");
        status.snapshot.rate = Some(2_000_000);
        assert_eq!(status.terms().unwrap(), "paced 2 Mbit/s");
        status.snapshot.rate = Some(0);
        assert_eq!(status.terms().unwrap(), "unpaced");
    }
}
