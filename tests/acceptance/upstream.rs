//! An upstream over TLS.

use std::process::Command;

use testkit::{
    certs::{Authority, Subject},
    client::Request,
    process::{Process, binary},
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
}

#[tokio::test]
async fn an_upstream_ca_without_tls_is_warned_about() {
    let scene = Scene::new().await;
    let ca = scene.write("upstream.crt", scene.authority.pem());
    let proxy = scene.proxy(&[format!("--upstream-ca-file={ca}")]).await;
    proxy.line_with(&["W", "--upstream-ca-file", "without effect"]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

/// Go sends the request, with the client's Host, to the proxy of the environment.
#[tokio::test]
async fn the_proxy_of_the_environment_is_not_used_for_the_upstream() {
    let other = Upstream::start(|_| Reply::ok("the wrong one")).await;
    let scene = Scene::new().await;
    let flags = scene.flags(&["--upstream=http://upstream.invalid:80"]);
    let variables = ["HTTP_PROXY", "http_proxy"].map(|name| (name, other.url()));
    let no_proxy = ("NO_PROXY", "127.0.0.1".to_owned());
    let process = Process::spawn(Command::new(binary()).args(&flags).envs(variables).envs([no_proxy]));
    process.line_with(&["W", "HTTP_PROXY", "not used"]).await;
    let line = process.line_with(&["Listening", "secure"]).await;
    let address = line.split('"').find_map(|word| word.parse::<std::net::SocketAddr>().ok()).unwrap();
    let mut client = testkit::client::Client::connect(testkit::client::Version::H1, address, &scene.authority.tls()).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 502);
    assert_eq!(other.count(), 0);
}
