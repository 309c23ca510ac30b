use std::io;

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Instant, sleep_until},
};

use crate::{
    Server,
    activity::{LAST_CALL, Protocol},
};

/// What a client of HTTP/2 says first; in HTTP/1 it is no request.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose protocol is known.
pub(crate) struct Opened<S> {
    pub(crate) stream: S,
    /// Was read already.
    pub(crate) first: Bytes,
    /// When the wait for the first request began.
    pub(crate) since: Instant,
}

impl<S> Opened<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, first: Bytes::new(), since: Instant::now() }
    }
}

/// Tells HTTP/2 from HTTP/1 by the first bytes of a cleartext connection (RFC 9113 section 3.3), for as long as a head may
/// take. Whoever says nothing is left to HTTP/1, whose deadlines have run out by then.
pub(crate) async fn tell<S: AsyncRead + Unpin>(server: &Server, mut stream: S) -> io::Result<(Protocol, Opened<S>)> {
    let since = Instant::now();
    let mut drain = server.drain.clone();
    let mut deadline = since + server.limits.head;
    let mut first = Vec::with_capacity(PREFACE.len());
    let mut draining = false;
    while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
        let missing = PREFACE.len() - first.len();
        let mut piece = (&mut stream).take(u64::try_from(missing).unwrap_or_default());
        tokio::select! {
            read = piece.read_buf(&mut first) => if read? == 0 { break },
            () = sleep_until(deadline) => break,
            () = drain.begun(), if !draining => {
                draining = true;
                deadline = deadline.min(Instant::now() + LAST_CALL);
            }
        }
    }
    let protocol = if first == PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    Ok((protocol, Opened { stream, first: first.into(), since }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::{DrainTrigger, Http2, Limits};

    async fn told(pieces: &[&[u8]]) -> (Protocol, Bytes, Duration) {
        let (mut client, stream) = duplex(64);
        let second = Duration::from_secs(1);
        let limits = Limits { head_bytes: 65536, handshake: second, head: second, idle: second };
        let (_trigger, drain) = DrainTrigger::new();
        let http2 = Some(Http2 { max_concurrent_streams: 1, max_size: 16_384 });
        let server = Server { limits, http2, metrics: observe::Metrics::new("test", "0"), drain };
        let begun = Instant::now();
        let telling = tokio::spawn(async move { tell(&server, stream).await.expect("a stream that works") });
        for piece in pieces {
            client.write_all(piece).await.expect("room");
            tokio::task::yield_now().await;
        }
        let (protocol, opened) = telling.await.expect("no panic");
        (protocol, opened.first, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_preface_is_http2_however_it_arrives_and_anything_else_is_http1_at_once() {
        let (one, other) = PREFACE.split_at(5);
        for (pieces, protocol) in [
            (&[&PREFACE[..]][..], Protocol::Http2),
            (&[one, other], Protocol::Http2),
            (&[b"GET / HTTP/1.1\r\n"], Protocol::Http1),
            (&[b"P", b"OST / HTTP/1.1\r\n"], Protocol::Http1),
            (&[b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"], Protocol::Http1),
        ] {
            let (told, first, took) = told(pieces).await;
            assert_eq!((told, took), (protocol, Duration::ZERO), "{pieces:?}");
            assert!(!first.is_empty() && pieces.concat().starts_with(&first), "{pieces:?}: {first:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_or_half_of_it_has_the_time_of_a_head() {
        for pieces in [&[][..], &[&b"PRI * HTTP"[..]]] {
            let (told, _, took) = told(pieces).await;
            assert_eq!((told, took), (Protocol::Http1, Duration::from_secs(1)));
        }
    }
}
