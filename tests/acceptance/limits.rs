//! What a client may cost before its request is decided.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use testkit::{
    client::{Client, Request, Version},
    process::{Proxy, binary, free_port},
    upstream::{Reply, Upstream},
    wait::{Latch, in_time, wait_for, wait_until},
    wire::Body,
};
use tokio::net::TcpStream;

use crate::scene::{ALICE, BOTH, Scene, assert_status};

/// Longer than the limits that the tests set, shorter than their defaults.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let scene = Scene::new().await;
    let none: &[&str] = &[];
    for (flags, fits, over) in [
        (none, 60 * 1024, 66 * 1024),
        (&["--max-header-bytes=4096"], 3 * 1024, 5 * 1024),
        (&["--max-header-bytes=1048576"], 1 << 19, (1 << 20) + (1 << 16)),
    ] {
        let proxy = scene.proxy(flags).await;
        for version in BOTH {
            let with = |size: usize| Request::get("/").bearer(ALICE).header("X-Large", &"x".repeat(size));
            let mut client = scene.connect(version, &proxy).await;
            assert_status(&client.send(&with(fits)).await, 200);
            let received = scene.upstream.last_request();
            assert_eq!(received.header("x-large").map(str::len), Some(fits));
            let refused = scene.connect(version, &proxy).await.try_send(&with(over)).await;
            assert_eq!(refused.map(|response| response.status), Ok(431), "{flags:?} {version:?}");
        }
    }
    let requests = scene.upstream.requests();
    assert_eq!(requests.len(), 6, "what is refused goes nowhere");
}

#[tokio::test]
async fn a_head_with_too_many_fields_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    // In HTTP/2 the host is no field.
    for (version, own) in [(Version::H1, 2), (Version::H2, 1)] {
        let with = |fields: usize| {
            (own..fields).fold(Request::get("/").bearer(ALICE), |request, index| request.header(&format!("x-{index}"), "1"))
        };
        assert_status(&scene.connect(version, &proxy).await.send(&with(256)).await, 200);
        assert_status(&scene.connect(version, &proxy).await.send(&with(257)).await, 431);
    }
    assert_eq!(scene.upstream.count(), 2);
}

/// In Go it may take for ever.
#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--tls-handshake-timeout=200ms"]).await;
    // Nothing, and the beginning of a ClientHello.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let tcp = TcpStream::connect(proxy.secure()).await.unwrap();
        let mut wire = testkit::wire::Wire::new(tcp);
        wire.send(bytes).await.unwrap();
        soon("the end of the handshake", wire.closed()).await;
    }
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

/// In Go it may take for ever.
#[tokio::test]
async fn a_slow_head_is_cut() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--read-header-timeout=200ms", "--insecure-listen-address=127.0.0.1:0"]).await;
    let part = "GET / HTTP/1.1\r\nHost: x\r\nX-Half: ";
    for bytes in ["", "G", part] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        client.wire().send(bytes).await.unwrap();
        soon("the end of the slow head", client.wire().closed()).await;

        let mut client = Client::connect_plain(proxy.insecure()).await;
        client.wire().send(bytes).await.unwrap();
        soon("the end of the slow head", client.wire().closed()).await;
    }
    // And half of what would be HTTP/2.
    let mut client = Client::connect_plain(proxy.insecure()).await;
    client.wire().send("PRI * HTTP/2.0\r\n").await.unwrap();
    soon("the end of half a preface", client.wire().closed()).await;
    // The second head on a connection, dripping.
    let mut client = scene.connect(Version::H1, &proxy).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    let wire = client.wire();
    wire.send(part).await.unwrap();
    soon("the end of the dripping head", async {
        while wire.send("x").await.is_ok() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = wire.closed() => return,
            }
        }
    })
    .await;
    // HTTP/2 without its preface.
    let mut silent = scene.authority.tls().alpn(&["h2"]).connect(proxy.secure()).await.unwrap();
    soon("the end of a silent HTTP/2 client", silent.closed()).await;
}

