//! The server of `play --embedded`.

use std::sync::Arc;
use std::thread;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::serve::{self, Bound};
use crate::client::Remote;
use crate::config::ServeConfig;
use crate::server::Server;
use crate::transport::{Address, Trust};

/// A server in this process, on a thread of its own.
pub(super) struct Embedded {
    pub(super) server: Remote,
    shutdown: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Embedded {
    pub(super) fn start(config: ServeConfig) -> anyhow::Result<Self> {
        let (ready, bound) = std::sync::mpsc::channel();
        let shutdown = CancellationToken::new();
        let seen = shutdown.clone();
        let transport = config.transport.clone();
        let serve = move || {
            let serving = super::runtime().and_then(|runtime| {
                let guard = runtime.enter();
                let bound = serve::bind(&config, Vec::new())?;
                drop(guard);
                Ok((runtime, bound))
            });
            let (runtime, Bound { listener, identity, library, admission, .. }) = match serving {
                Ok(serving) => serving,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok((listener.address(), identity.fingerprint())));
            let server =
                Server::new(config.server, library, admission, None, Arc::default(), |_| {});
            if let Err(error) = runtime.block_on(Arc::new(server).serve(listener, seen)) {
                tracing::warn!("{error}");
            }
            // What waits for a disk must not keep us.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("server".into()).spawn(serve)?;
        let (address, fingerprint) = bound.recv().context("the embedded server died")??;
        let server = Remote {
            addresses: vec![Address { host: address.ip().to_string(), port: address.port() }],
            trust: Trust::Pins(vec![fingerprint]),
            name: None,
            transport,
        };
        Ok(Self { server, shutdown, thread })
    }

    pub(super) fn stop(self) {
        self.shutdown.cancel();
        // A server that panicked has said so.
        let _ = self.thread.join();
    }
}
