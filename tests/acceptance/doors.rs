//! The one way through: to the configured upstream, past the gate, whatever a request says of itself.

use std::time::Duration;

use testkit::{
    client::{Client, Request, Version},
    upstream::{Reply, Upstream},
    wait::in_time,
};

use crate::scene::{ALICE, BOTH, MALLORY, Scene, assert_status, echo};

/// Health checks and scrapers are known by their addresses and ports, or not at all.
#[tokio::test]
async fn nothing_that_a_request_says_opens_a_path() {
    let scene = Scene::new().await;
    let proxy = scene.proxy_with_endpoints(&["--allow-paths=/metrics,/healthz", "--insecure-listen-address=127.0.0.1:0"]).await;
    let agents = ["kube-probe/1.34", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Prometheus/3.0", "kube-rbac-proxy/v0.22.1", ""];
    let mut requests: Vec<Request> = agents.iter().map(|agent| Request::get("/healthz").header("User-Agent", agent)).collect();
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;proto=https"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Client-Cert", "By=a;Subject=\"CN=alice\""),
        ("X-Original-URL", "/healthz"),
        ("X-Rewrite-URL", "/healthz"),
        ("X-Kubernetes-Health", "1"),
        ("Purpose", "prefetch"),
        ("X-Remote-User", "alice"),
        ("Proxy-Authorization", "Bearer token-of-alice"),
        ("Cookie", "Authorization=Bearer token-of-alice"),
    ] {
        requests.push(Request::get("/metrics").header(name, value));
    }
    requests.extend(["localhost", "127.0.0.1", "kubernetes.default.svc"].map(|host| Request::get("/metrics").host(host)));
    requests.extend(["OPTIONS", "HEAD", "TRACE", "PROPFIND"].map(|method| Request::new(method, "/metrics")));
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for request in &requests {
            assert_eq!(client.send(request).await.status, 401, "{version:?} {request:?}");
        }
    }
    let mut plain = Client::connect_plain(proxy.insecure()).await;
    for request in &requests {
        assert_eq!(plain.send(request).await.status, 401, "in cleartext: {request:?}");
    }
    assert_eq!((scene.upstream.count(), scene.api.counts()), (0, (0, 0)));
}

