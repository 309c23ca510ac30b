//! Who the API server is told is asking.

use serde_json::json;
use testkit::{
    client::{Request, Version},
    process::Proxy,
    upstream::{Reply, Upstream},
};

use super::{OWN, World};
use crate::scene::{BOTH, assert_status};

#[tokio::test]
async fn users_are_told_to_the_api_server() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let token = world.token(json!({"sub": "änna", "groups": ["dévs, ops", "b"], "jti": "1/2"}));
    for version in BOTH {
        let mut client = world.connect(version, &proxy).await;
        let request = Request::get("/api/v1/pods?watch=0")
            .bearer(&token)
            .header("X-Remote-User", "root")
            .header("X-Remote-Group", "system:masters")
            .header("X_Remote_Extra_A", "x")
            .header("Impersonation", "no header of that kind")
            .header("Accept-Encoding", "gzip");
        assert_status(&client.send(&request).await, 200);
        let received = world.api.take_requests().pop().unwrap();
        assert_eq!((received.method(), received.target()), ("GET", "/api/v1/pods?watch=0"));
        assert_eq!(received.head.all("impersonate-user"), ["änna"]);
        assert_eq!(received.head.all("impersonate-group"), ["dévs, ops", "b", "system:authenticated"]);
        assert_eq!(received.header("impersonate-extra-authentication.kubernetes.io%2Fcredential-id"), Some("JTI=1/2"));
        assert_eq!(received.header("authorization"), Some(format!("Bearer {OWN}").as_str()));
        assert_eq!((received.header("host"), received.header("accept-encoding")), (Some("proxy.test"), Some("gzip")));
        assert_eq!(received.header("impersonation"), Some("no header of that kind"));
        let others = received.head.fields.iter().filter(|(name, _)| name.to_ascii_lowercase().replace('_', "-").starts_with("x-remote-"));
        assert_eq!(others.count(), 0, "{:?}", received.head.fields);
    }
    proxy.assert_silent_about(&[&token, OWN]);
}

#[tokio::test]
async fn every_target_arrives_byte_for_byte() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let token = world.token(json!({}));
    for end in [
        "",
        "/",
        "//",
        "/a//b",
        "/./a",
        "/../a",
        "/%2e%2e/a",
        "/a%2Fb",
        "/a%5cb",
        "/a;b=c",
        "/a?",
        "/a?b=%zz;c&&",
        "/%00",
        "/a%0d%0ab",
        "/%C3%BC",
        "/a+b",
        "/a:b@c",
        "/a|b",
        "/~a",
        "/a%",
        "/%2525",
    ] {
        let target = format!("/api/v1/namespaces/n/services/https:s:1/proxy{end}");
        let response = world.connect(Version::H1, &proxy).await.send(&Request::get(&target).bearer(&token)).await;
        assert_eq!((response.status, response.text()), (200, target));
    }
}

#[tokio::test]
async fn many_groups_and_large_heads_arrive_whole() {
    let authority = testkit::certs::Authority::new("all");
    let api = Upstream::start_http2(Some(&authority.server()), |received| Reply::ok(received.target())).await;
    let world = World::around(authority, api).await;
    let proxy = world.proxy(&[]).await;
    let groups: Vec<String> = (0..200).map(|number| format!("group-ü-{number}")).collect();
    let large = "x".repeat(256 * 1024);
    for version in BOTH {
        let request = Request::get("/").bearer(&world.token(json!({"groups": groups}))).header("X-Large", &large);
        assert_status(&world.connect(version, &proxy).await.send(&request).await, 200);
        let told = world.told().1;
        assert_eq!((&told[..200], &told[200..]), (&groups[..], &["system:authenticated".to_owned()][..]));
        assert_eq!(world.api.last_request().header("x-large").map(str::len), Some(large.len()));
    }
}

