//! HTTP/2 frame by frame, for requests that no client library sends.

use std::io;

use testkit::{
    frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, block, frame as frame_of},
    process::Proxy,
    upstream::{Reply, Upstream},
    wait::{Latch, in_time},
    wire::Wire,
};

use crate::scene::{ALICE, Scene, echo};

/// Name and value.
type Field<'a> = (&'a str, &'a [u8]);

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// An answer with this status.
    Answered(u16),
    /// The stream or the connection was ended.
    Ended,
}

/// Greets.
pub(crate) async fn connect(scene: &Scene, proxy: &Proxy) -> Wire {
    let mut wire = scene.authority.tls().alpn(&["h2"]).connect(proxy.secure()).await.unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    wire
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(kind, flags, 1, payload)
}

/// Reads to the answer's head on stream 1, or to the end of it.
async fn end_of_stream(wire: &mut Wire) -> io::Result<End> {
    loop {
        let (kind, payload) = read_frame(wire).await?;
        match kind {
            HEADERS => return Ok(End::Answered(status(&payload))),
            RST_STREAM | GOAWAY => return Ok(End::Ended),
            _ => {}
        }
    }
}

async fn read_frame(wire: &mut Wire) -> io::Result<(u8, Vec<u8>)> {
    let mut head = Vec::new();
    while head.len() < 9 {
        head.extend(wire.read_some(9 - head.len()).await?);
    }
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = Vec::new();
    while payload.len() < length {
        payload.extend(wire.read_some(length - payload.len()).await?);
    }
    Ok((head[3], payload))
}

/// The first field of an answer is its status: one of the seven that have a number of their own, or `:status` (8) with
/// three digits, perhaps in Huffman's code, in which digits take five or six bits.
pub(crate) fn status(payload: &[u8]) -> u16 {
    match payload {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x48 | 0x08, 3, digits @ ..] => String::from_utf8_lossy(&digits[..3]).parse().unwrap(),
        [0x48 | 0x08, 0x82 | 0x83, digits @ ..] => huffman_digits(u32::from_be_bytes([digits[0], digits[1], digits[2], 0])),
        other => panic!("no status in {other:x?}"),
    }
}

fn huffman_digits(bits: u32) -> u16 {
    let (mut status, mut at) = (0, 0);
    for _ in 0..3 {
        let next = |width: u32| (bits << at) >> (32 - width);
        let (digit, width) = match next(5) {
            short @ 0..=2 => (short, 5),
            _ => (next(6) - 0b011001 + 3, 6),
        };
        status = status * 10 + u16::try_from(digit).unwrap();
        at += width;
    }
    status
}

