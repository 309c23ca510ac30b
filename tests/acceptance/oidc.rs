//! Tokens of an OpenID Connect issuer.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{
    certs::Authority,
    client::{Client, Request, Version},
    issuer::Issuer,
    jwt::{SigningKey, encode},
    process::Proxy,
    tls::Tls,
    upstream::Reply,
    wait::wait_for,
};

use crate::scene::{ALICE, BOTH, Scene, assert_status};

/// A scene with an issuer that has one key, which signs in ES256.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) issuer: Issuer,
    pub(crate) key: SigningKey,
    /// Vouches for issuers.
    pub(crate) authority: Authority,
    pub(crate) ca: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (scene, authority, key) = (Scene::new().await, Authority::new("issuers"), SigningKey::new("ES256"));
        let ca = scene.write("issuers.pem", authority.pem());
        let issuer = Issuer::start(&authority.server()).await;
        issuer.keys(&[key.jwk("k")]);
        Self { scene, issuer, key, authority, ca }
    }

    fn flags(&self, more: &[&str]) -> Vec<String> {
        let own = [
            format!("--oidc-issuer={}", self.issuer.url()),
            "--oidc-clientID=client".to_owned(),
            format!("--oidc-ca-file={}", self.ca),
            "--oidc-sign-alg=ES256".to_owned(),
            "--auth-header-fields-enabled".to_owned(),
        ];
        own.into_iter().chain(more.iter().map(|flag| (*flag).to_owned())).collect()
    }

    pub(crate) async fn proxy(&self, more: &[&str]) -> Proxy {
        self.scene.proxy(&self.flags(more)).await
    }

    /// A proxy that knows the issuer's keys.
    pub(crate) async fn ready(&self, more: &[&str]) -> Proxy {
        let proxy = self.proxy(more).await;
        proxy.line_with(&["The issuer's keys are in use"]).await;
        proxy
    }

    pub(crate) fn claims(&self, changes: Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": self.issuer.url(), "aud": "client", "exp": now + 300, "email": "anna@example.com"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    pub(crate) fn token(&self, changes: Value) -> String {
        self.key.token("k", &self.claims(changes))
    }

    pub(crate) async fn status(&self, proxy: &Proxy, token: &str) -> u16 {
        self.scene.get(proxy, "/", token).await.status
    }

    /// User and groups as the upstream has them from the last request.
    pub(crate) fn told(&self) -> (String, String) {
        let received = self.scene.upstream.last_request();
        let header = |name| received.header(name).unwrap_or_default().to_owned();
        (header("x-remote-user"), header("x-remote-groups"))
    }
}

#[tokio::test]
async fn tokens_of_an_issuer_are_verified_here() {
    let world = World::new().await;
    let proxy = world.ready(&[]).await;
    let now = world.claims(json!({}))["exp"].as_u64().unwrap() - 300;
    let good = world.token(json!({"groups": ["devs"]}));
    let bad = [
        ("no token of the issuer", ALICE.to_owned()),
        ("an unaccepted alg", SigningKey::new("RS256").token("k", &world.claims(json!({})))),
        ("another issuer", world.token(json!({"iss": "https://issuer.test"}))),
        ("a slash more", world.token(json!({"iss": format!("{}/", world.issuer.url())}))),
        ("another client", world.token(json!({"aud": ["other"]}))),
        ("expired", world.token(json!({"exp": now - 1}))),
        ("no end", world.token(json!({"exp": null}))),
        ("too early", world.token(json!({"nbf": now + 120}))),
        ("an unverified address", world.token(json!({"email_verified": false}))),
        ("an address verified in words", world.token(json!({"email_verified": "true"}))),
        ("no name", world.token(json!({"email": ""}))),
        ("groups of another type", world.token(json!({"groups": {"devs": true}}))),
        ("groups of a source that is not there", world.token(json!({"_claim_names": {"groups": "x"}}))),
    ];
    for version in BOTH {
        let mut client = world.scene.connect(version, &proxy).await;
        assert_status(&client.send(&Request::get("/").bearer(&good)).await, 200);
        assert_eq!(world.told(), ("anna@example.com".to_owned(), "devs".to_owned()));
        let passed = world.scene.upstream.count();
        for (what, token) in &bad {
            let response = client.send(&Request::get("/").bearer(token)).await;
            assert_eq!((response.status, response.text().as_str()), (401, "Unauthorized\n"), "{what}");
        }
        assert_eq!(world.scene.upstream.count(), passed, "nothing bad goes upstream");
    }
    assert_eq!(world.scene.api.counts().0, 0, "the API server reviews no token");
    let tokens: Vec<&str> = bad.iter().map(|(_, token)| token.as_str()).chain([good.as_str()]).collect();
    proxy.assert_silent_about(&tokens);
}

