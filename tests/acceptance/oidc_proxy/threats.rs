//! docs/threats.md, for the second command: what the first one is given is given to this one too, which reads no path and writes who
//! the user is into the headers of the API server.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{
    client::{Client, Request, Version},
    issuer::Issuer,
    jwt::SigningKey,
    tls::Tls,
    upstream::Reply,
    wait::wait_for,
};

use super::World;
use crate::{
    bad_requests, crossings, doors, floods, forwarding, headers,
    identity::{FORGED, MANAGED, Way, forged, spellings},
    oidc_hostile::{Maker, rows},
    raw_http2,
    scene::{BOTH, Scene, assert_status, echo},
    tokens, tunnels,
};

impl Maker for World {
    fn key(&self) -> &SigningKey {
        &self.key
    }

    fn claims(&self, changes: Value) -> Value {
        let mut claims = self.claims(json!({"email": "anna@example.com"}));
        claims.as_object_mut().unwrap().remove("groups");
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }
}

/// cred-7.
#[tokio::test]
async fn hostile_tokens_are_told_to_no_api_server() {
    let world = World::new().await;
    let evil = Issuer::start(&world.authority.server()).await;
    let rows = rows(&world, &world.issuer, &evil);
    let proxy = world.proxy(&["--oidc-signing-algs=RS256", "--oidc-username-claim=email"]).await;
    for version in BOTH {
        let mut client = world.connect(version, &proxy).await;
        for (what, hostile, honest) in &rows {
            assert_status(&client.send(&Request::get("/").bearer(honest)).await, 200);
            assert_eq!(world.told().0, "anna@example.com", "{what}, made honest: {honest}");
            let passed = world.api.count();
            let response = client.send(&Request::get("/").bearer(hostile)).await;
            assert_eq!((response.status, response.text().as_str()), (401, "Unauthorized\n"), "{what}: {hostile}");
            assert_eq!(world.api.count(), passed, "{what}: nothing hostile goes to the API server");
        }
    }
    assert_eq!(evil.server().connections(), 0, "nobody is asked whom a token names");
    assert!(world.issuer.fetches() <= 3, "{} askings for keys", world.issuer.fetches());
    let long = rows.iter().map(|(_, hostile, _)| hostile.as_str()).filter(|token| token.len() > 64);
    proxy.assert_silent_about(&long.collect::<Vec<_>>());
}

/// id-1 to id-4, id-6, id-7. Each alone too: what is refused for one name would hide another that passes.
#[tokio::test]
async fn no_client_tells_the_api_server_who_it_is() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let token = world.token(json!({}));
    let names = ["x-remote-group", "x-remote-uid", "x-remote-extra-scopes", "authorization-", "x-forwarded-user"];
    let (mut refused, mut passed) = (0, 0);
    for version in BOTH {
        for way in [Way::Plain, Way::Twice, Way::Connection, Way::Trailer] {
            if version == Version::H2 && way == Way::Connection {
                continue;
            }
            for name in MANAGED.iter().chain(&names).flat_map(|name| spellings(version, name)) {
                let what = format!("{version:?} {way:?} {name}");
                let request = forged(way, std::slice::from_ref(&name)).bearer(&token).header("X-Forwarded-For", "203.0.113.7");
                let response = Client::connect(version, proxy.secure(), &world.authority.tls()).await.send(&request).await;
                let impersonates = name.to_lowercase().starts_with("impersonate-") && way != Way::Trailer;
                assert_eq!(response.status, if impersonates { 403 } else { 200 }, "{what}");
                let Some(received) = world.api.take_requests().pop() else {
                    assert!(impersonates, "{what}");
                    refused += 1;
                    continue;
                };
                passed += 1;
                let all = || received.head.fields.iter().chain(&received.body.trailers);
                let read_as = |name: &str| name.to_lowercase().replace('_', "-");
                let is_managed = |name: &str| ["impersonate-", "x-remote-"].iter().any(|start| read_as(name).starts_with(start));
                let mut ours: Vec<_> = all().filter(|(name, _)| is_managed(name)).map(|(_, value)| value.as_str()).collect();
                ours.sort_unstable();
                assert_eq!(ours, ["anna", "devs", "system:authenticated"], "{what}: {:?}", received.head.fields);
                assert_eq!(received.head.all("authorization"), [format!("Bearer {}", super::OWN)], "{what}");
                assert!(way != Way::Trailer || all().all(|(_, value)| value != FORGED), "{what}");
            }
        }
    }
    assert!(refused > 50 && passed > 100, "{refused} {passed}");
}

