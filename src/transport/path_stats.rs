//! What QUIC knows about the path of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber, events};
use tokio::sync::Notify;

/// How much of the path's time may wait in the send buffer. What waits there is sent even after a
/// pause; less of it would leave the path idle between two wake-ups.
const QUEUED_TIME: Duration = Duration::from_millis(100);
/// What may be on the way before the path has carried anything, bytes: the usual chunk.
pub(super) const FIRST_FLIGHT: u64 = 64 * 1024;

/// Round trip time, losses and congestion window of a connection, written by the endpoint as
/// acknowledgements come and read by whoever likes.
#[derive(Debug, Default)]
pub struct PathStats {
    rtt_nanos: AtomicU64,
    lost_packets: AtomicU64,
    congestion_window: AtomicU64,
    in_flight: AtomicU64,
    /// When something was last acknowledged, nanoseconds after `created`.
    acknowledged_at: AtomicU64,
    created: Created,
    /// Told at every acknowledgement, and whenever one is overdue.
    pub(super) acknowledged: Notify,
}

impl PathStats {
    /// The smoothed round trip time, once there is one.
    pub fn rtt(&self) -> Option<Duration> {
        match self.rtt_nanos.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Packets of ours that were declared lost, probes for a larger MTU not counted.
    pub fn lost_packets(&self) -> u64 {
        self.lost_packets.load(Ordering::Relaxed)
    }

    /// Returns true if something is in flight and nothing was acknowledged for so long.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        let acknowledged = Duration::from_nanos(self.acknowledged_at.load(Ordering::Relaxed));
        let silent = self.created.0.elapsed().saturating_sub(acknowledged);
        self.in_flight.load(Ordering::Relaxed) > 0 && silent >= time
    }

    /// Waits until the peer acknowledges something.
    pub async fn acknowledgement(&self) {
        let before = self.acknowledged_at.load(Ordering::Relaxed);
        loop {
            // It is told of time-outs, too.
            let told = self.acknowledged.notified();
            if self.acknowledged_at.load(Ordering::Relaxed) != before {
                return;
            }
            told.await;
        }
    }

    /// How many bytes the send buffer should hold: what is in flight, and what the path takes in
    /// a tenth of a second. On a slow path that is little, and a pause takes effect at once; on a
    /// fast one it is more than the buffer has.
    pub(super) fn send_ahead(&self) -> u64 {
        let window = self.congestion_window.load(Ordering::Relaxed);
        let rtt = u128::from(self.rtt_nanos.load(Ordering::Relaxed).max(1));
        let in_queued_time = u128::from(window) * QUEUED_TIME.as_nanos() / rtt;
        let in_queued_time = u64::try_from(in_queued_time).unwrap_or(u64::MAX);
        in_queued_time.max(window + FIRST_FLIGHT)
    }
}

/// When a connection began.
#[derive(Debug)]
struct Created(Instant);

impl Default for Created {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// Gives every connection of an endpoint a [`PathStats`], and feeds it from the endpoint's events.
#[derive(Debug, Default)]
pub(super) struct Observer {
    handshakes: Arc<AtomicUsize>,
}

impl Observer {
    /// One that counts the handshakes that are under way, of this endpoint and of others.
    pub(super) fn new(handshakes: Arc<AtomicUsize>) -> Self {
        Self { handshakes }
    }
}

/// What an observer knows of a connection.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) path: Arc<PathStats>,
    /// Until it is done.
    handshake: Option<Handshake>,
}

/// A handshake that counts as under way until this is dropped, however it ends.
#[derive(Debug)]
struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Subscriber for Observer {
    type ConnectionContext = Observed;

    fn create_connection_context(&mut self, _: &ConnectionMeta, _: &ConnectionInfo) -> Observed {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        Observed { path: Arc::default(), handshake: Some(Handshake(self.handshakes.clone())) }
    }

    fn on_handshake_status_updated(
        &mut self,
        observed: &mut Observed,
        _: &ConnectionMeta,
        _: &events::HandshakeStatusUpdated,
    ) {
        observed.handshake = None;
    }

    fn on_recovery_metrics(
        &mut self,
        Observed { path, .. }: &mut Observed,
        _: &ConnectionMeta,
        event: &events::RecoveryMetrics<'_>,
    ) {
        let nanos = u64::try_from(event.smoothed_rtt.as_nanos()).unwrap_or(u64::MAX);
        path.rtt_nanos.store(nanos, Ordering::Relaxed);
        path.congestion_window.store(event.congestion_window.into(), Ordering::Relaxed);
        path.in_flight.store(event.bytes_in_flight.into(), Ordering::Relaxed);
        // Each session of the connection has to look whether it has room.
        path.acknowledged.notify_waiters();
    }

    fn on_ack_range_received(
        &mut self,
        Observed { path, .. }: &mut Observed,
        _: &ConnectionMeta,
        _: &events::AckRangeReceived<'_>,
    ) {
        let age = u64::try_from(path.created.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        path.acknowledged_at.store(age, Ordering::Relaxed);
    }

    fn on_packet_lost(
        &mut self,
        Observed { path, .. }: &mut Observed,
        _: &ConnectionMeta,
        event: &events::PacketLost<'_>,
    ) {
        if !event.is_mtu_probe {
            path.lost_packets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(rtt: Duration, congestion_window: u64) -> PathStats {
        let path = PathStats::default();
        path.rtt_nanos.store(rtt.as_nanos() as u64, Ordering::Relaxed);
        path.congestion_window.store(congestion_window, Ordering::Relaxed);
        path
    }

    #[tokio::test]
    async fn only_an_acknowledgement_is_one() {
        let path = Arc::new(PathStats::default());
        let waits = path.clone();
        let waiting = tokio::spawn(async move { waits.acknowledgement().await });
        for _ in 0..3 {
            tokio::task::yield_now().await;
            path.acknowledged.notify_waiters();
        }
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "time-outs are none");
        path.acknowledged_at.store(1, Ordering::Relaxed);
        path.acknowledged.notify_waiters();
        waiting.await.unwrap();
    }

    #[test]
    fn what_is_sent_ahead_follows_the_path() {
        // 4 Mbit/s with 100 ms holds 50 KB; twice that is a usual window.
        let slow = path(Duration::from_millis(100), 100_000).send_ahead();
        assert!(slow < 4_000_000 / 8 / 2, "half a second at most: {slow}");
        let fast = path(Duration::from_micros(100), 200_000).send_ahead();
        assert!(fast > 1024 * 1024, "all that the buffer has: {fast}");
        assert_eq!(PathStats::default().send_ahead(), FIRST_FLIGHT, "nothing is known yet");
    }
}
