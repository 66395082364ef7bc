//! The counters of a server in the text format of Prometheus.

use std::fmt::{Display, Write as _};

use crate::media::LiveStatus;
use crate::protocol::NackCode;
use crate::server::{Server, SessionPhase};

/// A text of metrics that grows by one family at a time.
#[derive(Debug, Default)]
struct Metrics(String);

impl Metrics {
    /// Adds a family of one value without labels.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    /// Adds a family with a value for each value of one label.
    fn each<L: Display, V: Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, kind, help);
        for (of, value) in values {
            self.line(name, &[(label, &of.to_string())], value);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP quicstream_{name} {help}\n"));
        self.write(format_args!("# TYPE quicstream_{name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        match labels.is_empty() {
            true => self.write(format_args!("quicstream_{name} {value}\n")),
            false => {
                self.write(format_args!("quicstream_{name}{{{}}} {value}\n", labels.join(",")));
            }
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = self.0.write_fmt(text);
    }
}

/// A label's value as the format wants it.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// Everything that is counted. Nothing grows with peers or titles: of these, only broadcasts have
/// values of their own.
pub(super) fn of(server: &Server) -> String {
    let mut metrics = Metrics::default();
    let (counters, sessions) = (server.counters(), server.sessions());
    metrics.head("build_info", GAUGE, "The version that runs.");
    metrics.line("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    metrics.each(
        ("sessions", GAUGE, "Sessions that run, by what they do."),
        "state",
        [SessionPhase::Streaming, SessionPhase::Paused, SessionPhase::Closing]
            .map(|phase| (phase.name(), sessions.in_phase(phase))),
    );
    let opened = counters.opened.get();
    metrics.one("sessions_opened_total", COUNTER, "Sessions that were opened.", opened);
    metrics.each(
        ("sessions_closed_total", COUNTER, "Sessions that ended, by reason."),
        "reason",
        counters.closed.all(),
    );
    let words = |(code, count)| {
        let name = NackCode::from_wire(code).map(|code| code.to_string());
        (name.unwrap_or_else(|| code.to_string()), count)
    };
    metrics.each(
        ("sessions_refused_total", COUNTER, "Sessions that were refused, by code."),
        "code",
        counters.refused.all().into_iter().map(words),
    );
    metrics.each(
        ("limits_total", COUNTER, "Limits that were reached, by kind."),
        "limit",
        counters.limits.all(),
    );
    let (bytes, chunks) = (sessions.bytes(), sessions.chunks());
    metrics.one("media_bytes_total", COUNTER, "Bytes of media sent.", bytes);
    metrics.one("chunks_total", COUNTER, "Chunks sent.", chunks);
    let late = counters.chunks_late.get();
    metrics.one(
        "chunks_late_total",
        COUNTER,
        "Chunks sent over 100 ms late, of media with an end.",
        late,
    );
    metrics.each(
        ("token_sessions_opened_total", COUNTER, "Sessions that were opened, by token."),
        "token",
        counters.opened_by_token.all(),
    );
    metrics.each(
        ("token_media_bytes_total", COUNTER, "Bytes of media of sessions that ended, by token."),
        "token",
        counters.bytes_by_token.all(),
    );

    let admission = server.admission();
    let connections = counters.connections.get();
    metrics.one("connections_total", COUNTER, "Handshakes that succeeded.", connections);
    metrics.one("connections", GAUGE, "Connections that are open.", admission.connections());
    let (first, retries, lost) =
        (admission.first_packets(), admission.retries(), admission.lost_packets());
    metrics.one("handshakes_begun_total", COUNTER, "First packets of clients judged.", first);
    metrics.one("retries_total", COUNTER, "Clients that had to prove their address.", retries);
    metrics.one("lost_packets_total", COUNTER, "Packets that were declared lost.", lost);

    let media = server.library().counters();
    metrics.one("cache_hits_total", COUNTER, "Blocks that were in the cache.", media.hits);
    metrics.one("cache_misses_total", COUNTER, "Blocks that were not.", media.misses);
    metrics.one("cache_bytes", GAUGE, "Bytes in the cache.", media.bytes);
    metrics.one("digest_queue", GAUGE, "Digests that wait to be computed.", media.digest_queue);
    broadcasts(&mut metrics, server.library().broadcasts().collect());
    if let Some(descriptors) = descriptors() {
        metrics.one("open_descriptors", GAUGE, "Descriptors that are open.", descriptors);
    }
    metrics.0
}

/// How the broadcasts do that are on the air.
fn broadcasts(metrics: &mut Metrics, broadcasts: Vec<LiveStatus>) {
    type Value = fn(&LiveStatus) -> u64;
    let families: [(&str, &str, Value); 7] = [
        ("live_viewers", "Who watches a broadcast.", |live| live.viewers as u64),
        ("live_edge_bytes", "Bytes that a broadcast has so far.", |live| live.edge),
        ("live_oldest_byte", "The first byte of a broadcast that is kept.", |live| live.oldest),
        ("live_window_bytes", "Bytes of a broadcast in memory.", |live| live.window),
        ("live_join_points", "Places where a decoder can begin.", |live| live.joins as u64),
        ("live_behind_bytes", "How far behind the slowest viewer is.", |live| live.behind),
        ("live_bits_per_second", "What a broadcast grows by.", |live| {
            live.bitrate.unwrap_or(0).into()
        }),
    ];
    for (name, help, value) in families {
        let values = broadcasts.iter().map(|live| (&live.title, value(live)));
        metrics.each((name, GAUGE, help), "title", values);
    }
}

/// How many descriptors the process has open, where the system tells.
fn descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_one_head_and_its_labels_are_escaped() {
        let mut metrics = Metrics::default();
        metrics.one("a", GAUGE, "A.", 1.5);
        metrics.each(("b_total", COUNTER, "B."), "name", [("x\"\\\n", 1), ("y", 2)]);
        assert_eq!(
            metrics.0,
            "# HELP quicstream_a A.\n# TYPE quicstream_a gauge\nquicstream_a 1.5\n\
             # HELP quicstream_b_total B.\n# TYPE quicstream_b_total counter\n\
             quicstream_b_total{name=\"x\\\"\\\\\\n\"} 1\nquicstream_b_total{name=\"y\"} 2\n"
        );
    }
}
