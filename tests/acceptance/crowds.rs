//! Clients that are many, or that do not take what they asked for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::{
    client::{Client, Request, Version},
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block, frame},
    process::Proxy,
    upstream::Reply,
    wait::{Latch, in_time, wait_for, wait_until},
    wire::Wire,
};
use tokio::{net::TcpStream, time::timeout};

use crate::scene::{ALICE, BOTH, FORGED, Scene, assert_status};

/// What the proxy's own metrics say, without the prefix.
pub(crate) async fn metric(scene: &Scene, proxy: &Proxy, name: &str) -> u64 {
    let mut client = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    let text = client.send(&Request::get("/metrics").bearer(ALICE)).await.text();
    let value = text.lines().find_map(|line| line.strip_prefix("kube_rbac_proxy_")?.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// limit-4, limit-3: of what there is to take.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let endless = Reply::head(200, &[]).endless("x".repeat(10_000));
    let scene = Scene::answering(move |received| if received.target() == "/big" { endless.clone() } else { Reply::ok("small") }).await;
    let proxy = scene.proxy_with_endpoints(&["--write-timeout=500ms", "--insecure-listen-address=127.0.0.1:0"]).await;
    let big = Request::get("/big").bearer(ALICE);

    // Nothing is read.
    let mut clients = [scene.connect(Version::H1, &proxy).await, Client::connect_plain(proxy.insecure()).await];
    for client in &mut clients {
        client.wire().send(big.http1()).await.unwrap();
    }
    wait_for("the end of both", async || match metric(&scene, &proxy, "connections_cut_total{limit=\"write-timeout\"}").await {
        2 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    drop(clients);

    // A little is read, again and again.
    let mut client = scene.connect(Version::H1, &proxy).await;
    let mut exchange = client.open(&big).await.unwrap();
    assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        for _ in 0..100 {
            assert!(in_time("more", exchange.next()).await.unwrap().is_some());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // A stream without a window ends; the others of its connection are others' perhaps.
    let wire = scene.authority.tls().alpn(&["h2"]).connect(proxy.secure()).await.unwrap();
    let mut frames = Frames::greet(wire, &[(4, 0)]).await.unwrap();
    for (stream, path) in [(1, "/big"), (3, "/small")] {
        frames.send(HEADERS, END_HEADERS | END_STREAM, stream, head("GET", path, ALICE)).await.unwrap();
    }
    for _ in 0..2 {
        frames.until(HEADERS).await.unwrap();
    }
    frames.send(8, 0, 3, 5_u32.to_be_bytes()).await.unwrap();
    assert_eq!(frames.until(DATA).await.unwrap().payload, b"small");
    assert_eq!(frames.until(RST_STREAM).await.unwrap().stream, 1);
    frames.send(HEADERS, END_HEADERS | END_STREAM, 5, head("GET", "/small", ALICE)).await.unwrap();
    assert_eq!(frames.until(HEADERS).await.unwrap().stream, 5);
    drop(exchange);
    wait_until("nobody is served any longer", || scene.upstream.open_connections() <= 1).await;
}

/// limit-4: what HTTP/2 has instead of a slow head.
#[tokio::test]
async fn half_a_head_in_http2_is_cut() {
    let latch = Latch::default();
    let held = Reply::head(200, &[("Content-Length", "2")]).send("a").wait(&latch).send("b");
    let scene = Scene::answering(move |_| held.clone()).await;
    let proxy = scene.proxy_with_endpoints(&["--read-header-timeout=300ms"]).await;
    let tls = scene.authority.tls().alpn(&["h2"]);
    let half_preface = b"PRI * HTTP/2.0\r\n".to_vec();
    let request = head("GET", "/", ALICE);
    let unfinished = frame(HEADERS, END_STREAM, 1, &request);
    let cut = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request)[..30].to_vec();
    let mut wire = tls.connect(proxy.secure()).await.unwrap();
    wire.send(half_preface).await.unwrap();
    in_time("the end of half a preface", wire.closed()).await;
    for part in [unfinished, cut] {
        let mut frames = Frames::greet(tls.connect(proxy.secure()).await.unwrap(), &[]).await.unwrap();
        frames.wire().send(part).await.unwrap();
        in_time("the end of half a head", frames.wire().closed()).await;
    }
    assert_eq!(metric(&scene, &proxy, "connections_cut_total{limit=\"read-header-timeout\"}").await, 3);
    // Whoever waits for an answer owes nothing.
    let mut frames = Frames::greet(tls.connect(proxy.secure()).await.unwrap(), &[]).await.unwrap();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &request).await.unwrap();
    assert_eq!(frames.until(DATA).await.unwrap().payload, b"a");
    tokio::time::sleep(Duration::from_millis(600)).await;
    latch.open();
    assert_eq!(frames.until(DATA).await.unwrap().payload, b"b");
}

/// limit-2: heads that fill memory cost those who hold them their places, also where they wait for an answer that they do not take.
#[tokio::test]
async fn heads_without_an_end_displace_those_who_hold_them() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--max-header-bytes=1048576"]).await;
    let tls = scene.authority.tls().alpn(&["h2"]);
    let mut known = scene.connect(Version::H2, &proxy).await;
    assert_status(&known.send(&Request::get("/").bearer(ALICE)).await, 200);
    let part = || frame(CONTINUATION, 0, 3, [&[0, 1, b'a', 0x7f, 0xe1, 0x7e][..], &[b'x'; 16_352]].concat());
    let mut flood = Vec::new();
    for _ in 0..12 {
        let mut frames = Frames::greet(tls.connect(proxy.secure()).await.unwrap(), &[(4, 0)]).await.unwrap();
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, head("GET", "/", FORGED)).await.unwrap();
        assert_eq!(frames.until(HEADERS).await.unwrap().stream, 1);
        frames.send(HEADERS, END_STREAM, 3, head("GET", "/", FORGED)).await.unwrap();
        // Of some the connection ends meanwhile.
        let _ = frames.wire().send(part().repeat(56)).await;
        flood.push(frames);
        for version in BOTH {
            let mut new = scene.connect(version, &proxy).await;
            assert_status(&new.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
        assert_status(&known.send(&Request::get("/").bearer(ALICE)).await, 200);
    }
    let ended = flood.iter_mut().map(async |frames| timeout(Duration::from_secs(2), frames.wire().closed()).await.is_ok());
    let ended = join_all(ended).await.into_iter().filter(|ended| *ended).count();
    assert!((1..12).contains(&ended), "{ended}");
}

/// limit-3: whoever does not take a refusal, or the answer to a probe, gives way to the next who comes.
#[tokio::test]
async fn refusals_that_nobody_takes_hold_no_places() {
    let scene = Scene::new().await;
    let proxy = scene.proxy_with_endpoints(&["--max-connections=40"]).await;
    let tls = scene.authority.tls().alpn(&["h2"]);
    let mut flood = Vec::new();
    for (listener, path) in [(proxy.secure(), "/"), (proxy.endpoints(), "/healthz")] {
        for _ in 0..40 {
            let mut frames = Frames::greet(tls.connect(listener).await.unwrap(), &[(4, 0)]).await.unwrap();
            frames.send(HEADERS, END_HEADERS | END_STREAM, 1, head("GET", path, FORGED)).await.unwrap();
            assert_eq!(frames.until(HEADERS).await.unwrap().stream, 1);
            flood.push(frames);
        }
        for version in BOTH {
            let mut new = Client::connect(version, listener, &scene.authority.tls()).await;
            assert_status(&new.send(&Request::get(path).bearer(ALICE)).await, 200);
        }
    }
}

/// fault-15: others' connections cost nobody his request, nor his next one.
#[tokio::test]
async fn whoever_asks_keeps_its_place_in_a_flood_of_connections() {
    const MOST: usize = 800;
    let latch = Latch::default();
    let held = Reply::head(200, &[("Content-Length", "2")]).send("a").wait(&latch).send("b");
    let scene = Scene::answering(move |received| if received.target() == "/held" { held.clone() } else { Reply::ok("") }).await;
    let limit = format!("--max-connections={MOST}");
    let proxy = scene.proxy_with_endpoints(&[&limit, "--insecure-listen-address=127.0.0.1:0"]).await;
    let idle_files = proxy.open_files();
    let held = Request::get("/held").bearer(ALICE);
    let mut asking = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
    let mut exchanges = Vec::new();
    for client in &mut asking {
        let mut exchange = client.open(&held).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        exchanges.push(exchange);
    }
    let mut known = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
    for client in &mut known {
        assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    }
    // TCP alone, TLS without a request, and those who are refused.
    let mut flood = Vec::new();
    for round in 0..3 {
        for _ in 0..150 {
            flood.push(Wire::new(TcpStream::connect(proxy.secure()).await.unwrap()));
            flood.push(Wire::new(TcpStream::connect(proxy.insecure()).await.unwrap()));
        }
        for _ in 0..10 {
            flood.push(scene.authority.tls().connect(proxy.secure()).await.unwrap());
            let mut refused = scene.connect(Version::H1, &proxy).await;
            assert_status(&refused.send(&Request::get("/").bearer(FORGED)).await, 401);
            flood.push(std::mem::replace(refused.wire(), Wire::new(TcpStream::connect(proxy.insecure()).await.unwrap())));
        }
        for version in BOTH {
            let mut new = scene.connect(version, &proxy).await;
            assert_status(&new.send(&Request::get(&format!("/{round}")).bearer(ALICE)).await, 200);
        }
        for client in &mut known {
            assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
        assert!(proxy.open_files() < idle_files + MOST / 2, "{}", proxy.open_files());
        assert!(metric(&scene, &proxy, "connections{listener=\"secure\"}").await <= MOST as u64 / 4 + 20);
    }
    proxy.line_with(&["W", "--max-connections"]).await;
    assert!(metric(&scene, &proxy, "connections_cut_total{limit=\"max-connections\"}").await > 600);

    // Where all have requests there is no place for one more; but for probes.
    let small = scene.proxy_with_endpoints(&["--max-connections=8", "--insecure-listen-address=127.0.0.1:0"]).await;
    let mut busy = Vec::new();
    while busy.len() < 8 {
        let mut client = scene.connect(Version::H1, &small).await;
        client.wire().send(held.http1()).await.unwrap();
        assert_eq!(in_time("the head", client.wire().read_head()).await.unwrap().unwrap().word(1), "200");
        busy.push(client);
    }
    let mut late = Wire::new(TcpStream::connect(small.insecure()).await.unwrap());
    in_time("the end of who came too late", late.closed()).await;
    let mut probe = Client::connect(Version::H1, small.endpoints(), &scene.authority.tls()).await;
    assert_status(&probe.send(&Request::get("/readyz")).await, 200);
    latch.open();
    for mut exchange in exchanges {
        let mut body = Vec::new();
        while let Some(piece) = in_time("the rest", exchange.next()).await.unwrap() {
            body.extend(piece);
        }
        assert_eq!(body, b"ab");
    }
}

/// fault-15: 400 MiB for 10,000, which `IDLE_CONNECTIONS` may be.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]
async fn idle_connections_cost_little() {
    let count = std::env::var("IDLE_CONNECTIONS").map_or(500, |count| count.parse().unwrap());
    let scene = Scene::new().await;
    let proxy = scene.proxy(&[&format!("--max-connections={}", 5 * count), "--read-header-timeout=1h"]).await;
    let (before, _) = proxy.resident_kib();
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(scene.connect(Version::H1, &proxy).await);
    }
    let (after, _) = proxy.resident_kib();
    let each = after.saturating_sub(before) / count;
    println!("{count} idle connections over TLS: {each} KiB each");
    // Futures that nobody optimized are large.
    let most = if cfg!(debug_assertions) { 64 } else { 40 };
    assert!(each <= most, "{before} KiB became {after}");
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

/// The head of a request, without a body if nothing else says so.
pub(crate) fn head(method: &str, path: &str, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    block(&[
        (":method", method.as_bytes()),
        (":scheme", b"https"),
        (":path", path.as_bytes()),
        (":authority", b"a"),
        ("authorization", bearer.as_bytes()),
    ])
}