#[tokio::test]
async fn claims_name_the_user() {
    let world = World::new().await;
    let flags = [
        "--oidc-username-claim=sub",
        "--oidc-username-prefix=o:",
        "--oidc-groups-claim=roles",
        "--oidc-groups-prefix=g:",
        "--oidc-sign-alg=RS256",
    ];
    let proxy = world.ready(&flags).await;
    let token = world.token(json!({"sub": "42", "roles": ["b", "a"], "groups": ["c"], "email_verified": false}));
    assert_eq!(world.status(&proxy, &token).await, 200);
    assert_eq!(world.told(), ("o:42".to_owned(), "g:b|g:a".to_owned()));
    assert_eq!(world.status(&proxy, &world.token(json!({"sub": "43", "roles": "only"}))).await, 200);
    assert_eq!(world.told(), ("o:43".to_owned(), "g:only".to_owned()));
    assert_eq!(world.status(&proxy, &world.token(json!({}))).await, 401, "no sub");

    let proxy = world.ready(&["--oidc-system-authenticated"]).await;
    assert_eq!(world.status(&proxy, &world.token(json!({"groups": "devs"}))).await, 200);
    assert_eq!(world.told().1, "devs|system:authenticated");
}

#[tokio::test]
async fn a_token_is_signed_in_a_way_that_is_asked_for() {
    const ALL: [&str; 9] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];
    let (world, keys) = (World::new().await, ALL.map(SigningKey::new));
    world.issuer.keys(&keys.each_ref().map(|key| key.jwk(key.algorithm)));
    let tokens = keys.each_ref().map(|key| key.token(key.algorithm, &world.claims(json!({"jti": "id-1"}))));
    for asked_for in [&[][..], &["ES512"], &["PS384", "ES384"], &ALL] {
        let flags: Vec<String> = world.flags(&[]).into_iter().filter(|flag| !flag.starts_with("--oidc-sign-alg")).collect();
        let more = asked_for.iter().map(|name| format!("--oidc-sign-alg={name}"));
        let proxy = world.scene.proxy(&flags.into_iter().chain(more).collect::<Vec<_>>()).await;
        proxy.line_with(&["The issuer's keys are in use"]).await;
        for (algorithm, token) in ALL.iter().zip(&tokens) {
            let believed = asked_for.contains(algorithm) || (asked_for.is_empty() && *algorithm == "RS256");
            assert_eq!(world.status(&proxy, token).await, if believed { 200 } else { 401 }, "{algorithm} where {asked_for:?} is asked for");
        }
    }
    let reviews = world.scene.api.access_specs();
    let extra = json!({"authentication.kubernetes.io/credential-id": ["JTI=id-1"]});
    assert!(!reviews.is_empty() && reviews.iter().all(|review| review["extra"] == extra), "{reviews:?}");
}

#[tokio::test]
async fn reserved_identities_are_refused() {
    let world = World::new().await;
    let tokens = [world.token(json!({"email": "system:admin"})), world.token(json!({"groups": ["devs", "system:masters"]}))];
    let proxy = world.ready(&[]).await;
    for token in &tokens {
        assert_eq!(world.status(&proxy, token).await, 401);
    }
    let proxy = world.ready(&["--allow-reserved-identities"]).await;
    for token in &tokens {
        assert_eq!(world.status(&proxy, token).await, 200);
    }
}

