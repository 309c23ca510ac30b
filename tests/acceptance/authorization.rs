//! What the API server is asked about a request, and what comes of its answer.

use serde_json::{Value, json};
use testkit::{
    api::Verdict,
    client::{Client, Request, Version},
    process::Proxy,
};

use crate::scene::{ALICE, BOTH, MALLORY, Scene, assert_status};

/// As in Go, but for `get`, which is another method there.
#[tokio::test]
async fn methods_are_verbs_and_paths_are_decoded() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for (method, verb) in [
        ("GET", "get"),
        ("POST", "create"),
        ("PUT", "update"),
        ("PATCH", "patch"),
        ("DELETE", "delete"),
        ("HEAD", "*"),
        ("OPTIONS", "*"),
        ("TRACE", "*"),
        ("PROPFIND", "*"),
    ] {
        for version in BOTH {
            scene.api.forget();
            let path = format!("/{version:?}/{method}/caf%C3%A9%20x");
            let response = scene.connect(version, &proxy).await.send(&Request::new(method, &format!("{path}?q=%zz;")).bearer(ALICE)).await;
            assert_status(&response, 200);
            let expected = json!({ "verb": verb, "path": format!("/{version:?}/{method}/café x") });
            assert_eq!(scene.api.access_specs()[0]["nonResourceAttributes"], expected, "{method}");
            let received = scene.upstream.last_request();
            assert_eq!((received.method(), received.target()), (method, format!("{path}?q=%zz;").as_str()));
        }
    }
}

