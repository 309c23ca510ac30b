//! What goes upstream, and how often.

use testkit::{
    client::{Client, Request, Version},
    upstream::{Reply, Upstream},
    wait::{Latch, in_time, wait_until},
};
use tokio::task::JoinSet;

use crate::scene::{ALICE, BOTH, FORGED, MALLORY, Scene, assert_status};

#[tokio::test]
async fn a_base_path_is_joined() {
    let scene = Scene::new().await;
    for (base, target, expected) in [
        ("", "/metrics?a=b", "/metrics?a=b"),
        ("/", "/metrics", "/metrics"),
        ("/base", "/metrics", "/base/metrics"),
        ("/base/", "/metrics?x=%zz;&", "/base/metrics?x=%zz;&"),
        ("/base?b=1", "/metrics", "/base/metrics?b=1"),
        ("/base?b=1", "/metrics?a=2", "/base/metrics?b=1&a=2"),
        ("", "/caf%c3%A9%20~?", "/caf%c3%A9%20~?"),
    ] {
        let proxy = scene.proxy(&[format!("--upstream={}{base}", scene.upstream.url())]).await;
        for version in BOTH {
            assert_status(&scene.connect(version, &proxy).await.send(&Request::get(target).bearer(ALICE)).await, 200);
            assert_eq!(scene.upstream.last_request().target(), expected, "{base} {target}");
        }
    }
    let asked: Vec<_> = scene.api.access_specs().iter().map(|spec| spec["nonResourceAttributes"]["path"].clone()).collect();
    assert!(!asked.iter().any(|path| path.as_str().unwrap().contains("base")), "the base path is nobody's question: {asked:?}");
}

#[tokio::test]
async fn only_what_is_allowed_goes_upstream() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        for (token, status) in [(FORGED, 401), (MALLORY, 403)] {
            for request in [Request::get("/"), Request::post("/", "body")] {
                assert_status(&scene.connect(version, &proxy).await.send(&request.bearer(token)).await, status);
            }
        }
    }
    assert_eq!((scene.upstream.count(), scene.upstream.connections()), (0, 0));
}

/// Whoever is refused reads why, however much he was about to send.
#[tokio::test]
async fn a_refusal_is_read_behind_a_large_body() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        for (token, status) in [(FORGED, 401), (MALLORY, 403)] {
            for size in [100 << 10, 8 << 20] {
                let request = Request::post("/", vec![b'x'; size]).bearer(token);
                let response = scene.connect(version, &proxy).await.try_send(&request).await;
                assert_eq!(response.map(|response| response.status), Ok(status), "{version:?} {size}");
            }
        }
    }
    assert_eq!(scene.upstream.count(), 0);
}

/// A body keeps its length if it says it, and its pieces if not.
#[tokio::test]
async fn bodies_keep_their_framing() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let sized = Request::post("/", "body").bearer(ALICE);
        let sized = if version == Version::H2 { sized.header("content-length", "4") } else { sized };
        assert_status(&client.send(&sized).await, 200);
        let received = scene.upstream.last_request();
        assert_eq!((received.header("content-length"), received.header("transfer-encoding")), (Some("4"), None));
        assert_eq!(received.body.content, b"body");

        let mut exchange = client.open(&Request::new("PUT", "/").bearer(ALICE).streaming()).await.unwrap();
        assert!(exchange.send("un").await && exchange.send("sized").await);
        exchange.finish().await;
        assert_status(&in_time("the answer", exchange.rest()).await.unwrap(), 200);
        let received = scene.upstream.last_request();
        assert_eq!((received.header("content-length"), received.header("transfer-encoding")), (None, Some("chunked")));
        assert_eq!(received.body.content, b"unsized");
    }
}

