//! What a server says of itself, and what it looks after once a second.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::throttle::Throttle;
use super::{ServeEvent, Server};

/// How often tokens and what was held back are looked after.
const TICK: Duration = Duration::from_secs(1);

/// How often the limits that were hit are said.
const LIMITS_SAID: Duration = Duration::from_secs(60);

/// Tells whoever watches the server what happens. What one address repeats is held back; that
/// sessions open and close never is.
pub(super) struct Reporter {
    report: Box<dyn Fn(ServeEvent) + Send + Sync>,
    refusals: Mutex<Throttle<(u16, IpAddr), ServeEvent>>,
}

impl Reporter {
    pub(super) fn new(report: impl Fn(ServeEvent) + Send + Sync + 'static) -> Self {
        Self { report: Box::new(report), refusals: Mutex::new(Throttle::new()) }
    }

    pub(super) fn say(&self, event: ServeEvent) {
        match event {
            ServeEvent::Refused { peer, code, .. } => {
                let key = (code, peer.ip().to_canonical());
                let admitted = self.refusals().admit(key, event, Instant::now());
                admitted.into_iter().for_each(|refusal| self.say_refusal(refusal));
            }
            event => (self.report)(event),
        }
    }

    /// Says what was held back.
    fn release(&self) {
        let released = self.refusals().release(Instant::now());
        released.into_iter().for_each(|refusal| self.say_refusal(refusal));
    }

    fn say_refusal(&self, (mut event, others): (ServeEvent, u64)) {
        if let ServeEvent::Refused { more, .. } = &mut event {
            *more = others;
        }
        (self.report)(event);
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, Throttle<(u16, IpAddr), ServeEvent>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Looks after what is not any session's affair, until `shutdown` is cancelled. However many
    /// endpoints there are, this runs once.
    pub async fn maintain(&self, shutdown: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = SystemTime::now();
        let mut said: Option<(Instant, u64)> = None;
        let mut too_fast = BTreeSet::new();
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = SystemTime::now();
            if let Some(tokens) = &self.tokens {
                tokens.expire(seen, now);
            }
            seen = now;
            self.reporter.release();
            said = self.say_limits(said);
            self.warn_of_fast_broadcasts(&mut too_fast);
        }
    }

    /// Says which broadcasts grow faster than they may be sent, each once until it does no more.
    fn warn_of_fast_broadcasts(&self, too_fast: &mut BTreeSet<String>) {
        let most = self.settings.most_of_a_broadcast();
        // One that is over is not among them any more.
        let known = std::mem::take(too_fast);
        for live in self.library.broadcasts() {
            let bitrate = live.bitrate.map_or(0, u64::from);
            if most == 0 || bitrate <= most {
                continue;
            }
            if !known.contains(&live.title) {
                warn!(
                    "the broadcast {:?} comes at {bitrate} bit/s, and no viewer may have more than \
                     {most} bit/s: they fall behind until what they need is not kept any more \
                     (server.max_rate and server.pacing say how much they may have)",
                    live.title
                );
            }
            too_fast.insert(live.title);
        }
    }

    /// Says how many were turned away, at once and then once a minute; returns when that was and
    /// how many there had been.
    fn say_limits(&self, said: Option<(Instant, u64)>) -> Option<(Instant, u64)> {
        let limits = self.counters.limits.all();
        let count = limits.iter().map(|(_, count)| count).sum();
        let known = said.map_or(0, |(_, known)| known);
        if count == known || said.is_some_and(|(when, _)| when.elapsed() < LIMITS_SAID) {
            return said;
        }
        let limits: Vec<_> =
            limits.iter().map(|(limit, count)| format!("{limit} {count}")).collect();
        warn!(
            "limits were reached {} times since this was last said; since the start: {}",
            count - known,
            limits.join(", ")
        );
        Some((Instant::now(), count))
    }
}
