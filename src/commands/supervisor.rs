//! What a service manager is told of a server: sd_notify(3). Where there is none, nothing happens.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::server::Server;

/// Says that the server is ready, that it lives for as long as it accepts connections and none of
/// its other `workers` is stuck, and that it stops.
pub(super) async fn inform(server: Arc<Server>, workers: Vec<Handle>, shutdown: CancellationToken) {
    tell(NotifyState::Ready);
    let alive = async {
        let Some(period) = sd_notify::watchdog_enabled() else { return pending().await };
        // Twice as often as it has to be.
        let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
        loop {
            ticks.tick().await;
            for worker in &workers {
                let _ = worker.spawn(async {}).await;
            }
            if server.is_accepting() {
                tell(NotifyState::Watchdog);
            }
        }
    };
    shutdown.run_until_cancelled(alive).await;
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!("the service manager hears nothing: {error}");
    }
}