#[tokio::test]
async fn answers_pass_as_they_are() {
    let scene = Scene::answering(|received| match received.target() {
        "/empty" => Reply::head(204, &[("X-Empty", "yes")]),
        "/unchanged" => Reply::head(304, &[("ETag", "\"1\"")]),
        "/gone" => Reply::new(410, &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Case", "v")], "gone"),
        "/to-the-end" => Reply::head(200, &[]).send("until the end").then_close(),
        "/head" => Reply::head(200, &[("Content-Length", "1234")]),
        "/head-of-unknown" => Reply::head(200, &[("Transfer-Encoding", "chunked")]),
        _ => Reply::new(503, &[("Retry-After", "7")], "the upstream's own"),
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let get = |path: &str| Request::get(path).bearer(ALICE);
        let empty = client.send(&get("/empty")).await;
        assert_eq!((empty.status, empty.header("x-empty"), empty.body.len()), (204, Some("yes"), 0));
        let unchanged = client.send(&get("/unchanged")).await;
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some("\"1\"")));
        let gone = client.send(&get("/gone")).await;
        assert_eq!((gone.status, gone.headers("set-cookie"), gone.text().as_str()), (410, vec!["a=1", "b=2"], "gone"));
        let to_the_end = client.send(&get("/to-the-end")).await;
        assert_eq!((to_the_end.status, to_the_end.text().as_str()), (200, "until the end"));
        let head = client.send(&Request::new("HEAD", "/head").bearer(ALICE)).await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1234"), 0));
        let head = client.send(&Request::new("HEAD", "/head-of-unknown").bearer(ALICE)).await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, None, 0), "{version:?}");
        let own = client.send(&get("/own")).await;
        assert_eq!((own.status, own.header("retry-after"), own.text().as_str()), (503, Some("7"), "the upstream's own"));
    }
}