/// id-1.
#[tokio::test]
async fn connection_takes_no_impersonation_away() {
    headers::connection_takes_nothing(Scene::of_oidc).await;
}

/// frame-1, frame-8, cred-10.
#[tokio::test]
async fn a_head_that_no_parser_may_accept_reaches_no_api_server() {
    bad_requests::no_parser_may_accept(Scene::of_oidc).await;
    bad_requests::hosts_that_contradict(Scene::of_oidc).await;
}

/// frame-1.
#[tokio::test]
async fn nothing_is_smuggled_to_the_api_server() {
    bad_requests::an_ambiguous_end(Scene::of_oidc).await;
    bad_requests::a_broken_body(Scene::of_oidc).await;
    raw_http2::a_wrong_length(Scene::of_oidc).await;
}

/// frame-4.
#[tokio::test]
async fn a_body_that_nobody_may_send_is_no_request_to_the_api_server() {
    bad_requests::a_refused_body(Scene::of_oidc).await;
}

/// frame-2, frame-7.
#[tokio::test]
async fn what_is_no_request_in_http2_reaches_no_api_server() {
    raw_http2::no_request_in_http2(Scene::of_oidc).await;
}

/// frame-2.
#[tokio::test]
async fn tunnels_to_the_api_server_begin_with_its_answer_and_are_nobody_elses() {
    tunnels::tunnels(Scene::of_oidc).await;
    tunnels::an_answer_other_than_101(Scene::of_oidc).await;
    tunnels::a_switch_to_another_protocol(Scene::of_oidc).await;
}

/// frame-3.
#[tokio::test]
async fn no_request_makes_the_api_server_switch_to_http2() {
    doors::no_switch_to_http2(Scene::of_oidc).await;
}

/// frame-5.
#[tokio::test]
async fn nobody_gets_the_api_servers_answer_to_another() {
    forwarding::nobody_elses_answer(Scene::of_oidc).await;
    crossings::nobody_gets_the_answer(Scene::of_oidc).await;
}

/// frame-6.
#[tokio::test]
async fn no_value_of_the_api_servers_answer_becomes_a_second_answer() {
    doors::no_second_answer(Scene::of_oidc).await;
}

/// frame-8.
#[tokio::test]
async fn no_request_chooses_its_api_server() {
    doors::no_request_chooses(Scene::of_oidc).await;
}

/// cred-10.
#[tokio::test]
async fn the_authorization_header_is_read_as_by_the_api_server() {
    tokens::authorization_is_read(Scene::of_oidc).await;
}

/// limit-1, limit-2, limit-3.
#[tokio::test]
async fn floods_cost_the_second_command_nothing_either() {
    raw_http2::abandoned_streams(Scene::of_oidc).await;
    floods::floods_of_frames(&floods::with_something_big(Scene::of_oidc).await, drop).await;
}

