//! The end of the program.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use testkit::{
    client::{Client, Request, Version},
    process::Proxy,
    tls::Tls,
    upstream::Reply,
    wait::{Latch, in_time, wait_for, wait_until},
};

use crate::scene::{ALICE, BOTH, Scene, assert_status};

/// An upstream that answers `/held` with one piece before the latch opens and one after it.
async fn scene_that_holds(latch: &Latch) -> Scene {
    let held = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n").wait(latch).send("1\r\nb\r\n0\r\n\r\n");
    Scene::answering(move |received| if received.target() == "/held" { held.clone() } else { Reply::ok("") }).await
}

fn held() -> Request {
    Request::get("/held").bearer(ALICE)
}

#[tokio::test]
async fn requests_in_flight_finish_after_sigterm() {
    let latch = Latch::default();
    let scene = scene_that_holds(&latch).await;
    let proxy = scene.proxy_with_endpoints(&[]).await;
    let mut clients = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
    let mut exchanges = Vec::new();
    for client in &mut clients {
        let mut exchange = client.open(&held()).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        assert_eq!(in_time("a piece", exchange.next()).await.unwrap().as_deref(), Some(&b"a"[..]));
        exchanges.push(exchange);
    }
    assert_eq!(ready(&scene, &proxy).await.unwrap(), 200);

    proxy.signal("TERM");
    wait_for("503 of /readyz", async || match ready(&scene, &proxy).await {
        Ok(503) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(proxy.is_running());

    latch.open();
    for mut exchange in exchanges {
        assert_eq!(in_time("the other piece", exchange.next()).await.unwrap().as_deref(), Some(&b"b"[..]));
        assert_eq!(in_time("the end", exchange.next()).await.unwrap(), None);
    }
    let exit = proxy.exit().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
}

async fn ready(scene: &Scene, proxy: &Proxy) -> Result<u16, String> {
    let mut client = Client::try_connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await?;
    Ok(client.try_send(&Request::get("/readyz")).await?.status)
}

#[tokio::test]
async fn an_answer_that_begins_while_draining_ends_its_connection() {
    let latch = Latch::default();
    let answer = Reply::default().wait(&latch).then(Reply::ok("late"));
    let scene = Scene::answering(move |_| answer.clone()).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    let exchange = client.open(&held()).await.unwrap();
    wait_for("the request upstream", async || if scene.upstream.count() == 1 { Ok(()) } else { Err("none") }).await;
    proxy.signal("TERM");
    proxy.line_with(&["Shutting down"]).await;
    latch.open();
    let response = in_time("the answer", exchange.rest()).await.unwrap();
    assert_status(&response, 200);
    assert_eq!((response.header("connection"), response.text().as_str()), (Some("close"), "late"));
    client.closed().await;
    assert_eq!(proxy.exit().await.code, Some(0));
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--shutdown-grace=1h"]).await;
    let mut clients = Vec::new();
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        clients.push(client);
    }
    // One that has sent nothing yet.
    clients.push(scene.connect(Version::H1, &proxy).await);
    proxy.signal("TERM");
    for client in &mut clients {
        client.closed().await;
    }
    assert_eq!(proxy.exit().await.code, Some(0));
}

/// Go waits without end.
#[tokio::test]
async fn the_grace_time_ends_what_does_not_end() {
    let latch = Latch::default();
    let scene = scene_that_holds(&latch).await;
    let proxy = scene.proxy(&["--shutdown-grace=500ms"]).await;
    let mut clients = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H2, &proxy).await];
    let mut exchanges = Vec::new();
    for client in &mut clients {
        let mut exchange = client.open(&held()).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        assert!(in_time("a piece", exchange.next()).await.unwrap().is_some());
        exchanges.push(exchange);
    }
    let start = Instant::now();
    proxy.signal("TERM");
    for mut exchange in exchanges {
        in_time("the cut", exchange.next()).await.expect_err("the answer was not over");
    }
    let exit = proxy.exit().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("--shutdown-grace"), "{}", exit.output);
    assert!(start.elapsed() >= Duration::from_millis(500), "it ended after {:?}", start.elapsed());
}

/// Go ignores it.
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let latch = Latch::default();
    let scene = scene_that_holds(&latch).await;
    let proxy = scene.proxy(&["--shutdown-grace=1h"]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    let mut exchange = client.open(&held()).await.unwrap();
    assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
    proxy.signal("TERM");
    proxy.line_with(&["Shutting down"]).await;
    assert!(proxy.is_running());
    proxy.signal("TERM");
    let exit = proxy.exit().await;
    assert_eq!((exit.code, exit.signal), (Some(1), None), "{}", exit.output);
}

/// One of two instances behind a name is told to end, as at each update of a Deployment. Whoever is answered not at all, on a
/// connection that was kept or that was not accepted any more, goes to the other; nobody is answered otherwise than well.
#[tokio::test]
async fn a_drain_under_load_fails_no_request() {
    let requests: usize = std::env::var("DRAIN_REQUESTS").map_or(10_000, |count| count.parse().unwrap());
    let scene = Scene::new().await;
    let (first, second) = (scene.proxy_with_endpoints(&[]).await, scene.proxy::<&str>(&[]).await);
    let load = Load { addresses: [first.secure(), second.secure()], tls: scene.authority.tls(), requests, next: AtomicUsize::new(0) };
    let clients = join_all((0..32).map(|number| load.client(if is_http2(number) { Version::H2 } else { Version::H1 })));
    let end = async {
        wait_until("a thousand requests", || load.next.load(Ordering::Relaxed) > 1_000).await;
        first.signal("TERM");
        let exit = first.exit().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        assert!(!exit.output.contains("were cut"), "{}", exit.output);
        load.next.load(Ordering::Relaxed)
    };
    let (moved, done) = tokio::join!(clients, end);
    assert!(done < requests, "the first ended while there was load");
    // Only HTTP/2 tells a client that a request will not be looked at.
    for (number, again) in moved.into_iter().enumerate() {
        assert!(again <= usize::from(is_http2(number)), "client {number} sent {again} requests again");
    }
}

fn is_http2(client: usize) -> bool {
    client.is_multiple_of(4)
}

struct Load {
    addresses: [SocketAddr; 2],
    tls: Tls,
    requests: usize,
    next: AtomicUsize,
}

impl Load {
    /// Sends one request after the other, and returns how many it had to send again.
    async fn client(&self, version: Version) -> usize {
        let (mut client, mut again) = (None, 0);
        while let number @ 0.. = self.next.fetch_add(1, Ordering::Relaxed)
            && number < self.requests
        {
            let request = Request::get(&format!("/{}", number % 100)).bearer(ALICE);
            let response = loop {
                let is_kept = client.is_some();
                let mut connected = match client.take() {
                    Some(client) => client,
                    None => self.connect(version).await,
                };
                match connected.try_send(&request).await {
                    Ok(response) => {
                        let closes = response.header("connection") == Some("close");
                        client = (!closes).then_some(connected);
                        break response;
                    }
                    Err(why) => {
                        assert!(is_kept, "request {number} on a new connection: {why}");
                        again += 1;
                    }
                }
            };
            assert_eq!((response.status, response.text()), (200, format!("/{}", number % 100)));
        }
        again
    }

    /// To the first that accepts.
    async fn connect(&self, version: Version) -> Client {
        for address in self.addresses {
            if let Ok(client) = Client::try_connect(version, address, &self.tls).await {
                return client;
            }
        }
        panic!("nobody accepts a connection")
    }
}
