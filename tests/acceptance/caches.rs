//! What is asked once and remembered, and for how long.

use std::time::{Duration, Instant, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use testkit::{
    api::{Fault, Kind, Verdict},
    client::{Client, Request, Version},
    process::Proxy,
    wait::{wait_for, wait_until},
};
use tokio::task::JoinSet;

use crate::scene::{ALICE, BOB, FORGED, MALLORY, Scene, assert_status};

/// Many at once, each on a connection of its own.
async fn many(scene: &Scene, proxy: &Proxy, request: &Request, status: u16) {
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(scene.connect(Version::H1, proxy).await);
    }
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let request = request.clone();
        tasks.spawn(async move { client.send(&request).await.status });
    }
    assert!(tasks.join_all().await.into_iter().all(|found| found == status), "not all were {status}");
}

#[tokio::test]
async fn concurrent_requests_with_one_question_ask_it_once() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    // Slow enough that all of them are there.
    for kind in [Kind::TokenReview, Kind::SubjectAccessReview] {
        scene.api.fail(kind, Fault::Delay(Duration::from_millis(300)));
    }
    many(&scene, &proxy, &Request::get("/a").bearer(ALICE), 200).await;
    assert_eq!(scene.api.counts(), (1, 1));
    many(&scene, &proxy, &Request::get("/b").bearer(ALICE), 200).await;
    assert_eq!(scene.api.counts(), (1, 2));
    many(&scene, &proxy, &Request::get("/a").bearer(FORGED), 401).await;
    assert_eq!(scene.api.counts(), (2, 2));
    many(&scene, &proxy, &Request::get("/a").bearer(MALLORY), 403).await;
    assert_eq!(scene.api.counts(), (3, 3));
}

#[tokio::test]
async fn a_question_survives_the_client_that_asked_it_first() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    scene.api.fail(Kind::TokenReview, Fault::Delay(Duration::from_millis(400)));
    let mut first = scene.connect(Version::H1, &proxy).await;
    first.wire().send(Request::get("/").bearer(ALICE).http1()).await.unwrap();
    wait_until("the first question", || scene.api.counts().0 == 1).await;
    let second = scene.get(&proxy, "/", ALICE);
    drop(first);
    assert_status(&second.await, 200);
    assert_eq!(scene.api.counts(), (1, 1));
}

#[tokio::test]
async fn answers_are_remembered_by_all_that_was_asked() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let ask = async |method: &str, target: &str, token: &str, status: u16| {
        assert_status(&scene.send(&proxy, &Request::new(method, target).bearer(token)).await, status);
        scene.api.counts()
    };
    assert_eq!(ask("GET", "/a", ALICE, 200).await, (1, 1));
    assert_eq!(ask("GET", "/a", ALICE, 200).await, (1, 1));
    // The query is no part of the question.
    assert_eq!(ask("GET", "/a?b=c", ALICE, 200).await, (1, 1));
    assert_eq!(ask("GET", "/b", ALICE, 200).await, (1, 2));
    assert_eq!(ask("POST", "/a", ALICE, 200).await, (1, 3));
    assert_eq!(ask("GET", "/a", BOB, 200).await, (2, 4));
    assert_eq!(ask("GET", "/a", MALLORY, 403).await, (3, 5));
    assert_eq!(ask("GET", "/a", MALLORY, 403).await, (3, 5));
    assert_eq!(ask("GET", "/a", FORGED, 401).await, (4, 5));
    assert_eq!(ask("GET", "/a", FORGED, 401).await, (4, 5));
    // Another token of the same user in the same groups: the same question about access.
    scene.api.user("another", "alice", &["devs", "ops"]);
    assert_eq!(ask("GET", "/a", "another", 200).await, (5, 5));
    scene.api.user("third", "alice", &["ops", "devs"]);
    assert_eq!(ask("GET", "/a", "third", 200).await, (6, 6));
    // As in Go, what a client chose is not remembered when it is long.
    let long = format!("/{}", "x".repeat(10_000));
    assert_eq!(ask("GET", &long, ALICE, 200).await, (6, 7));
    assert_eq!(ask("GET", &long, ALICE, 200).await, (6, 8));
}