#[tokio::test]
async fn a_client_that_impersonates_is_refused_in_the_old_words() {
    const TEXT: &str = "Impersonation requests are disabled when using kube-oidc-proxy";
    let world = World::new().await;
    let proxy = world.proxy(&["--inbound-impersonation=deny"]).await;
    for (name, value) in [
        ("Impersonate-User", "root"),
        ("impersonate-user", ""),
        ("Impersonate-Group", "system:masters"),
        ("Impersonate-Uid", "1"),
        ("Impersonate-Extra-Scopes", "a"),
        ("IMPERSONATE-NOT-REAL", "a"),
    ] {
        let response = world.send(&proxy, json!({}), Request::get("/").header(name, value)).await;
        assert_eq!((response.status, response.text()), (403, format!("{TEXT}\n")), "{name}");
        let stranger = Request::get("/").header(name, value).bearer("forged");
        assert_status(&world.connect(Version::H1, &proxy).await.send(&stranger).await, 401);
    }
    assert_eq!(world.api.count(), 0);
    // What is read as the name by others stays here; what only looks like it passes.
    let request = Request::get("/").header("Impersonate_User", "root").header("Impersonate", "x").header("Connection", "Impersonate-User");
    assert_status(&world.send(&proxy, json!({}), request).await, 200);
    assert_eq!(world.told(), ("anna".to_owned(), vec!["devs".to_owned(), "system:authenticated".to_owned()]));
    let received = world.api.last_request();
    assert_eq!((received.header("impersonate_user"), received.header("impersonate")), (None, Some("x")));
}

#[tokio::test]
async fn prefixes_and_required_claims_are_obeyed() {
    let world = World::new().await;
    let flags = ["--oidc-username-prefix=-", "--oidc-required-claim=hd=example.com", "--oidc-required-claim=a=b,c=d"];
    let proxy = world.proxy(&flags).await;
    let claims = json!({"hd": "example.com", "a": "b,c=d"});
    assert_status(&world.send(&proxy, claims, Request::get("/")).await, 200);
    assert_eq!(world.told().0, "anna", "- is no prefix");
    for claims in
        [json!({}), json!({"hd": "example.com"}), json!({"hd": "example.com", "a": "b"}), json!({"hd": ["example.com"], "a": "b,c=d"})]
    {
        assert_status(&world.send(&proxy, claims, Request::get("/")).await, 401);
    }
    let proxy = world.proxy(&["--oidc-username-prefix=o:", "--oidc-groups-prefix=g:"]).await;
    assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 200);
    assert_eq!(world.told(), ("o:anna".to_owned(), vec!["g:devs".to_owned(), "system:authenticated".to_owned()]));
}

#[tokio::test]
async fn reserved_identities_are_refused_unless_named() {
    const TEXT: &str = "identities with the reserved \"system:\" prefix are not accepted from an authentication token\n";
    let world = World::new().await;
    let (strict, lax) = (world.proxy(&[]).await, world.proxy(&["--allow-reserved-groups=system:masters,system:a"]).await);
    let ask = async |proxy: &Proxy, claims| {
        let response = world.send(proxy, claims, Request::get("/")).await;
        (response.status, response.text())
    };
    for claims in [json!({"sub": "system:admin"}), json!({"groups": ["devs", "system:nodes"]}), json!({"groups": "system:unauthenticated"})]
    {
        for proxy in [&strict, &lax] {
            assert_eq!(ask(proxy, claims.clone()).await, (403, TEXT.to_owned()), "{claims}");
        }
    }
    assert_eq!(ask(&strict, json!({"groups": ["system:masters"]})).await, (403, TEXT.to_owned()));
    assert_eq!(world.api.count(), 0);
    assert_eq!(ask(&lax, json!({"groups": ["system:masters"]})).await.0, 200);
    assert_eq!(world.told().1, ["system:masters", "system:authenticated"]);
    assert_eq!(ask(&strict, json!({"groups": ["system:authenticated", "devs"]})).await.0, 200);
    assert_eq!(world.told().1, ["system:authenticated", "devs"]);
}

#[tokio::test]
async fn an_identity_that_no_header_carries_is_refused_and_never_trimmed() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    for claims in [
        json!({"sub": " anna"}),
        json!({"sub": "anna "}),
        json!({"sub": "an\nna"}),
        json!({"groups": ["devs "]}),
        json!({"groups": ["a\r\nImpersonate-Group: system:masters"]}),
        json!({"jti": "\u{7f}"}),
    ] {
        assert_status(&world.send(&proxy, claims, Request::get("/")).await, 403);
    }
    assert_eq!(world.api.count(), 0);
}
