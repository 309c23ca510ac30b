//! Where the proxy listens.

use std::net::SocketAddr;

use testkit::{
    client::{Client, Request, Version},
    tls::Tls,
};
use tokio::net::TcpStream;

use crate::scene::{ALICE, BOB, FORGED, MALLORY, Scene, assert_status};

#[tokio::test]
async fn listeners_take_every_form_of_address() {
    let scene = Scene::new().await;
    let (v4, v6) = ([127, 0, 0, 1].into(), "::1".parse().unwrap());
    for (address, on_v4, on_v6) in [
        (":0", true, true),
        ("[::]:0", true, true),
        ("0.0.0.0:0", true, true),
        ("127.0.0.1:0", true, false),
        ("[127.0.0.1]:0", true, false),
        ("[::1]:0", false, true),
        ("localhost:0", true, false),
    ] {
        let flags = [format!("--secure-listen-address={address}"), format!("--insecure-listen-address={address}")];
        let proxy = scene.proxy(&flags).await;
        for (ip, expected) in [(v4, on_v4), (v6, on_v6)] {
            let (secure, insecure) = (SocketAddr::new(ip, proxy.secure().port()), SocketAddr::new(ip, proxy.insecure().port()));
            let reached = TcpStream::connect(secure).await.is_ok();
            assert_eq!(reached, expected, "{address} on {ip}");
            if expected {
                let request = Request::get("/").bearer(ALICE);
                assert_status(&Client::connect(Version::H2, secure, &Tls::default()).await.send(&request).await, 200);
                assert_status(&Client::connect_plain(insecure).await.send(&request).await, 200);
            }
        }
    }
}

#[tokio::test]
async fn an_insecure_listener_alone_is_enough() {
    let scene = Scene::new().await;
    let flags = ["--insecure-listen-address=127.0.0.1:0", "--proxy-endpoints-port=10443", "--tls-cert-file=", "--tls-private-key-file="];
    let proxy = testkit::process::Proxy::start(&scene.flags_without(&["--secure-listen-address"], &flags)).await;
    assert!(proxy.lines().iter().any(|line| line.starts_with('W') && line.contains("--proxy-endpoints-port")), "{}", proxy.output());
    let mut client = Client::connect_plain(proxy.insecure()).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    assert_status(&client.send(&Request::get("/")).await, 401);
}

#[tokio::test]
async fn the_insecure_listener_speaks_http2_to_those_who_begin_with_it() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    let client = Client::connect_h2c(proxy.insecure()).await;
    for (token, status) in [(ALICE, 200), (MALLORY, 403), (FORGED, 401), (BOB, 200)] {
        let response = client.http2().send(&Request::post("/h2c", "body").bearer(token)).await.unwrap();
        assert_status(&response, status);
    }
    assert_status(&client.http2().send(&Request::get("/h2c")).await.unwrap(), 401);
    let received = scene.upstream.take_requests();
    assert_eq!(received.len(), 2);
    assert_eq!(
        (received[0].target(), received[0].header("host"), received[0].body.content.as_slice()),
        ("/h2c", Some("proxy.test"), &b"body"[..])
    );
    // What is no preface is a request of HTTP/1.
    let mut client = Client::connect_plain(proxy.insecure()).await;
    client.wire().send("P").await.unwrap();
    client.wire().send(format!("UT /h1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 0\r\n\r\n")).await.unwrap();
    assert_eq!(client.wire().read_head().await.unwrap().unwrap().word(1), "200");
    assert_eq!(scene.upstream.take_requests().remove(0).target(), "/h1");

    let disabled = scene.proxy(&["--insecure-listen-address=127.0.0.1:0", "--http2-disable"]).await;
    let mut prior_knowledge = Client::connect_plain(disabled.insecure()).await;
    prior_knowledge.wire().send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let answer = prior_knowledge.wire().read_to_end().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 505"), "{answer:?}");
}

#[tokio::test]
async fn an_offer_to_switch_to_h2c_is_no_more_than_an_offer() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    // An offer to switch is an offer: the request is served in the version it came in.
    let mut upgrade = Client::connect_plain(proxy.insecure()).await;
    let request = Request::get("/").bearer(ALICE);
    let request =
        request.header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", "h2c").header("HTTP2-Settings", "AAMAAABkAAQAAP__");
    assert_status(&upgrade.send(&request).await, 200);
    let received = scene.upstream.only_request();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(received.header(name), None, "{name}");
    }
}