#[tokio::test]
async fn an_issuer_is_alone_unless_others_are_named() {
    let world = World::new().await;
    let clients = Authority::new("clients");
    let ca = format!("--client-ca-file={}", world.scene.write("clients.pem", clients.pem()));
    let alone = world.ready(&[&ca, "--auth-token-audiences=a"]).await;
    alone.line_with(&["--client-ca-file is without effect beside --oidc-issuer"]).await;
    alone.line_with(&["--auth-token-audiences is without effect"]).await;
    let together = world.ready(&[&ca, "--authentication-methods=x509,oidc,token-review"]).await;
    for (proxy, by_others) in [(&alone, 401), (&together, 200)] {
        assert_eq!(world.status(proxy, &world.token(json!({}))).await, 200);
        assert_eq!(world.told().0, "anna@example.com");
        assert_eq!(world.status(proxy, ALICE).await, by_others);
        let tls = Tls::presenting(&clients.client("carl", &[]));
        let response = Client::connect(Version::H1, proxy.secure(), &tls).await.send(&Request::get("/")).await;
        assert_eq!(response.status, by_others);
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_asked_again() {
    let world = World::new().await;
    world.issuer.fault(Some(Reply::new(500, &[], "")));
    let proxy = world.proxy(&["-v=2"]).await;
    proxy.line_with(&["The issuer's keys cannot be read", "status 500"]).await;
    let token = world.token(json!({}));
    assert_eq!(world.status(&proxy, &token).await, 401);
    proxy.line_with(&["issuer_not_ready"]).await;
    world.issuer.fault(None);
    wait_for("the issuer's keys", async || match world.status(&proxy, &token).await {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
    world.issuer.fault(Some(Reply::default().then_reset()));
    assert_eq!(world.status(&proxy, &world.token(json!({"groups": "new"}))).await, 200, "the keys that are known count");
}

#[tokio::test]
async fn a_new_key_counts_when_a_token_names_it() {
    let world = World::new().await;
    let proxy = world.ready(&[]).await;
    let new = SigningKey::new("ES256");
    world.issuer.keys(&[new.jwk("new")]);
    let (of_old, of_new) = (world.token(json!({})), new.token("new", &world.claims(json!({}))));
    assert_eq!(world.status(&proxy, &of_old).await, 200);
    wait_for("the new key", async || match world.status(&proxy, &of_new).await {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(world.status(&proxy, &of_old).await, 401, "a withdrawn key counts no more");
    assert_eq!(world.issuer.fetches(), 2, "not once for each token");
}

#[tokio::test]
async fn groups_are_fetched_from_where_a_token_says_that_they_are() {
    let (world, other_key) = (World::new().await, SigningKey::new("ES256"));
    let there = Issuer::start(&world.authority.server()).await;
    there.keys(&[other_key.jwk("o")]);
    let by_other = |changes: Value| {
        let mut claims = world.claims(json!({"iss": there.url(), "groups": ["devs", "ops"]}));
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        other_key.token("o", &claims)
    };
    let at = |issuer: &Issuer, path: &str| {
        let source = json!({"endpoint": format!("{}{path}", issuer.url()), "access_token": "key-to-the-groups"});
        world.token(json!({"_claim_names": {"groups": "s"}, "_claim_sources": {"s": source}, "jti": path}))
    };
    let proxy = world.ready(&["--oidc-groups-prefix=s", "-v=2"]).await;

    there.document("/groups", Reply::ok(format!("{}\n", by_other(json!({})))));
    let token = at(&there, "/groups");
    for _ in 0..2 {
        assert_eq!(world.status(&proxy, &token).await, 200);
        assert_eq!(world.told(), ("anna@example.com".to_owned(), "sdevs|sops".to_owned()));
    }
    let asked = |issuer: &Issuer, path: &str| issuer.server().requests().into_iter().filter(|it| it.target() == path).collect::<Vec<_>>();
    let askings = asked(&there, "/groups");
    assert_eq!((askings.len(), askings[0].header("authorization")), (1, Some("Bearer key-to-the-groups")), "once for both");
    world.issuer.document("/own", Reply::ok(world.token(json!({"groups": "own"}))));
    assert_eq!(world.status(&proxy, &at(&world.issuer, "/own")).await, 200);
    assert_eq!(world.told().1, "sown");
    let ended = world.claims(json!({}))["exp"].as_u64().unwrap() - 301;

    let (elsewhere, unknown) = (format!("{}/groups", there.url()), Issuer::start(&Authority::new("others").server()).await);
    let stranger = SigningKey::new("ES256");
    let stranger_token = |iss: &str| stranger.token("o", &world.claims(json!({"iss": iss, "groups": "devs"})));
    for (path, reply, why) in [
        ("/missing", Reply::new(404, &[], ""), "status 404"),
        ("/moved", Reply::new(302, &[("Location", &elsewhere)], ""), "status 302"),
        ("/huge", Reply::ok("x".repeat((1 << 20) + 1)), "more than 1048576 bytes"),
        ("/slow", Reply::hang(), "did not come in 4 s"),
        ("/text", Reply::ok("devs"), "it has not three parts"),
        ("/binary", Reply::ok(b"\xff\xfe".as_slice()), "is no text"),
        ("/ended", Reply::ok(by_other(json!({"exp": ended}))), "has expired"),
        ("/client", Reply::ok(by_other(json!({"aud": "other"}))), "aud does not contain"),
        ("/none", Reply::ok(world.token(json!({}))), "claim groups is missing"),
        ("/type", Reply::ok(by_other(json!({"groups": {"a": 1}}))), "neither a string nor a list"),
        ("/reserved", Reply::ok(by_other(json!({"groups": ["ystem:masters"]}))), "begins with system:"),
        ("/again", Reply::ok(by_other(json!({"_claim_names": {"groups": "s"}}))), "names a source that is not there"),
        ("/forged", Reply::ok(stranger_token(&there.url())), "not by a key of the issuer"),
        ("/unknown", Reply::ok(stranger_token(&unknown.url())), "TLS with localhost failed"),
        ("/plain", Reply::ok(stranger_token("http://issuer.test")), "its scheme must be https"),
        ("/nobody", Reply::ok(other_key.token("o", &json!({"groups": "devs"}))), "iss is another issuer"),
        (
            "/unsigned",
            Reply::ok(format!("{}.{}.", encode(r#"{"alg":"none"}"#), by_other(json!({})).split('.').nth(1).unwrap())),
            "alg is not accepted",
        ),
    ] {
        there.document(path, reply);
        let (token, passed) = (at(&there, path), world.scene.upstream.count());
        for _ in 0..2 {
            assert_eq!(world.status(&proxy, &token).await, 401, "{path}");
        }
        proxy.line_with(&["kept elsewhere and cannot be had", why]).await;
        assert_eq!((asked(&there, path).len(), world.scene.upstream.count()), (1, passed), "{path}");
    }
    assert_eq!(asked(&there, "/groups").len(), 1, "no redirect is followed");
    assert_eq!(there.fetches(), 1, "keys are remembered for all");
    proxy.assert_silent_about(&["key-to-the-groups", &token]);
}
