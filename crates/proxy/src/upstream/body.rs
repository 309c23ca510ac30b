use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Connection;

/// The body of an upstream's response. Read to its end, it gives its connection back; dropped before, it ends it.
#[derive(Debug)]
pub struct UpstreamBody {
    body: Incoming,
    connection: Option<Connection>,
    ended: bool,
}

impl UpstreamBody {
    pub(super) fn new(body: Incoming, connection: Connection) -> Self {
        Self { body, connection: Some(connection), ended: false }
    }

    /// Lets nobody else have the connection: it no longer speaks HTTP.
    pub(super) fn discard_connection(&mut self) {
        self.connection = None;
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
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
            && let Some(connection) = self.connection.take()
        {
            connection.keep();
        }
    }
}
