//! What a player is told where the server, or the way to it, failed.

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::client::Error;
use crate::http::{Body, text};
use crate::protocol::NackCode;
use crate::session::client::End;
use crate::transport;

/// The response to a request that came to nothing.
pub(super) fn response(error: &Error) -> Response<Body> {
    let mut response = text(status(error), format!("{error}\n"));
    if let Error::Session(end) = error
        && let Some(after) = end.retry_after()
    {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    response
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::NoSuchTitle { .. } | Error::TitleNeeded(_) => StatusCode::NOT_FOUND,
        Error::Session(End::Refused { code, .. }) => match NackCode::from_wire(*code) {
            Some(NackCode::NoSuchTitle) => StatusCode::NOT_FOUND,
            Some(NackCode::NotAuthorised) => StatusCode::FORBIDDEN,
            Some(NackCode::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        },
        Error::NoAnswer { .. } | Error::NoProgress(_) => StatusCode::GATEWAY_TIMEOUT,
        Error::Session(End::NoAnswer(_) | End::Stalled(_) | End::Timeout(_)) => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Error::Transport(error) => match error {
            transport::Error::Tls(_)
            | transport::Error::Untrusted(_)
            | transport::Error::NoCommonProtocol
            | transport::Error::Handshake(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::GATEWAY_TIMEOUT,
        },
        _ => StatusCode::BAD_GATEWAY,
    }
}
