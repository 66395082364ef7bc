//! `serve --admin`: health, readiness and metrics of a server over HTTP.

mod metrics;

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::http::{Body, HttpListener, full, not_found, refuse_method, text};
use crate::server::Server;

/// Answers questions about `server` until `ended` is cancelled. It is not ready any more once
/// `draining` is.
pub(crate) async fn serve(
    listener: HttpListener,
    server: Arc<Server>,
    draining: CancellationToken,
    ended: CancellationToken,
) {
    let answer = move |request: hyper::Request<_>| {
        let response = respond(&server, &draining, request.method(), request.uri().path());
        async { response }
    };
    listener.serve(answer, ended).await;
}

fn respond(
    server: &Server,
    draining: &CancellationToken,
    method: &Method,
    path: &str,
) -> Response<Body> {
    if let Some(refused) = refuse_method(method) {
        return refused;
    }
    let state = |good: bool, word: &str| match good {
        true => text(StatusCode::OK, format!("{word}\n")),
        false => text(StatusCode::SERVICE_UNAVAILABLE, format!("not {word}\n")),
    };
    match path {
        "/health" => state(server.is_accepting() || draining.is_cancelled(), "alive"),
        "/ready" => state(server.is_accepting() && !draining.is_cancelled(), "ready"),
        "/metrics" => {
            let mut response = Response::new(full(metrics::of(server)));
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        _ => not_found(),
    }
}
