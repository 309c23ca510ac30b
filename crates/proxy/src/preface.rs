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
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
///
/// # Errors
///
/// The connection broke, or speaks neither.
pub(crate) async fn tell<S: AsyncRead + Unpin>(server: &Server, mut stream: S) -> io::Result<(Protocol, Opened<S>)> {
    let since = Instant::now();
    let mut drain = server.drain.clone();
    let mut deadline = since + server.limits.head;
    let mut first = Vec::with_capacity(64);
    let mut draining = false;
    let protocol = loop {
        if let Some(protocol) = told(&first)? {
            break protocol;
        }
        tokio::select! {
            read = stream.read_buf(&mut first) => if read? == 0 { break Protocol::Http1 },
            () = sleep_until(deadline) => break Protocol::Http1,
            () = drain.begun(), if !draining => {
                draining = true;
                deadline = deadline.min(Instant::now() + LAST_CALL);
            }
        }
    };
    Ok((protocol, Opened { stream, first: first.into(), since }))
}

/// What the first bytes speak; `None`: more are needed. What may be a bad request is left to HTTP/1, which answers it.
fn told(first: &[u8]) -> io::Result<Option<Protocol>> {
    if first.starts_with(PREFACE) {
        return Ok(Some(Protocol::Http2));
    }
    if PREFACE.starts_with(first) {
        return Ok(None);
    }
    let mut words = first.splitn(3, |byte| *byte == b' ').skip(1);
    match (words.next(), words.next()) {
        (Some([b'/' | b'*', ..]), _) => Ok(Some(Protocol::Http1)),
        // An answer in HTTP/1 would mean nothing to whoever greets like this.
        (Some([_, ..]), Some([version, ..])) if *version != b'H' => Err(io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP")),
        _ if first.iter().any(u8::is_ascii_control) || first.len() >= PREFACE.len() => Ok(Some(Protocol::Http1)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::{DrainTrigger, Http2, Limits, Places};

    async fn told_of(pieces: &[&[u8]]) -> (Protocol, Bytes, Duration) {
        let (mut client, stream) = duplex(64);
        let second = Duration::from_secs(1);
        let limits = Limits { head_bytes: 65536, handshake: second, head: second, idle: second, write: second };
        let (_trigger, drain) = DrainTrigger::new();
        let http2 = Some(Http2 { max_concurrent_streams: 1, max_size: 16_384 });
        let server = Server { limits, http2, metrics: observe::Metrics::new("test", "0"), drain, places: Places::new(1) };
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
            (&[b"GET x\r\n"], Protocol::Http1),
            (&[b"\x16\x03\x01\x00\xa5"], Protocol::Http1),
            (&[b"GET", b" http://a/ HTTP/1.1\r\n"], Protocol::Http1),
            (&[b"CONNECT a:1 ", b"HTTP/1.1\r\n\r\n"], Protocol::Http1),
        ] {
            let (told, first, took) = told_of(pieces).await;
            assert_eq!((told, took), (protocol, Duration::ZERO), "{pieces:?}");
            assert!(!first.is_empty() && pieces.concat().starts_with(&first), "{pieces:?}: {first:?}");
        }
    }

    #[test]
    fn what_is_neither_is_not_answered() {
        for first in [&b"INVALID CONNECTION PREFACE\r\n\r\n"[..24], b"SSH x y"] {
            assert!(told(first).is_err(), "{first:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_or_half_of_it_has_the_time_of_a_head() {
        for pieces in [&[][..], &[&b"PRI * HTTP"[..]]] {
            let (told, _, took) = told_of(pieces).await;
            assert_eq!((told, took), (Protocol::Http1, Duration::from_secs(1)));
        }
    }
}
