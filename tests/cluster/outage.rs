//! What becomes of requests when the API server, or the way to it, does not work.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{
    client::{Client, Request, Response, Version},
    cluster,
    process::Proxy,
    tls::Tls,
    wait::wait_for,
};

use crate::scene::{DELEGATOR, Scene, assert_status};

/// The deadline of a request's calls to the API server, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_millis(5_000 + 1_000);

#[tokio::test]
async fn an_api_server_that_stops_costs_only_what_must_be_asked() {
    let Some(cluster) = cluster::master().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    for user in ["alice", "bob"] {
        scene.allow(user, &["/known", "/new"]).await;
    }
    let proxy = scene.proxy(&[]).await;
    assert_status(&scene.get(&proxy, "/known", &alice.token).await, 200);

    let paused = cluster.pause();
    let new_user = async { timed(&scene, &proxy, "/known", &bob.token).await };
    let new_path = async { timed(&scene, &proxy, "/new", &alice.token).await };
    let known = async {
        let (response, took) = timed(&scene, &proxy, "/known", &alice.token).await;
        assert_status(&response, 200);
        assert!(took < Duration::from_secs(2), "a cached answer took {took:?}");
        probes_are_well(&proxy).await;
    };
    let (new_user, new_path, ()) = tokio::join!(new_user, new_path, known);
    for (response, took) in [new_user, new_path] {
        assert_status(&response, 503);
        assert!(response.header("retry-after").is_some(), "{:?}", response.fields);
        assert!(took < DEADLINE, "the refusal took {took:?}");
    }
    assert_status(&scene.get(&proxy, "/known", &alice.token).await, 200);
    probes_are_well(&proxy).await;

    drop(paused);
    for (path, user) in [("/new", &alice), ("/known", &bob), ("/new", &bob)] {
        until_allowed(&scene, &proxy, path, &user.token).await;
    }
    assert!(proxy.is_running());
}

#[tokio::test]
async fn an_api_server_that_is_started_again_is_found_again() {
    let Some(cluster) = cluster::master().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    for user in ["alice", "bob"] {
        scene.allow(user, &["/known", "/new"]).await;
    }
    let proxy = scene.proxy(&[]).await;
    assert_status(&scene.get(&proxy, "/known", &alice.token).await, 200);

    cluster.kill_apiserver();
    let (refused, took) = timed(&scene, &proxy, "/new", &alice.token).await;
    assert_status(&refused, 503);
    assert!(took < DEADLINE, "the refusal took {took:?}");
    assert_status(&scene.get(&proxy, "/known", &bob.token).await, 503);
    assert_status(&scene.get(&proxy, "/known", &alice.token).await, 200);
    probes_are_well(&proxy).await;

    cluster.start_apiserver().await;
    for (path, user) in [("/new", &alice), ("/known", &bob)] {
        until_allowed(&scene, &proxy, path, &user.token).await;
    }
}

#[tokio::test]
async fn a_permission_that_the_proxy_lacks_is_named_in_its_log() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::without_rights(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let proxy = scene.proxy(&[]).await;
    assert_status(&scene.get(&proxy, "/metrics", &alice.token).await, 503);
    proxy.line_with(&["create tokenreviews.authentication.k8s.io"]).await;

    let rule = json!({ "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] });
    scene.give_proxy("reviewer", rule).await;
    wait_for("log of the other permission", async || {
        assert_status(&scene.get(&proxy, "/metrics", &alice.token).await, 503);
        let output = proxy.output();
        if output.contains("create subjectaccessreviews.authorization.k8s.io") { Ok(()) } else { Err(output) }
    })
    .await;

    // Both, and without a restart.
    scene.bind("proxy", DELEGATOR, scene.subject("proxy")).await;
    until_allowed(&scene, &proxy, "/metrics", &alice.token).await;
}

#[tokio::test]
async fn credentials_of_the_proxy_that_are_refused_are_no_fault_of_the_client() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let good = std::fs::read_to_string(scene.path("proxy.token")).unwrap();
    scene.write("proxy.token", "no-token-of-this-cluster");
    let proxy = scene.proxy(&[]).await;
    let refused = scene.get(&proxy, "/metrics", &alice.token).await;
    assert_status(&refused, 503);
    assert!(refused.header("www-authenticate").is_none(), "{:?}", refused.fields);
    proxy.line_with(&["api_credentials_refused", "401"]).await;
    probes_are_well(&proxy).await;

    scene.write("proxy.token", &format!("{good}\n"));
    until_allowed(&scene, &proxy, "/metrics", &alice.token).await;
}

async fn timed(scene: &Scene<'_>, proxy: &Proxy, path: &str, token: &str) -> (Response, Duration) {
    let start = Instant::now();
    (scene.get(proxy, path, token).await, start.elapsed())
}

async fn until_allowed(scene: &Scene<'_>, proxy: &Proxy, path: &str, token: &str) {
    wait_for(&format!("200 for {path}"), async || match scene.get(proxy, path, token).await {
        response if response.status == 200 => Ok(()),
        response => Err(format!("{} {}", response.status, response.text())),
    })
    .await;
}

/// A sidecar's readiness is its pod's: an API server that is away must not empty every Service.
async fn probes_are_well(proxy: &Proxy) {
    let mut client = Client::connect(Version::H1, proxy.endpoints(), &Tls::default()).await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let response = client.send(&Request::get(path)).await;
        assert_status(&response, 200);
    }
}