/// limit-7: for each of them a signature is verified or none, and nothing is remembered.
#[tokio::test]
async fn forged_tokens_fill_no_memory_and_ask_nobody() {
    let scene = Scene::of_oidc(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let (mut client, forger) = (scene.connect(Version::H1, &proxy).await, SigningKey::new("ES256"));
    let alice = scene.alice();
    assert_status(&client.send(&Request::get("/").bearer(&alice)).await, 200);
    let (before, _) = proxy.resident_kib();
    for number in 0..2_000 {
        let long = "x".repeat(if number % 2 == 0 { 40_000 } else { 1 });
        let token = forger.token(["k", "", "other"][number % 3], &json!({"sub": number.to_string(), "long": long}));
        assert_status(&client.send(&Request::get("/").bearer(&token)).await, 401);
    }
    let (after, _) = proxy.resident_kib();
    assert!(after < before + 8 * 1024, "{before} KiB became {after}");
    assert_status(&client.send(&Request::get("/").bearer(&alice)).await, 200);
    assert_eq!(scene.upstream.count(), 2);
}

/// cred-13: at the highest verbosity, in every way that a request fails or passes.
#[tokio::test]
async fn no_secret_is_in_any_output_of_the_second_command() {
    let authority = testkit::certs::Authority::new("all");
    let answer = |received: &testkit::upstream::Received| match received.target() {
        "/broken" => Reply::raw("nonsense\r\n\r\n"),
        target => Reply::ok(target),
    };
    let api = testkit::upstream::Upstream::start_tls(&authority.server(), answer).await;
    let world = World::around(authority, api).await;
    for format in ["text", "json"] {
        let proxy = world.proxy(&["-v=10", &format!("--log-format={format}")]).await;
        let (good, old) = (world.token(json!({"jti": "1"})), world.token(json!({"exp": 1})));
        for version in BOTH {
            for (target, token) in [("/?token=hush", &good), ("/broken", &good), ("/", &old), ("/#hush", &good)] {
                let mut client = world.connect(version, &proxy).await;
                let request = Request::get(target).bearer(token).header("Cookie", "hush").header("X-Secret", "hush");
                let _ = client.try_send(&request.header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.hush, a")).await;
            }
        }
        proxy.line_with(&["AuFail"]).await;
        proxy.line_with(&["AuSuccess"]).await;
        proxy.assert_silent_about(&[&good, &old, super::OWN, "hush"]);
        let (_, metrics) = super::start::probe(&proxy, "GET", "/metrics").await;
        testkit::process::assert_absent(&metrics, &[&good, &old, super::OWN, "hush", "anna"]);
    }
}

/// cred-1 to cred-4: whoever presents what, only a token names a user.
#[tokio::test]
async fn no_certificate_of_a_client_names_a_user() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let tls = Tls::presenting(&world.authority.client("system:admin", &["system:masters"]));
    for version in BOTH {
        let mut client = Client::connect(version, proxy.secure(), &tls).await;
        assert_status(&client.send(&Request::get("/")).await, 401);
        assert_eq!(world.api.count(), 0);
        assert_status(&client.send(&Request::get("/").bearer(&world.token(json!({})))).await, 200);
        assert_eq!(world.told(), ("anna".to_owned(), vec!["devs".to_owned(), "system:authenticated".to_owned()]));
        assert_eq!(world.api.take_requests()[0].certificate, None);
    }
}

/// cred-5.
#[tokio::test]
async fn a_token_that_is_remembered_is_nobody_elses_and_ends_when_it_says() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let end = world.claims(json!({}))["exp"].as_u64().unwrap() - 297;
    let (short, long) = (world.token(json!({"sub": "short", "exp": end})), world.token(json!({"sub": "long"})));
    let (head, signature) = long.rsplit_once('.').unwrap();
    let mut client = world.connect(Version::H2, &proxy).await;
    for _ in 0..2 {
        for (token, name) in [(&short, "short"), (&long, "long")] {
            assert_status(&client.send(&Request::get("/").bearer(token)).await, 200);
            assert_eq!(world.told().0, name);
        }
        for other in [head.to_owned(), format!("{head}."), format!("{}.{signature}", short.rsplit_once('.').unwrap().0), format!("{long}A")]
        {
            assert_status(&client.send(&Request::get("/").bearer(&other)).await, 401);
        }
    }
    wait_for("the end of the token", async || match client.send(&Request::get("/").bearer(&short)).await.status {
        401 => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() >= end);
    assert_status(&client.send(&Request::get("/").bearer(&long)).await, 200);
}
