//! What QUIC knows about the path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber, events};

/// Round trip time and losses of the newest connection of a client, written by the endpoint as
/// acknowledgements come and read by whoever likes.
#[derive(Debug, Default)]
pub struct Telemetry {
    rtt_nanos: AtomicU64,
    lost_packets: AtomicU64,
}

impl Telemetry {
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
}

/// Feeds a [`Telemetry`] from the endpoint's events.
#[derive(Debug)]
pub(super) struct Observer(pub(super) Arc<Telemetry>);

impl Subscriber for Observer {
    type ConnectionContext = ();

    fn create_connection_context(&mut self, _: &ConnectionMeta, _: &ConnectionInfo) {}

    fn on_recovery_metrics(
        &mut self,
        (): &mut (),
        _: &ConnectionMeta,
        event: &events::RecoveryMetrics<'_>,
    ) {
        let nanos = u64::try_from(event.smoothed_rtt.as_nanos()).unwrap_or(u64::MAX);
        self.0.rtt_nanos.store(nanos, Ordering::Relaxed);
    }

    fn on_packet_lost(&mut self, (): &mut (), _: &ConnectionMeta, event: &events::PacketLost<'_>) {
        if !event.is_mtu_probe {
            self.0.lost_packets.fetch_add(1, Ordering::Relaxed);
        }
    }
}
