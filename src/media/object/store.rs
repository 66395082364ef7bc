//! The connection to an object store, on a thread of its own.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::limit::LimitStore;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, GetOptions, GetResult, ObjectStore, PutOptions, RetryConfig,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::failure::Failure;

/// How long a request may bring nothing, with all its tries: less than the 10 s after which a client
/// gives up an answer, or takes a server for stalled that has a heartbeat every 5 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// From when on a request is not tried again: what began before has its time within [`PATIENCE`].
const TRIES_FOR: Duration = Duration::from_secs(6);

/// Requests that are under way at once, at most: each has a connection and its buffers.
const REQUESTS: usize = 32;

/// How long a try may bring nothing.
const SILENCE: &str = "4s";

/// How long a whole try may take: there is a limit to how slow its parts may be, not to it.
const WHOLE: &str = "1h";

/// A bucket, and the thread that talks to it.
///
/// Requests live on a runtime of their own: they are shared by sessions of several endpoints, each
/// of which has a runtime that may end while the others wait for the same block.
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    pages: Arc<dyn PaginatedListStore>,
    runtime: Handle,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<Infallible>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.objects).finish()
    }
}

impl Store {
    /// The bucket of `url`. The environment says the rest, as the store's own tools have it.
    ///
    /// # Errors
    /// The environment does not say enough, or nonsense; the system has no further thread.
    pub(super) fn of(url: &str) -> io::Result<Self> {
        let (objects, pages) = connect(url).map_err(io::Error::other)?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self { objects, pages, runtime: start(stopped)?, _stop: stop })
    }

    /// Runs `work` on the thread of requests, whoever waits for it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    /// Asks for an object, or a part of it.
    pub(super) async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult, Failure> {
        in_time(self.objects.get_opts(key, options)).await
    }

    /// Asks what an object is.
    pub(super) async fn head(&self, key: &Path) -> Result<GetResult, Failure> {
        self.get(key, GetOptions { head: true, ..GetOptions::default() }).await
    }

    /// Writes a small object, over what is there.
    pub(super) async fn put(&self, key: &Path, bytes: Bytes) -> Result<(), Failure> {
        in_time(self.objects.put_opts(key, bytes.into(), PutOptions::default())).await.map(drop)
    }

    /// Asks for a page of keys that begin with `prefix`.
    pub(super) async fn page(
        &self,
        prefix: &str,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult, Failure> {
        in_time(self.pages.list_paginated(Some(prefix), options)).await
    }
}

/// The body of an answer.
pub(super) type Body = BoxStream<'static, object_store::Result<Bytes>>;

/// Ends what takes too long: the tries of one request, or its next part.
pub(super) async fn in_time<T>(
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Failure> {
    let slow = || Failure::trouble(format!("nothing came for {} s", PATIENCE.as_secs()));
    Ok(timeout(PATIENCE, request).await.map_err(|_| slow())??)
}

type Clients = (Arc<dyn ObjectStore>, Arc<dyn PaginatedListStore>);

fn connect(url: &str) -> object_store::Result<Clients> {
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 100,
        retry_timeout: TRIES_FOR,
    };
    let limits = [(ClientConfigKey::ReadTimeout, SILENCE), (ClientConfigKey::Timeout, WHOLE)];
    macro_rules! build {
        ($Builder:ident, $Key:ident) => {{
            let builder = $Builder::from_env().with_url(url).with_retry(retry);
            let limit =
                |builder: $Builder, (key, value)| builder.with_config($Key::Client(key), value);
            clients(limits.into_iter().fold(builder, limit).build()?)
        }};
    }
    Ok(match url.split_once(':') {
        Some(("gs", _)) => build!(GoogleCloudStorageBuilder, GoogleConfigKey),
        Some(("az", _)) => build!(MicrosoftAzureBuilder, AzureConfigKey),
        _ => build!(AmazonS3Builder, AmazonS3ConfigKey),
    })
}

fn clients<S: ObjectStore + PaginatedListStore + Clone>(store: S) -> Clients {
    (Arc::new(LimitStore::new(store.clone(), REQUESTS)), Arc::new(store))
}

/// Starts the thread, which runs until `stopped`.
fn start(stopped: oneshot::Receiver<Infallible>) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("objects".into()).spawn(move || {
        let _dropped = runtime.block_on(stopped);
        runtime.shutdown_background();
    })?;
    Ok(handle)
}
