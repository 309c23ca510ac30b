//! Watches, logs, and what exec and port-forward are made of.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::{
    certs::Authority,
    client::{Request, Version},
    jwt::encode,
    upstream::{Reply, Session, Upstream},
    wait::{Latch, in_time},
    wire::{Body, chunk},
};
use tokio::{io::copy_bidirectional, net::TcpStream, time::sleep};

use super::World;
use crate::scene::BOTH;

/// Switches to the protocol that is asked for and sends back what it gets.
async fn switching(mut session: Session) {
    let Some(head) = session.read_head().await else { return };
    let protocol = head.get("upgrade").unwrap_or("none").to_owned();
    session.record(head, Body::default());
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
    session.wire.send(answer).await.unwrap();
    while let Ok(piece) = session.wire.read_some(64).await {
        if session.wire.send(piece).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn exec_and_port_forward_are_tunnels_of_the_user() {
    let upstream = Upstream::start_raw(switching).await;
    let world = World::around(Authority::new("all"), upstream).await;
    let proxy = world.proxy(&[]).await;
    let token = world.token(json!({}));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let protocols = |rest: &str| format!("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{}, {rest}\r\n", encode(&token));
    for (method, protocol, more, passed) in [
        ("POST", "SPDY/3.1", format!("{bearer}X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"), None),
        (
            "GET",
            "websocket",
            format!("{bearer}Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n"),
            Some("SPDY/3.1+portforward.k8s.io"),
        ),
        ("GET", "websocket", protocols("v5.channel.k8s.io"), Some("v5.channel.k8s.io")),
    ] {
        let mut client = world.connect(Version::H1, &proxy).await;
        let head = format!("{method} /api/v1/namespaces/n/pods/p/exec?command=a%20b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n");
        client.wire().send(format!("{head}Upgrade: {protocol}\r\n{more}\r\n")).await.unwrap();
        let answer = in_time("an answer", client.wire().read_head()).await.unwrap().unwrap();
        assert_eq!((answer.word(1), answer.get("upgrade")), ("101", Some(protocol)));
        client.wire().send("bytes").await.unwrap();
        assert_eq!(in_time("the echo", client.wire().read_through(b"bytes")).await.unwrap(), b"bytes");
        assert_eq!(world.told(), ("anna".to_owned(), vec!["devs".to_owned(), "system:authenticated".to_owned()]));
        let received = world.api.last_request();
        assert_eq!(received.target(), "/api/v1/namespaces/n/pods/p/exec?command=a%20b");
        assert_eq!(received.header("authorization"), None, "this one is in cleartext");
        assert_eq!(received.header("sec-websocket-protocol"), passed);
    }
    proxy.assert_silent_about(&[&token]);
}

#[tokio::test]
async fn a_watch_comes_event_by_event() {
    let (latches, mut reply) = ([Latch::default(), Latch::default()], Reply::head(200, &[("Transfer-Encoding", "chunked")]));
    for latch in &latches {
        reply = reply.wait(latch).send(chunk("{\"type\":\"ADDED\"}\n"));
    }
    let (authority, reply) = (Authority::new("all"), reply.send("0\r\n\r\n"));
    let api = Upstream::start_tls(&authority.server(), move |_| reply.clone()).await;
    let world = World::around(authority, api).await;
    let proxy = world.proxy(&[]).await;
    let (mut clients, mut exchanges) = (Vec::new(), Vec::new());
    for version in BOTH {
        clients.push(world.connect(version, &proxy).await);
    }
    for client in &mut clients {
        let mut exchange = client.open(&Request::get("/api/v1/pods?watch=1").bearer(&world.token(json!({})))).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        exchanges.push(exchange);
    }
    for latch in latches {
        latch.open();
        for exchange in &mut exchanges {
            assert_eq!(in_time("an event", exchange.next()).await.unwrap().as_deref(), Some(&b"{\"type\":\"ADDED\"}\n"[..]));
        }
    }
}

/// All watches of a cluster come at once after a rollout, and the API server may be far away.
#[tokio::test]
async fn a_crowd_at_once_shares_few_connections() {
    let authority = Authority::new("all");
    let reply = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send(chunk("event")).then_hang();
    let api = Upstream::start_http2(Some(&authority.server()), move |_| reply.clone()).await;
    let address = api.address();
    let far = Upstream::start_raw(move |mut session: Session| async move {
        let Some(_) = session.read_head().await else { return };
        sleep(Duration::from_millis(300)).await;
        session.wire.send("HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        let _ = copy_bidirectional(&mut session.wire.into_stream(), &mut TcpStream::connect(address).await.unwrap()).await;
    })
    .await;
    let world = World::around(authority, api).await;
    let cluster = format!("server: '{}', certificate-authority: {}, proxy-url: '{}'", world.api.url(), world.path("ca.pem"), far.url());
    world.write_kubeconfig(&cluster, &format!("tokenFile: {}", world.path("own.token")));
    let (proxy, watch) = (world.proxy(&[]).await, Request::get("/api/v1/pods?watch=1").bearer(&world.token(json!({}))));
    let clients = join_all((0..8).map(|_| world.connect(Version::H2, &proxy))).await;
    let exchanges = clients.iter().flat_map(|client| (0..100).map(|_| client.http2().open(&watch)));
    let answers = join_all(exchanges.map(async |exchange| in_time("an answer", exchange.await.unwrap().head()).await.unwrap().0)).await;
    assert_eq!(answers, [200; 800]);
    // Eight are enough; four more are made for each second that these take. It was one for nearly every watch.
    assert!(far.connections() <= 100, "{} connections for 800 watches", far.connections());
}
