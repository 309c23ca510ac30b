//! Who may: paths and resources, judged by the API server's RBAC.

use serde_json::json;
use testkit::{
    client::{Request, Version},
    cluster,
};

use crate::scene::{Scene, assert_status};

#[tokio::test]
async fn a_token_is_let_through_when_rbac_allows_its_path() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    scene.allow("alice", &["/metrics"]).await;
    let proxy = scene.proxy(&[]).await;

    let allowed = scene.get(&proxy, "/metrics?x=1", &alice.token).await;
    assert_status(&allowed, 200);
    assert_eq!(allowed.text(), format!("{} /metrics?x=1", alice.user));

    let denied = scene.get(&proxy, "/metrics", &bob.token).await;
    assert_status(&denied, 403);
    assert_eq!(denied.text().trim_end(), format!("Forbidden (user={}, verb=get, resource=, subresource=)", bob.user));
    assert_status(&scene.get(&proxy, "/other", &alice.token).await, 403);

    let mut connection = scene.connect(Version::H1, &proxy).await;
    assert_status(&connection.send(&Request::post("/metrics", "x").bearer(&alice.token)).await, 403);
    assert_status(&connection.send(&Request::get("/metrics")).await, 401);
    // A real token with another signature.
    let (signed, signature) = alice.token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    assert_status(&connection.send(&Request::get("/metrics").bearer(&forged)).await, 401);
    assert_eq!(scene.upstream.count(), 1);
}

#[tokio::test]
async fn resource_attributes_are_judged_against_roles_of_their_namespace() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob, carol) = (scene.account("alice").await, scene.account("bob").await, scene.account("carol").await);
    scene.role("reader", json!({ "apiGroups": [""], "resources": ["pods/log"], "resourceNames": ["web"], "verbs": ["get"] })).await;
    scene.bind_here("alice", "Role", "reader", scene.subject("alice")).await;
    // The role `view` is empty until the controller manager has gathered it.
    scene.bind_here("carol", "ClusterRole", "view", scene.subject("carol")).await;
    let config = json!({ "authorization": { "resourceAttributes": {
        "namespace": scene.namespace, "apiVersion": "v1", "resource": "pods", "subresource": "log", "name": "web" } } });
    let config = scene.write("config.yaml", &config.to_string());
    let asked =
        json!({ "namespace": scene.namespace, "verb": "get", "version": "v1", "resource": "pods", "subresource": "log", "name": "web" });
    scene.until_allowed(&json!({ "user": alice.user, "resourceAttributes": asked })).await;
    let proxy = scene.proxy(&[&format!("--config-file={config}")]).await;

    // The path says nothing here.
    assert_status(&scene.get(&proxy, "/anything", &alice.token).await, 200);
    let denied = scene.get(&proxy, "/anything", &bob.token).await;
    assert_status(&denied, 403);
    assert_eq!(denied.text().trim_end(), format!("Forbidden (user={}, verb=get, resource=pods, subresource=log)", bob.user));
    let create = Request::post("/anything", "x").bearer(&alice.token);
    assert_status(&scene.connect(Version::H1, &proxy).await.send(&create).await, 403);
    if cluster.aggregates_roles() {
        scene.until_allowed(&json!({ "user": carol.user, "resourceAttributes": asked })).await;
        assert_status(&scene.get(&proxy, "/anything", &carol.token).await, 200);
    }
}

