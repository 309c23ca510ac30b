use std::{
    error::Error,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Request, Response, Uri, header, uri::Authority, uri::Scheme};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use request::{Reason, Refusal};
use tokio::time::Instant;

use super::{connect::HEAD_BYTES, upload::Upload};
use crate::{Socket, lock};

/// Bytes that an upstream may send of one response before its client reads any.
const STREAM_WINDOW: u32 = 256 * 1024;

/// As in Go, no bound of its own: a client that does not read must not hold up those who share the connection.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Bytes of a request's body that wait for an upstream that does not read.
const BUFFER: usize = 64 * 1024;

/// How long a connection may owe every answer before it gets no more requests. Its end may be gone without a word, and pings,
/// which would tell, are an offence to servers of gRPC.
const OWED: Duration = Duration::from_secs(30);

/// A connection to the upstream that many requests share.
pub(super) struct Http2 {
    sender: SendRequest<Upload>,
    scheme: Scheme,
    /// Asks the connection how many requests the upstream takes at a time.
    most: Box<dyn Fn() -> usize + Send + Sync>,
    usage: Mutex<Usage>,
}

/// One request's place on a connection.
pub(crate) struct Stream(Arc<Http2>);

/// Why there is no response.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The upstream provably did nothing with the request.
    pub(super) is_unprocessed: bool,
}

#[derive(Debug)]
struct Usage {
    requests: usize,
    /// The number changed last.
    since: Instant,
    /// The first request behind the last answer.
    owed_since: Option<Instant>,
}

impl Http2 {
    pub(super) async fn handshake(stream: Box<dyn Socket>, scheme: Scheme) -> hyper::Result<Arc<Self>> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(BUFFER)
            .max_header_list_size(HEAD_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let connection = Arc::new(Mutex::new(Some(connection)));
        let driven = Arc::clone(&connection);
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                let mut driven = lock(&driven);
                let Some(connection) = driven.as_mut() else { return Poll::Ready(Ok(())) };
                let ended = ready!(Pin::new(connection).poll(cx));
                // Gives back what waits to be sent.
                *driven = None;
                Poll::Ready(ended)
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "Upstream connection broke");
            }
        });
        let most = Box::new(move || lock(&connection).as_ref().map_or(0, |connection| connection.current_max_send_streams()));
        Ok(Arc::new(Self { sender, scheme, most, usage: Mutex::new(Usage::new(Instant::now())) }))
    }

    /// A place for a request, if the upstream takes one more here.
    pub(super) fn share(self: &Arc<Self>) -> Option<Stream> {
        let is_free = !self.sender.is_closed() && lock(&self.usage).has_room((self.most)(), Instant::now());
        is_free.then(|| Stream::new(self))
    }

    /// Whether it carries something, or did so a moment ago.
    pub(super) fn is_of_use(&self, keep: Duration) -> bool {
        let usage = lock(&self.usage);
        !self.sender.is_closed() && (usage.requests > 0 || usage.since.elapsed() < keep)
    }
}

impl Stream {
    /// A place for a request, whether the upstream takes it now or later.
    pub(super) fn new(connection: &Arc<Http2>) -> Self {
        lock(&connection.usage).begin(Instant::now());
        Self(Arc::clone(connection))
    }

    /// Writes a request of HTTP/1.1 as one of HTTP/2: the host is no field, and neither is what speaks for a connection.
    pub(super) fn translate(&self, request: &mut Request<Upload>) -> Result<(), Refusal> {
        let bad = |error: http::Error| Refusal::because(Reason::BadRequest, error);
        let headers: &mut HeaderMap = request.headers_mut();
        headers.remove(header::TRANSFER_ENCODING);
        let host = headers.remove(header::HOST);
        let authority = Authority::try_from(host.as_ref().map_or(&[][..], |host| host.as_bytes()));
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(self.0.scheme.clone());
        parts.authority = Some(authority.map_err(|error| bad(error.into()))?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| bad(error.into()))?;
        // The library lets no `100 Continue` through. The upstream's is for this program, which has the body sent at once.
        request.body_mut().release();
        Ok(())
    }

    pub(super) async fn send(&self, request: Request<Upload>) -> Result<Response<Incoming>, Failed> {
        let mut sender = self.0.sender.clone();
        let response = sender.try_send_request(request).await.map_err(|mut failed| {
            let is_unprocessed = failed.take_message().is_some() || is_unprocessed(failed.error());
            Failed { error: failed.into_error(), is_unprocessed }
        })?;
        lock(&self.0.usage).owed_since = None;
        Ok(response)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.0.usage).end(Instant::now());
    }
}

impl Usage {
    fn new(now: Instant) -> Self {
        Self { requests: 0, since: now, owed_since: None }
    }

    fn begin(&mut self, now: Instant) {
        (self.requests, self.since) = (self.requests + 1, now);
        // Who gives up leaves it as it is: a dead end is found by those who do.
        self.owed_since.get_or_insert(now);
    }

    fn end(&mut self, now: Instant) {
        (self.requests, self.since) = (self.requests.saturating_sub(1), now);
    }

    fn has_room(&self, most: usize, now: Instant) -> bool {
        self.requests < most && self.owed_since.is_none_or(|since| now - since < OWED)
    }
}

/// RFC 9113 section 8.7: a stream that is refused, or that is behind the last one of a GOAWAY, was not looked at.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_owes_every_answer_gets_no_more_requests() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut usage = Usage::new(begin);
        assert!(usage.has_room(1, at(100)), "nothing was asked");
        usage.begin(at(100));
        assert!(!usage.has_room(1, at(100)) && usage.has_room(2, at(129)));
        // Its clients give up one after the other.
        usage.end(at(110));
        usage.begin(at(120));
        usage.end(at(125));
        assert!(usage.has_room(2, at(129)) && !usage.has_room(2, at(130)));
        usage.owed_since = None;
        assert!(usage.has_room(2, at(130)), "it answers after all");
    }
}
