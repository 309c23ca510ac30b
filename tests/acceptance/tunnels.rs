//! Changes of protocol: what is a tunnel, what is none, and how it ends.

use std::time::Duration;

use testkit::{
    client::{Client, Request, Version},
    process::Proxy,
    upstream::{Session, Upstream},
    wait::{in_time, wait_until},
    wire::{Body, Head},
};
use tokio::time::timeout;

use crate::scene::{ALICE, MALLORY, Scene, assert_status, echo};

/// Switches to the protocol that is asked for and sends back what it gets, until the client stops sending; then says `bye`.
async fn switching(mut session: Session) {
    let Some(head) = session.read_head().await else { return };
    let protocol = head.get("upgrade").unwrap_or("none").to_owned();
    // What is here before the answer came too early.
    let early = Body { content: session.wire.buffered().to_vec(), ..Body::default() };
    session.record(head, early);
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\nX-Answer: 1\r\n\r\n");
    session.wire.send(answer).await.unwrap();
    while let Ok(piece) = session.wire.read_some(64).await {
        if session.wire.send(piece).await.is_err() {
            return;
        }
    }
    let _ = session.wire.send("bye").await;
}

fn asking(protocol: &str, token: &str, more: &str) -> String {
    let authorization = format!("Authorization: Bearer {token}\r\n");
    format!("GET /t?q HTTP/1.1\r\nHost: h\r\n{authorization}Connection: Upgrade\r\nUpgrade: {protocol}\r\n{more}\r\n")
}

async fn ask(scene: &Scene, proxy: &Proxy, bytes: String) -> (Client, Head) {
    let mut client = scene.connect(Version::H1, proxy).await;
    client.wire().send(bytes).await.unwrap();
    let head = in_time("an answer", client.wire().read_head()).await.unwrap().unwrap();
    (client, head)
}

async fn echoed(client: &mut Client, text: &str) {
    client.wire().send(text).await.unwrap();
    assert_eq!(in_time("the echo", client.wire().read_through(text.as_bytes())).await.unwrap(), text.as_bytes());
}