/// Go forwards `/ok?a=b HTTP/1.0` as it is, and takes two hosts.
#[tokio::test]
async fn what_is_no_request_in_http2_reaches_no_upstream() {
    no_request_in_http2(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn no_request_in_http2(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let bearer = format!("Bearer {alice}");
    let usual: [Field<'_>; 5] =
        [(":method", b"GET"), (":scheme", b"https"), (":path", b"/ok"), (":authority", b"a"), ("authorization", bearer.as_bytes())];
    // With one field replaced, or one more.
    let with = |name: &'static str, value: &'static [u8]| {
        let mut fields = usual.to_vec();
        match fields.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
        fields
    };
    let also = |name: &'static str, value: &'static [u8]| [usual.to_vec(), vec![(name, value)]].concat();
    let without = |name: &str| usual.iter().copied().filter(|field| field.0 != name).collect::<Vec<_>>();
    let late = [&usual[1..], &usual[..1]].concat();
    let cases: Vec<(&str, Vec<Field<'_>>)> = vec![
        ("a space in the path", with(":path", b"/ok?a=b HTTP/1.0")),
        ("a control byte in the path", with(":path", b"/ok\x01")),
        ("a DEL in the path", with(":path", b"/ok?\x7f")),
        ("a line end in the path", with(":path", b"/ok HTTP/1.1\r\nX-A: b")),
        ("a NUL in the path", with(":path", b"/ok\0")),
        ("a backslash in the path", with(":path", b"/ok\\..\\secret")),
        ("UTF-8 in the path", with(":path", "/é".as_bytes())),
        ("an empty path", with(":path", b"")),
        ("a path without a slash", with(":path", b"ok")),
        ("an absolute path", with(":path", b"https://a/ok")),
        ("an asterisk", with(":path", b"*")),
        ("an encoded dot segment", with(":path", b"/ok/%2e%2e/secret")),
        ("no path", without(":path")),
        ("two paths", also(":path", b"/secret")),
        ("no method", without(":method")),
        ("a method with a space", with(":method", b"GET /secret HTTP/1.1")),
        ("a method in lower case", with(":method", b"get")),
        ("a tunnel", with(":method", b"CONNECT")),
        ("an extended tunnel", [with(":method", b"CONNECT"), vec![(":protocol", b"websocket")]].concat()),
        ("another scheme", with(":scheme", b"ftp")),
        ("no scheme", without(":scheme")),
        ("a host with a user", with(":authority", b"user@a")),
        ("a host with a path", with(":authority", b"a/b")),
        ("no host", without(":authority")),
        ("two hosts", [without(":authority"), vec![("host", &b"a"[..]), ("host", &b"a"[..])]].concat()),
        ("a host beside itself", [also("host", b"a"), vec![("host", &b"a"[..])]].concat()),
        ("another host", also("host", b"b")),
        ("an unknown pseudo field", also(":x", b"y")),
        ("a pseudo field behind the fields", late),
        ("Connection", also("connection", b"x-remote-user")),
        ("Transfer-Encoding", also("transfer-encoding", b"chunked")),
        ("Upgrade", also("upgrade", b"websocket")),
        ("TE", also("te", b"gzip")),
        ("a name in upper case", also("X-A", b"b")),
        ("a name with a space", also("x a", b"b")),
        ("a name with a colon", also("x:a", b"b")),
        ("a name with a line end", also("x-a: b\r\nx-c", b"d")),
        ("an empty name", also("", b"b")),
        ("a line end in a value", also("x-a", b"b\r\nx-remote-user: admin")),
        ("a NUL in a value", also("x-a", b"b\0")),
        ("a length without a body", also("content-length", b"4")),
        ("two lengths", [also("content-length", b"0"), vec![("content-length", &b"4"[..])]].concat()),
        ("a length with a sign", also("content-length", b"+0")),
        ("two tokens", also("authorization", b"Bearer token-of-bob")),
    ];
    let mut accepted = Vec::new();
    // What is odd in a path is the API server's business.
    let passes = |what: &str| scene.is_oidc() && ["a backslash in the path", "UTF-8 in the path", "an encoded dot segment"].contains(&what);
    for (what, fields) in cases.into_iter().filter(|(what, _)| !passes(what)) {
        let mut wire = connect(&scene, &proxy).await;
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, &block(&fields))).await.unwrap();
        match in_time(what, end_of_stream(&mut wire)).await {
            Ok(End::Answered(status)) if what == "a tunnel" && status != 405 => accepted.push(format!("{what}: {status}")),
            Ok(End::Answered(status)) if !(400..500).contains(&status) => accepted.push(format!("{what}: {status}")),
            Ok(_) | Err(_) => {}
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert_eq!(scene.upstream.count(), 0, "{:#?}", scene.upstream.requests());

    // The usual one passes, and one whose host is a field: it is not the frames that are refused.
    for fields in [usual.to_vec(), [without(":authority"), vec![("host", &b"a"[..])]].concat()] {
        let mut wire = connect(&scene, &proxy).await;
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, &block(&fields))).await.unwrap();
        assert_eq!(in_time("the answer", end_of_stream(&mut wire)).await.unwrap(), End::Answered(200));
        assert_eq!(scene.upstream.last_request().header("host"), Some("a"));
    }
}

#[tokio::test]
async fn goaway_comes_at_once_and_the_stream_goes_on() {
    let latch = Latch::default();
    let held = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n").wait(&latch).send("1\r\nb\r\n0\r\n\r\n");
    let scene = Scene::answering(move |_| held.clone()).await;
    let proxy = scene.proxy(&["--shutdown-grace=1h"]).await;
    let bearer = format!("Bearer {ALICE}");
    let fields: [Field<'_>; 5] =
        [(":method", b"GET"), (":scheme", b"https"), (":path", b"/ok"), (":authority", b"a"), ("authorization", bearer.as_bytes())];
    let mut wire = connect(&scene, &proxy).await;
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, &block(&fields))).await.unwrap();
    assert_eq!(until(&mut wire, DATA).await, b"a");
    proxy.signal("TERM");
    until(&mut wire, GOAWAY).await;
    assert!(proxy.is_running());
    latch.open();
    assert_eq!(until(&mut wire, DATA).await, b"b");
    // It says nothing to the goodbye, and holds nobody up.
    in_time("the end of the connection", wire.closed()).await;
    assert_eq!(proxy.exit().await.code, Some(0));
}