#[tokio::test]
async fn an_upstream_that_fails_is_502_without_a_body() {
    let scene = Scene::answering(|received| match received.target() {
        "/reset" => Reply::default().then_reset(),
        "/close" => Reply::default().then_close(),
        "/garbage" => Reply::raw("\x16\x03\x01 this is no HTTP\r\n\r\n").then_close(),
        "/lengths" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        "/coding" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "/coding-to-the-end" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc").then_close(),
        "/folded" => Reply::raw("HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        "/cr" => Reply::raw("HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n"),
        "/hints" => Reply::default().endless("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(64)),
        "/nul" => Reply::raw("HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n"),
        "/huge" => Reply::head(200, &[("X-A", &"b".repeat(2 << 20)), ("Content-Length", "0")]),
        "/switch" => Reply::raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        _ => Reply::ok(""),
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for path in [
            "/reset",
            "/close",
            "/garbage",
            "/lengths",
            "/coding",
            "/coding-to-the-end",
            "/folded",
            "/cr",
            "/nul",
            "/hints",
            "/huge",
            "/switch",
        ] {
            let response = client.send(&Request::get(path).bearer(ALICE)).await;
            assert_eq!((response.status, response.text().as_str()), (502, ""), "{path}");
            assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
    }
    proxy.line_with(&["W", "upstream_failed"]).await;

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = scene.proxy(&[format!("--upstream=http://{nobody}")]).await;
    let response = scene.get(&proxy, "/", ALICE).await;
    assert_eq!((response.status, response.text().as_str()), (502, ""));
    proxy.line_with(&["W", "upstream_unreachable", &nobody.to_string()]).await;
}

/// Of a length and chunks, chunks count; two lengths would let an answer be cut in two.
#[tokio::test]
async fn an_answer_with_two_ends_has_one_behind_the_proxy() {
    let scene = Scene::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for _ in 0..2 {
            let response = client.send(&Request::get("/").bearer(ALICE)).await;
            if response.status != 502 {
                assert_eq!((response.status, response.text().as_str(), response.header("content-length")), (200, "hello", None));
            }
        }
    }
}

/// An answer that ends early must not look whole.
#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let scene = Scene::answering(|received| match received.target() {
        "/length" => Reply::head(200, &[("Content-Length", "10")]).send("half").then_close(),
        "/chunked" => Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("4\r\nhalf\r\n").then_close(),
        _ => Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("4\r\nhalf\r\n").then_reset(),
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        for path in ["/length", "/chunked", "/reset"] {
            let mut client = scene.connect(version, &proxy).await;
            let broken = client.try_send(&Request::get(path).bearer(ALICE)).await;
            broken.expect_err(path);
        }
    }
}

#[tokio::test]
async fn what_an_upstream_adds_to_an_answer_reaches_nobody_else() {
    nobody_elses_answer(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn nobody_elses_answer(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(
        Upstream::start(|received| {
            let path = received.target().to_owned();
            // In one piece with it: what comes after another has asked cannot be told from his answer.
            let extra = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            match received.method() {
                "HEAD" => Reply::head(200, &[("Content-Length", "4")]).with("body").with(extra),
                _ if path.starts_with("/none") => Reply::head(204, &[]).with(extra),
                _ if path.starts_with("/more") => Reply::new(200, &[], &path).with(extra),
                _ => Reply::ok(&path),
            }
        })
        .await,
    )
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let client = scene.connect(Version::H2, &proxy).await;
    let mut streams = JoinSet::new();
    for stream in 0..16 {
        let (http2, alice) = (client.http2().clone(), alice.clone());
        streams.spawn(async move {
            for turn in 0..20 {
                let path = format!("/honest/{stream}/{turn}");
                let (method, odd) = [("HEAD", "/head"), ("GET", "/none"), ("GET", "/more")][turn % 3];
                let _ = http2.send(&Request::new(method, odd).bearer(&alice)).await;
                let honest = http2.send(&Request::get(&path).bearer(&alice)).await.unwrap();
                assert_eq!((honest.status, honest.text()), (200, path));
            }
        });
    }
    streams.join_all().await;
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept_and_shared() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        for _ in 0..10 {
            assert_status(&scene.connect(version, &proxy).await.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
    }
    assert_eq!(scene.upstream.connections(), 1);
}

/// Go keeps two.
#[tokio::test]
async fn many_connections_to_the_upstream_are_kept() {
    let latch = Latch::default();
    let held = Reply::default().wait(&latch).then(Reply::ok(""));
    let scene = Scene::answering(move |_| held.clone()).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let client = scene.connect(Version::H2, &proxy).await;
    for round in 1..3 {
        let mut streams = JoinSet::new();
        for _ in 0..32 {
            let http2 = client.http2().clone();
            streams.spawn(async move { assert_status(&http2.send(&Request::get("/").bearer(ALICE)).await.unwrap(), 200) });
        }
        if round == 1 {
            wait_until("32 requests upstream", || scene.upstream.count() == 32).await;
            latch.open();
        }
        streams.join_all().await;
        wait_until("32 connections", || scene.upstream.open_connections() == 32).await;
    }
    assert_eq!(scene.upstream.connections(), 32);
}

#[tokio::test]
async fn a_kept_connection_that_has_ended_costs_no_request() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for request in [Request::get("/"), Request::post("/", "body"), Request::post("/", "body")] {
            assert_status(&client.send(&request.bearer(ALICE)).await, 200);
            scene.upstream.drop_connections();
            wait_until("the end of the connection", || scene.upstream.open_connections() == 0).await;
        }
    }
}

/// What may have arrived is not sent again: it may have had its effect.
#[tokio::test]
async fn a_request_that_may_have_arrived_is_sent_once() {
    let scene = Scene::answering(|received| if received.target() == "/last" { Reply::default().then_close() } else { Reply::ok("") }).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        for request in [Request::get("/last"), Request::post("/last", "body"), Request::new("DELETE", "/last")] {
            let mut client = scene.connect(version, &proxy).await;
            // The connection is one that was kept.
            assert_status(&client.send(&Request::get("/first").bearer(ALICE)).await, 200);
            scene.upstream.take_requests();
            assert_status(&client.send(&request.bearer(ALICE)).await, 502);
            assert_eq!(scene.upstream.count(), 1);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_upstream() {
    let scene = Scene::answering(|received| match received.target() {
        "/begun" => Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n").then_hang(),
        _ => Reply::hang(),
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        for path in ["/begun", "/silent"] {
            scene.upstream.take_requests();
            let mut client = scene.connect(version, &proxy).await;
            let mut exchange = client.open(&Request::get(path).bearer(ALICE)).await.unwrap();
            wait_until("the request upstream", || scene.upstream.count() == 1).await;
            if path == "/begun" {
                assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
            }
            drop(exchange);
            if version == Version::H1 {
                drop(client);
            }
            wait_until("the end of it upstream", || scene.upstream.open_connections() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_ends_its_request_upstream() {
    let upstream = Upstream::start_raw(|mut session| async move {
        let head = session.read_head().await;
        let Some(head) = head else { return };
        let framing = head.framing().unwrap();
        let body = session.wire.read_body(framing).await;
        session.record(head, body);
    });
    let scene = Scene::around(upstream.await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client: Client = scene.connect(version, &proxy).await;
        let mut exchange = client.open(&Request::new("POST", "/").bearer(ALICE).streaming()).await.unwrap();
        assert!(exchange.send("part").await);
        wait_until("the connection upstream", || scene.upstream.open_connections() == 1).await;
        drop(exchange);
        drop(client);
        wait_until("the end of it upstream", || scene.upstream.open_connections() == 0).await;
        let received = scene.upstream.take_requests().remove(0);
        assert!(!received.body.complete, "half a body must not look whole: {received:?}");
    }
}
