//! What a response carries.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame};

/// Why a body ends before it is whole.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of what `next` gives, up to its end. An error cuts the connection, so that the client
/// sees that it is not whole.
pub(crate) fn stream(
    next: impl FnMut(&mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> + Send + Unpin + 'static,
) -> Body {
    StreamBody(next).boxed_unsync()
}

struct StreamBody<F>(F);

impl<F> HttpBody for StreamBody<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.get_mut().0(context);
        next.map(|next| next.map(|bytes| Ok(Frame::data(bytes?))))
    }
}
