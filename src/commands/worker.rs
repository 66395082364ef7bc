//! Endpoints beside the first, each on a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::server::{EndpointFailed, Server};
use crate::transport::{self, Listener};

/// An endpoint that has a runtime of its own, and does not run yet.
pub(super) struct Worker {
    runtime: Runtime,
    listener: Listener,
}

impl Worker {
    /// Makes a runtime and calls `listen` inside it.
    ///
    /// # Errors
    /// Either cannot be had.
    pub(super) fn new(
        listen: impl FnOnce() -> Result<Listener, transport::Error>,
    ) -> anyhow::Result<Self> {
        let runtime = super::runtime()?;
        let guard = runtime.enter();
        let listener = listen()?;
        drop(guard);
        Ok(Self { runtime, listener })
    }
}

/// Endpoints that run.
pub(super) struct RunningWorkers(Vec<RunningWorker>);

struct RunningWorker {
    handle: Handle,
    /// Told how it ended, unless it panicked.
    ended: oneshot::Receiver<Result<(), EndpointFailed>>,
}

impl RunningWorkers {
    /// Serves who comes to each of them, until `shutdown` is cancelled or one of them ends. That
    /// cancels it, too: a server does without none of its workers, because packets go on coming to
    /// each.
    pub(super) fn start(
        workers: Vec<Worker>,
        server: &Arc<Server>,
        shutdown: &CancellationToken,
    ) -> io::Result<Self> {
        let start = |(Worker { runtime, listener }, number)| {
            let handle = runtime.handle().clone();
            let serve = server.clone().serve(listener, shutdown.clone());
            let ended = run(format!("worker {number}"), shutdown.clone(), move || {
                let served = runtime.block_on(serve);
                // What waits for a disk must not keep us.
                runtime.shutdown_background();
                served
            });
            Ok(RunningWorker { handle, ended: ended? })
        };
        // The first one is the main thread.
        workers.into_iter().zip(2..).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Their runtimes.
    pub(super) fn handles(&self) -> Vec<Handle> {
        self.0.iter().map(|worker| worker.handle.clone()).collect()
    }

    /// Waits until the last has ended.
    ///
    /// # Errors
    /// One of them ended too early.
    pub(super) async fn ended(self) -> Result<(), EndpointFailed> {
        let mut all = Ok(());
        for RunningWorker { ended, .. } in self.0 {
            all = all.and(ended.await.unwrap_or(Err(EndpointFailed)));
        }
        all
    }
}

/// Runs `work` on a thread; `shutdown` is cancelled when it returns, or panics.
fn run<T: Send + 'static>(
    name: String,
    shutdown: CancellationToken,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (end, ended) = oneshot::channel();
    let run = move || {
        let _shutdown = shutdown.drop_guard();
        // Whoever does not wait for it does not care.
        let _ = end.send(work());
    };
    thread::Builder::new().name(name).spawn(run)?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_dies_takes_the_others_along() {
        let shutdown = CancellationToken::new();
        let lives = {
            let shutdown = shutdown.clone();
            let handle = Handle::current();
            move || {
                handle.block_on(shutdown.cancelled());
                Ok(())
            }
        };
        let dies = || panic!("as a bug would");
        let worker = |work: Box<dyn FnOnce() -> Result<(), EndpointFailed> + Send>| {
            let ended = run("worker".into(), shutdown.clone(), work).unwrap();
            RunningWorker { handle: Handle::current(), ended }
        };
        let workers = RunningWorkers(vec![worker(Box::new(lives)), worker(Box::new(dies))]);
        assert!(workers.ended().await.is_err());
        assert!(shutdown.is_cancelled());
    }
}