/// Reads to the next frame of a kind.
async fn until(wire: &mut Wire, kind: u8) -> Vec<u8> {
    loop {
        let (found, payload) = in_time("a frame", read_frame(wire)).await.unwrap();
        if found == kind {
            return payload;
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_its_length_says_does_not_look_whole() {
    a_wrong_length(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn a_wrong_length(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let bearer = format!("Bearer {alice}");
    for body in ["too long", "not"] {
        let mut wire = connect(&scene, &proxy).await;
        let fields: [Field<'_>; 6] = [
            (":method", b"POST"),
            (":scheme", b"https"),
            (":path", b"/ok"),
            (":authority", b"a"),
            ("authorization", bearer.as_bytes()),
            ("content-length", b"4"),
        ];
        wire.send(frame(HEADERS, END_HEADERS, &block(&fields))).await.unwrap();
        wire.send(frame(DATA, END_STREAM, body.as_bytes())).await.unwrap();
        let end = in_time("the end", end_of_stream(&mut wire)).await;
        assert!(!matches!(end, Ok(End::Answered(200))), "{body}: {end:?}");
    }
    assert!(scene.upstream.requests().iter().all(|received| !received.body.complete), "{:#?}", scene.upstream.requests());
}

/// Streams that are opened and abandoned cost the client its connection, not the others theirs.
#[tokio::test]
async fn a_flood_of_abandoned_streams_ends_its_connection() {
    abandoned_streams(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn abandoned_streams(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let bearer = format!("Bearer {alice}");
    let fields: [Field<'_>; 5] =
        [(":method", b"GET"), (":scheme", b"https"), (":path", b"/ok"), (":authority", b"a"), ("authorization", bearer.as_bytes())];
    let mut wire = connect(&scene, &proxy).await;
    let mut flood = Vec::new();
    for stream in (1..20_000_u32).step_by(2) {
        let mut headers = frame(HEADERS, END_STREAM | END_HEADERS, &block(&fields));
        let mut reset = frame(RST_STREAM, 0, &8_u32.to_be_bytes());
        headers[5..9].copy_from_slice(&stream.to_be_bytes());
        reset[5..9].copy_from_slice(&stream.to_be_bytes());
        flood.extend(headers);
        flood.extend(reset);
    }
    // The server may end the connection before it has read everything.
    let _ = wire.send(&flood).await;
    in_time("the end of the flood", wire.closed()).await;
    assert!(scene.upstream.count() < 5_000, "{}", scene.upstream.count());
    crate::scene::assert_status(&scene.get(&proxy, "/", alice).await, 200);
}
