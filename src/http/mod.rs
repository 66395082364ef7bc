//! A small HTTP/1.1 server, which knows nothing of what it serves.

mod body;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

pub(crate) use body::{Body, full, stream};

/// How many connections are served at once; further ones wait for one of them to end.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take over the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The most bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;

/// How long running responses may go on when the server is to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How long the server waits where the system has no connection for it, such as for want of
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket.
#[derive(Debug)]
pub(crate) struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpListener {
    /// Binds an address; port 0 picks a free one. Belongs inside a runtime.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// Where it listens, with the port that was picked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests with `handle` until `shutdown` is cancelled. A response whose client goes
    /// away is dropped; one whose body fails cuts the connection.
    pub(crate) async fn serve<H, F>(self, handle: H, shutdown: CancellationToken)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let connections = TaskTracker::new();
        let accept = async {
            // The semaphore is never closed.
            while let Ok(place) = places.clone().acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let connection = attend(stream, handle.clone(), shutdown.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        debug!(%error, "no connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(accept).await;
        connections.close();
        let _ = timeout(SHUTDOWN_GRACE, connections.wait()).await;
    }
}

/// Serves one connection until its client has no more requests.
async fn attend<H, F>(stream: TcpStream, handle: H, shutdown: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(move |request| {
        let response = handle(request);
        async { Ok::<_, std::convert::Infallible>(response.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "an HTTP connection ended");
    }
}

/// A response that is a line of text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(full(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// The response where there is nothing.
pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// The response to a method that reads nothing; `None` to GET and HEAD.
pub(crate) fn refuse_method(method: &Method) -> Option<Response<Body>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}