#[tokio::test]
async fn cached_answers_count_for_their_time() {
    let scene = Scene::new().await;
    let flags = [
        "--authentication-token-webhook-cache-ttl=300ms",
        "--authorization-webhook-cache-authorized-ttl=300ms",
        "--authorization-webhook-cache-unauthorized-ttl=300ms",
    ];
    let proxy = scene.proxy(&flags).await;
    let until = async |token: &str, status: u16| {
        wait_for(&format!("{status} for {token}"), async || match scene.get(&proxy, "/", token).await.status {
            found if found == status => Ok(()),
            found => Err(found),
        })
        .await;
    };
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    assert_status(&scene.get(&proxy, "/", BOB).await, 200);
    assert_status(&scene.get(&proxy, "/", MALLORY).await, 403);
    scene.api.revoke(BOB);
    scene.api.rule(|spec| if spec["user"] == "alice" { Verdict::Deny } else { Verdict::Allow });
    until(ALICE, 403).await;
    until(BOB, 401).await;
    until(MALLORY, 200).await;

    // Each by its own flag.
    for (flag, expected) in [
        ("--authentication-token-webhook-cache-ttl=0s", (3, 1, 1)),
        ("--authorization-webhook-cache-authorized-ttl=0s", (1, 3, 1)),
        ("--authorization-webhook-cache-unauthorized-ttl=0s", (1, 1, 3)),
    ] {
        let scene = Scene::new().await;
        let proxy = scene.proxy(&[flag]).await;
        for _ in 0..3 {
            assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
        }
        let (tokens, allowed) = scene.api.counts();
        for _ in 0..3 {
            assert_status(&scene.get(&proxy, "/", MALLORY).await, 403);
        }
        let denied = scene.api.counts().1 - allowed;
        assert_eq!((tokens, allowed, denied), expected, "{flag}");
    }
}

/// A token with a date in it, good by the API server's word.
fn token_until(seconds_from_now: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let end = i64::try_from(now).unwrap() + seconds_from_now;
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(json!({ "exp": end }).to_string()))
}

#[tokio::test]
async fn a_token_is_believed_no_longer_than_it_says_itself() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let (ended, ending, lasting) = (token_until(-1), token_until(3), token_until(3600));
    for token in [&ended, &ending, &lasting] {
        scene.api.user(token, "alice", &[]);
        assert_status(&scene.get(&proxy, "/", token).await, 200);
        assert_status(&scene.get(&proxy, "/", token).await, 200);
    }
    // The first is asked about each time, whatever the API server says of it.
    assert_eq!(scene.api.counts().0, 4);
    scene.api.revoke(&ending);
    scene.api.revoke(&lasting);
    assert_status(&scene.get(&proxy, "/", &lasting).await, 200);
    wait_for("the end of the token", async || match scene.get(&proxy, "/", &ending).await.status {
        401 => Ok(()),
        found => Err(found),
    })
    .await;
    assert_status(&scene.get(&proxy, "/", &lasting).await, 200);
}

#[tokio::test]
async fn a_failure_of_the_api_server_is_not_remembered() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for fault in [Fault::Status(500, None), Fault::Status(429, None), Fault::Reset, Fault::Html, Fault::Status(403, None)] {
        for (kind, token) in [(Kind::TokenReview, BOB), (Kind::TokenReview, FORGED), (Kind::SubjectAccessReview, ALICE)] {
            scene.api.fail(kind, fault.clone());
            let path = format!("/{}", format!("{fault:?}").chars().filter(char::is_ascii_alphanumeric).collect::<String>());
            assert_eq!(scene.get(&proxy, &path, token).await.status, 503, "{fault:?} of {kind:?}");
            scene.api.heal();
            if token == ALICE {
                assert_eq!(scene.get(&proxy, &path, token).await.status, 200, "after {fault:?} of {kind:?}");
            }
        }
    }
    assert_status(&scene.get(&proxy, "/", BOB).await, 200);
    assert_status(&scene.get(&proxy, "/", FORGED).await, 401);
}

#[tokio::test]
async fn a_rejected_token_that_becomes_good_is_soon_believed() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let start = Instant::now();
    assert_status(&scene.get(&proxy, "/", FORGED).await, 401);
    scene.api.user(FORGED, "alice", &[]);
    let mut client = scene.connect(Version::H1, &proxy).await;
    wait_for("200 for the token", async || match client.send(&Request::get("/").bearer(FORGED)).await.status {
        200 => Ok(()),
        found => Err(found),
    })
    .await;
    let took = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "it took {took:?}");
    assert_eq!(scene.api.counts().0, 2);
}

/// However many made-up tokens are tried, those who were known before are still known, and few of the others are.
#[tokio::test]
async fn forged_tokens_displace_nobody() {
    let scene = Scene::new().await;
    let proxy = scene.proxy_with_endpoints(&[]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    let client = scene.connect(Version::H2, &proxy).await;
    let mut streams = JoinSet::new();
    for stream in 0..16 {
        let http2 = client.http2().clone();
        streams.spawn(async move {
            for turn in 0..80 {
                let request = Request::get("/").bearer(&format!("forged-{stream}-{turn}"));
                assert_eq!(http2.send(&request).await.unwrap().status, 401);
            }
        });
    }
    streams.join_all().await;
    let before = scene.api.counts();
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    assert_eq!(scene.api.counts(), before);
    let mut metrics = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    let metrics = metrics.send(&Request::get("/metrics").bearer(ALICE)).await.text();
    let entries = metrics.lines().find_map(|line| line.strip_prefix("kube_rbac_proxy_cache_entries{cache=\"token_review\"} ")).unwrap();
    assert!((2..=1 + 1024).contains(&entries.parse().unwrap()), "{entries} tokens are remembered");
}
