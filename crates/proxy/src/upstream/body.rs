use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;

use super::pool::Connection;

/// The body of an upstream's response. Read to its end, it gives its connection back; dropped before, it ends it.
pub struct UpstreamBody {
    body: Incoming,
    is_http2: bool,
    connection: Option<Connection>,
    ended: bool,
}

/// Why a response's body does not arrive whole. Its client sees a reset, in HTTP/2 with the upstream's code, or a broken
/// connection; never an end.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The connection or the stream broke.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// The stream was reset with a code that means no error.
    #[error("the upstream ended the stream before its end")]
    Cut,
}

impl UpstreamBody {
    pub(super) fn of(response: Response<Incoming>, connection: Connection) -> Response<Self> {
        let is_http2 = response.version() == Version::HTTP_2;
        response.map(|body| Self { body, is_http2, connection: Some(connection), ended: false })
    }

    /// Lets nobody else have the connection: it no longer speaks HTTP.
    pub(super) fn discard_connection(&mut self) {
        self.connection = None;
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        Poll::Ready(match frame {
            Poll::Pending => return Poll::Pending,
            // The library takes a reset without an error for an end.
            Poll::Ready(None) if self.is_http2 && !self.body.is_end_stream() => Some(Err(BodyError::Cut)),
            Poll::Ready(None) => {
                self.ended = true;
                None
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    crate::headers::strip_hop_by_hop(trailers);
                }
                Some(Ok(frame))
            }
            Poll::Ready(Some(Err(error))) => Some(Err(error.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if (self.ended || self.body.is_end_stream())
            && let Some(Connection::Http1(connection)) = self.connection.take()
        {
            connection.keep();
        }
    }
}
