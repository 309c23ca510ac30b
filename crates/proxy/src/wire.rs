use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{activity::Activity, heads::Heads, interim::Interim, preface::Opened};

/// A client's connection: tells its [`Activity`] when bytes arrive, shows them to its [`Heads`], and writes what waits in its [`Interim`].
pub(crate) struct Wire<S> {
    stream: S,
    /// Was read to know the protocol, and is to be read again; or ends what is spoilt.
    first: Bytes,
    activity: Arc<Activity>,
    heads: Heads,
    interim: Interim,
    /// Of an informational response whose writing has begun.
    unwritten: Vec<u8>,
}

impl<S> Wire<S> {
    pub(crate) fn new(opened: Opened<S>, activity: Arc<Activity>, heads: Heads, interim: Interim) -> Self {
        Self { stream: opened.stream, first: opened.first, activity, heads, interim, unwritten: Vec::new() }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes informational responses, all of them before anything else.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.interim.wake(cx.waker());
        loop {
            if self.unwritten.is_empty() {
                match self.interim.due() {
                    Some(due) => self.unwritten = due,
                    None => return Poll::Ready(Ok(())),
                }
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unwritten))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.unwritten.drain(..written)),
            }
            if self.unwritten.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The library waits for the upstream by reading; a broken connection shows itself there too.
        let _ = self.poll_interim(cx);
        let before = buffer.filled().len();
        let result = if self.first.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        } else {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(self.first.get(..length).unwrap_or_default());
            self.first.advance(length);
            Poll::Ready(Ok(()))
        };
        let received = buffer.filled_mut().get_mut(before..).unwrap_or_default();
        if !received.is_empty() && self.activity.received(received) && !self.heads.look(received) {
            // The library is not to wait for the rest of it.
            self.first = Bytes::from_static(b"\r\n\r\n");
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.interim.set_mid_message(true);
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.interim.set_mid_message(true);
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.interim.set_mid_message(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
