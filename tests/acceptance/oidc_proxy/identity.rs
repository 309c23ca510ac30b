//! Who the API server is told is asking.

use serde_json::json;
use testkit::{
    certs::Authority,
    client::{Request, Version},
    process::Proxy,
    upstream::{Received, Reply, Upstream},
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

/// What users ask of services behind the API server's proxy, and what nobody should.
const ODD: [&str; 50] = [
    "",
    "/",
    "//",
    "///a//",
    "/a//b",
    "/./a",
    "/../a",
    "/..",
    "/a/../../../../secrets",
    "/%2e%2e/a",
    "/%2E./a",
    "/..%2f..%2fa",
    "/..;/a",
    "/a%2Fb",
    "/a%252Fb",
    "/a%5cb",
    "/a\\b",
    "/a;b=c",
    "/a;b=c;d/e;f",
    "/a?",
    "/?",
    "/??",
    "/a?b=%zz;c&&",
    "/a?b?c=/../d",
    "/a?%23=%00",
    "/a?q=a+b%20c&q=&=q",
    "/a?{}|^`[]",
    "/%00",
    "/a%0d%0ab",
    "/a%0AX-Remote-User:%20root",
    "/a%20b",
    "/%C3%BC",
    "/\u{fc}",
    "/%FF%FE",
    "/%c0%ae%c0%ae/a",
    "/%u002e%u002e",
    "/a+b",
    "/a:b@c",
    "/http://other.test/a",
    "/a|b",
    "/a{b}",
    "/a\"b'c",
    "/(a)*!$,=&",
    "/[a]",
    "/~a",
    "/%7Ea",
    "/a%",
    "/a%2",
    "/%2525",
    "/%3Fa=b%23c",
];

#[tokio::test]
async fn every_target_arrives_byte_for_byte() {
    for http2 in [false, true] {
        let authority = Authority::new("all");
        let answer = |received: &Received| Reply::ok(received.target());
        let api = match http2 {
            false => Upstream::start_tls(&authority.server(), answer).await,
            true => Upstream::start_http2(Some(&authority.server()), answer).await,
        };
        let world = World::around(authority, api).await;
        let (proxy, token) = (world.proxy(&[]).await, world.token(json!({})));
        for version in BOTH {
            let mut client = world.connect(version, &proxy).await;
            for end in ODD {
                let target = format!("/api/v1/namespaces/n/services/https:s:1/proxy{end}");
                let response = client.send(&Request::get(&target).bearer(&token)).await;
                assert_eq!((response.status, response.text()), (200, target.clone()), "{version:?}");
                let raw = world.api.take_requests().pop().unwrap().head.raw;
                assert!(raw.starts_with(format!("GET {target} HTTP/1.1\r\n").as_bytes()), "{target}: {raw:?}");
            }
        }
        for no_url in ["/<a>", "/a`b", "/a?<b>", "/a#b"] {
            let response = world.connect(Version::H1, &proxy).await.send(&Request::get(no_url).bearer(&token)).await;
            assert_eq!((response.status, world.api.count()), (400, 0), "{no_url}");
        }
    }
}

#[tokio::test]
async fn many_groups_and_large_heads_arrive_whole() {
    let groups: Vec<String> = (0..200).map(|number| format!("gruppe-ü-集団-🦀-{number}")).collect();
    for http2 in [false, true] {
        let authority = Authority::new("all");
        let answer = |received: &Received| Reply::ok(received.target());
        let api = match http2 {
            false => Upstream::start_tls(&authority.server(), answer).await,
            true => Upstream::start_http2(Some(&authority.server()), answer).await,
        };
        let world = World::around(authority, api).await;
        let (proxy, token) = (world.proxy(&[]).await, world.token(json!({"groups": groups})));
        for (version, (number, bytes)) in
            BOTH.into_iter().flat_map(|version| [(1, 256 << 10), (64, 4 << 10), (1, 1000 << 10)].map(|size| (version, size)))
        {
            let mut request = Request::get("/").bearer(&token);
            for number in 0..number {
                request = request.header(&format!("X-Large-{number}"), &"x".repeat(bytes));
            }
            assert_status(&world.connect(version, &proxy).await.send(&request).await, 200);
            let received = world.api.last_request();
            let told = world.told().1;
            assert_eq!((&told[..200], &told[200..]), (&groups[..], &["system:authenticated".to_owned()][..]));
            let text = String::from_utf8(received.head.raw.clone()).unwrap().to_lowercase();
            for group in &groups {
                assert!(text.contains(&format!("\r\nimpersonate-group: {group}\r\n")), "{group}");
            }
            for number in 0..number {
                assert_eq!(received.header(&format!("x-large-{number}")).map(str::len), Some(bytes));
            }
        }
        for version in BOTH {
            let request = Request::get("/").bearer(&token).header("X-Large", &"x".repeat(1 << 20));
            assert_status(&world.connect(version, &proxy).await.send(&request).await, 431);
        }
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