/// The configuration of OpenShift's thanos-querier: who may get pods' metrics in a namespace may query that namespace.
#[tokio::test]
async fn a_tenant_queries_its_own_namespaces_alone() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    let role = json!({ "apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["get", "create"] });
    scene.role("monitoring", role).await;
    scene.bind_here("alice", "Role", "monitoring", scene.subject("alice")).await;
    let mine = scene.namespace.clone();
    let asked = json!({ "namespace": mine, "verb": "create", "group": "metrics.k8s.io", "resource": "pods" });
    scene.until_allowed(&json!({ "user": alice.user, "resourceAttributes": asked })).await;
    let config = "\"authorization\":\n  \"resourceAttributes\":\n    \"apiGroup\": \"metrics.k8s.io\"\n    \"namespace\": \"{{ .Value }}\"\n    \
                  \"resource\": \"pods\"\n  \"rewrites\":\n    \"byQueryParameter\":\n      \"name\": \"namespace\"\n";
    let config = scene.write("config.yaml", config);
    let proxy = scene.proxy(&[&format!("--config-file={config}"), "--allow-paths=/api/v1/query,/api/v1/query_range"]).await;

    for version in [Version::H1, Version::H2] {
        let mut connection = scene.connect(version, &proxy).await;
        let mut status = async |request: Request, token: &str| connection.send(&request.bearer(token)).await.status;
        let query = |namespaces: &[&str]| {
            let namespaces: Vec<String> = namespaces.iter().map(|namespace| format!("namespace={namespace}")).collect();
            format!("/api/v1/query?query=up&{}", namespaces.join("&"))
        };
        assert_eq!(status(Request::get(&query(&[&mine])), &alice.token).await, 200);
        assert_eq!(scene.upstream.last_request().target(), query(&[&mine]));
        assert_eq!(status(Request::get(&query(&[&mine, &mine])), &alice.token).await, 200);
        // As Grafana asks.
        let form = Request::post(&format!("/api/v1/query_range?namespace={mine}"), "query=up&start=1&end=2&step=1");
        assert_eq!(status(form.header("Content-Type", "application/x-www-form-urlencoded"), &alice.token).await, 200);
        assert_eq!(scene.upstream.last_request().body.content, b"query=up&start=1&end=2&step=1");
        let sent = scene.upstream.count();
        for (request, token, refused) in [
            (Request::get(&query(&["kube-system"])), &alice.token, 403),
            (Request::get(&query(&[&mine, "kube-system"])), &alice.token, 403),
            (Request::get(&query(&["kube-system", &mine])), &alice.token, 403),
            (Request::get(&query(&[""])), &alice.token, 403),
            (Request::get(&query(&[&mine])), &bob.token, 403),
            (Request::new("DELETE", &query(&[&mine])), &alice.token, 403),
            (Request::get("/api/v1/query?query=up"), &alice.token, 400),
            (Request::get(&format!("{};namespace=kube-system", query(&[&mine]))), &alice.token, 400),
            (Request::get(&format!("/api/v1/series?namespace={mine}")), &alice.token, 404),
        ] {
            assert_eq!(status(request, token).await, refused);
        }
        assert_eq!(scene.upstream.count(), sent);
    }
}

#[tokio::test]
async fn static_rules_need_no_role() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    let about = |rule: serde_json::Value| {
        let mut rule = rule;
        rule["user"] = json!({ "name": alice.user });
        rule["verb"] = json!("get");
        rule
    };
    let rule = about(json!({ "resourceRequest": true, "resource": "namespaces", "subresource": "metrics", "namespace": "default" }));
    let by_namespace = json!({ "authorization": {
        "rewrites": { "byQueryParameter": { "name": "namespace" } },
        "resourceAttributes": { "resource": "namespaces", "subresource": "metrics", "namespace": "{{ .Value }}" },
        "static": [rule],
    } });
    let by_path = json!({ "authorization": { "static": [about(json!({ "resourceRequest": false, "path": "/metrics" }))] } });
    for (config, allowed, refused) in
        [(by_namespace, "/metrics?namespace=default", "/metrics?namespace=forbidden"), (by_path, "/metrics", "/forbidden")]
    {
        let config = scene.write("config.yaml", &config.to_string());
        let proxy = scene.proxy(&[&format!("--config-file={config}")]).await;
        assert_status(&scene.get(&proxy, allowed, &alice.token).await, 200);
        assert_status(&scene.get(&proxy, refused, &alice.token).await, 403);
    }
}
