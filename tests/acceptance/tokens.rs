//! Who a client is by its token.

use serde_json::json;
use testkit::{
    api::Kind,
    client::{Request, Version},
    upstream::Upstream,
};

use crate::scene::{ALICE, BOB, BOTH, FORGED, MALLORY, Scene, assert_status, echo};

#[tokio::test]
async fn a_token_says_who_asks() {
    let scene = Scene::new().await;
    let user = json!({
        "username": "system:serviceaccount:ns:name", "uid": "uid-1", "groups": ["z", "system:serviceaccounts", "a"],
        "extra": { "authentication.kubernetes.io/pod-name": ["pod-1"], "x": ["2", "1"] },
    });
    scene.api.user_info("token-1", user, &[]);
    let proxy = scene.proxy::<&str>(&[]).await;
    for (index, version) in BOTH.into_iter().enumerate() {
        let mut client = scene.connect(version, &proxy).await;
        assert_status(&client.send(&Request::get(&format!("/{index}")).bearer("token-1")).await, 200);
        let expected = json!({
            "user": "system:serviceaccount:ns:name", "uid": "uid-1",
            "groups": ["z", "system:serviceaccounts", "a", "system:authenticated"],
            "extra": { "authentication.kubernetes.io/pod-name": ["pod-1"], "x": ["2", "1"] },
            "nonResourceAttributes": { "verb": "get", "path": format!("/{index}") },
        });
        assert_eq!(scene.api.access_specs().pop().unwrap(), expected);
    }
    let reviews = scene.api.reviews(Kind::TokenReview);
    assert_eq!(reviews.len(), 1);
    assert_eq!(reviews[0].spec, json!({ "token": "token-1" }));
    assert_eq!(reviews[0].request.header("authorization"), Some("Bearer token-of-the-proxy"));
    assert!(reviews[0].request.header("user-agent").unwrap().starts_with("kube-rbac-proxy/v"));
}

#[tokio::test]
async fn system_authenticated_is_added_last_and_once() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for (name, groups, expected) in [
        ("a", &["b"][..], json!(["b", "system:authenticated"])),
        ("b", &["system:authenticated", "b"], json!(["system:authenticated", "b"])),
        ("c", &["system:unauthenticated"], json!(["system:unauthenticated"])),
        ("system:anonymous", &["b"], json!(["b"])),
    ] {
        scene.api.user(name, name, groups);
        assert_status(&scene.get(&proxy, "/", name).await, 200);
        assert_eq!(scene.api.access_specs().pop().unwrap()["groups"], expected);
    }
}

#[tokio::test]
async fn the_authorization_header_is_read_as_in_kubernetes() {
    authorization_is_read(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn authorization_is_read(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let challenge = scene.is_oidc().then_some("Bearer realm=\"kubernetes\"");
    for (value, status, asks) in [
        ("Bearer token-of-alice", 200, true),
        ("bearer token-of-alice", 200, true),
        ("BEARER token-of-alice and more", 200, true),
        ("Bearer token-of-nobody", 401, true),
        ("Bearer  token-of-alice", 401, false),
        ("Bearer", 401, false),
        ("Bearer\ttoken-of-alice", 401, false),
        ("Bearertoken-of-alice", 401, false),
        ("token-of-alice", 401, false),
        ("Basic YWxpY2U6c2VjcmV0", 401, false),
        ("", 401, false),
    ] {
        let value = value.replace("token-of-alice", alice);
        for version in BOTH {
            let before = scene.api.counts().0;
            let mut client = scene.connect(version, &proxy).await;
            let response = client.send(&Request::get("/").header("Authorization", &value)).await;
            assert_eq!(response.status, status, "{value:?}");
            assert!(asks || scene.api.counts().0 == before, "{value:?} was asked about");
            if status == 401 {
                assert_eq!(response.text(), "Unauthorized\n");
                assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
                assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
                assert_eq!(response.header("www-authenticate"), challenge);
            }
        }
    }
    // Two of them have two meanings.
    for version in BOTH {
        let request = Request::get("/").bearer(alice).bearer(BOB);
        assert_status(&scene.connect(version, &proxy).await.send(&request).await, 400);
    }
}

/// Tokens with many claims are larger than what HTTP/2 libraries take by default.
#[tokio::test]
async fn a_large_token_is_reviewed_whole() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let token = "x".repeat(48 * 1024);
    scene.api.user(&token, "alice", &[]);
    for version in BOTH {
        assert_status(&scene.connect(version, &proxy).await.send(&Request::get("/").bearer(&token)).await, 200);
    }
    assert_eq!(scene.api.reviews(Kind::TokenReview)[0].spec["token"], token);
}

#[tokio::test]
async fn a_token_that_is_no_text_is_nobodys() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    client.wire().send(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\xff\r\n\r\n").await.unwrap();
    assert_eq!(client.wire().read_head().await.unwrap().unwrap().word(1), "401");
    assert_eq!(scene.api.counts(), (0, 0));
}

#[tokio::test]
async fn a_token_must_be_for_one_of_the_audiences() {
    let scene = Scene::new().await;
    for (token, audiences) in [("for-a", &["a"][..]), ("for-b-and-x", &["x", "b"]), ("for-x", &["x"]), ("for-all", &[])] {
        scene.api.user_info(token, json!({ "username": token }), audiences);
    }
    let proxy = scene.proxy(&["--auth-token-audiences=a,b"]).await;
    for (token, status) in [("for-a", 200), ("for-b-and-x", 200), ("for-x", 401), ("for-all", 200)] {
        assert_eq!(scene.get(&proxy, "/", token).await.status, status, "{token}");
    }
    for review in scene.api.reviews(Kind::TokenReview) {
        assert_eq!(review.spec["audiences"], json!(["a", "b"]));
    }
}

/// Whoever shares a connection, as behind an ingress that pools them, stays himself.
#[tokio::test]
async fn users_who_share_a_connection_stay_themselves() {
    /// Five requests each, in both versions: 10,000.
    const ROUNDS: usize = 1_000;
    let scene = Scene::answering(|received| {
        let user = received.header("x-remote-user").unwrap_or("nobody");
        testkit::upstream::Reply::ok(user)
    })
    .await;
    let proxy = scene.proxy(&["--auth-header-fields-enabled"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for _ in 0..ROUNDS {
            for (token, user) in [(ALICE, "alice"), (BOB, "bob")] {
                let response = client.send(&Request::get("/").bearer(token)).await;
                assert_eq!((response.status, response.text().as_str()), (200, user));
            }
            assert_status(&client.send(&Request::get("/").bearer(MALLORY)).await, 403);
            assert_status(&client.send(&Request::get("/").bearer(FORGED)).await, 401);
            assert_status(&client.send(&Request::get("/")).await, 401);
        }
    }
    let client = scene.connect(Version::H2, &proxy).await;
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..32 {
        let (token, user) = if stream % 2 == 0 { (ALICE, "alice") } else { (BOB, "bob") };
        let http2 = client.http2().clone();
        streams.spawn(async move {
            for _ in 0..16 {
                assert_eq!(http2.send(&Request::get("/").bearer(token)).await.unwrap().text(), user);
            }
        });
    }
    streams.join_all().await;
}
