use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

/// How long a body that the client holds back for `100 Continue` waits for the upstream to say so; as in Go.
const CONTINUE: Duration = Duration::from_secs(1);

/// The body of a request on its way upstream: streamed, and without its trailers, in which a client could send
/// headers that nobody looked at.
#[derive(Debug)]
pub(crate) struct Upload {
    source: Progress,
    /// Until it is over, the body is not read, and so the client is not told to send it.
    hold: Option<Hold>,
}

/// How far an [`Upload`] is, for whoever waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Source>>);

/// Waits for the upstream's `100 Continue`, for a while.
#[derive(Debug)]
pub(super) struct Hold {
    continued: Option<oneshot::Receiver<()>>,
    until: Pin<Box<Sleep>>,
}

/// What a client did wrong with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ended before its end, or is no body.
    Broken,
    /// Nothing came for too long.
    Slow,
}

/// Why a body does not arrive whole.
#[derive(Debug, Error)]
pub(crate) enum UploadError {
    #[error("the client's body broke off: {0}")]
    Broken(#[source] hyper::Error),
    #[error("the client's body was cut")]
    Cut,
    #[error("nothing of the client's body came for too long")]
    Slow,
    #[error("the body is sent by another try")]
    Withdrawn,
}

#[derive(Debug)]
struct Source {
    /// `None` when another try has it.
    body: Option<Incoming>,
    is_http2: bool,
    /// Some of it was read, so that it cannot be sent again.
    begun: bool,
    /// Nobody waits for the client any longer: the upstream knows what it needs.
    answered: bool,
    /// How long the client may send nothing before the answer.
    patience: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
}

impl Upload {
    pub(super) fn new(body: Incoming, is_http2: bool, patience: Option<Duration>, hold: Option<Hold>) -> Self {
        let source = Source { body: Some(body), is_http2, begun: false, answered: false, patience, silence: None, fault: None };
        Self { source: Progress(Arc::new(Mutex::new(source))), hold }
    }

    pub(super) fn progress(&self) -> Progress {
        self.source.clone()
    }

    /// Sends the body without waiting to be told to.
    pub(super) fn release(&mut self) {
        self.hold = None;
    }
}

impl Progress {
    /// The upstream has answered: from here on silence is the business of the two ends.
    pub(super) fn answered(&self) {
        let mut source = self.source();
        source.answered = true;
        source.silence = None;
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.source().fault
    }

    /// The same body for another try; `None` when some of it is gone already.
    pub(super) fn again(&self) -> Option<Upload> {
        let mut source = self.source();
        let begun = source.begun;
        let body = source.body.take_if(|_| !begun)?;
        Some(Upload::new(body, source.is_http2, source.patience, None))
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Some(Err(UploadError::Withdrawn))) };
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return self.poll_silence(cx) };
        self.begun = true;
        self.silence = None;
        let error = match frame {
            Some(Ok(frame)) if frame.is_trailers() => return Poll::Ready(None),
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            // The library takes a reset without an error for an end.
            None if self.is_http2 && !body.is_end_stream() => UploadError::Cut,
            None => return Poll::Ready(None),
            Some(Err(error)) => UploadError::Broken(error),
        };
        self.fault = Some(Fault::Broken);
        Poll::Ready(Some(Err(error)))
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(patience) = self.patience.filter(|_| !self.answered) else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(silence.as_mut().poll(cx));
        self.fault = Some(Fault::Slow);
        Poll::Ready(Some(Err(UploadError::Slow)))
    }
}

impl Hold {
    pub(super) fn new() -> (Self, oneshot::Sender<()>) {
        let (release, continued) = oneshot::channel();
        (Self { continued: Some(continued), until: Box::pin(sleep(CONTINUE)) }, release)
    }
}

impl Future for Hold {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(continued) = &mut self.continued {
            match Pin::new(continued).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                // The final response is there, and nobody asked for the body.
                Poll::Ready(Err(_)) => self.continued = None,
                Poll::Pending => {}
            }
        }
        self.until.as_mut().poll(cx)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(hold) = &mut self.hold {
            ready!(Pin::new(hold).poll(cx));
            self.hold = None;
        }
        self.source.source().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.source.source().body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.source.source().body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}
