//! ServiceAccount tokens: whom they are for, how long they live, and that nobody reads them.

use testkit::{
    client::{Request, Version},
    cluster::{self, TokenRequest},
    wait::wait_for,
};

use crate::scene::{Scene, assert_status};

#[tokio::test]
async fn a_token_is_good_for_its_own_audience_only() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let request = TokenRequest { audiences: &["metrics.example"], ..TokenRequest::default() };
    let for_metrics = scene.token("alice", &request).await;

    let asks = scene.proxy(&["--auth-token-audiences=other.example,metrics.example"]).await;
    assert_status(&scene.get(&asks, "/metrics", &for_metrics).await, 200);
    // For the API server, which is not this proxy.
    assert_status(&scene.get(&asks, "/metrics", &alice.token).await, 401);

    let asks_another = scene.proxy(&["--auth-token-audiences=other.example"]).await;
    assert_status(&scene.get(&asks_another, "/metrics", &for_metrics).await, 401);

    let does_not_ask = scene.proxy(&[]).await;
    assert_status(&scene.get(&does_not_ask, "/metrics", &alice.token).await, 200);
    assert_status(&scene.get(&does_not_ask, "/metrics", &for_metrics).await, 401);
}

#[tokio::test]
async fn a_token_that_was_withdrawn_is_refused_once_its_review_is_old() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let (token, secret) = scene.mortal_token(&alice.name, "bound").await;
    let proxy = scene.proxy(&["--authentication-token-webhook-cache-ttl=1s"]).await;
    assert_status(&scene.get(&proxy, "/metrics", &token).await, 200);
    scene.admin().delete(&secret).await;
    // The API server itself takes up to 10 s to notice.
    wait_for("refusal of the withdrawn token", async || match scene.get(&proxy, "/metrics", &token).await.status {
        401 => Ok(()),
        status => Err(status),
    })
    .await;
    assert_status(&scene.get(&proxy, "/metrics", &alice.token).await, 200);
}

#[tokio::test]
async fn no_token_is_in_any_output_at_the_highest_verbosity() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    scene.allow("alice", &["/metrics"]).await;
    let own = std::fs::read_to_string(scene.path("proxy.token")).unwrap();
    let forged = format!("{}x", alice.token);
    let proxy = scene.proxy(&["-v=10"]).await;
    for version in [Version::H1, Version::H2] {
        let mut connection = scene.connect(version, &proxy).await;
        for (token, status) in [(&alice.token, 200), (&bob.token, 403), (&forged, 401)] {
            assert_status(&connection.send(&Request::get("/metrics").bearer(token)).await, status);
        }
        // Where a token does not belong, and where a careless client puts it all the same.
        let misplaced = Request::get("/metrics").header("Authorization", &alice.token);
        assert_status(&connection.send(&misplaced).await, 401);
    }
    proxy.signal("TERM");
    let exit = proxy.exit().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains(&bob.user), "it says nothing at all: {}", exit.output);
    for token in [&alice.token, &bob.token, &forged, &own] {
        // Not even one of its three parts.
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        testkit::process::assert_absent(&exit.output, &parts[1..]);
    }
}
