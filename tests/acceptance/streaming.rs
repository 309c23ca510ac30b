//! Bodies pass piece by piece, in both directions, as soon as a piece is there.

use std::time::Duration;

use testkit::{
    client::{Request, Version},
    upstream::{Reply, Session, Upstream},
    wait::{Latch, in_time, wait_until},
    wire::{Body, chunk},
};

use tokio::time::timeout;

use crate::scene::{ALICE, BOTH, FORGED, Scene, assert_status};

#[tokio::test]
async fn answers_stream() {
    for head in [
        &[("Transfer-Encoding", "chunked"), ("Content-Type", "text/event-stream")][..],
        &[("Transfer-Encoding", "chunked")],
        &[("Content-Length", "24")],
        &[],
    ] {
        let is_chunked = head.iter().any(|(name, _)| *name == "Transfer-Encoding");
        let (latches, mut reply) = ([Latch::default(), Latch::default(), Latch::default()], Reply::head(200, head));
        for latch in &latches {
            reply = reply.wait(latch).send(if is_chunked { chunk("data: x\n") } else { b"data: x\n".to_vec() });
        }
        let reply = if is_chunked { reply.send("0\r\n\r\n") } else { reply.then_close() };
        let scene = Scene::answering(move |_| reply.clone()).await;
        let proxy = scene.proxy::<&str>(&[]).await;
        let mut clients = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
        let mut exchanges = Vec::new();
        for client in &mut clients {
            let mut exchange = client.open(&Request::get("/").bearer(ALICE)).await.unwrap();
            assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
            exchanges.push(exchange);
        }
        for latch in latches {
            latch.open();
            for exchange in &mut exchanges {
                assert_eq!(in_time("a piece", exchange.next()).await.unwrap().as_deref(), Some(&b"data: x\n"[..]));
            }
        }
        for exchange in &mut exchanges {
            assert_eq!(in_time("the end", exchange.next()).await.unwrap(), None);
        }
    }
}

/// Answers a request's body piece by piece.
async fn echo(mut session: Session) {
    while let Some(head) = session.read_head().await {
        session.wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        while let Ok(piece) = session.wire.read_chunk().await {
            if session.wire.send(chunk(&piece)).await.is_err() {
                return;
            }
            if piece.is_empty() {
                session.wire.read_trailers().await.unwrap();
                session.wire.send("\r\n").await.unwrap();
                break;
            }
        }
        session.record(head, Body::default());
    }
}

#[tokio::test]
async fn requests_and_answers_stream_at_once() {
    let scene = Scene::around(Upstream::start_raw(echo).await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let mut exchange = client.open(&Request::new("POST", "/").bearer(ALICE).streaming()).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        for piece in ["one", "two", "three"] {
            assert!(exchange.send(piece).await);
            assert_eq!(in_time("the echo", exchange.next()).await.unwrap().as_deref(), Some(piece.as_bytes()));
        }
        exchange.finish().await;
        assert_eq!(in_time("the end", exchange.next()).await.unwrap(), None);
    }
}

/// Neither side's whole body is ever here.
#[tokio::test]
async fn large_bodies_need_no_memory() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 64;
    let scene = Scene::answering(|_| {
        let piece = chunk(vec![b'x'; PIECE]);
        let head = Reply::head(200, &[("Transfer-Encoding", "chunked")]);
        (0..PIECES).fold(head, |reply, _| reply.send(&piece)).send("0\r\n\r\n")
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let before = proxy.resident_kib().0;
        let response = client.send(&Request::post("/", vec![b'y'; PIECE * PIECES]).bearer(ALICE)).await;
        assert_status(&response, 200);
        assert_eq!(response.body.len(), PIECE * PIECES);
        assert_eq!(scene.upstream.take_requests().remove(0).body.content.len(), PIECE * PIECES);
        let grown = proxy.resident_kib().0.saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more after {version:?}");
    }
}

