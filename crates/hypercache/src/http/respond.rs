//! Responses and their bodies.

use super::connection::Busy;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The body of a response.
pub(crate) enum Body {
    /// Known as a whole.
    Whole(Full<Bytes>),
    /// Event by event, until the sender is gone.
    Stream {
        /// The events.
        events: mpsc::Receiver<Bytes>,
        /// Keeps the connection from being taken for idle.
        _busy: Busy,
    },
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Body::Stream { events, .. } => {
                events.poll_recv(cx).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(whole) => whole.is_end_stream(),
            Body::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Stream { .. } => SizeHint::default(),
        }
    }
}

/// A response of JSON text.
#[inline]
pub(crate) fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, JSON, text)
}

/// A response of some other type, not to be kept by caches on the way.
pub(crate) fn fresh(content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = with_type(StatusCode::OK, HeaderValue::from_static(content_type), text);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

#[inline]
fn with_type(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
