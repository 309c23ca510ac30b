//! A proxy between here and the upstream, as the environment names it.

use std::process::Command;

use testkit::{
    certs::{Authority, Subject},
    client::Request,
    process::{Process, Proxy, assert_absent, binary},
    upstream::{Reply, Session, Upstream},
};

use crate::scene::{ALICE, BOTH, FORGED, Scene, assert_status};

/// `Proxy-Authorization` of `user:hu%73h` in a URL.
const CREDENTIALS: &str = "Basic dXNlcjpodXNo";

#[tokio::test]
async fn a_proxy_is_told_where_the_upstream_is_and_not_where_the_client_says() {
    let scene = Scene::new().await;
    let flags = scene.flags(&["--upstream=http://upstream.invalid:81/base", "-v=5"]);
    let url = format!("http://user:hu%73h@{}", scene.upstream.address());
    let proxy = Proxy::start_with(&flags, &[("HTTP_PROXY", url), ("NO_PROXY", "127.0.0.1".to_owned())]).await;
    proxy.line_with(&["I", "proxy", &scene.upstream.address().to_string()]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for host in ["proxy.test", "elsewhere.test:8080"] {
            let request = Request::get("/a?b").host(host).bearer(ALICE).header("Proxy-Authorization", "Basic eDp5");
            assert_status(&client.send(&request).await, 200);
            let received = scene.upstream.last_request();
            assert_eq!(received.target(), "http://upstream.invalid:81/base/a?b");
            let told = ["host", "proxy-authorization", "authorization"].map(|name| received.header(name));
            assert_eq!(told, [Some("upstream.invalid:81"), Some(CREDENTIALS), None]);
        }
        assert_status(&client.send(&Request::get("/").bearer(FORGED)).await, 401);
    }
    assert_eq!(scene.upstream.count(), 4);
    assert_absent(&proxy.output(), &["hush", "hu%73h", CREDENTIALS]);
}

#[tokio::test]
async fn an_upstream_over_tls_is_reached_through_a_tunnel() {
    let (authority, other) = (Authority::new("upstream"), Authority::new("other"));
    let subject = Subject::server(&["upstream.invalid"]);
    let upstream = Upstream::start_tls(&authority.issue(&subject), |_| Reply::ok("over TLS")).await;
    let wrong = Upstream::start_tls(&other.issue(&subject), |_| Reply::ok("the wrong one")).await;
    let (tunnels, astray) = (Upstream::start_tunnels(upstream.address()).await, Upstream::start_tunnels(wrong.address()).await);
    let scene = Scene::new().await;
    let ca = scene.write("upstream.crt", authority.pem());
    let flags = scene.flags(&["-v=5".to_owned(), "--upstream=https://upstream.invalid".to_owned(), format!("--upstream-ca-file={ca}")]);
    let url = tunnels.url().replace("http://", "http://user:hu%73h@");
    let proxy = Proxy::start_with(&flags, &[("https_proxy", url)]).await;
    for version in BOTH {
        let response = scene.connect(version, &proxy).await.send(&Request::get("/a").host("client.test").bearer(ALICE)).await;
        assert_status(&response, 200);
        let received = upstream.last_request();
        assert_eq!((received.target(), received.header("host")), ("/a", Some("client.test")));
        assert_eq!(received.header("proxy-authorization"), None);
    }
    let asked = tunnels.last_request();
    assert_eq!((asked.method(), asked.target()), ("CONNECT", "upstream.invalid:443"));
    assert_eq!([asked.header("host"), asked.header("proxy-authorization")], [Some("upstream.invalid:443"), Some(CREDENTIALS)]);
    assert_absent(&proxy.output(), &["hush", "hu%73h", CREDENTIALS]);
    // Wherever a tunnel leads, nobody else can be the upstream.
    let proxy = Proxy::start_with(&flags, &[("HTTPS_PROXY", astray.url())]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 502);
    proxy.line_with(&["W", "upstream_unreachable", "certificate"]).await;
    assert_eq!((astray.count(), wrong.count()), (1, 0));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_fault_of_the_way_to_the_upstream() {
    let refusing = Upstream::start_raw(async |mut session: Session| {
        session.read_head().await;
        session.answer(Reply::new(407, &[("Proxy-Authenticate", "Basic")], "who are you")).await;
    })
    .await;
    let scene = Scene::new().await;
    let flags = scene.flags(&["--upstream=https://upstream.invalid"]);
    let proxy = Proxy::start_with(&flags, &[("HTTPS_PROXY", refusing.url())]).await;
    let response = scene.get(&proxy, "/", ALICE).await;
    assert_status(&response, 502);
    assert_eq!((response.text().as_str(), response.header("proxy-authenticate")), ("", None));
    proxy.line_with(&["W", "upstream_unreachable", "407"]).await;
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_refused_by_name() {
    let scene = Scene::new().await;
    for (upstream, variables, words) in [
        ("http://upstream.invalid", &[("HTTP_PROXY", "socks5://user:hush@proxy")][..], &["HTTP_PROXY", "scheme"][..]),
        ("https://upstream.invalid", &[("https_proxy", "https://user:hush@proxy")], &["https_proxy", "scheme"]),
        ("http://upstream.invalid", &[("http_proxy", "http://user:hush@a b")], &["http_proxy", "URL"]),
        (
            "http://upstream.invalid",
            &[("HTTP_PROXY", "http://user:hush@proxy"), ("REQUEST_METHOD", "GET")],
            &["HTTP_PROXY", "REQUEST_METHOD"],
        ),
    ] {
        let flags = scene.flags(&[format!("--upstream={upstream}")]);
        let exit = Process::spawn(Command::new(binary()).args(&flags).envs(variables.iter().copied())).exit().await;
        assert!(exit.code == Some(1) && words.iter().all(|word| exit.output.contains(word)), "{variables:?}: {}", exit.output);
        assert_absent(&exit.output, &["hush"]);
    }
    // Nobody needs it.
    let flags = scene.flags::<&str>(&[]);
    let proxy =
        Proxy::start_with(&flags, &[("HTTP_PROXY", "socks5://proxy".to_owned()), ("HTTPS_PROXY", "socks5://proxy".to_owned())]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}
