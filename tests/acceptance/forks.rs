//! What forks of the Go program have: obeyed, or refused with a word on what to do instead.

use std::process::Command;

use testkit::{
    client::{Request, Version},
    process::{Process, binary},
    upstream::Reply,
    wait::{Latch, in_time, wait_until},
};

use crate::scene::{ALICE, BOTH, FORGED, Scene, assert_status};

#[tokio::test]
async fn a_late_response_is_not_waited_for() {
    let rest = Latch::default();
    let late = Reply::head(200, &[("Content-Length", "4")]).wait(&rest).send("late");
    let scene = Scene::answering(move |received| match received.target() {
        "/hang" => Reply::hang(),
        "/late" => late.clone(),
        _ => Reply::ok("in time"),
    })
    .await;
    let proxy = scene.proxy(&["--upstream-timeout=300ms"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let response = client.send(&Request::post("/hang", "x").bearer(ALICE)).await;
        assert_status(&response, 504);
        assert_eq!(response.text(), "Gateway Timeout\n");
        assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    }
    proxy.line_with(&["W", "upstream_timeout"]).await;
    wait_until("the end of what was given up", || scene.upstream.open_connections() < 2).await;
    // What has begun in time may last: it is older than the time when another request has used that up.
    let mut streaming = scene.connect(Version::H1, &proxy).await;
    let mut exchange = streaming.open(&Request::get("/late").bearer(ALICE)).await.unwrap();
    assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
    assert_status(&scene.get(&proxy, "/hang", ALICE).await, 504);
    rest.open();
    assert_eq!(in_time("the rest", exchange.next()).await.unwrap().as_deref(), Some(&b"late"[..]));
}

#[tokio::test]
async fn a_path_for_probes_is_answered_to_everybody() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--livez-path=/livez", "--allow-paths=/metrics"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for request in [Request::get("/livez"), Request::get("/livez").bearer(FORGED)] {
            let response = client.send(&request).await;
            assert_status(&response, 200);
            assert_eq!((response.text().as_str(), response.header("content-type")), ("OK", Some("text/plain; charset=utf-8")));
        }
        assert_status(&client.send(&Request::new("HEAD", "/livez")).await, 200);
        assert_eq!((scene.api.counts(), scene.upstream.count()), ((0, 0), 0));
        // Nothing but that path, and nothing that could be taken for it.
        for (target, status) in [("/livez/", 404), ("/livez?x", 404), ("/live%7a", 404), ("/Livez", 404), ("/metrics", 401)] {
            assert_status(&client.send(&Request::get(target)).await, status);
        }
        assert_status(&client.send(&Request::post("/livez", "x")).await, 404);
    }
    let without = scene.proxy::<&str>(&[]).await;
    assert_status(&scene.send(&without, &Request::get("/livez")).await, 401);
    assert_status(&scene.send(&without, &Request::get("/")).await, 401);
    for bad in ["livez", "/livez/*", "/%6civez", "/a/../livez", "//livez", "/livez?x"] {
        let exit = scene.run(&[format!("--livez-path={bad}")]).await;
        assert!(exit.code == Some(1) && exit.output.contains("--livez-path"), "{bad}: {}", exit.output);
    }
}

#[tokio::test]
async fn what_forks_have_is_refused_with_a_word_on_what_to_do_instead() {
    let scene = Scene::new().await;
    let exit = scene.run(&["--stale-cache-interval=1h30m", "--openshift_sar={}", "--skip-auth-regex", "^/x"]).await;
    let errors: Vec<&str> = exit.output.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert_eq!((exit.code, errors.len()), (Some(1), 3), "{}", exit.output);
    for (flag, instead) in [
        ("--stale-cache-interval", "--authorization-webhook-cache-authorized-ttl"),
        ("--openshift_sar", "--config-file"),
        ("--skip-auth-regex", "--ignore-paths"),
    ] {
        assert!(errors.iter().any(|error| error.contains(flag) && error.contains(instead)), "{errors:#?}");
    }
    for (config, key) in [
        ("excludePaths:\n- /healthz\nauthorization: {}\n", "1:1: excludePaths"),
        ("upstreams:\n- upstream: http://127.0.0.1:1/\n  path: /\n", "1:1: upstreams"),
        ("authorization:\n  endpoints:\n  - path: /x\n", "2:3: authorization.endpoints"),
    ] {
        let file = scene.write("config.yaml", config);
        let exit = scene.run(&[format!("--config-file={file}")]).await;
        assert!(exit.code == Some(1) && exit.output.contains(key) && exit.output.contains("fork's"), "{}", exit.output);
    }
    let no_flags: &[&str] = &[];
    let exit =
        Process::spawn(Command::new(binary()).args(scene.flags(no_flags)).env("KUBE_RBAC_PROXY_CONFIG", "upstreams: []\n")).exit().await;
    assert!(exit.code == Some(1) && exit.output.contains("KUBE_RBAC_PROXY_CONFIG"), "{}", exit.output);
}