/// A client that does not read holds up nobody but itself, and the upstream waits for it.
#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for() {
    let scene = Scene::answering(|received| match received.target() {
        "/endless" => Reply::head(200, &[("Transfer-Encoding", "chunked")]).endless(chunk([b'x'; 16 * 1024])),
        _ => Reply::ok("quick"),
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let mut exchange = client.open(&Request::get("/endless").bearer(ALICE)).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        let before = proxy.resident_kib().0;
        for _ in 0..50 {
            assert_eq!(scene.get(&proxy, "/", ALICE).await.text(), "quick");
        }
        let grown = proxy.resident_kib().0.saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more after {version:?}");
    }
}

/// Nor does an upstream that does not read.
#[tokio::test]
async fn an_upstream_that_does_not_read_is_waited_for() {
    const PIECE: usize = 1 << 20;
    const MOST: usize = 64;
    let latch = Latch::default();
    let passed = latch.clone();
    let upstream = Upstream::start_raw(move |mut session| {
        let latch = passed.clone();
        async move {
            let Some(head) = session.read_head().await else { return };
            latch.passed().await;
            let body = session.wire.read_body(head.framing().unwrap()).await;
            session.record(head, body);
            session.answer(Reply::ok("read")).await;
        }
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut clients = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
    let before = proxy.resident_kib().0;
    let mut exchanges = Vec::new();
    for client in &mut clients {
        let mut exchange = client.open(&Request::new("POST", "/").bearer(ALICE).streaming()).await.unwrap();
        let mut sent = 0;
        // A piece that does not leave for so long is held up.
        while timeout(Duration::from_millis(500), exchange.send(vec![b'x'; PIECE])).await.is_ok() {
            sent += 1;
            assert!(sent < MOST, "{MOST} MiB have gone somewhere");
        }
        exchanges.push(exchange);
    }
    let grown = proxy.resident_kib().0.saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    drop(exchanges);
    drop(clients);
    latch.open();
    wait_until("the end of both upstream", || scene.upstream.open_connections() == 0).await;
    assert!(scene.upstream.requests().iter().all(|received| !received.body.complete));
}

/// Go holds such an answer until the client has sent more.
#[tokio::test]
async fn an_answer_before_the_bodys_end_passes_at_once() {
    let upstream = Upstream::start_raw(|mut session| async move {
        let Some(head) = session.read_head().await else { return };
        session.record(head, Body::default());
        session.answer(Reply::new(413, &[("Connection", "close")], "too much")).await;
        session.wire.closed().await;
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let mut exchange = client.open(&Request::new("POST", "/").bearer(ALICE).streaming()).await.unwrap();
        assert!(exchange.send("a beginning").await);
        let (status, fields) = in_time("the early answer", exchange.head()).await.unwrap();
        let response = in_time("its body", exchange.rest_of(status, fields)).await.unwrap();
        assert_eq!((response.status, response.text().as_str()), (413, "too much"), "{version:?}");
    }
}

#[tokio::test]
async fn informational_answers_pass() {
    let scene = Scene::answering(|_| {
        Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n").then(Reply::ok("final"))
    })
    .await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    for mut client in [scene.connect(Version::H1, &proxy).await, testkit::client::Client::connect_plain(proxy.insecure()).await] {
        for _ in 0..2 {
            let response = client.send(&Request::get("/").bearer(ALICE)).await;
            assert_eq!((response.status, response.text().as_str()), (200, "final"));
            let statuses: Vec<_> = response.interim.iter().map(|head| head.word(1).to_owned()).collect();
            assert_eq!(statuses, ["103", "102"]);
            assert_eq!(response.interim[0].get("link"), Some("</style.css>"));
        }
    }
    let response = scene.connect(Version::H2, &proxy).await.send(&Request::get("/").bearer(ALICE)).await;
    assert_eq!((response.status, response.text().as_str()), (200, "final"));
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_the_upstreams() {
    let latch = Latch::default();
    let seen = latch.clone();
    let upstream = Upstream::start_raw(move |mut session| {
        let latch = seen.clone();
        async move {
            while let Some(head) = session.read_head().await {
                if head.word(1) == "/refused" {
                    session.record(head, Body::default());
                    session.answer(Reply::new(417, &[("Connection", "close")], "no")).await;
                    return;
                }
                latch.passed().await;
                session.wire.send("HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                let body = session.wire.read_body(head.framing().unwrap()).await;
                session.record(head, body);
                session.answer(Reply::ok("done")).await;
            }
        }
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let request = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    };
    let mut client = scene.connect(Version::H1, &proxy).await;
    let wire = client.wire();
    wire.send(request("/")).await.unwrap();
    wait_until("the head upstream", || scene.upstream.open_connections() == 1).await;
    latch.open();
    let interim = in_time("100 Continue", wire.read_head()).await.unwrap().unwrap();
    assert_eq!(interim.word(1), "100");
    wire.send("body").await.unwrap();
    let head = in_time("the answer", wire.read_head()).await.unwrap().unwrap();
    assert_eq!(head.word(1), "200");
    assert_eq!(scene.upstream.only_request().body.content, b"body");
    assert_eq!(scene.upstream.only_request().header("expect"), Some("100-continue"));

    // Refused without the body ever being asked for.
    for (path, token, status) in [("/refused", ALICE, "417"), ("/", crate::scene::MALLORY, "403"), ("/", crate::scene::FORGED, "401")] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        client.wire().send(request(path).replace(ALICE, token)).await.unwrap();
        let head = in_time("the refusal", client.wire().read_head()).await.unwrap().unwrap();
        assert_eq!(head.word(1), status, "{path}");
    }
}

#[tokio::test]
async fn a_change_of_protocol_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    for protocol in ["TLS/1.0", "h2c, websocket", "websocket, SPDY/3.1", "websocket/13", "HTTP/2.0"] {
        let request = Request::get("/").bearer(ALICE).header("Connection", "Upgrade").header("Upgrade", protocol);
        let response = client.send(&request).await;
        assert_status(&response, 501);
        assert_eq!(response.text(), "Not Implemented\n");
    }
    let with_a_body = Request::post("/", "body").bearer(ALICE).header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_status(&scene.connect(Version::H1, &proxy).await.send(&with_a_body).await, 501);
    assert_status(&client.send(&Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket")).await, 401);
    assert_eq!(scene.upstream.count(), 0);
    // Without `Connection: upgrade` it is a word without meaning.
    assert_status(&client.send(&Request::get("/").bearer(ALICE).header("Upgrade", "websocket")).await, 200);
    assert_eq!(scene.upstream.only_request().header("upgrade"), None);
}

/// A client that is not told sends its next request to nobody.
#[tokio::test]
async fn a_refusal_ends_the_connection_only_when_its_body_does_not_come_and_says_so() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let response = client.send(&Request::get("/").bearer(FORGED)).await;
        assert_eq!((response.status, response.header("connection")), (401, None), "there is no body");
        // A small one that has come is read by nobody and stands in nobody's way.
        let response = client.send(&Request::post("/", "x".repeat(100_000)).bearer(FORGED)).await;
        assert_eq!((response.status, response.header("connection")), (401, None), "{version:?}");
        let mut exchange = client.open(&Request::new("POST", "/").bearer(FORGED).streaming()).await.unwrap();
        let (status, fields) = in_time("the head", exchange.head()).await.unwrap();
        let response = exchange.rest_of(status, fields).await.unwrap();
        let closes = (version == Version::H1).then_some("close");
        assert_eq!((response.status, response.header("connection")), (401, closes), "{version:?}");
        match version {
            Version::H1 => drop(client.closed().await),
            Version::H2 => assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200),
        }
    }
}
