//! Who a client is by its certificate.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{
    certs::{Authority, Pair, Subject, Usage},
    client::{Client, Request, Response, Version},
    process::Proxy,
    tls::Tls,
    wait::wait_for,
};

use crate::scene::{ALICE, BOTH, FORGED, Scene, assert_status};

/// A scene, its proxy that trusts an authority, and that authority.
async fn trusting() -> (Scene, Proxy, Authority) {
    let (scene, authority) = (Scene::new().await, Authority::new("clients"));
    let client_ca = scene.write("client-ca.crt", authority.pem());
    let proxy = scene.proxy(&[format!("--client-ca-file={client_ca}")]).await;
    (scene, proxy, authority)
}

async fn get(proxy: &Proxy, version: Version, pair: &Pair, path: &str, token: Option<&str>) -> Response {
    let mut client = Client::connect(version, proxy.secure(), &Tls::presenting(pair)).await;
    let request = Request::get(path);
    client.send(&token.map_or(request.clone(), |token| request.bearer(token))).await
}

#[tokio::test]
async fn a_client_certificate_says_who_asks() {
    let (scene, proxy, authority) = trusting().await;
    for (index, version) in BOTH.into_iter().enumerate() {
        let pair = authority.issue(&Subject::client("carol", &["b-team", "a-team"]).uid("uid-of-carol"));
        assert_status(&get(&proxy, version, &pair, &format!("/{index}"), None).await, 200);
        let spec = scene.api.access_specs().pop().unwrap();
        let extra = &spec["extra"]["authentication.kubernetes.io/credential-id"];
        let id = extra[0].as_str().unwrap();
        assert!(extra[1].is_null() && id.len() == "X509SHA256=".len() + 64 && id.starts_with("X509SHA256="), "{extra}");
        let expected = json!({
            "user": "carol", "uid": "uid-of-carol", "groups": ["b-team", "a-team", "system:authenticated"],
            "extra": { "authentication.kubernetes.io/credential-id": [id] },
            "nonResourceAttributes": { "verb": "get", "path": format!("/{index}") },
        });
        assert_eq!(spec, expected);
    }
    assert_eq!(scene.api.counts().0, 0, "no token is reviewed");
}