#[tokio::test]
async fn websockets_and_spdy_are_tunnels() {
    tunnels(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn tunnels(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(Upstream::start_raw(switching).await).await;
    let proxy = scene.proxy(&["--auth-header-fields-enabled=true"]).await;
    let alice = &scene.alice();
    for protocol in ["websocket", "WebSocket", "SPDY/3.1"] {
        let spoofed = "X-Remote-User: root\r\nConnection: X-Remote-User, X-Hop\r\nX-Hop: 1\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        let early = asking(protocol, alice, spoofed) + "early";
        let (mut client, head) = ask(&scene, &proxy, early).await;
        assert_eq!((head.word(1), head.get("upgrade"), head.get("connection")), ("101", Some(protocol), Some("Upgrade")));
        assert_eq!((head.get("x-answer"), head.get("transfer-encoding"), head.get("content-length")), (Some("1"), None, None));
        assert_eq!(in_time("what was early", client.wire().read_through(b"early")).await.unwrap(), b"early");
        echoed(&mut client, "ping\0\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
        // The upstream goes on when the client has said all.
        client.wire().finish().await.unwrap();
        assert_eq!(in_time("the end", client.wire().read_to_end()).await, b"bye");

        let received = scene.upstream.take_requests().pop().unwrap();
        assert_eq!(received.target(), "/t?q");
        assert_eq!(received.body.content, b"", "bytes went ahead of the answer");
        assert_eq!((received.header("upgrade"), received.header("connection")), (Some(protocol), Some("Upgrade")));
        assert_eq!(received.header(scene.identity_headers().0), Some("alice"));
        assert_eq!(received.header("authorization"), scene.own_authorization());
        for name in ["x-hop", "http2-settings", "content-length", "transfer-encoding"] {
            assert_eq!(received.header(name), None, "{name}");
        }
    }
    assert_eq!(scene.upstream.connections(), 3, "a connection that switched was used again");
    wait_until("the end of all tunnels", || scene.upstream.open_connections() == 0).await;
}

#[tokio::test]
async fn only_who_may_gets_a_tunnel() {
    let scene = Scene::around(Upstream::start_raw(switching).await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for (token, status) in [(MALLORY, "403"), ("token-of-nobody", "401")] {
        assert_eq!(ask(&scene, &proxy, asking("websocket", token, "")).await.1.word(1), status);
    }
    assert_eq!(scene.upstream.connections(), 0);
}

#[tokio::test]
async fn an_answer_other_than_101_is_an_answer_and_ends_the_upstream_connection() {
    an_answer_other_than_101(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn an_answer_other_than_101(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let smuggled = format!("GET /forbidden HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {MALLORY}\r\n\r\n");
    let (mut client, head) = ask(&scene, &proxy, asking("websocket", alice, "") + &smuggled).await;
    assert_eq!((head.word(1), head.get("upgrade")), ("200", None));
    let body = client.wire().read_body(head.framing().unwrap()).await;
    assert_eq!(body.content, b"/t?q");
    // What the client had sent for the tunnel is a request like any other, and decided.
    let head = in_time("the next answer", client.wire().read_head()).await.unwrap().unwrap();
    assert_eq!(head.word(1), scene.status_of_mallory().to_string());
    assert!(client.wire().read_body(head.framing().unwrap()).await.complete);
    assert_eq!(scene.upstream.count(), 1);
    wait_until("the end of the upstream's connection", || scene.upstream.open_connections() == 0).await;
    assert_status(&client.send(&Request::get("/").bearer(alice)).await, 200);
    assert_eq!(scene.upstream.last_request().connection, 2);
}

#[tokio::test]
async fn a_switch_to_another_protocol_is_a_failure() {
    a_switch_to_another_protocol(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn a_switch_to_another_protocol(around: impl AsyncFn(Upstream) -> Scene) {
    for answer in ["Connection: upgrade\r\nUpgrade: h2c", "Connection: upgrade", "Upgrade: websocket"] {
        let upstream = Upstream::start_raw(move |mut session: Session| async move {
            if session.read().await.is_some() {
                let _ = session.wire.send(format!("HTTP/1.1 101 S\r\n{answer}\r\n\r\n")).await;
                session.wire.closed().await;
            }
        });
        let scene = around(upstream.await).await;
        let proxy = scene.proxy::<&str>(&[]).await;
        let alice = &scene.alice();
        let (_, head) = ask(&scene, &proxy, asking("websocket", alice, "")).await;
        assert_eq!(head.word(1), "502", "{answer}");
        wait_until("the end of the upstream's connection", || scene.upstream.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn a_silent_tunnel_lives_as_long_as_its_ends() {
    let scene = Scene::around(Upstream::start_raw(switching).await).await;
    let proxy = scene.proxy(&["--idle-timeout=1s", "--read-header-timeout=1s", "--tls-handshake-timeout=1s"]).await;
    let (mut client, head) = ask(&scene, &proxy, asking("websocket", ALICE, "")).await;
    assert_eq!(head.word(1), "101");
    assert!(timeout(Duration::from_secs(5), client.wire().fill()).await.is_err(), "something came, or the tunnel ended");
    echoed(&mut client, "still here").await;
    drop(client);
    wait_until("the end of the tunnel", || scene.upstream.open_connections() == 0).await;
    let (mut client, _) = ask(&scene, &proxy, asking("websocket", ALICE, "")).await;
    scene.upstream.drop_connections();
    client.wire().closed().await;
}

#[tokio::test]
async fn a_tunnel_ends_with_the_drain() {
    let scene = Scene::around(Upstream::start_raw(switching).await).await;
    let proxy = scene.proxy(&["--shutdown-grace=2s"]).await;
    let (mut client, head) = ask(&scene, &proxy, asking("SPDY/3.1", ALICE, "")).await;
    assert_eq!(head.word(1), "101");
    proxy.signal("TERM");
    proxy.line_with(&["Shutting down"]).await;
    echoed(&mut client, "in the grace").await;
    client.wire().closed().await;
    wait_until("the end upstream", || scene.upstream.open_connections() == 0).await;
    proxy.exit().await;
}

const TOKEN_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// `ALICE` and `MALLORY`, as base64url has them.
const ALICE_ENCODED: &str = "dG9rZW4tb2YtYWxpY2U";
const MALLORY_ENCODED: &str = "dG9rZW4tb2YtbWFsbG9yeQ";

fn asking_by_subprotocol(authorization: &str, protocols: &str) -> String {
    let head = "GET /t HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    format!("{head}{authorization}Sec-WebSocket-Protocol: {protocols}\r\n\r\n")
}

#[tokio::test]
async fn a_token_among_the_subprotocols_counts_and_stays_here() {
    let scene = Scene::around(Upstream::start_raw(switching).await).await;
    let proxy = scene.proxy(&["--auth-header-fields-enabled=true"]).await;
    let by_header = format!("Authorization: Bearer {ALICE}\r\n");
    let by_bad_header = "Authorization: Bearer token-of-nobody\r\n";
    for (authorization, protocols, passed) in [
        ("", format!("{TOKEN_PREFIX}{ALICE_ENCODED}, chat, other"), "chat,other"),
        ("", format!("chat ,{TOKEN_PREFIX}{ALICE_ENCODED}"), "chat"),
        (by_bad_header, format!("{TOKEN_PREFIX}{ALICE_ENCODED}, chat"), "chat"),
        (&by_header, format!("{TOKEN_PREFIX}{MALLORY_ENCODED}, chat"), "chat"),
    ] {
        let (mut client, head) = ask(&scene, &proxy, asking_by_subprotocol(authorization, &protocols)).await;
        assert_eq!(head.word(1), "101", "{protocols}");
        echoed(&mut client, "x").await;
        let received = scene.upstream.take_requests().pop().unwrap();
        assert_eq!(received.header("sec-websocket-protocol"), Some(passed));
        assert_eq!((received.header("x-remote-user"), received.header("authorization")), (Some("alice"), None));
    }
    for encoded in [ALICE_ENCODED, MALLORY_ENCODED] {
        assert!(!proxy.output().contains(encoded));
    }
    let forwarding = scene.proxy(&["--forward-authorization"]).await;
    let asking = asking_by_subprotocol("", &format!("{TOKEN_PREFIX}{ALICE_ENCODED}, chat"));
    assert_eq!(ask(&scene, &forwarding, asking).await.1.word(1), "101");
    assert_eq!(scene.upstream.last_request().header("sec-websocket-protocol"), Some("chat"));
}

#[tokio::test]
async fn a_token_among_the_subprotocols_must_be_as_in_kubernetes() {
    let scene = Scene::around(Upstream::start_raw(switching).await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let good = format!("{TOKEN_PREFIX}{ALICE_ENCODED}");
    for (protocols, status) in [
        (good.clone(), "401"),
        (format!("{good}, {good}, chat"), "401"),
        (format!("{good}=, chat"), "401"),
        (format!("{TOKEN_PREFIX}!, chat"), "401"),
        (format!("{TOKEN_PREFIX}_w, chat"), "401"),
        (format!("{TOKEN_PREFIX}bm9ib2R5, chat"), "401"),
        (format!("{}, chat", good.to_uppercase()), "401"),
        (format!("{TOKEN_PREFIX}{MALLORY_ENCODED}, chat"), "403"),
    ] {
        assert_eq!(ask(&scene, &proxy, asking_by_subprotocol("", &protocols)).await.1.word(1), status, "{protocols}");
    }
    // Where there is no upgrade to a WebSocket, nobody looks for it.
    let request = Request::get("/").header("Sec-WebSocket-Protocol", &format!("{good}, chat"));
    assert_status(&scene.connect(Version::H1, &proxy).await.send(&request).await, 401);
    assert_status(
        &scene.connect(Version::H1, &proxy).await.send(&request.header("Connection", "Upgrade").header("Upgrade", "SPDY/3.1")).await,
        401,
    );
    assert_eq!(scene.upstream.connections(), 0);
}
