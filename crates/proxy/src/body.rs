use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;

use crate::{
    activity::InFlight,
    taking::Taking,
    upstream::{BodyError, UpstreamBody},
};

/// The body of a response to a client.
pub struct Body {
    content: Content<UpstreamBody>,
    /// Its length is told, its bytes are not sent: the answer to a HEAD.
    is_bare: bool,
    /// The request is in flight until its response's body is gone.
    in_flight: Option<InFlight>,
    taking: Taking,
}

/// What a body consists of.
#[derive(Debug)]
pub(crate) enum Content<S> {
    /// Bytes that are all there.
    Whole(Full<Bytes>),
    /// What arrives from elsewhere.
    Streamed(S),
}

impl Body {
    /// A body of the program's own.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Whole(Full::new(bytes.into())))
    }

    pub(crate) fn upstream(body: UpstreamBody) -> Self {
        Self::of(Content::Streamed(body))
    }

    fn of(content: Content<UpstreamBody>) -> Self {
        Self { content, is_bare: false, in_flight: None, taking: Taking::default() }
    }

    /// How long a body of the program's own is.
    pub(crate) fn own_length(&self) -> Option<u64> {
        if self.is_upstreams() { None } else { self.size_hint().exact() }
    }

    /// Whether it is the upstream's.
    pub(crate) fn is_upstreams(&self) -> bool {
        matches!(self.content, Content::Streamed(_))
    }

    pub(crate) fn bare(mut self) -> Self {
        self.is_bare = true;
        self
    }

    pub(crate) fn hold(mut self, in_flight: InFlight, taking: Taking) -> Self {
        self.in_flight = Some(in_flight);
        self.taking = taking;
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_bare {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.content).poll_frame(cx);
        // The library asks for the next piece when the client has room for it.
        self.taking.waits(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_bare || self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<S: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Content<S> {
    type Data = Bytes;
    type Error = S::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, S::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.taking.waits(false);
    }
}