#[tokio::test]
async fn a_certificate_is_good_or_another_method_must_be() {
    let (scene, proxy, authority) = trusting().await;
    let between = authority.intermediate("upper").intermediate("lower");
    let carol = || Subject::client("carol", &[]);
    let stranger = Authority::new("clients").client("carol", &[]);
    let mut alone = between.client("carol", &[]);
    alone.chain.truncate(alone.chain.find("-----END CERTIFICATE-----\n").unwrap() + 26);
    for (what, pair, good) in [
        ("of the authority", authority.issue(&carol()), true),
        ("with its intermediates", between.client("carol", &[]), true),
        ("without them", alone, false),
        ("of an authority of the same name", stranger, false),
        ("expired", authority.issue(&carol().expired()), false),
        ("not yet valid", authority.issue(&carol().not_yet_valid()), false),
        ("for servers", authority.issue(&carol().usages(&[Usage::ServerAuth])), false),
        ("for both", authority.issue(&carol().usages(&[Usage::ServerAuth, Usage::ClientAuth])), true),
        ("for anything", authority.issue(&carol().usages(&[])), true),
        ("of nobody", authority.issue(&carol().nameless()), false),
        ("with an empty UID", authority.issue(&carol().uid("")), false),
    ] {
        let by_certificate = get(&proxy, Version::H1, &pair, "/", None).await;
        assert_eq!(by_certificate.status, if good { 200 } else { 401 }, "a certificate {what}");
        // It stops no token.
        scene.api.forget();
        assert_status(&get(&proxy, Version::H2, &pair, &format!("/{}", what.replace(' ', "-")), Some(ALICE)).await, 200);
        assert_eq!(scene.api.access_specs()[0]["user"], if good { "carol" } else { "alice" }, "a certificate {what}");
        assert_eq!(get(&proxy, Version::H1, &pair, "/", Some(FORGED)).await.status, if good { 200 } else { 401 }, "a certificate {what}");
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_ends_the_handshake() {
    let (scene, proxy, authority) = trusting().await;
    let thief = authority.client("carol", &[]).with_key_of(&authority.client("dave", &[]));
    for version in BOTH {
        if let Ok(mut client) = Client::try_connect(version, proxy.secure(), &Tls::presenting(&thief)).await {
            client.try_send(&Request::get("/").bearer(ALICE)).await.expect_err("the signature is wrong");
        }
    }
    assert_eq!((scene.api.counts(), scene.upstream.count()), ((0, 0), 0));
}

#[tokio::test]
async fn without_a_client_ca_no_certificate_counts() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let pair = Authority::new("clients").client("carol", &[]);
    assert_status(&get(&proxy, Version::H1, &pair, "/", None).await, 401);
    assert_status(&get(&proxy, Version::H1, &pair, "/", Some(ALICE)).await, 200);
    assert_eq!(scene.api.access_specs()[0]["user"], "alice");
}

/// What a handshake accepted once is judged by the authorities of today, on the same connection and on a resumed one.
#[tokio::test]
async fn a_new_client_ca_counts_on_open_and_resumed_connections() {
    let (scene, proxy, first) = trusting().await;
    let second = Authority::new("clients");
    let (carol, dave) = (first.client("carol", &[]), second.client("dave", &[]));
    let tls = Tls::presenting(&carol);
    let mut open = [Client::connect(Version::H1, proxy.secure(), &tls).await, Client::connect(Version::H2, proxy.secure(), &tls).await];
    for client in &mut open {
        assert_status(&client.send(&Request::get("/")).await, 200);
    }
    assert_status(&get(&proxy, Version::H1, &dave, "/", None).await, 401);

    scene.write("client-ca.crt", second.pem());
    wait_for("401 on the open connection", async || match open[0].send(&Request::get("/")).await.status {
        401 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_status(&open[1].send(&Request::get("/")).await, 401);
    let mut resumed = Client::connect(Version::H1, proxy.secure(), &tls).await;
    assert!(resumed.agreed().resumed, "the session is resumed");
    assert_status(&resumed.send(&Request::get("/")).await, 401);
    assert_status(&get(&proxy, Version::H1, &dave, "/", None).await, 200);

    // A broken file leaves the last good one in use, and both authorities can stand in one.
    scene.write("client-ca.crt", "broken");
    proxy.line_with(&["E", "--client-ca-file", "stays in use"]).await;
    assert_status(&get(&proxy, Version::H1, &dave, "/", None).await, 200);
    scene.write("client-ca.crt", format!("{}{}", first.pem(), second.pem()));
    wait_for("200 on the open connection", async || match open[0].send(&Request::get("/")).await.status {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_status(&get(&proxy, Version::H1, &dave, "/", None).await, 200);
}

#[tokio::test]
async fn a_certificate_that_ends_counts_no_more_on_an_open_connection() {
    let (_scene, proxy, authority) = trusting().await;
    let pair = authority.issue(&Subject::client("carol", &[]).valid_for(Duration::from_secs(3)));
    let mut client = Client::connect(Version::H2, proxy.secure(), &Tls::presenting(&pair)).await;
    assert_status(&client.send(&Request::get("/")).await, 200);
    wait_for("401 after the certificate's end", async || match client.send(&Request::get("/")).await.status {
        401 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn users_of_certificates_are_told_apart_by_all_that_they_are() {
    let (scene, proxy, authority) = trusting().await;
    let first = authority.client("carol", &["a"]);
    for pair in [&first, &first, &authority.client("carol", &["a"]), &authority.client("carol", &["b"])] {
        assert_status(&get(&proxy, Version::H1, pair, "/", None).await, 200);
    }
    let specs: Vec<Value> = scene.api.access_specs();
    assert_eq!(specs.len(), 3, "one review for each certificate: {specs:#?}");
}