#[tokio::test]
async fn only_a_clear_yes_is_a_yes() {
    let scene = Scene::new().await;
    scene.api.rule(|spec| match spec["nonResourceAttributes"]["path"].as_str() {
        Some("/allow") => Verdict::Allow,
        Some("/deny") => Verdict::Deny,
        Some("/both") => Verdict::Both,
        _ => Verdict::NoOpinion,
    });
    let proxy = scene.proxy(&["-v=2"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for (path, status) in [("/allow", 200), ("/deny", 403), ("/none", 403), ("/both", 503)] {
            let response = client.send(&Request::get(path).bearer(ALICE)).await;
            assert_eq!(response.status, status, "{path}: {}", response.text());
            if status == 403 {
                assert_eq!(response.text(), "Forbidden (user=alice, verb=get, resource=, subresource=)\n");
                assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
            }
        }
    }
    assert_eq!(scene.upstream.count(), 2);
    // Why is for the log.
    proxy.line_with(&["not_allowed", "alice", "/deny", "denied by the test"]).await;
}

/// The command line of the first release's manifests, and its file: the attributes and nothing around them.
#[tokio::test]
async fn the_flags_of_2018_are_obeyed() {
    let scene = Scene::new().await;
    let file = scene.write("attributes.yaml", "namespace: default\napiVersion: v1\nresource: services\nsubresource: proxy\nname: web\n");
    let glog = ["--logtostderr", "--log_backtrace_at=a.go:1", "--log_dir=/tmp", "--stderrthreshold=1", "--vmodule=a=1", "--v=4"];
    let attributes = format!("--resource-attributes-file={file}");
    let flags = [&["--insecure-listen-address=0.0.0.0:0", "--alsologtostderr", attributes.as_str()], &glog[..]].concat();
    let usual = ["--secure-listen-address", "--tls-cert-file", "--tls-private-key-file"];
    let proxy = Proxy::start(&scene.flags_without(&usual, &flags)).await;
    let warned = proxy.line_with(&["W", "without effect", "--alsologtostderr", "--logtostderr"]).await;
    for flag in &glog[1..5] {
        let name = flag.split('=').next().unwrap().replace('_', "-");
        assert!(warned.contains(&name), "{name} is not in {warned}");
    }
    let mut client = Client::connect_plain(proxy.insecure()).await;
    assert_status(&client.send(&Request::new("POST", "/helm.Tiller/GetVersion").bearer(ALICE)).await, 200);
    let asked =
        json!({ "namespace": "default", "verb": "create", "version": "v1", "resource": "services", "subresource": "proxy", "name": "web" });
    assert_eq!(scene.api.access_specs()[0]["resourceAttributes"], asked);
    assert_status(&client.send(&Request::get("/").bearer(MALLORY)).await, 403);
    assert_status(&client.send(&Request::get("/")).await, 401);

    let config = scene.write("config.yaml", "authorization: {}\n");
    let exit = scene.run(&[format!("--config-file={config}"), attributes]).await;
    assert!(exit.code == Some(1) && exit.output.contains("--config-file and --resource-attributes-file"), "{}", exit.output);
}

#[tokio::test]
async fn a_configured_resource_stands_for_every_request() {
    let scene = Scene::new().await;
    let config = "authorization:\n  resourceAttributes:\n    namespace: monitoring\n    apiGroup: apps\n    apiVersion: v1\n    \
                  resource: deployments\n    subresource: proxy\n    name: '{{ .Value }}'\n";
    let config = scene.write("config.yaml", config);
    let proxy = scene.proxy(&[format!("--config-file={config}")]).await;
    proxy.line_with(&["W", "--config-file", "template"]).await;
    for version in BOTH {
        for (method, verb) in [("GET", "get"), ("POST", "create"), ("HEAD", "*")] {
            // Nobody decides by the path, so it may have many meanings.
            let target = format!("/{version:?}/../%2e%2e;x//y?z");
            let response = scene.connect(version, &proxy).await.send(&Request::new(method, &target).bearer(ALICE)).await;
            assert_status(&response, 200);
            assert_eq!(scene.upstream.last_request().target(), target);
            let spec = scene.api.access_specs().into_iter().find(|spec| spec["resourceAttributes"]["verb"] == verb).unwrap();
            let expected = json!({
                "namespace": "monitoring", "verb": verb, "group": "apps", "version": "v1", "resource": "deployments",
                "subresource": "proxy", "name": "{{ .Value }}",
            });
            assert_eq!(spec["resourceAttributes"], expected);
            assert_eq!(spec["nonResourceAttributes"], Value::Null);
        }
    }
    assert_eq!(scene.api.counts().1, 3, "one question for each verb");
    let denied = scene.get(&proxy, "/", MALLORY).await;
    assert_status(&denied, 403);
    assert_eq!(denied.text(), "Forbidden (user=mallory, verb=get, resource=deployments, subresource=proxy)\n");
}

#[tokio::test]
async fn a_configured_verb_is_honoured_with_a_warning() {
    let scene = Scene::new().await;
    let config = scene.write("config.yaml", "authorization:\n  resourceAttributes:\n    resource: pods\n    verb: list\n");
    let proxy = scene.proxy(&[format!("--config-file={config}")]).await;
    proxy.line_with(&["W", "--config-file", "verb"]).await;
    for method in ["GET", "DELETE"] {
        assert_status(&scene.send(&proxy, &Request::new(method, "/").bearer(ALICE)).await, 200);
    }
    assert_eq!(scene.api.access_specs().len(), 1);
    assert_eq!(scene.api.access_specs()[0]["resourceAttributes"], json!({ "verb": "list", "resource": "pods" }));
}

#[tokio::test]
async fn a_configuration_without_attributes_is_about_paths() {
    let scene = Scene::new().await;
    let config = scene.write("config.yaml", "authorization: {}\nunknown: 1\n");
    let proxy = scene.proxy(&[format!("--config-file={config}")]).await;
    proxy.line_with(&["W", "--config-file", "unknown", &config]).await;
    assert_status(&scene.get(&proxy, "/metrics", ALICE).await, 200);
    assert_eq!(scene.api.access_specs()[0]["nonResourceAttributes"]["path"], "/metrics");
}

/// Rules that need no API server are first, and who they do not allow is asked about there.
#[tokio::test]
async fn static_rules_allow_without_a_review() {
    let scene = Scene::new().await;
    let config = "authorization:\n  static:\n  - user: {name: mallory}\n    verb: get\n    path: /metrics\n  - user: {groups: [ops, \
                  others]}\n    path: /ops\n  - path: /anybody\n";
    let config = scene.write("config.yaml", config);
    let proxy = scene.proxy_with_endpoints(&[&format!("--config-file={config}")]).await;
    proxy.line_with(&["W", "--config-file", &format!("{config}:6:12"), "user.groups is enforced"]).await;
    proxy.line_with(&["W", "--config-file", "static[2] names no user"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for (method, target, token) in [
            ("GET", "/metrics", MALLORY),
            ("GET", "/metrics?x=y", MALLORY),
            ("GET", "/m%65trics", MALLORY),
            ("GET", "/ops", ALICE),
            ("DELETE", "/ops", ALICE),
            ("POST", "/anybody", MALLORY),
        ] {
            let response = client.send(&Request::new(method, target).bearer(token)).await;
            assert_eq!(response.status, 200, "{method} {target}: {}", response.text());
            assert_eq!(scene.upstream.last_request().target(), target);
        }
        let sent = scene.upstream.count();
        for (method, target) in [("POST", "/metrics"), ("HEAD", "/metrics"), ("GET", "/metrics/"), ("GET", "/"), ("GET", "/ops")] {
            let response = client.send(&Request::new(method, target).bearer(MALLORY)).await;
            assert_eq!(response.status, 403, "{method} {target}");
        }
        // It is the path that is read, so it has one meaning.
        assert_status(&client.send(&Request::get("/x/%2e%2e/metrics").bearer(MALLORY)).await, 400);
        assert_status(&client.send(&Request::get("/x/../metrics").bearer(MALLORY)).await, 307);
        assert_status(&client.send(&Request::get("/anybody")).await, 401);
        assert_eq!(scene.upstream.count(), sent);
    }
    let asked: Vec<_> = scene.api.access_specs().iter().map(|spec| spec["nonResourceAttributes"].clone()).collect();
    let refused = [("create", "/metrics"), ("*", "/metrics"), ("get", "/metrics/"), ("get", "/"), ("get", "/ops")];
    assert_eq!(asked, refused.map(|(verb, path)| json!({ "verb": verb, "path": path })), "only what no rule allows is asked about");
    // The program's own endpoints are authorized by the same rules.
    let mut client = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    let metrics = client.send(&Request::get("/metrics").bearer(MALLORY)).await;
    assert_status(&metrics, 200);
    assert!(metrics.text().contains("authorizer=\"static\",decision=\"allow\""), "{}", metrics.text());
    // What no rule allows may still be allowed elsewhere.
    assert_status(&scene.get(&proxy, "/metrics", ALICE).await, 200);
}

#[tokio::test]
async fn static_rules_about_a_resource_go_with_its_attributes() {
    let scene = Scene::new().await;
    let config = "authorization:\n  resourceAttributes: {resource: services, namespace: default, name: web}\n  static:\n  - user: {name: \
                  mallory}\n    resourceRequest: true\n    resource: services\n    verb: get\n  - path: /anybody\n";
    let config = scene.write("config.yaml", config);
    let proxy = scene.proxy(&[format!("--config-file={config}")]).await;
    proxy.line_with(&["W", "--config-file", "static[1] is about a path"]).await;
    assert_status(&scene.get(&proxy, "/", MALLORY).await, 200);
    assert_eq!(scene.api.access_specs().len(), 0);
    assert_status(&scene.send(&proxy, &Request::new("POST", "/anybody").bearer(MALLORY)).await, 403);
    assert_eq!(scene.api.access_specs().len(), 1);
}

/// Go's mux cleans paths, and tells everyone; here only those who are known.
#[tokio::test]
async fn an_unclean_path_is_redirected_after_authentication() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for (target, location) in [("//a", "/a"), ("/a/../b?x=1", "/b?x=1"), ("/a/./b/", "/a/b/"), ("/a//b", "/a/b")] {
            assert_status(&client.send(&Request::get(target)).await, 401);
            let response = client.send(&Request::get(target).bearer(ALICE)).await;
            assert_status(&response, 307);
            assert_eq!(response.header("location"), Some(location), "{target}");
        }
    }
    assert_eq!((scene.upstream.count(), scene.api.counts().1), (0, 0));
}
