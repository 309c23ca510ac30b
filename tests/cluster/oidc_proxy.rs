//! kube-oidc-proxy in front of the real API server, with clients that are not ours.

use serde_json::{Value, json};
use testkit::{
    client::{Client, Request, Version},
    cluster::{self, TokenRequest},
    parts::{Part, skip},
    wait::wait_for,
};

use crate::{
    oidc_world::{Kubectl, World},
    scene::assert_status,
};

/// Whom the API server takes the sender for.
async fn who_am_i(client: &mut Client, token: &str) -> Value {
    const REVIEW: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
    let ask = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews", REVIEW);
    let review = client.send(&ask.bearer(token).header("Content-Type", "application/json")).await;
    assert_status(&review, 201);
    serde_json::from_str::<Value>(&review.text()).unwrap()["status"]["userInfo"].clone()
}

#[tokio::test]
async fn users_of_an_issuer_do_what_rbac_lets_them() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    let proxy = world.proxy(&[]).await;
    let (anna, otto) = (world.token("anna", &["devs", "ünits"]), world.token("otto", &[]));
    let pods = format!("/api/v1/namespaces/{}/pods", world.scene.namespace);
    let response = world.scene.get(&proxy, &pods, &anna).await;
    assert_status(&response, 403);
    assert!(response.text().contains("cannot impersonate"), "{}", response.text());

    world.let_impersonate().await;
    world.let_group_work("devs").await;
    let namespace = world.scene.namespace.clone();
    for version in [Version::H1, Version::H2] {
        let mut client = world.scene.connect(version, &proxy).await;
        let allowed = client.send(&Request::get(&pods).bearer(&anna)).await;
        assert_status(&allowed, 200);
        assert_eq!(serde_json::from_str::<Value>(&allowed.text()).unwrap()["kind"], "PodList");
        let denied = client.send(&Request::get(&pods).bearer(&otto)).await;
        assert_status(&denied, 403);
        assert!(denied.text().contains(&format!("User \\\"{namespace}:otto\\\" cannot list resource \\\"pods\\\"")), "{}", denied.text());
        assert_status(&client.send(&Request::get(&pods)).await, 401);
        let info = who_am_i(&mut client, &anna).await;
        assert_eq!(info["username"], format!("{namespace}:anna"));
        assert_eq!(info["groups"], json!([format!("{namespace}:devs"), format!("{namespace}:ünits"), "system:authenticated"]));
        assert_eq!(info["extra"]["authentication.kubernetes.io/credential-id"], json!(["JTI=of-anna"]));
    }
    proxy.assert_silent_about(&[&anna, &otto]);
}

/// `rbac/rbac.go` and `passthrough/passthrough.go` of Tremolo's program, as far as they ask for what is built.
#[tokio::test]
async fn rights_grow_with_the_groups_that_are_bound() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    let proxy = world.proxy(&[]).await;
    let (namespace, token) = (world.scene.namespace.clone(), world.token("user@example.com", &["group-1", "group-2"]));
    let mut bound: Vec<&str> = Vec::new();
    for next in [None, Some(("group-1", "pods")), Some(("group-2", "services")), Some(("group-2", "secrets"))] {
        if let Some((group, resource)) = next {
            let name = format!("{group}-{resource}");
            world.scene.role(&name, json!({"apiGroups": [""], "resources": [resource], "verbs": ["list"]})).await;
            let group = format!("{namespace}:{group}");
            let subject = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group});
            world.scene.bind_here(&name, "Role", &name, subject).await;
            let attributes = json!({"verb": "list", "version": "v1", "resource": resource, "namespace": namespace});
            world.scene.until_allowed(&json!({"user": "somebody", "groups": [group], "resourceAttributes": attributes})).await;
            bound.push(resource);
        }
        for resource in ["pods", "services", "secrets"] {
            let response = world.scene.get(&proxy, &format!("/api/v1/namespaces/{namespace}/{resource}"), &token).await;
            assert_eq!(response.status, if bound.contains(&resource) { 200 } else { 403 }, "{bound:?} {resource}: {}", response.text());
        }
        let nodes = world.scene.get(&proxy, "/api/v1/nodes", &token).await;
        assert_eq!((nodes.status, nodes.text().contains("nodes is forbidden: User")), (403, true), "{}", nodes.text());
    }
    let account = world.scene.account("other").await;
    let response = world.scene.get(&proxy, "/version", &account.token).await;
    assert_eq!((response.status, response.text().trim()), (401, "Unauthorized"));
}

