//! How often the API server is asked, by its own audit log, and what it is told.

use serde_json::json;
use testkit::{
    client::{Client, Request, Version},
    cluster::{self, Audit, Entry},
    process::Proxy,
    wait::wait_for,
};

use crate::scene::{Scene, assert_status};

const TOKENS: &str = "tokenreviews";
const ACCESS: &str = "subjectaccessreviews";

#[tokio::test]
async fn concurrent_requests_with_one_new_token_cost_one_review_of_each_kind() {
    let Some(cluster) = cluster::guest().await else { return };
    let Some(audit) = cluster.audit() else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/first", "/second", "/last"]).await;
    let proxy = scene.proxy(&[]).await;
    let mut clients = Crowd::connect(&scene, &proxy).await;
    let asked = scene.user("proxy");

    clients.all_get("/first", &alice.token).await;
    assert_eq!(counts(audit, &asked, 1).await, (1, 1));
    clients.all_get("/second", &alice.token).await;
    assert_eq!(counts(audit, &asked, 2).await, (1, 2));
    // What comes last is written last: had there been others for the paths before, they would be there by now.
    assert_status(&scene.get(&proxy, "/last", &alice.token).await, 200);
    assert_eq!(counts(audit, &asked, 3).await, (1, 3));
}

#[tokio::test]
async fn the_api_server_is_told_all_that_it_said_about_the_user() {
    let Some(cluster) = cluster::guest().await else { return };
    let Some(audit) = cluster.audit() else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    let proxy = scene.proxy(&[]).await;
    let post = Request::post("/some/path?query=1", "x").bearer(&alice.token);
    assert_status(&scene.connect(Version::H1, &proxy).await.send(&post).await, 403);

    let asked = scene.user("proxy");
    counts(audit, &asked, 1).await;
    let reviews = audit.of(&asked);
    let spec = |resource| &reviews.iter().find(|entry| entry.resource == resource).unwrap().review["spec"];
    assert_eq!(*spec(TOKENS), json!({ "token": alice.token }));
    let access = spec(ACCESS);
    assert_eq!(access["user"], alice.user);
    assert_eq!(access["nonResourceAttributes"], json!({ "path": "/some/path", "verb": "create" }));
    let groups =
        ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", scene.namespace), "system:authenticated".to_owned()];
    assert_eq!(access["groups"], json!(groups));
    assert!(access["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{access}");
    let credential = access["extra"]["authentication.kubernetes.io/credential-id"][0].as_str();
    assert!(credential.is_some_and(|id| id.starts_with("JTI=")), "{access}");
}

/// 64 clients that are connected and can therefore ask at the same time: half of them on one HTTP/2 connection.
struct Crowd {
    single: Vec<Client>,
    shared: Client,
}

const HALF: usize = 32;

impl Crowd {
    async fn connect(scene: &Scene<'_>, proxy: &Proxy) -> Self {
        let mut single = Vec::new();
        for _ in 0..HALF {
            single.push(scene.connect(Version::H1, proxy).await);
        }
        Self { single, shared: scene.connect(Version::H2, proxy).await }
    }

    async fn all_get(&mut self, path: &str, token: &str) {
        let request = Request::get(path).bearer(token);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..HALF {
            let (http2, request) = (self.shared.http2().clone(), request.clone());
            tasks.spawn(async move { (http2.send(&request).await.unwrap(), None) });
        }
        for mut client in self.single.drain(..) {
            let request = request.clone();
            tasks.spawn(async move { (client.send(&request).await, Some(client)) });
        }
        for (response, client) in tasks.join_all().await {
            assert_status(&response, 200);
            self.single.extend(client);
        }
    }
}

/// The numbers of TokenReviews and SubjectAccessReviews of a user, once there are so many of the latter.
async fn counts(audit: &Audit, user: &str, access: usize) -> (usize, usize) {
    wait_for("reviews in the audit log", async || {
        let reviews = audit.of(user);
        let of = |resource: &str| reviews.iter().filter(|entry: &&Entry| entry.resource == resource).count();
        if of(ACCESS) < access { Err(format!("{reviews:?}")) } else { Ok((of(TOKENS), of(ACCESS))) }
    })
    .await
}
