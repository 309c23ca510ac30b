//! Issuers that fail, lie, dawdle and change their keys.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use testkit::{
    certs::Authority,
    client::{Request, Version},
    issuer::Issuer,
    jwt::SigningKey,
    process::Proxy,
    upstream::Reply,
    wait::{Latch, wait_for},
};

use crate::oidc::World;

async fn until_believed(world: &World, proxy: &Proxy, token: &str) {
    wait_for("a token that is believed", async || match world.status(proxy, token).await {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
}

/// Starts a proxy for an issuer at fault, and has the fault end once it is said; with what is said.
async fn heals(fault: impl Fn(&World), says: &str) {
    let world = World::new().await;
    fault(&world);
    let (proxy, token) = (world.proxy(&["-v=2"]).await, world.token(json!({})));
    assert_eq!(world.status(&proxy, &token).await, 401, "{says}");
    proxy.line_with(&["issuer_not_ready"]).await;
    proxy.line_with(&["W", "The issuer's keys cannot be read", says]).await;
    assert_eq!(world.status(&proxy, &token).await, 401, "{says}");
    assert_eq!(world.scene.upstream.count(), 0, "{says}");
    world.issuer.fault(None);
    world.issuer.call(&world.issuer.url());
    world.issuer.keys(&[world.key.jwk("k")]);
    until_believed(&world, &proxy, &token).await;
}

#[tokio::test]
async fn an_issuer_at_fault_is_asked_until_it_says_the_truth() {
    let elsewhere = Issuer::start(&Authority::new("others").server()).await;
    let moved = Reply::new(302, &[("Location", &format!("{}/.well-known/openid-configuration", elsewhere.url()))], "");
    let faults = [
        (Reply::new(503, &[], ""), "status 503"),
        (moved, "status 302"),
        (Reply::default().then_reset(), "HTTP with localhost failed"),
        (Reply::ok(""), "its configuration has another form"),
        (Reply::ok("<html>"), "its configuration has another form"),
        (Reply::ok(r#"{"issuer":"x","issuer":"x"}"#), "its configuration has another form"),
        (Reply::ok("x".repeat((1 << 20) + 1)), "sent more than 1048576 bytes"),
        (Reply::head(200, &[]).endless(" ".repeat(4096)), "sent more than 1048576 bytes"),
        (Reply::head(200, &[("Content-Length", "99")]).send("{").then_close(), "ended too early"),
        (Reply::hang(), "did not answer in 10 s"),
    ];
    let faults = faults.iter().map(|(reply, says)| heals(|world| world.issuer.fault(Some(reply.clone())), says));
    let by_name = ["https://issuer.test", "http://localhost", ""]
        .map(|name| heals(move |world| world.issuer.call(name), "its configuration is another issuer's"));
    let slash = heals(|world| world.issuer.call(&format!("{}/", world.issuer.url())), "its configuration is another issuer's");
    let many = heals(|world| world.issuer.keys(&vec![world.key.jwk("k"); 65]), "its keys are of no use");
    tokio::join!(join_all(faults), join_all(by_name), slash, many);
    assert_eq!(elsewhere.server().connections(), 0, "no redirect is followed");
}

#[tokio::test]
async fn a_slow_issuer_holds_up_no_token_of_a_known_key() {
    let world = World::new().await;
    let (proxy, stranger, latch) = (world.ready(&[]).await, SigningKey::new("ES256"), Latch::default());
    let unknown = stranger.token("new", &world.claims(json!({})));
    let asked = world.issuer.server().count();
    world.issuer.fault(Some(Reply::default().wait(&latch)));
    wait_for("an asking that hangs", async || {
        assert_eq!(world.status(&proxy, &unknown).await, 401);
        if world.issuer.server().count() > asked { Ok(()) } else { Err(asked) }
    })
    .await;
    for group in ["a", "b"] {
        assert_eq!(world.status(&proxy, &world.token(json!({"groups": group}))).await, 200, "the keys that are known count");
    }
    latch.open();
}

/// Go asks for the keys 95 times in 0.4 s of 300 such tokens.
#[tokio::test]
async fn a_thousand_forged_key_names_cause_one_asking_in_ten_seconds() {
    let world = World::new().await;
    let (proxy, stranger) = (world.ready(&[]).await, SigningKey::new("ES256"));
    let (start, good) = (Instant::now(), world.token(json!({})));
    assert_eq!((world.status(&proxy, &good).await, world.issuer.fetches()), (200, 1));
    let client = world.scene.connect(Version::H2, &proxy).await;
    let streams = (0..20).map(|stream| {
        let (http2, claims, stranger, good) = (client.http2().clone(), world.claims(json!({})), &stranger, &good);
        async move {
            for turn in 0..50 {
                let forged = stranger.token(&format!("forged-{stream}-{turn}"), &claims);
                assert_eq!(http2.send(&Request::get("/").bearer(&forged)).await.unwrap().status, 401);
                assert_eq!(http2.send(&Request::get("/").bearer(good)).await.unwrap().status, 200, "a good one is not held up");
            }
        }
    });
    join_all(streams).await;
    let most = 1 + usize::try_from(start.elapsed().as_secs()).unwrap() / 10;
    assert!(world.issuer.fetches() <= most, "{} askings in {:?}", world.issuer.fetches(), start.elapsed());
    // Who has a new key need not wait for longer than that.
    let new = SigningKey::new("ES256");
    world.issuer.keys(&[world.key.jwk("k"), new.jwk("new")]);
    until_believed(&world, &proxy, &new.token("new", &world.claims(json!({})))).await;
}

#[tokio::test]
async fn the_authorities_of_an_issuer_are_followed() {
    let world = World::new().await;
    world.scene.write("issuers.pem", Authority::new("others").pem());
    let (proxy, token) = (world.proxy(&["-v=2"]).await, world.token(json!({})));
    proxy.line_with(&["The issuer's keys cannot be read", "TLS with localhost failed"]).await;
    assert_eq!((world.status(&proxy, &token).await, world.issuer.fetches()), (401, 0));

    world.scene.write("issuers.pem", world.authority.pem());
    until_believed(&world, &proxy, &token).await;

    // A broken file costs nothing; one without the issuer's authority makes its new keys unknown.
    world.scene.write("issuers.pem", "broken");
    proxy.line_with(&["E", "--oidc-ca-file", "stays in use"]).await;
    world.scene.write("issuers.pem", Authority::new("others").pem());
    let new = SigningKey::new("ES256");
    world.issuer.keys(&[new.jwk("new")]);
    wait_for("an asking that is refused", async || {
        assert_eq!(world.status(&proxy, &new.token("new", &world.claims(json!({})))).await, 401);
        let refusals = proxy.lines().iter().filter(|line| line.contains("The issuer's keys cannot be read")).count();
        if refusals == 2 { Ok(()) } else { Err(refusals) }
    })
    .await;
    assert_eq!(world.status(&proxy, &world.token(json!({"groups": "a"}))).await, 200, "the keys that are known count");
}