/// Whoever names another server reaches none but this program's own upstream.
#[tokio::test]
async fn no_request_chooses_where_it_goes() {
    no_request_chooses(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn no_request_chooses(around: impl AsyncFn(Upstream) -> Scene) {
    let (scene, elsewhere) = (around(echo().await).await, Upstream::start(|_| Reply::ok("elsewhere")).await);
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    let alice = &scene.alice();
    let there = elsewhere.url().trim_start_matches("http://").to_owned();
    for version in BOTH {
        // A host is a name, and the upstream's business.
        let mut client = scene.connect(version, &proxy).await;
        let response = client.send(&Request::get("/in").bearer(alice).host(&there)).await;
        assert_eq!((response.status, response.text().as_str()), (200, "/in"));
        assert_eq!(scene.upstream.last_request().header("host"), Some(there.as_str()));
        for (name, value) in [("X-Forwarded-Host", there.as_str()), ("X-Original-URL", "/other"), ("X-Rewrite-URL", "/other")] {
            let response = client.send(&Request::get("/in").bearer(alice).header(name, value)).await;
            assert_eq!((response.status, response.text().as_str()), (200, "/in"), "{name}");
        }
    }
    let absolute = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {alice}\r\n\r\n");
    for (bytes, status) in [
        (absolute(&format!("http://{there}/in"), "proxy.test"), "400"),
        (absolute("http://proxy.test@other.test/in", "proxy.test"), "400"),
        (absolute(&format!("http://{there}/in"), &there), "200"),
        (absolute("https://proxy.test/in", "proxy.test"), "200"),
        (absolute("file:///etc/passwd", "proxy.test"), "400"),
        (format!("CONNECT {there} HTTP/1.1\r\nHost: {there}\r\nAuthorization: Bearer {alice}\r\n\r\n"), "405"),
    ] {
        for mut client in [scene.connect(Version::H1, &proxy).await].into_iter().chain(scene.connect_plain(&proxy).await) {
            client.wire().send(&bytes).await.unwrap();
            assert_eq!(in_time("the answer", client.wire().read_head()).await.unwrap().unwrap().word(1), status, "{bytes}");
            if status == "200" {
                assert_eq!(scene.upstream.last_request().target(), "/in");
            }
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// Go follows redirects of the API server, of discovery and of key sets.
#[tokio::test]
async fn redirects_of_the_upstream_are_for_the_client() {
    let elsewhere = Upstream::start(|_| Reply::ok("elsewhere")).await;
    let location = format!("{}/there", elsewhere.url());
    let said = location.clone();
    let scene = Scene::answering(move |received| {
        let status = received.target().trim_start_matches('/').parse().unwrap();
        Reply::new(status, &[("Location", &said), ("Refresh", "0; url=/there")], "moved")
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for status in [300, 301, 302, 303, 307, 308] {
            for request in [Request::get(&format!("/{status}")), Request::post(&format!("/{status}"), "body")] {
                let response = client.send(&request.bearer(ALICE)).await;
                assert_eq!((response.status, response.header("location")), (status, Some(location.as_str())));
            }
        }
        // As for an upgrade, which only 101 grants.
        if version == Version::H1 {
            let asking = Request::get("/302").bearer(ALICE).header("Connection", "Upgrade").header("Upgrade", "websocket");
            assert_status(&client.send(&asking).await, 302);
        }
    }
    assert_eq!((elsewhere.connections(), scene.upstream.count()), (0, 2 * 12 + 1));
}

/// Who is asking is said by credentials alone, and who is logged by the socket.
#[tokio::test]
async fn forwarding_headers_change_no_decision_and_no_log() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["-v=2"]).await;
    let forged = |request: Request| {
        let names = ["X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Forwarded-User", "X-Forwarded-Groups"];
        let request = names.iter().fold(request, |request, name| request.header(name, "203.0.113.7"));
        request.header("Forwarded", "for=203.0.113.7").header("X-Forwarded-Proto", "http").header("X-Forwarded-Host", "admin.test")
    };
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        scene.api.forget();
        let path = format!("/{version:?}");
        assert_status(&client.send(&forged(Request::get(&path).bearer(ALICE))).await, 200);
        assert_status(&client.send(&forged(Request::get(&path).bearer(MALLORY))).await, 403);
        let asked = serde_json::to_string(&scene.api.access_specs()).unwrap();
        assert!(asked.contains(&path) && !asked.contains("203.0.113.7") && !asked.contains("admin.test"), "{asked}");
        proxy.line_with(&["not_allowed", "user=\"mallory\"", &path, "peer=\"127.0.0.1:"]).await;
    }
    proxy.assert_silent_about(&["203.0.113.7", "admin.test"]);
}

/// What ends a line or a field for some reader ends the answer here; a page of this program has nothing of the request in it.
#[tokio::test]
async fn no_value_of_an_answer_becomes_a_second_answer() {
    no_second_answer(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn no_second_answer(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(
        Upstream::start(|received| {
            let value = match received.target() {
                "/cr" => "a\rSet-Cookie: forged=1",
                "/nul" => "a\0b",
                "/lf" => "a\n Set-Cookie: forged=1",
                _ => "a\r\n\tSet-Cookie: forged=1",
            };
            Reply::raw(format!("HTTP/1.1 200 OK\r\nX-A: {value}\r\nContent-Length: 0\r\n\r\n"))
        })
        .await,
    )
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for path in ["/cr", "/nul", "/lf", "/folded"] {
            let response = client.send(&Request::get(path).bearer(alice)).await;
            assert_eq!((response.status, response.text().as_str()), (502, ""), "{version:?} {path}");
            assert_eq!(response.header("set-cookie"), None);
        }
        for target in ["/%3Cscript%3E", "/%2e%2e/%3Cscript%3E", "/a/../%3Cscript%3E"] {
            for token in ["token-of-mallory", "token-of-nobody"] {
                let response = client.send(&Request::get(target).bearer(token)).await;
                assert!([400, 401, 403, 307].contains(&response.status));
                assert!(!response.text().contains("script"), "{}", response.text());
                assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
            }
        }
    }
}

/// A name is looked up for each connection, so a server that moves is found, and one that has no address is found when it has.
#[tokio::test]
async fn an_upstream_whose_name_moves_is_followed() {
    let hosts = tempfile::tempdir().unwrap();
    let path = hosts.path().join("hosts").display().to_string();
    let say = |line: &str| std::fs::write(&path, format!("127.0.0.1 localhost\n{line}\n")).unwrap();
    say("");
    let probe = format!("mount --bind {path} /etc/hosts");
    if !std::process::Command::new("unshare").args(["-m", "sh", "-c", &probe]).status().is_ok_and(|status| status.success()) {
        return testkit::parts::skip("no root to give the program an /etc/hosts of its own");
    }
    let scene = Scene::answering(|received| Reply::new(200, &[("Connection", "close")], received.target())).await;
    let port = scene.upstream.address().port();
    let secure = std::net::SocketAddr::from(([127, 0, 0, 1], testkit::process::free_port()));
    let flags = scene.flags(&[format!("--upstream=http://moves.test:{port}"), format!("--secure-listen-address={secure}")]);
    let mut command = vec!["-m".to_owned(), "sh".to_owned(), "-c".to_owned(), format!("{probe} && exec \"$0\" \"$@\"")];
    command.push(testkit::process::binary().display().to_string());
    command.extend(flags);
    let proxy = testkit::process::Proxy::start_other("unshare".as_ref(), &command, Some(secure), None, None).await;
    for (line, status) in [("", 502), ("127.0.0.1 moves.test", 200), ("127.0.0.9 moves.test", 502), ("127.0.0.1 moves.test", 200)] {
        say(line);
        for version in BOTH {
            let response = tokio::time::timeout(Duration::from_secs(15), async {
                scene.connect(version, &proxy).await.send(&Request::get("/in").bearer(ALICE)).await
            });
            assert_eq!(response.await.unwrap().status, status, "{line:?} {version:?}");
        }
    }
    assert!(proxy.is_running());
    proxy.line_with(&["W", "upstream_unreachable", "moves.test cannot be resolved"]).await;
}

/// Go lets the upstream switch, and decides about nothing that follows.
#[tokio::test]
async fn no_request_makes_the_upstream_switch_to_http2() {
    no_switch_to_http2(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn no_switch_to_http2(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(
        Upstream::start(|received| match received.header("upgrade") {
            Some(_) => Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").then_hang(),
            None => Reply::ok("no switch"),
        })
        .await,
    )
    .await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    let alice = &scene.alice();
    for (connection, upgrade) in [
        ("Upgrade, HTTP2-Settings", "h2c"),
        ("upgrade,http2-settings", "H2C"),
        ("Upgrade", "h2c, h2c"),
        ("Upgrade, h2c", "h2c"),
        ("HTTP2-Settings", "h2c"),
        ("h2c", "h2c"),
    ] {
        for mut client in [scene.connect(Version::H1, &proxy).await].into_iter().chain(scene.connect_plain(&proxy).await) {
            let asking = Request::get("/").bearer(alice).header("Connection", connection).header("Upgrade", upgrade);
            let response = client.send(&asking.header("HTTP2-Settings", "AAMAAABkAAQAAP__")).await;
            assert_eq!((response.status, response.text().as_str()), (200, "no switch"), "{connection} {upgrade}");
            let received = scene.upstream.last_request();
            assert_eq!(["upgrade", "http2-settings", "connection"].map(|name| received.header(name)), [None; 3]);
            // What follows on the connection is a request like any other.
            assert_status(&client.send(&Request::get("/").bearer(MALLORY)).await, scene.status_of_mallory());
        }
    }
}
