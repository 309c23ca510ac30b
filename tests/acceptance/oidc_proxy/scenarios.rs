//! What the tests of Tremolo's and Jetstack's program ask of it, asked of this one: those end to end that need no cluster, and those
//! of its handlers.

use serde_json::json;
use testkit::client::{Request, Version};

use super::World;
use crate::scene::{BOTH, assert_status};

/// `token/token.go`, and the table of its handlers (`TestHandlers`).
#[tokio::test]
async fn tokens_that_are_none_are_unauthorized() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let header = r#"{"alg":"ES256","kid":"k"}"#;
    let end = world.claims(json!({}))["exp"].as_u64().unwrap() - 300;
    let bad = [
        ("an empty payload", Some(world.key.sign(header, ""))),
        ("a payload that is no JSON", Some(world.key.sign(header, "bad token"))),
        ("another issuer", Some(world.token(json!({"iss": "https://another.test"})))),
        ("another audience", Some(world.token(json!({"aud": ["another", "aud-2"]})))),
        ("one that ends now", Some(world.token(json!({"exp": end})))),
        ("no name", Some(world.token(json!({"sub": ""})))),
        ("none", None),
    ];
    for version in BOTH {
        let mut client = world.connect(version, &proxy).await;
        for (what, token) in &bad {
            // Who is not known is not asked whom he impersonates.
            for request in [Request::get("/"), Request::get("/").header("Impersonate-User", "a")] {
                let request = token.iter().fold(request, |request, token| request.bearer(token));
                let response = client.send(&request).await;
                assert_eq!((response.status, response.text().trim()), (401, "Unauthorized"), "{what}");
            }
        }
        assert_status(&client.send(&Request::get("/").header("Authorization", "foo")).await, 401);
        assert_eq!(world.api.count(), 0);
        // As the tokens of those tests are: for several, and without a kid.
        let several = world.claims(json!({"aud": ["client", "aud-2"]}));
        for token in [world.key.token("k", &several), world.key.token("", &several)] {
            assert_status(&client.send(&Request::get("/").bearer(&token)).await, 200);
        }
        world.api.take_requests();
    }
}

/// `headers/headers.go`, and of the table those who impersonate nobody.
#[tokio::test]
async fn nothing_is_told_but_the_user_and_his_groups() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    for (groups, told) in [
        (json!(null), vec!["system:authenticated"]),
        (json!(["my-group"]), vec!["my-group", "system:authenticated"]),
        (json!("one"), vec!["one", "system:authenticated"]),
        (json!(["group-2", "group-1"]), vec!["group-2", "group-1", "system:authenticated"]),
    ] {
        assert_status(&world.send(&proxy, json!({"groups": groups}), Request::get("/foo/bar")).await, 200);
        assert_eq!(world.told(), ("anna".to_owned(), told.iter().map(|&group| group.to_owned()).collect()));
        let received = world.api.last_request();
        let told: Vec<_> = received.head.fields.iter().filter(|(name, _)| name.to_lowercase().starts_with("impersonate-")).collect();
        assert!(told.iter().all(|(name, _)| ["impersonate-user", "impersonate-group"].contains(&name.to_lowercase().as_str())), "{told:?}");
    }
}

/// `TestHasImpersonation`, and Jetstack's `impersonation.go`.
#[tokio::test]
async fn what_is_an_impersonation_is_said_by_the_start_of_a_name() {
    const USER: (&str, &str) = ("Impersonate-User", "user@example.com");
    const GROUP: (&str, &str) = ("Impersonate-Group", "group-1");
    const EXTRA: (&str, &str) = ("Impersonate-Extra-Foo", "k1");
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    for (headers, status) in [
        (&[("impersonate-Extra", "a")][..], 403),
        (&[("impersonate-user", "")], 403),
        (&[("IMPERSONATE-", "")], 403),
        (&[USER, GROUP], 403),
        (&[EXTRA], 403),
        (&[GROUP, EXTRA], 403),
        (&[USER, GROUP, EXTRA, ("Impersonate-Extra-Foo", "k2")], 403),
        (&[("impersonate", "a"), ("impersonation", "b"), ("-impersonate-user", "c"), ("not-impersonate-", "d")], 200),
    ] {
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
        let response = world.send(&proxy, json!({}), request).await;
        assert_eq!(response.status, status, "{headers:?}");
        let text = "Impersonation requests are disabled when using kube-oidc-proxy\n";
        assert!(status == 200 || response.text() == text, "{headers:?}: {}", response.text());
    }
    assert_eq!(world.api.count(), 1);
    let mut client = world.connect(Version::H2, &proxy).await;
    assert_status(&client.send(&Request::get("/").header("impersonate-user", "a").bearer(&world.token(json!({})))).await, 403);
}
