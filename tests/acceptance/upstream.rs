//! An upstream over TLS.

use testkit::{
    certs::{Authority, Subject},
    client::Request,
    upstream::{Reply, Upstream},
    wait::wait_for,
};

use crate::scene::{ALICE, BOTH, Scene, assert_status};

#[tokio::test]
async fn an_upstream_over_tls_must_be_vouched_for() {
    let (right, wrong) = (Authority::new("upstream"), Authority::new("upstream"));
    let answer = |_: &_| Reply::ok("over TLS");
    let good = Upstream::start_tls(&right.intermediate("between").server(), answer).await;
    let expired = Upstream::start_tls(&right.issue(&Subject::server(&["localhost"]).expired()), answer).await;
    let other_name = Upstream::start_tls(&right.issue(&Subject::server(&["elsewhere"])), answer).await;
    let scene = Scene::new().await;
    let (right_ca, wrong_ca) = (scene.write("right.crt", right.pem()), scene.write("wrong.crt", wrong.pem()));
    for (upstream, host, ca, status) in [
        (&good, "localhost", Some(&right_ca), 200),
        (&good, "127.0.0.1", Some(&right_ca), 200),
        (&good, "localhost", Some(&wrong_ca), 502),
        (&good, "localhost", None, 502),
        (&expired, "localhost", Some(&right_ca), 502),
        (&other_name, "localhost", Some(&right_ca), 502),
    ] {
        let mut flags = vec![format!("--upstream={}", upstream.url().replace("localhost", host))];
        flags.extend(ca.map(|ca| format!("--upstream-ca-file={ca}")));
        let proxy = scene.proxy(&flags).await;
        for version in BOTH {
            let response = scene.connect(version, &proxy).await.send(&Request::get("/").bearer(ALICE).host("client.test")).await;
            assert_eq!(response.status, status, "{flags:?}: {}", proxy.output());
        }
        match status {
            200 => assert_eq!(upstream.take_requests().pop().unwrap().header("host"), Some("client.test")),
            _ => drop(proxy.line_with(&["W", "upstream_unreachable", "certificate"]).await),
        }
        assert_eq!([&good, &expired, &other_name].map(|upstream| upstream.count()), [0; 3]);
    }
}

#[tokio::test]
async fn a_new_upstream_ca_is_followed() {
    let (right, wrong) = (Authority::new("upstream"), Authority::new("upstream"));
    let upstream = Upstream::start_tls(&right.server(), |_| Reply::new(200, &[("Connection", "close")], "")).await;
    let scene = Scene::new().await;
    let ca = scene.write("upstream.crt", wrong.pem());
    let proxy = scene.proxy(&[format!("--upstream={}", upstream.url()), format!("--upstream-ca-file={ca}")]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 502);
    scene.write("upstream.crt", right.pem());
    wait_for("200 with the right authority", async || match scene.get(&proxy, "/", ALICE).await.status {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
    scene.write("upstream.crt", "broken");
    proxy.line_with(&["E", "--upstream-ca-file", "stays in use"]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    // No session lets it in either.
    scene.write("upstream.crt", wrong.pem());
    wait_for("502 with the wrong authority", async || match scene.get(&proxy, "/", ALICE).await.status {
        502 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn an_upstream_ca_without_tls_is_warned_about() {
    let scene = Scene::new().await;
    let ca = scene.write("upstream.crt", scene.authority.pem());
    let proxy = scene.proxy(&[format!("--upstream-ca-file={ca}")]).await;
    proxy.line_with(&["W", "--upstream-ca-file", "without effect"]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

#[tokio::test]
async fn an_upstream_is_shown_the_client_certificate_of_the_moment() {
    let (servers, clients) = (Authority::new("upstream"), Authority::new("clients"));
    let upstream = Upstream::start_tls(&servers.server(), |_| Reply::new(200, &[("Connection", "close")], "")).await;
    let scene = Scene::new().await;
    let ca = scene.write("upstream.crt", servers.pem());
    let shown = |name: &str| clients.issue(&Subject::server(&[name]));
    let (first, second) = (shown("first"), shown("second"));
    let (certificate, key) = first.write(scene.folder.path(), "shown");
    let flags = [
        format!("--upstream={}", upstream.url()),
        format!("--upstream-ca-file={ca}"),
        format!("--upstream-client-cert-file={}", certificate.display()),
        format!("--upstream-client-key-file={}", key.display()),
    ];
    let proxy = scene.proxy(&flags).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    let before = upstream.only_request().certificate.expect("a certificate is shown");
    second.write(scene.folder.path(), "shown");
    let after = wait_for("another certificate", async || {
        scene.get(&proxy, "/", ALICE).await;
        let shown = upstream.last_request().certificate;
        shown.filter(|shown| *shown != before).ok_or("the first is shown")
    })
    .await;
    std::fs::write(&key, "broken").unwrap();
    proxy.line_with(&["E", "--upstream-client-cert-file", "stays in use"]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    assert_eq!(upstream.last_request().certificate, Some(after));
}

#[tokio::test]
async fn a_client_certificate_for_the_upstream_needs_its_key_and_no_ca() {
    let scene = Scene::new().await;
    let (certificate, key) = scene.authority.server().write(scene.folder.path(), "shown");
    let certificate = format!("--upstream-client-cert-file={}", certificate.display());
    let key = format!("--upstream-client-key-file={}", key.display());
    for (flag, missing) in [(&certificate, "needs --upstream-client-key-file"), (&key, "needs --upstream-client-cert-file")] {
        let exit = scene.run(&[flag]).await;
        assert_eq!(exit.code, Some(1), "{}", exit.output);
        assert!(exit.output.contains(missing), "{}", exit.output);
    }
    let proxy = scene.proxy(&[certificate, key]).await;
    proxy.line_with(&["W", "--upstream-client-cert-file", "without effect"]).await;
}
