//! An upstream that speaks HTTP/2.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use testkit::{
    client::{Client, Exchange, Request, Version},
    frames::{self, DATA, END_HEADERS, Frames, HEADERS, RST_STREAM},
    process::Proxy,
    upstream::{Reply, Session, Upstream},
    wait::{Latch, in_time, wait_until},
    wire::chunk,
};
use tokio::sync::Mutex;

use crate::scene::{ALICE, BOB, BOTH, MALLORY, Scene, assert_status};

/// In cleartext, without having been asked.
const FORCED: [&str; 1] = ["--upstream-force-h2c"];

/// An upstream that is played frame by frame; connections are counted from 1.
async fn playing<F: Future<Output = ()> + Send + 'static>(
    most: u32,
    play: impl Fn(usize, Frames) -> F + Clone + Send + Sync + 'static,
) -> (Scene, Proxy) {
    let upstream = Upstream::start_raw(move |session: Session| {
        let play = play.clone();
        async move {
            // All of it, as it counts as open for so long.
            let session = session;
            let connection = session.connection;
            if let Ok(frames) = Frames::accept(session.wire.into_stream(), most).await {
                play(connection, frames).await;
            }
        }
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy(&FORCED).await;
    (scene, proxy)
}

#[tokio::test]
async fn an_upstream_that_speaks_http2_alone_is_served() {
    let upstream = Upstream::start_http2(None, |received| match received.target() {
        "/trailers" => Reply::chunked(&[("Trailer", "X-Sum")], &["a", "b"], &[("X-Sum", "42")]),
        "/empty" => Reply::new(204, &[], ""),
        "/hop" => Reply::new(200, &[("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "5")], "x"),
        target => Reply::ok(target),
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy(&["--upstream-force-h2c", "--auth-header-fields-enabled"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let spoofed = Request::get("/a/b?q=1;2").bearer(ALICE).host("app.test:8443").header("X-Remote-User", "root");
        let response = client.send(&spoofed.header("TE", "trailers").header("Cookie", "a=1")).await;
        assert_eq!((response.status, response.text().as_str()), (200, "/a/b?q=1;2"), "{version:?}");
        let received = scene.upstream.take_requests().remove(0);
        assert_eq!((received.method(), received.target()), ("GET", "/a/b?q=1;2"));
        let found = ["host", "x-remote-user", "x-forwarded-for", "te", "cookie", "authorization", "connection", "content-length"];
        let found = found.map(|name| received.header(name));
        assert_eq!(found, [Some("app.test:8443"), Some("alice"), Some("127.0.0.1"), Some("trailers"), Some("a=1"), None, None, None]);

        assert_status(&client.send(&Request::post("/", "whole").bearer(ALICE)).await, 200);
        let mut exchange = client.open(&Request::new("POST", "/").bearer(ALICE).streaming()).await.unwrap();
        assert!(exchange.send("in ").await && exchange.send("pieces").await);
        exchange.finish().await;
        assert_status(&in_time("the answer", exchange.rest()).await.unwrap(), 200);
        let bodies: Vec<_> = scene.upstream.take_requests().iter().map(|received| received.body.content.clone()).collect();
        assert_eq!(bodies, [b"whole".to_vec(), b"in pieces".to_vec()]);

        let response = client.send(&Request::get("/trailers").bearer(ALICE).header("TE", "trailers")).await;
        assert_eq!((response.text().as_str(), response.trailers.as_slice()), ("ab", &[("x-sum".to_owned(), "42".to_owned())][..]));
        assert_status(&client.send(&Request::get("/empty").bearer(ALICE)).await, 204);
        let response = client.send(&Request::get("/hop").bearer(ALICE)).await;
        assert_eq!(["connection", "x-hop", "keep-alive"].map(|name| response.header(name)), [None; 3]);
        let response = client.send(&Request::new("HEAD", "/head").bearer(ALICE)).await;
        assert_eq!((response.status, response.header("content-length"), response.text().as_str()), (200, Some("5"), ""));
        assert_status(&client.send(&Request::get("/").bearer(MALLORY)).await, 403);
        scene.upstream.take_requests();
    }
    assert_eq!(scene.upstream.connections(), 1, "one connection is enough");
}

#[tokio::test]
async fn an_upstream_that_speaks_no_http2_is_no_upstream_when_it_is_forced() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&FORCED).await;
    for version in BOTH {
        assert_status(&scene.connect(version, &proxy).await.send(&Request::get("/").bearer(ALICE)).await, 502);
    }
    assert!(scene.upstream.requests().iter().all(|received| !received.target().starts_with('/')), "{:#?}", scene.upstream.requests());
}

#[tokio::test]
async fn an_upstream_over_tls_gets_the_version_that_is_agreed_on() {
    let authority = testkit::certs::Authority::new("upstream");
    let both = Upstream::start_http2(Some(&authority.server()), |received| Reply::ok(received.target())).await;
    let old = Upstream::start_tls(&authority.server(), |received| Reply::ok(received.target())).await;
    let scene = Scene::new().await;
    let ca = format!("--upstream-ca-file={}", scene.write("upstream.crt", authority.pem()));
    let shown = authority.client("proxy", &[]);
    let (certificate, key) = shown.write(scene.folder.path(), "shown");
    let pair = [format!("--upstream-client-cert-file={}", certificate.display()), format!("--upstream-client-key-file={}", key.display())];
    for (upstream, more, status, connections) in
        [(&both, None, 200, 1), (&old, None, 200, 3), (&both, Some(FORCED[0]), 200, 1), (&old, Some(FORCED[0]), 502, 0)]
    {
        let before = upstream.connections();
        let flags: Vec<String> =
            [format!("--upstream={}", upstream.url()), ca.clone()].into_iter().chain(pair.clone()).chain(more.map(str::to_owned)).collect();
        let proxy = scene.proxy(&flags).await;
        let mut client = scene.connect(Version::H2, &proxy).await;
        // The first settles what is spoken, the others go at once.
        assert_status(&client.send(&Request::get("/first").bearer(ALICE)).await, status);
        let requests = ["/1", "/2", "/3"].map(|path| Request::get(path).bearer(ALICE));
        let http2 = client.http2();
        for response in join_all(requests.iter().map(|request| http2.send(request))).await {
            assert_status(&response.unwrap(), status);
        }
        assert_eq!(upstream.take_requests().len(), if status == 200 { 4 } else { 0 });
        if status == 200 {
            assert_eq!(upstream.last_certificate().as_deref(), Some(shown.certificates()[0].as_ref()), "{flags:?}");
            assert!(upstream.connections() - before <= connections, "{flags:?}: {} connections", upstream.connections() - before);
        }
    }
}

/// HTTP/1.1 alone can change to another protocol.
#[tokio::test]
async fn a_tunnel_has_a_connection_of_http1_of_its_own() {
    let authority = testkit::certs::Authority::new("upstream");
    let pair = authority.server();
    let upstream = Upstream::start_http2(Some(&pair), |received| match received.header("upgrade") {
        Some(protocol) => Reply::head(101, &[("Connection", "Upgrade"), ("Upgrade", protocol)]).send("in the tunnel").then_hang(),
        None => Reply::ok(received.target()),
    });
    let scene = Scene::around(upstream.await).await;
    let ca = format!("--upstream-ca-file={}", scene.write("upstream.crt", authority.pem()));
    let proxy = scene.proxy(&[ca]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    let mut client = scene.connect(Version::H1, &proxy).await;
    let fields = format!("Host: h\r\nAuthorization: Bearer {ALICE}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.wire().send(format!("GET /t HTTP/1.1\r\n{fields}")).await.unwrap();
    let head = in_time("an answer", client.wire().read_head()).await.unwrap().unwrap();
    assert_eq!(head.word(1), "101");
    assert_eq!(in_time("the tunnel", client.wire().read_through(b"in the tunnel")).await.unwrap(), b"in the tunnel");
    assert_eq!(scene.upstream.connections(), 2);
}

/// Many users share one connection, and answers come in an order of their own.
#[tokio::test]
async fn answers_on_a_shared_connection_reach_those_who_asked() {
    const EACH: usize = 100;
    let upstream = Upstream::start_http2(None, |received| {
        let user = received.header("x-remote-user").unwrap_or("nobody").to_owned();
        let answer = Reply::ok(format!("{user} {} {}", received.target(), String::from_utf8_lossy(&received.body.content)));
        // Every third is late.
        match received.target().len() % 3 {
            0 => Reply::default().pause(Duration::from_millis(20)).then(answer),
            _ => answer,
        }
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy(&["--upstream-force-h2c", "--auth-header-fields-enabled"]).await;
    let clients = [(scene.connect(Version::H2, &proxy).await, ALICE, "alice"), (scene.connect(Version::H2, &proxy).await, BOB, "bob")];
    let ask = |client: &Client, token: &str, user: &str, number: usize| {
        let (http2, path, body) = (client.http2().clone(), format!("/{}", "x".repeat(number)), format!("{user}'s {number}"));
        let (request, expected) = (Request::post(&path, &body).bearer(token), format!("{user} {path} {body}"));
        async move { (http2.send(&request).await.unwrap().text(), expected) }
    };
    let asked = (1..=EACH).flat_map(|number| clients.iter().map(move |(client, token, user)| ask(client, token, user, number)));
    for (found, expected) in join_all(asked).await {
        assert_eq!(found, expected);
    }
    assert_eq!(scene.upstream.count(), 2 * EACH);
    // A hundred streams fit on one; those who came first have not dialled each for itself.
    assert!(scene.upstream.connections() < 10, "{}", scene.upstream.connections());
}

#[tokio::test]
async fn more_streams_than_an_upstream_takes_get_another_connection() {
    let (latch, open) = (Latch::default(), Arc::new(Mutex::new(Vec::new())));
    let (held, seen) = (latch.clone(), Arc::clone(&open));
    let (scene, proxy) = playing(2, move |connection, mut frames| {
        let (latch, open) = (held.clone(), Arc::clone(&seen));
        async move {
            if connection == 1 {
                // The proxy has read the settings when it gets this.
                let head = frames.until(HEADERS).await.unwrap();
                frames.answer(head.stream, "first").await.unwrap();
            }
            let mut streams = Vec::new();
            while streams.len() < 2
                && let Some(head) = frames.until(HEADERS).await
            {
                open.lock().await.push(connection);
                streams.push(head.stream);
            }
            latch.passed().await;
            for stream in streams {
                frames.answer(stream, connection.to_string()).await.unwrap();
            }
            frames.until(u8::MAX).await;
        }
    })
    .await;
    let client = scene.connect(Version::H2, &proxy).await;
    assert_eq!(client.http2().send(&Request::get("/").bearer(ALICE)).await.unwrap().text(), "first");
    let requests: Vec<_> = (0..4).map(|_| Request::get("/").bearer(ALICE)).collect();
    let answers = join_all(requests.iter().map(|request| client.http2().send(request)));
    let all = async {
        wait_until("all four upstream", || open.try_lock().is_ok_and(|open| open.len() == 4)).await;
        latch.open();
    };
    let (answers, ()) = tokio::join!(answers, all);
    let mut connections: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().text()).collect();
    connections.sort();
    assert_eq!(connections, ["1", "1", "2", "2"]);
    assert_eq!(scene.upstream.connections(), 2);
}

/// What was provably not looked at is sent again, on a connection that lives; with its body, if that has not gone yet.
#[tokio::test]
async fn a_stream_that_was_not_processed_is_sent_again() {
    let (scene, proxy) = playing(100, |connection, mut frames| async move {
        let mut count = 0;
        while let Some(head) = frames.until(HEADERS).await {
            count += 1;
            match (connection, count) {
                (1, 1) => frames.send(RST_STREAM, 0, head.stream, 7_u32.to_be_bytes()).await.unwrap(),
                (1, 2) => frames.answer(head.stream, "after a refusal").await.unwrap(),
                (1, _) => frames.go_away(head.stream - 2).await.unwrap(),
                _ => frames.answer(head.stream, "elsewhere").await.unwrap(),
            }
        }
    })
    .await;
    for version in BOTH {
        let first = version == BOTH[0];
        let mut client = scene.connect(version, &proxy).await;
        let expected = if first { "after a refusal" } else { "elsewhere" };
        assert_eq!(client.send(&Request::get("/").bearer(ALICE)).await.text(), expected, "{version:?}");
        assert_eq!(client.send(&Request::get("/").bearer(ALICE)).await.text(), "elsewhere", "{version:?}");
    }
    assert_eq!(scene.upstream.connections(), 2, "the connection that said goodbye is used no more");
}

/// An upstream that refuses everything is asked a few times, and no more.
#[tokio::test]
async fn an_upstream_that_refuses_every_stream_is_not_asked_for_ever() {
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let (scene, proxy) = playing(100, move |_, mut frames| {
        let asked = Arc::clone(&counted);
        async move {
            while let Some(head) = frames.until(HEADERS).await {
                *asked.lock().await += 1;
                frames.send(RST_STREAM, 0, head.stream, 7_u32.to_be_bytes()).await.unwrap();
            }
        }
    })
    .await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 502);
    assert_eq!(*asked.lock().await, 4);
}

/// Nor is a request that the upstream may have seen sent again, whatever becomes of it.
#[tokio::test]
async fn a_stream_that_may_have_been_processed_is_sent_once() {
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let (scene, proxy) = playing(100, move |connection, mut frames| {
        let asked = Arc::clone(&counted);
        async move {
            while let Some(head) = frames.until(HEADERS).await {
                *asked.lock().await += 1;
                match connection {
                    // INTERNAL_ERROR, and CANCEL.
                    1 => frames.send(RST_STREAM, 0, head.stream, 2_u32.to_be_bytes()).await.unwrap(),
                    2 => return,
                    // The stream is among those that count.
                    3 => return frames.go_away(head.stream).await.unwrap(),
                    _ => frames.answer(head.stream, "whole").await.unwrap(),
                }
                if connection == 1 {
                    return;
                }
            }
        }
    })
    .await;
    for expected in [502, 502, 502, 200] {
        assert_status(&scene.get(&proxy, "/", ALICE).await, expected);
        let open = if expected == 200 { 1 } else { 0 };
        wait_until("the end of the connection", || scene.upstream.open_connections() <= open).await;
    }
    assert_eq!(*asked.lock().await, 4);
}

/// The upstream's code reaches a client of HTTP/2; no client takes a reset for an end.
#[tokio::test]
async fn a_reset_of_the_upstream_is_a_reset() {
    let (scene, proxy) = playing(100, |_, mut frames| async move {
        for code in [8_u32, 11, 0, 8, 11, 0] {
            let Some(head) = frames.until(HEADERS).await else { return };
            frames.send(HEADERS, END_HEADERS, head.stream, frames::OK).await.unwrap();
            frames.send(DATA, 0, head.stream, "part").await.unwrap();
            frames.send(RST_STREAM, 0, head.stream, code.to_be_bytes()).await.unwrap();
        }
        frames.until(u8::MAX).await;
    })
    .await;
    for (version, codes) in [(Version::H2, ["CANCEL", "ENHANCE_YOUR_CALM", "INTERNAL_ERROR"]), (Version::H1, [""; 3])] {
        for code in codes {
            let mut client = scene.connect(version, &proxy).await;
            let error = client.try_send(&Request::get("/").bearer(ALICE)).await.expect_err("no end");
            assert!(error.contains(code), "{version:?} {code}: {error}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_a_reset_upstream() {
    let codes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&codes);
    let (scene, proxy) = playing(100, move |_, mut frames| {
        let codes = Arc::clone(&seen);
        async move {
            let mut begun = 0;
            while let Ok(frame) = frames.read().await {
                match frame.kind {
                    HEADERS => {
                        begun += 1;
                        // Every other is left before its answer.
                        if begun % 2 == 0 {
                            frames.send(HEADERS, END_HEADERS, frame.stream, frames::OK).await.unwrap();
                            frames.send(DATA, 0, frame.stream, "part").await.unwrap();
                        }
                    }
                    RST_STREAM => codes.lock().await.push(frame.payload),
                    _ => {}
                }
            }
        }
    })
    .await;
    let mut left = 0;
    for version in BOTH {
        for streaming in [false, true] {
            for answered in [false, true] {
                let mut client = scene.connect(version, &proxy).await;
                let request = Request::new("POST", "/").bearer(ALICE);
                let request = if streaming { request.streaming() } else { request };
                let mut exchange: Exchange<'_> = client.open(&request).await.unwrap();
                if answered {
                    assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
                    assert_eq!(in_time("a part", exchange.next()).await.unwrap().as_deref(), Some(&b"part"[..]));
                } else {
                    let _ = tokio::time::timeout(Duration::from_millis(100), exchange.head()).await;
                }
                drop(exchange);
                drop(client);
                left += 1;
                wait_until("a reset", || codes.try_lock().is_ok_and(|codes| codes.len() == left)).await;
            }
        }
    }
    let codes: BTreeSet<_> = codes.lock().await.drain(..).collect();
    assert!(codes.iter().all(|code| code[3] == 8 || code[3] == 2), "CANCEL: {codes:?}");
    assert_eq!(scene.upstream.connections(), 1, "the connection is the others' too");
}

#[tokio::test]
async fn a_head_of_the_upstream_has_a_bound() {
    let answer = |received: &testkit::upstream::Received| {
        let large = "x".repeat(received.target().trim_start_matches('/').parse().unwrap());
        let fields: Vec<_> = (0..10).map(|_| ("X-Large", large.as_str())).collect();
        Reply::new(200, &fields, "x")
    };
    for (upstream, flag, fits, over) in [
        (Upstream::start(answer).await, "--upstream-force-h2c=false", 38_000, 42_000),
        (Upstream::start_http2(None, answer).await, "--upstream-force-h2c", 38_000, 42_000),
    ] {
        let scene = Scene::around(upstream).await;
        let proxy = scene.proxy(&[flag]).await;
        for (size, status) in [(fits, 200), (over, 502), (fits, 200)] {
            assert_status(&scene.get(&proxy, &format!("/{size}"), ALICE).await, status);
        }
    }
}

#[tokio::test]
async fn a_connection_of_http2_that_has_ended_costs_no_request() {
    let scene = Scene::around(Upstream::start_http2(None, |received| Reply::ok(received.target())).await).await;
    let proxy = scene.proxy(&FORCED).await;
    for _ in 0..10 {
        assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
        scene.upstream.drop_connections();
        wait_until("the end of the connection", || scene.upstream.open_connections() == 0).await;
    }
    assert_eq!((scene.upstream.count(), scene.upstream.connections()), (10, 10));
}

#[tokio::test]
async fn a_head_that_could_be_cut_in_two_is_none() {
    let field = |value: &'static str| [frames::OK, &[0, 3], b"x-a", &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let (scene, proxy) = playing(100, move |_, mut frames| async move {
        for value in ["b\r\nx-c: d", "b\nc", "b\rc", "b\0c"] {
            let Some(head) = frames.until(HEADERS).await else { return };
            let _ = frames.send(HEADERS, END_HEADERS | 1, head.stream, field(value)).await;
        }
        frames.until(u8::MAX).await;
    })
    .await;
    for version in BOTH {
        for _ in 0..2 {
            assert_status(&scene.get(&proxy, "/", ALICE).await, 502);
        }
        let mut client = scene.connect(version, &proxy).await;
        assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 502);
    }
}

/// A client that does not read holds up nobody who shares the connection, and costs a bounded amount.
#[tokio::test]
async fn a_shared_connection_is_held_up_by_nobody() {
    let upstream = Upstream::start_http2(None, |received| match received.target() {
        "/endless" => Reply::head(200, &[("Transfer-Encoding", "chunked")]).endless(chunk([b'x'; 16 * 1024])),
        _ => Reply::ok("quick"),
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy(&FORCED).await;
    let before = proxy.resident_kib().0;
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = scene.connect(Version::H1, &proxy).await;
        client.wire().send(format!("GET /endless HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ALICE}\r\n\r\n")).await.unwrap();
        in_time("the head", client.wire().read_head()).await.unwrap().unwrap();
        clients.push(client);
    }
    let mut quick = scene.connect(Version::H1, &proxy).await;
    let begin = Instant::now();
    // In this time every buffer on the way to those who do not read is full.
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(quick.send(&Request::get("/quick").bearer(ALICE)).await.text(), "quick");
    }
    let grown = proxy.resident_kib().0.saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    wait_until("one connection for all", || scene.upstream.open_connections() == 1).await;
}