#[tokio::test]
async fn kubectl_works_through_the_proxy() {
    let program = match Part::Kubectl.path() {
        Ok(program) => program,
        Err(absent) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    world.let_group_work("devs").await;
    let proxy = world.proxy(&[]).await;
    let server = format!("https://localhost:{}", proxy.secure().port());
    let of = |name, token| Kubectl { program: program.clone(), world: &world, server: server.clone(), name, token, without: &[] };
    let (anna, otto) = (of("anna", world.token("anna", &["devs"])), of("otto", world.token("otto", &[])));
    let namespace = &world.scene.namespace;

    assert!(anna.ok(&["get", "pods"]).await.starts_with("No resources found"), "an empty list");
    let whoami: Value = serde_json::from_str(&anna.ok(&["auth", "whoami", "-o", "json"]).await).unwrap();
    assert_eq!(whoami["status"]["userInfo"]["username"], format!("{namespace}:anna"));
    assert_eq!(anna.ok(&["auth", "can-i", "list", "pods"]).await.trim(), "yes");
    assert_eq!(otto.run(&["auth", "can-i", "list", "pods"]).await.output.trim(), "no");
    assert!(anna.ok(&["api-resources"]).await.contains("customresourcedefinitions"));
    assert!(anna.ok(&["get", "--raw", "/apis"]).await.contains("APIGroupList"));

    let manifest = world.scene.write(
        "made.json",
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": {"a": "b"}}).to_string(),
    );
    let watch = anna.start(&["get", "configmaps", "--watch", "--output-watch-events", "--no-headers"]);
    anna.ok(&["apply", "--server-side", "-f", &manifest]).await;
    watch.line_with(&["ADDED", "made"]).await;
    assert!(anna.ok(&["describe", "configmap", "made"]).await.contains("made"));
    anna.ok(&["delete", "configmap", "made"]).await;
    watch.line_with(&["DELETED", "made"]).await;

    let denied = otto.run(&["get", "pods"]).await;
    assert!(denied.output.contains(&format!("(Forbidden): pods is forbidden: User \"{namespace}:otto\" cannot list")), "{}", denied.output);
    let denied = anna.run(&["get", "pods", "--as=root"]).await;
    assert_eq!(denied.output.trim(), "Error from server (Forbidden): Impersonation requests are disabled when using kube-oidc-proxy");
    assert_eq!(denied.code, Some(1));
    let stranger = of("stranger", "forged".to_owned()).run(&["get", "pods"]).await;
    assert!(stranger.output.contains("You must be logged in to the server"), "{}", stranger.output);
    proxy.line_with(&["token_rejected"]).await;
}

#[tokio::test]
async fn a_service_account_passes_as_itself() {
    let program = match Part::Kubectl.path() {
        Ok(program) => program,
        Err(absent) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    let proxy = world.proxy(&["--token-passthrough"]).await;
    let (robot, anna) = (world.scene.account("robot").await, world.token("anna", &[]));
    assert_status(&world.scene.get(&proxy, "/version", &robot.token).await, 503);
    proxy.line_with(&["api_credentials_refused", "create tokenreviews.authentication.k8s.io"]).await;

    // All that it needs.
    let reviews = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]});
    world.scene.give_proxy("reviews", reviews).await;
    let attributes = json!({"verb": "create", "group": "authentication.k8s.io", "version": "v1", "resource": "tokenreviews"});
    world.scene.until_allowed(&json!({"user": world.scene.user("proxy"), "resourceAttributes": attributes})).await;
    let server = format!("https://localhost:{}", proxy.secure().port());
    let kubectl = Kubectl { program, world: &world, server, name: "robot", token: robot.token.clone(), without: &[] };
    let whoami: Value = serde_json::from_str(&kubectl.ok(&["auth", "whoami", "-o", "json"]).await).unwrap();
    let info = &whoami["status"]["userInfo"];
    assert_eq!(info["username"], robot.user);
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", world.scene.namespace)];
    assert_eq!(info["groups"], json!([groups[0], groups[1], "system:authenticated"]));
    assert!(info["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().starts_with("JTI="), "{info}");
    // It knows nothing of the API server yet, and asks for that first.
    let denied = kubectl.run(&["get", "pods", "--as=system:admin"]).await;
    let told = denied.output.trim().lines().last().unwrap().to_owned();
    assert_eq!(told, "Error from server (Forbidden): Impersonation requests are disabled when using kube-oidc-proxy");
    let denied = kubectl.run(&["get", "pods"]).await;
    assert!(denied.output.contains(&format!("User \"{}\" cannot list resource \"pods\"", robot.user)), "{}", denied.output);
    let denied = kubectl.run(&["get", "pods", "--as=system:admin"]).await;
    assert_eq!(denied.output.trim(), told);
    for version in [Version::H1, Version::H2] {
        let mut client = world.scene.connect(version, &proxy).await;
        assert_eq!(who_am_i(&mut client, &robot.token).await["username"], robot.user);
        assert_status(&client.send(&Request::get("/version").bearer("forged")).await, 401);
        let impersonated = client.send(&Request::get("/version").bearer(&anna)).await;
        assert!(impersonated.status == 403 && impersonated.text().contains("cannot impersonate"), "{}", impersonated.text());
    }

    // The API server is asked for the audiences, and has the last word on a token that is not for itself.
    let elsewhere = world.scene.token("robot", &TokenRequest { audiences: &["elsewhere"], ..TokenRequest::default() }).await;
    assert_status(&world.scene.get(&proxy, "/version", &elsewhere).await, 401);
    proxy.line_with(&["token_rejected"]).await;
    let other = world.proxy(&["--token-passthrough", "--token-passthrough-audiences=elsewhere", "-v=2"]).await;
    assert_status(&world.scene.get(&other, "/version", &robot.token).await, 401);
    let refusal = other.line_with(&["token_rejected"]).await;
    assert_status(&world.scene.get(&other, "/version", &elsewhere).await, 401);
    let refusals: Vec<String> = other.lines().into_iter().filter(|line| line.contains("token_rejected")).collect();
    assert_eq!(refusals, [refusal], "the second 401 is the API server's own");

    // Nobody becomes anonymous: a token that the API server does not know is refused by it.
    let themselves = world.proxy(&["--disable-impersonation"]).await;
    let response = world.scene.get(&themselves, "/version", &anna).await;
    assert!(response.status == 401 && response.text().contains("\"Status\""), "{}", response.text());
    for proxy in [&proxy, &other, &themselves] {
        proxy.assert_silent_about(&[&robot.token, &elsewhere, &anna]);
    }
}

#[tokio::test]
async fn extras_are_seen_by_the_api_server() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    let extras = ["key1", "key2", "remote-client-ip"].map(|key| format!("userextras/{key}"));
    world.scene.give_proxy("more", json!({"apiGroups": ["authentication.k8s.io"], "resources": extras, "verbs": ["impersonate"]})).await;
    let attributes = json!({"verb": "impersonate", "group": "authentication.k8s.io", "version": "v1", "resource": "userextras", "subresource": "key2", "name": "x"});
    world.scene.until_allowed(&json!({"user": world.scene.user("proxy"), "resourceAttributes": attributes})).await;
    let proxy = world.proxy(&["--extra-user-header-client-ip", "--extra-user-headers=key1=foo,key2=foo,key1=bar"]).await;
    for version in [Version::H1, Version::H2] {
        let info = who_am_i(&mut world.scene.connect(version, &proxy).await, &world.token("anna", &[])).await;
        let mut extra = info["extra"].as_object().unwrap().clone();
        let client = extra.remove("remote-client-ip").unwrap();
        assert!(client.as_array().unwrap().len() == 1 && client[0].as_str().unwrap().starts_with("127.0.0.1:"), "{client}");
        let expected = json!({"authentication.kubernetes.io/credential-id": ["JTI=of-anna"], "key1": ["foo", "bar"], "key2": ["foo"]});
        assert_eq!(Value::Object(extra), expected);
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_is_502_and_found_again() {
    let Some(cluster) = cluster::master().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    let proxy = world.proxy(&[]).await;
    let token = world.token("anna", &[]);
    let version = Request::get("/version").bearer(&token);
    let ask = async || Client::connect(Version::H2, proxy.secure(), &world.scene.authority.tls()).await.send(&version).await.status;
    assert_eq!(ask().await, 200);
    cluster.kill_apiserver();
    assert_eq!(ask().await, 502);
    cluster.start_apiserver().await;
    wait_for("200", async || match ask().await {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
}
