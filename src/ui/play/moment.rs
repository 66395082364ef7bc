//! The state of a session, in words.

use std::time::Duration;

use crate::client::{Phase, Snapshot};
use crate::protocol::Version;
use crate::ui::text::{bit_rate, bytes, clock, percent, round_trip};

/// From when on an estimate is no news any more.
const ETA_LIMIT: Duration = Duration::from_secs(100 * 3600);

/// The session at one moment.
pub(super) struct Moment {
    pub(super) look: Look,
    pub(super) snapshot: Snapshot,
    pub(super) rate: Option<f64>,
    /// The protocol version, once there is one.
    pub(super) version: Option<Version>,
    /// While reconnecting: which try comes next.
    pub(super) attempt: u32,
    pub(super) elapsed: Duration,
    pub(super) keys: bool,
}

impl Moment {
    /// How fast it goes, or what is tried while nothing does.
    pub(super) fn pace(&self) -> String {
        match self.snapshot.phase {
            Phase::Reconnecting => format!("try {}", self.attempt),
            _ => self.rate.map(bit_rate).unwrap_or_default(),
        }
    }

    /// What is there, and of how much.
    pub(super) fn amount(&self) -> String {
        let Snapshot { bytes: received, position, size, .. } = self.snapshot;
        match size {
            Some(size) => format!("{} of {}", bytes(position), bytes(size)),
            None => bytes(received),
        }
    }

    /// In how long the rest will be there if it goes on like this.
    pub(super) fn eta(&self) -> Option<String> {
        let missing = self.snapshot.size?.checked_sub(self.snapshot.position)?;
        let streaming = self.snapshot.phase == Phase::Streaming;
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

    /// How fast the server will send at most. Where it did not say, that is the bitrate.
    pub(super) fn terms(&self) -> Option<String> {
        let Snapshot { bitrate, rate, .. } = self.snapshot;
        match rate.unwrap_or(bitrate.into()) {
            0 => rate.map(|_| "unpaced".to_owned()),
            rate => Some(format!("paced {}", bit_rate(rate as f64))),
        }
    }
}

/// How a state looks.
pub(super) struct Look {
    symbol: char,
    label: &'static str,
    pub(super) color: &'static str,
}

impl Look {
    /// Wide enough for the longest of the usual states, so that the cells stay where they are.
    pub(super) fn state(&self) -> String {
        format!("{} {:<10}", self.symbol, self.label)
    }
}

pub(super) fn look(phase: Phase, failed: bool) -> Look {
    let (symbol, label, color) = match phase {
        _ if failed => ('✗', "failed", "red"),
        Phase::Connecting => ('◌', "connecting", "cyan"),
        Phase::Streaming => ('▶', "streaming", "green"),
        Phase::Paused => ('⏸', "paused", "yellow"),
        Phase::WaitingForSink => ('◷', "waiting for the player", "magenta"),
        Phase::Reconnecting => ('↻', "reconnecting", "red"),
        Phase::Closed => ('■', "closed", "green"),
    };
    Look { symbol, label, color }
}

/// The line that plain mode prints.
pub(super) fn line(moment: &Moment) -> String {
    let Snapshot { seq, position, size, lost_packets, .. } = moment.snapshot;
    let fields = [
        Some(format!("{} chunk {seq}", moment.look.label)),
        Some(moment.amount()),
        size.map(|size| format!("{}%", percent(position, size))),
        moment.rate.map(bit_rate),
        moment.eta(),
        Some(moment.rtt()),
        moment.echo(),
        Some(format!("lost {lost_packets} own packets")),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(phase: Phase, rate: Option<f64>) -> Moment {
        let snapshot = Snapshot {
            phase,
            seq: 5,
            bytes: 327_680,
            position: 1_310_720,
            rtt: Some(Duration::from_micros(312)),
            ..Snapshot::default()
        };
        let look = look(phase, false);
        let (elapsed, version) = (Duration::from_secs(5), Some(Version::V1));
        Moment { look, snapshot, rate, version, attempt: 2, elapsed, keys: true }
    }

    #[test]
    fn off_a_terminal_there_is_a_line() {
        let mut moment = moment(Phase::Streaming, Some(498e3));
        let text = "streaming chunk 5, 320 KiB, 498 kbit/s, rtt 0.31 ms, lost 0 own packets";
        assert_eq!(line(&moment), text);
        moment.snapshot.size = Some(20 << 20);
        moment.snapshot.echo = Some(Duration::from_micros(800));
        let text = "streaming chunk 5, 1.25 MiB of 20 MiB, 6%, 498 kbit/s, ETA 5:16, rtt 0.31 ms, \
                    echo 0.80 ms, lost 0 own packets";
        assert_eq!(line(&moment), text);
    }

    #[test]
    fn an_estimate_wants_a_rate_and_something_left() {
        let mut moment = moment(Phase::Streaming, Some(8e6));
        assert_eq!(moment.eta(), None);
        moment.snapshot.size = Some(1_310_720 + 60_000_000);
        assert_eq!(moment.eta().unwrap(), "ETA 1:00");
        for (rate, phase) in [
            (None, Phase::Streaming),
            (Some(0.0), Phase::Streaming),
            (Some(1e-9), Phase::Streaming),
            (Some(8e6), Phase::Paused),
            (Some(8e6), Phase::WaitingForSink),
            (Some(8e6), Phase::Reconnecting),
            (Some(8e6), Phase::Closed),
        ] {
            (moment.rate, moment.snapshot.phase) = (rate, phase);
            assert_eq!(moment.eta(), None, "{phase:?} {rate:?}");
        }
        (moment.rate, moment.snapshot.phase) = (Some(8e6), Phase::Streaming);
        for size in [0, 1_310_720] {
            moment.snapshot.size = Some(size);
            assert_eq!(moment.eta(), None);
        }
    }

    #[test]
    fn the_granted_rate_is_the_bitrate_where_nothing_else_was_said() {
        let mut moment = moment(Phase::Streaming, None);
        assert_eq!(moment.terms(), None);
        moment.snapshot.bitrate = 500_000;
        assert_eq!(moment.terms().unwrap(), "paced 500 kbit/s");
        moment.snapshot.rate = Some(2_000_000);
        assert_eq!(moment.terms().unwrap(), "paced 2 Mbit/s");
        moment.snapshot.rate = Some(0);
        assert_eq!(moment.terms().unwrap(), "unpaced");
    }
}
