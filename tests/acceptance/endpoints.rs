//! The proxy's own endpoints.

use testkit::{
    api::{Fault, Kind},
    client::{Client, Request, Response, Version},
    process::{Proxy, free_port},
};

use crate::scene::{ALICE, BOTH, FORGED, MALLORY, Scene, assert_status};

async fn ask(scene: &Scene, proxy: &Proxy, request: &Request) -> Response {
    Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await.send(request).await
}

#[tokio::test]
async fn probes_answer_on_their_own_port() {
    let scene = Scene::new().await;
    let port = free_port();
    let proxy = scene.proxy(&[format!("--proxy-endpoints-port={port}")]).await;
    assert_eq!(proxy.endpoints().port(), port);
    assert_eq!(proxy.endpoints().ip(), proxy.secure().ip());
    for version in BOTH {
        let mut client = Client::connect(version, proxy.endpoints(), &scene.authority.tls()).await;
        for path in ["/healthz", "/livez", "/readyz", "/readyz?x=y"] {
            let response = client.send(&Request::get(path)).await;
            assert_status(&response, 200);
            assert_eq!(response.text(), "ok", "{path}");
            assert_status(&client.send(&Request::new("HEAD", path)).await, 200);
            assert_status(&client.send(&Request::post(path, "")).await, 405);
        }
        for path in ["/", "/healthz/", "/debug/pprof", "/metricsx"] {
            assert_status(&client.send(&Request::get(path).bearer(ALICE)).await, 404);
        }
    }
    // What is served there is not served in front of the upstream.
    assert_status(&scene.send(&proxy, &Request::get("/healthz")).await, 401);
    assert_eq!((scene.upstream.count(), scene.api.counts()), (0, (0, 0)));
}

#[tokio::test]
async fn readiness_is_told_in_detail_and_needs_no_api_server() {
    let scene = Scene::new().await;
    let client_ca = scene.write("client-ca.crt", scene.authority.pem());
    let proxy = scene.proxy_with_endpoints(&[&format!("--client-ca-file={client_ca}")]).await;
    let verbose = Request::get("/readyz?verbose");
    let untried = ask(&scene, &proxy, &verbose).await;
    assert_status(&untried, 200);
    for line in ["[+]serving-certificate notAfter=", "[+]kube-api not asked yet", "[+]--client-ca-file", "ok"] {
        assert!(untried.text().contains(line), "{line} is not in\n{}", untried.text());
    }
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    assert!(ask(&scene, &proxy, &verbose).await.text().contains("[+]kube-api answering"));

    scene.api.fail(Kind::TokenReview, Fault::Status(500, None));
    assert_status(&scene.get(&proxy, "/", FORGED).await, 503);
    let failing = ask(&scene, &proxy, &verbose).await;
    assert_status(&failing, 200);
    assert!(failing.text().contains("[-]kube-api failing"), "{}", failing.text());
    for path in ["/readyz", "/healthz", "/livez"] {
        assert_status(&ask(&scene, &proxy, &Request::get(path)).await, 200);
    }
}

#[tokio::test]
async fn metrics_are_for_those_who_may_read_them() {
    let scene = Scene::new().await;
    let proxy = scene.proxy_with_endpoints(&[]).await;
    let metrics = Request::get("/metrics");
    assert_status(&ask(&scene, &proxy, &metrics).await, 401);
    assert_status(&ask(&scene, &proxy, &metrics.clone().bearer(FORGED)).await, 401);
    assert_status(&ask(&scene, &proxy, &metrics.clone().bearer(MALLORY)).await, 403);
    assert_status(&scene.get(&proxy, "/a", ALICE).await, 200);
    assert_status(&scene.get(&proxy, "/a", ALICE).await, 200);
    assert_status(&scene.get(&proxy, "/a", MALLORY).await, 403);
    let response = ask(&scene, &proxy, &metrics.bearer(ALICE)).await;
    assert_status(&response, 200);
    assert!(response.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let spec = scene.api.access_specs().pop().unwrap();
    assert_eq!(spec["nonResourceAttributes"], serde_json::json!({ "verb": "get", "path": "/metrics" }));

    let text = response.text();
    for line in [
        "kube_rbac_proxy_requests_total{code=\"200\",reason=\"\"} 2",
        "kube_rbac_proxy_requests_total{code=\"403\",reason=\"not_allowed\"} 1",
        "kube_rbac_proxy_authentications_total{method=\"token_review\",result=\"success\"}",
        "kube_rbac_proxy_authentications_total{method=\"token_review\",result=\"rejected\"} 1",
        "kube_rbac_proxy_authorizations_total{authorizer=\"review\",decision=\"allow\"}",
        "kube_rbac_proxy_authorizations_total{authorizer=\"review\",decision=\"no_opinion\"} 2",
        "kube_rbac_proxy_api_call_duration_seconds_count{kind=\"tokenreview\",result=\"ok\"} 3",
        "kube_rbac_proxy_api_call_duration_seconds_count{kind=\"subjectaccessreview\",result=\"ok\"} 4",
        "kube_rbac_proxy_cache_lookups_total{cache=\"token_review\",outcome=\"hit\"} 3",
        "kube_rbac_proxy_cache_lookups_total{cache=\"subject_access_review\",outcome=\"miss\"} 4",
        "kube_rbac_proxy_cache_entries{cache=\"token_review\"} 3",
        "kube_rbac_proxy_certificate_not_after_seconds{subject=\"serving\"}",
        "kube_rbac_proxy_connections{listener=\"endpoints\"} 1",
        "kube_rbac_proxy_build_info{version=\"v",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for name in ["alice", "mallory", "/a", "devs"] {
        assert!(!text.contains(name), "a label is open: {name} is in\n{text}");
    }
}

/// What the upstream's requests are about says nothing about the proxy's own endpoints.
#[tokio::test]
async fn metrics_are_authorized_by_path_whatever_is_configured() {
    let scene = Scene::new().await;
    let config = scene.write("config.yaml", "authorization:\n  resourceAttributes:\n    resource: services\n");
    let proxy = scene.proxy_with_endpoints(&[&format!("--config-file={config}")]).await;
    assert_status(&ask(&scene, &proxy, &Request::get("/metrics").bearer(ALICE)).await, 200);
    assert_eq!(scene.api.access_specs()[0]["nonResourceAttributes"]["path"], "/metrics");
}
