//! Whose request it is.

use testkit::{
    client::{Request, Version},
    cluster,
};

use crate::scene::{Scene, assert_status};

/// An ingress pools its connections: nothing about a user may stay with one.
#[tokio::test]
async fn users_who_share_a_connection_stay_themselves() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob, carol) = (scene.account("alice").await, scene.account("bob").await, scene.account("carol").await);
    for user in ["alice", "bob"] {
        scene.allow(user, &["/metrics"]).await;
    }
    let proxy = scene.proxy(&[]).await;
    for version in [Version::H1, Version::H2] {
        let mut connection = scene.connect(version, &proxy).await;
        for _ in 0..1_250 {
            for user in [&alice, &bob] {
                let response = connection.send(&Request::get("/metrics").bearer(&user.token)).await;
                assert_status(&response, 200);
                assert_eq!(response.text(), format!("{} /metrics", user.user));
            }
            assert_status(&connection.send(&Request::get("/metrics").bearer(&carol.token)).await, 403);
            assert_status(&connection.send(&Request::get("/metrics")).await, 401);
        }
    }
}

#[tokio::test]
async fn users_whose_streams_cross_on_a_connection_stay_themselves() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let users = [scene.account("alice").await, scene.account("bob").await];
    for user in ["alice", "bob"] {
        scene.allow(user, &["/metrics"]).await;
    }
    let proxy = scene.proxy(&[]).await;
    let connection = scene.connect(Version::H2, &proxy).await;
    let mut tasks = tokio::task::JoinSet::new();
    for turn in 0..64 {
        let user = &users[turn % 2];
        let (http2, request) = (connection.http2().clone(), Request::get("/metrics").bearer(&user.token));
        let expected = format!("{} /metrics", user.user);
        tasks.spawn(async move {
            for _ in 0..8 {
                assert_eq!(http2.send(&request).await.unwrap().text(), expected);
            }
        });
    }
    tasks.join_all().await;
}