/// Once the upstream has answered, silence is the business of the two ends.
#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_until_the_answer() {
    let answer = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n");
    let upstream = Upstream::start_raw(move |mut session| {
        let answer = answer.clone();
        async move {
            while let Some(head) = session.read_head().await {
                session.record(head.clone(), Body::default());
                if head.word(1) == "/answers" {
                    session.answer(answer.clone()).await;
                }
                while session.wire.read_chunk().await.is_ok_and(|chunk| !chunk.is_empty()) {}
                let _ = session.wire.read_trailers().await;
                session
                    .wire
                    .send(if head.word(1) == "/answers" { "0\r\n\r\n" } else { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" })
                    .await
                    .unwrap();
            }
        }
    });
    let scene = Scene::around(upstream.await).await;
    let h2c = Upstream::start_http2(None, |_| Reply::ok("")).await;
    let proxy = scene.proxy(&["--read-body-timeout=300ms"]).await;
    let to_h2c = scene
        .proxy(&["--read-body-timeout=300ms".to_owned(), "--upstream-force-h2c".to_owned(), format!("--upstream={}", h2c.url())])
        .await;
    for version in BOTH {
        for (proxy, sent) in [(&proxy, false), (&proxy, true), (&to_h2c, false), (&to_h2c, true)] {
            let mut client = scene.connect(version, proxy).await;
            let mut exchange = client.open(&Request::new("POST", "/silent").bearer(ALICE).streaming()).await.unwrap();
            if sent {
                assert!(exchange.send("a beginning").await);
            }
            assert_eq!(soon("the end of waiting", exchange.head()).await.unwrap().0, 408, "{version:?} {sent}");
            if version == Version::H1 {
                soon("the end of the connection", client.closed()).await;
            }
        }
        // It comes slowly, and arrives.
        let mut client = scene.connect(version, &proxy).await;
        let mut exchange = client.open(&Request::new("POST", "/slow").bearer(ALICE).streaming()).await.unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(700) {
            assert!(exchange.send("piece").await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        exchange.finish().await;
        assert_status(&soon("the answer", exchange.rest()).await.unwrap(), 200);
        // The answer has begun: whoever asks later is cut off before.
        let mut client = scene.connect(version, &proxy).await;
        let mut quiet = client.open(&Request::new("POST", "/answers").bearer(ALICE).streaming()).await.unwrap();
        assert_eq!(soon("the head", quiet.head()).await.unwrap().0, 200);
        for _ in 0..2 {
            let mut later = scene.connect(version, &proxy).await;
            let mut silent = later.open(&Request::new("POST", "/silent").bearer(ALICE).streaming()).await.unwrap();
            assert_eq!(soon("the end of waiting", silent.head()).await.unwrap().0, 408);
        }
        assert_eq!(soon("the piece", quiet.next()).await.unwrap().as_deref(), Some(&b"a"[..]));
        quiet.finish().await;
        assert_eq!(soon("the end", quiet.next()).await.unwrap(), None);
    }
    assert_eq!(h2c.requests().iter().filter(|received| received.body.complete).count(), 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--idle-timeout=300ms"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for _ in 0..3 {
            assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
        let ended = soon("the end of an idle connection", client.closed()).await;
        assert!(ended.is_none_or(|how| how == "cleanly"), "{version:?}");
    }
}

/// Limits are about heads and idleness: a request may last.
#[tokio::test]
async fn no_limit_ends_a_request_that_lasts() {
    let latch = Latch::default();
    let answer = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n").wait(&latch).send("1\r\nb\r\n0\r\n\r\n");
    let scene = Scene::answering(move |_| answer.clone()).await;
    let proxy = scene.proxy(&["--idle-timeout=100ms", "--read-header-timeout=100ms", "--tls-handshake-timeout=1s"]).await;
    let mut clients = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
    let mut exchanges = Vec::new();
    for client in &mut clients {
        let mut exchange = client.open(&Request::get("/").bearer(ALICE)).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        assert_eq!(in_time("a piece", exchange.next()).await.unwrap().as_deref(), Some(&b"a"[..]));
        exchanges.push(exchange);
    }
    idle_connections_are_closed(&scene, &proxy).await;
    latch.open();
    for mut exchange in exchanges {
        assert_eq!(in_time("the other piece", exchange.next()).await.unwrap().as_deref(), Some(&b"b"[..]));
        assert_eq!(in_time("the end", exchange.next()).await.unwrap(), None);
    }
}

/// Connections opened later are gone: whoever has lasted longer has outlived the same limits.
async fn idle_connections_are_closed(scene: &Scene, proxy: &Proxy) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(400) {
        let mut idle = scene.connect(Version::H2, proxy).await;
        soon("the end of a connection without a request", idle.closed()).await;
    }
}

/// Of one that goes without a word nothing comes, and in a quiet tunnel nothing would ever be sent.
#[tokio::test]
async fn clients_are_asked_whether_they_are_still_there() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    let port = format!(":{:04X}", proxy.secure().port());
    wait_for("the system's timer", async || {
        // Number, own address, the other's, state (1: established), queues, timer (2: keep-alive).
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let is_watched = |fields: &Vec<&str>| fields[1].ends_with(&port) && fields[3] == "01" && fields[5].starts_with("02");
        lines.any(|fields| is_watched(&fields)).then_some(()).ok_or(table)
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_clients_without_requests_leaves_nothing_behind() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--tls-handshake-timeout=200ms"]).await;
    let before = proxy.open_files();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(proxy.secure()).await.unwrap());
    }
    wait_until("the end of them all", || proxy.open_files() <= before).await;
    drop(silent);
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

/// Whoever takes all descriptors is waited for; nothing ends by it.
#[tokio::test]
async fn descriptors_that_run_out_end_nothing() {
    let scene = Scene::new().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = vec!["-c".to_owned(), "ulimit -n 48 && exec \"$0\" \"$@\"".to_owned(), binary().display().to_string()];
    command.extend(scene.flags(&[format!("--secure-listen-address={address}"), "--tls-reload-interval=10ms".to_owned()]));
    let proxy = Proxy::start_other("sh".as_ref(), &command, Some(address), None, None).await;
    let mut open = scene.connect(Version::H2, &proxy).await;
    assert_status(&open.send(&Request::get("/").bearer(ALICE)).await, 200);
    let mut many = Vec::new();
    for _ in 0..100 {
        many.push(TcpStream::connect(address).await.unwrap());
    }
    proxy.line_with(&["W", "cannot be accepted", "Too many open files"]).await;
    // Who was there before is served from what is there already.
    assert_status(&open.send(&Request::get("/").bearer(ALICE)).await, 200);
    // And whoever comes now, in the place of one who says nothing.
    assert_status(&in_time("an answer", scene.get(&proxy, "/", ALICE)).await, 200);
    drop(many);
    assert_status(&scene.get(&proxy, "/other", ALICE).await, 200);
    assert!(proxy.is_running());
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {SOON:?}"),
    }
}
