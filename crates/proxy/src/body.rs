use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use crate::{
    activity::InFlight,
    taking::Taking,
    upstream::{BodyError, UpstreamBody},
};

/// The body of a response to a client.
#[derive(Debug)]
pub struct Body {
    source: Source,
    /// Its length is told, its bytes are not sent: the answer to a HEAD.
    is_bare: bool,
    /// The request is in flight until its response's body is gone.
    in_flight: Option<InFlight>,
    taking: Taking,
}

#[derive(Debug)]
enum Source {
    Whole(Full<Bytes>),
    Upstream(UpstreamBody),
}

impl Body {
    /// A body of the program's own.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Whole(Full::new(bytes.into())), is_bare: false, in_flight: None, taking: Taking::default() }
    }

    pub(crate) fn upstream(body: UpstreamBody) -> Self {
        Self { source: Source::Upstream(body), is_bare: false, in_flight: None, taking: Taking::default() }
    }

    /// How long a body of the program's own is.
    pub(crate) fn own_length(&self) -> Option<u64> {
        match &self.source {
            Source::Whole(body) => http_body::Body::size_hint(body).exact(),
            Source::Upstream(_) => None,
        }
    }

    /// Whether it is the upstream's.
    pub(crate) fn is_upstreams(&self) -> bool {
        matches!(self.source, Source::Upstream(_))
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
        let polled = match &mut self.source {
            Source::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        // The library asks for the next piece when the client has room for it.
        self.taking.waits(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_bare
            || match &self.source {
                Source::Whole(body) => body.is_end_stream(),
                Source::Upstream(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(body) => body.size_hint(),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.taking.waits(false);
    }
}
