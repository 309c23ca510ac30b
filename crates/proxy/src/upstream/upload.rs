use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use request::{Form, Reason, Refusal};
use thiserror::Error;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, futures::OwnedNotified},
    time::{Sleep, Timeout, sleep, timeout},
};

use crate::{body::Content, lock};

/// How long a body that the client holds back for `100 Continue` waits for the upstream to say so; as in Go.
const CONTINUE: Duration = Duration::from_secs(1);

/// What is read of a body which nobody wants, and for how long.
const DRAINED: u64 = 256 * 1024;
const DRAINING: Duration = Duration::from_millis(100);

/// The most bytes that a form may have which is read before it is sent.
const FORM_BYTES: usize = 1024 * 1024;

/// The most bytes that all such forms may have together.
pub(super) const FORMS_BYTES: usize = 16 * FORM_BYTES;

/// The body of a request on its way upstream: streamed, and without its trailers, in which a client could send
/// headers that nobody looked at.
#[derive(Debug)]
pub struct Upload {
    source: Progress,
    /// Until the upstream's `100 Continue`, or for a while, the body is not read, and so the client is not told to send it.
    hold: Option<Pin<Box<Timeout<OwnedNotified>>>>,
}

/// How far an [`Upload`] is, for whoever waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Source>>);

/// Why a body does not arrive whole.
#[derive(Debug, Error)]
pub enum UploadError {
    /// It ended before its end, or is no body.
    #[error("the client's body broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// Its stream was reset with a code that means no error.
    #[error("the client's body was cut")]
    Cut,
    /// Nothing came for too long.
    #[error("nothing of the client's body came for too long")]
    Slow,
    /// Another try has it.
    #[error("the body is sent by another try")]
    Withdrawn,
}

#[derive(Debug)]
struct Source {
    /// `None` when another try has it.
    body: Option<Content<Incoming>>,
    is_http2: bool,
    /// Bytes that forms may have.
    forms: Arc<Semaphore>,
    /// What this one has of them.
    room: Option<OwnedSemaphorePermit>,
    /// Some of it was read, so that it cannot be sent again.
    begun: bool,
    /// Nobody waits for the client any longer: the upstream knows what it needs.
    answered: bool,
    /// How long the client may send nothing before the answer.
    patience: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
    /// What the client is told of what it did wrong with its body.
    fault: Option<Reason>,
    /// The upstream has sent more informational responses than anybody reads.
    flooded: Arc<Notify>,
}

impl Upload {
    pub(super) fn new(body: Incoming, is_http2: bool, patience: Option<Duration>, forms: Arc<Semaphore>) -> Self {
        Self::of(Content::Streamed(body), is_http2, patience, forms, Arc::default())
    }

    fn of(body: Content<Incoming>, is_http2: bool, patience: Option<Duration>, forms: Arc<Semaphore>, flooded: Arc<Notify>) -> Self {
        let (body, room, silence, fault) = (Some(body), None, None, None);
        let source = Source { body, is_http2, forms, room, begun: false, answered: false, patience, silence, fault, flooded };
        Self { source: Progress(Arc::new(Mutex::new(source))), hold: None }
    }

    /// Holds the body back until the upstream asks for it.
    pub(super) fn hold(&mut self, continued: Arc<Notify>) {
        self.hold = Some(Box::pin(timeout(CONTINUE, continued.notified_owned())));
    }

    /// The client may be silent for as long as it likes.
    pub(super) fn be_patient(&mut self) {
        self.source.source().patience = None;
    }

    pub(crate) fn progress(&self) -> Progress {
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

    /// To be told when the upstream floods.
    pub(super) fn flooded(&self) -> Arc<Notify> {
        Arc::clone(&self.source().flooded)
    }

    /// Reads the little that is still to come of a body which nobody wants, as Go does. False: the connection must end, for
    /// there is more, or it does not come.
    pub(crate) async fn drain(&self) -> bool {
        if self.source().body.as_ref().is_some_and(|body| body.size_hint().lower() > DRAINED) {
            return false;
        }
        let mut read = 0;
        let rest = poll_fn(|cx| {
            while let (true, Some(body)) = (read <= DRAINED, &mut self.source().body) {
                match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) => return Poll::Ready(false),
                    None => return Poll::Ready(true),
                }
            }
            Poll::Ready(read <= DRAINED)
        });
        timeout(DRAINING, rest).await.unwrap_or(false)
    }

    /// Cuts a stream after its answer, not with it: there are clients, curl among them, that do not see an answer which comes
    /// in one piece with its cut. What comes meanwhile is left unread, and is a window at most.
    pub(crate) fn cut_later(self) {
        tokio::spawn(async move {
            sleep(DRAINING).await;
            drop(self);
        });
    }

    pub(super) fn fault(&self) -> Option<Reason> {
        self.source().fault
    }

    /// The same body for another try; `None` when some of it is gone already.
    pub(super) fn again(&self) -> Option<Upload> {
        let mut source = self.source();
        let begun = source.begun;
        let body = source.body.take_if(|_| !begun)?;
        let again = Upload::of(body, source.is_http2, source.patience, Arc::clone(&source.forms), Arc::clone(&source.flooded));
        again.source.source().room = source.room.take();
        Some(again)
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        lock(&self.0)
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
        self.fault = Some(Reason::BadRequest);
        Poll::Ready(Some(Err(error)))
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(patience) = self.patience.filter(|_| !self.answered) else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(silence.as_mut().poll(cx));
        self.fault = Some(Reason::BodyTooSlow);
        Poll::Ready(Some(Err(UploadError::Slow)))
    }
}

impl Form for Upload {
    async fn read(&mut self) -> Result<Bytes, Refusal> {
        let patience = self.source.source().patience;
        match patience {
            Some(patience) => timeout(patience, self.whole()).await.unwrap_or_else(|_| Err(Refusal::new(Reason::BodyTooSlow))),
            None => self.whole().await,
        }
    }
}

impl Upload {
    /// Reads the body and keeps it, for as long as there is room for more of it.
    async fn whole(&mut self) -> Result<Bytes, Refusal> {
        let too_large = || Refusal::new(Reason::FormTooLarge);
        if self.is_end_stream() {
            return Ok(Bytes::new());
        }
        if self.size_hint().lower() > FORM_BYTES as u64 {
            return Err(too_large());
        }
        let forms = Arc::clone(&self.source.source().forms);
        let (mut whole, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|error| Refusal::because(self.source.fault().unwrap_or(Reason::BadRequest), error))?;
            let data = frame.into_data().unwrap_or_default();
            if whole.len() + data.len() > FORM_BYTES {
                return Err(too_large());
            }
            let more = u32::try_from(data.len()).ok().and_then(|length| Arc::clone(&forms).try_acquire_many_owned(length).ok());
            let more = more.ok_or_else(|| Refusal::new(Reason::FormsFull))?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            whole.extend_from_slice(&data);
        }
        let whole = whole.freeze();
        let mut source = self.source.source();
        (source.body, source.room, source.begun) = (Some(Content::Whole(Full::new(whole.clone()))), room, false);
        Ok(whole)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(hold) = &mut self.hold {
            let _ = ready!(hold.as_mut().poll(cx));
            self.hold = None;
        }
        self.source.source().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.source.source().body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.source.source().body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
