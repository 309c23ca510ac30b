//! The start, what the program says of itself, and its end.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

use rustls::{
    crypto::aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as AES128, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as AES256,
    },
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use testkit::{
    certs::Authority,
    client::{Client, Request, Version},
    process::{Process, Proxy, assert_absent, oidc_binary},
    tls::Tls,
    upstream::{Reply, Upstream},
    wait::{Latch, in_time, wait_for},
};

use super::{OWN, World};
use crate::scene::assert_status;

pub(super) async fn probe(proxy: &Proxy, method: &str, target: &str) -> (u16, String) {
    let response = Client::connect_plain(proxy.endpoints()).await.send(&Request::new(method, target)).await;
    (response.status, response.text())
}

#[tokio::test]
async fn probes_tell_of_the_issuer_and_of_the_end() {
    let latch = Latch::default();
    let reply = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n").wait(&latch).send("1\r\nb\r\n0\r\n\r\n");
    let authority = Authority::new("all");
    let api = Upstream::start_tls(&authority.server(), move |_| reply.clone()).await;
    let world = World::around(authority, api).await;
    world.issuer.fault(Some(Reply::new(503, &[], "")));
    let proxy = Proxy::start_oidc(&world.flags(&["--shutdown-grace=30s"])).await;
    proxy.line_with(&["The issuer's keys cannot be read"]).await;
    assert_eq!(probe(&proxy, "GET", "/live").await, (200, "{}\n".to_owned()));
    assert_eq!(probe(&proxy, "GET", "/ready").await, (503, "{}\n".to_owned()));
    let (status, full) = probe(&proxy, "GET", "/ready?full=1").await;
    assert!(status == 503 && full.starts_with("{\n    \"secure serving\": \"") && full.contains("503"), "{full}");
    assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 401);

    world.issuer.fault(None);
    proxy.line_with(&["The issuer's keys are in use"]).await;
    assert_eq!(probe(&proxy, "GET", "/ready").await, (200, "{}\n".to_owned()));
    assert_eq!(probe(&proxy, "GET", "/ready?full=1").await, (200, "{\n    \"secure serving\": \"OK\"\n}\n".to_owned()));
    for (method, target, status) in [("POST", "/ready", 405), ("HEAD", "/live", 405), ("GET", "/", 404), ("POST", "/metrics", 405)] {
        assert_eq!(probe(&proxy, method, target).await.0, status, "{method} {target}");
    }
    world.issuer.fault(Some(Reply::new(503, &[], "")));
    assert_eq!(probe(&proxy, "GET", "/ready").await.0, 200, "the keys that it had still count");

    let mut client = world.connect(Version::H2, &proxy).await;
    let mut exchange = client.open(&Request::get("/").bearer(&world.token(json!({})))).await.unwrap();
    assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
    proxy.signal("TERM");
    wait_for("503 of /ready", async || match probe(&proxy, "GET", "/ready").await.0 {
        503 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(probe(&proxy, "GET", "/live").await.0, 200);
    latch.open();
    assert_eq!(in_time("a piece", exchange.next()).await.unwrap().as_deref(), Some(&b"a"[..]));
    assert_eq!(in_time("the other piece", exchange.next()).await.unwrap().as_deref(), Some(&b"b"[..]));
    assert_eq!(proxy.exit().await.code, Some(0));
}

#[tokio::test]
async fn bind_address_and_versions_are_obeyed() {
    let world = World::new().await;
    let flags = ["--bind-address=127.0.0.2", "--tls-min-version=VersionTLS13", "--disable-http2-serving"];
    let proxy = world.proxy(&flags).await;
    assert_eq!(proxy.secure().ip().to_string(), "127.0.0.2");
    Client::try_connect(Version::H2, proxy.secure(), &world.authority.tls()).await.expect_err("HTTP/2 is off");
    Client::try_connect(Version::H1, proxy.secure(), &Tls::new(&[&TLS12], None, None)).await.expect_err("TLS 1.2 is off");
    assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 200);

    let flags =
        ["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "--http2-max-streams-per-connection=7", "--bind-address=::1"];
    let proxy = world.proxy(&flags).await;
    assert_eq!(proxy.secure().ip().to_string(), "::1");
    for (suite, is_offered) in [(AES128, false), (AES256, true)] {
        let tls = Tls::new(&[&TLS12], Some(&[suite]), None);
        assert_eq!(Client::try_connect(Version::H1, proxy.secure(), &tls).await.is_ok(), is_offered, "{suite:?}");
    }
    Client::try_connect(Version::H1, proxy.secure(), &Tls::new(&[&TLS13], None, None)).await.expect("TLS 1.3");
}

#[tokio::test]
async fn flags_of_a_client_say_where_the_api_server_is() {
    let world = World::new().await;
    let (server, ca) = (format!("--server={}/base", world.api.url()), format!("--certificate-authority={}", world.path("ca.pem")));
    let with = |more: &[&str]| world.flags_of_serving().into_iter().chain(more.iter().map(|flag| (*flag).to_owned())).collect::<Vec<_>>();
    let proxy = world.started(&with(&["--token=hush", &server, &ca, "-v=1"])).await;
    let response = world.send(&proxy, json!({}), Request::get("/api")).await;
    assert_eq!((response.status, response.text().as_str()), (200, "/base/api"));
    assert_eq!(world.api.last_request().header("authorization"), Some("Bearer hush"));
    proxy.assert_silent_about(&["hush"]);

    // A certificate, and the one that takes its place.
    let (first, second) = (world.authority.client("first", &[]), world.authority.client("second", &[]));
    let (certificate, key) = first.write(world.folder.path(), "own");
    let (certificate, key) = (format!("--client-certificate={}", certificate.display()), format!("--client-key={}", key.display()));
    let proxy = world.started(&with(&[&certificate, &key, &server, &ca])).await;
    let presented = async || {
        world.api.drop_connections();
        assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 200);
        assert_eq!(world.api.last_request().header("authorization"), None);
        world.api.last_request().certificate
    };
    let leaf = |pair: &testkit::certs::Pair| Some(pair.certificates()[0].to_vec());
    assert_eq!(presented().await, leaf(&first));
    second.write(world.folder.path(), "own");
    proxy.line_with(&["Files have changed and are in use", "client-certificate"]).await;
    assert_eq!(presented().await, leaf(&second));

    let kubeconfig = format!("--kubeconfig={}", world.path("kubeconfig"));
    let proxy = world.started(&with(&[&kubeconfig, "--context=other", "--cluster=test", "--user=test"])).await;
    assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 200);
    for (flags, why) in [
        (&[&kubeconfig[..], "--context=other"][..], "\"none\" does not exist"),
        (&[&kubeconfig, "--user=nobody"], "\"nobody\" does not exist"),
        (&["-n=x"], "has no server"),
        (&[&server, &ca], "neither a token, a password nor a certificate"),
        (&[&server, "--token=hush", "--certificate-authority=/nowhere"], "/nowhere"),
        (&[&server, "--token=hush", &ca, "--insecure-skip-tls-verify"], "one or the other"),
        (&["--token=hush"], "has no server"),
        (&[], "no --kubeconfig is given"),
    ] {
        let exit = Proxy::run_oidc(&with(flags)).await;
        assert!(exit.code == Some(1) && exit.output.contains(why), "{flags:?}: {}", exit.output);
        assert_absent(&exit.output, &["hush", OWN]);
    }
}

#[tokio::test]
async fn an_api_server_that_nobody_vouches_for_is_believed_if_it_is_said() {
    let world = World::new().await;
    let url = world.api.url();
    let get = async |proxy: &Proxy| world.send(proxy, json!({}), Request::get("/")).await.status;
    world.write_kubeconfig(&format!("server: '{url}'"), "username: a, password: hush");
    assert_eq!(get(&world.proxy(&[]).await).await, 502);
    let proxy = world.proxy(&["--insecure-skip-tls-verify"]).await;
    proxy.line_with(&["insecure-skip-tls-verify", "can act as everybody"]).await;
    assert_eq!(get(&proxy).await, 200);
    assert_eq!(world.api.last_request().header("authorization"), Some("Basic YTpodXNo"));
    proxy.assert_silent_about(&["hush", "YTpodXNo"]);

    world.write_kubeconfig(&format!("server: '{url}', insecure-skip-tls-verify: true"), "token: hush");
    assert_eq!(get(&world.proxy(&[]).await).await, 200);
    // As in client-go: an authority on the command line is meant to be needed.
    std::fs::write(world.path("other.pem"), Authority::new("other").pem()).unwrap();
    assert_eq!(get(&world.proxy(&[&format!("--certificate-authority={}", world.path("other.pem"))]).await).await, 502);
}

/// As an API server that is believed whoever vouches for it.
#[tokio::test]
async fn an_api_server_in_cleartext_is_warned_about() {
    let (world, api) = (World::new().await, Upstream::start(|_| Reply::ok("")).await);
    let proxy = world.proxy(&[&format!("--server={}", api.url())]).await;
    proxy.line_with(&["W", "spoken to in cleartext"]).await;
    assert_eq!(world.send(&proxy, json!({}), Request::get("/")).await.status, 200);
    let received = api.only_request();
    assert!(received.header("impersonate-user").is_some());
    assert_eq!(received.header("authorization"), None, "as in client-go");
}

#[tokio::test]
async fn an_argument_that_is_no_text_ends_the_start() {
    let argument = OsStr::from_bytes(b"--oidc-username-prefix=a\xffb");
    let output = Command::new(oidc_binary()).args(World::new().await.flags(&[])).arg(argument).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("is not UTF-8"), "{said}");
}

#[tokio::test]
async fn without_a_ca_file_the_systems_authorities_count() {
    let world = World::new().await;
    let without = |names: &[&str]| {
        let flags = world.flags(&["--bind-address=127.0.0.1"]).into_iter();
        flags.filter(|flag| !names.iter().any(|name| flag.starts_with(name))).collect::<Vec<_>>()
    };
    let flags = without(&["--oidc-ca-file", "--tls-cert-file", "--tls-private-key-file"]);
    let proxy = Process::spawn(Command::new(oidc_binary()).args(&flags).env("SSL_CERT_FILE", world.path("ca.pem")));
    proxy.line_with(&["a self-signed certificate is made"]).await;
    proxy.line_with(&["The issuer's keys are in use"]).await;
    let exit = Proxy::run_oidc(&[without(&["--oidc-ca-file"]), vec!["--oidc-ca-file=/nowhere".to_owned()]].concat()).await;
    assert!(exit.code == Some(1) && exit.output.contains("--oidc-ca-file: /nowhere"), "{}", exit.output);
}

#[tokio::test]
async fn a_kubeconfig_that_needs_what_is_not_built_is_refused() {
    let world = World::new().await;
    let (url, ca) = (world.api.url(), world.path("ca.pem"));
    for (cluster, user, why) in [
        (
            format!("server: '{url}', certificate-authority: {ca}"),
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: 'true', interactiveMode: Never}",
            "a user with exec",
        ),
        (format!("server: '{url}', certificate-authority: {ca}"), "token: hush, as: root", "a user who acts as another"),
    ] {
        world.write_kubeconfig(&cluster, user);
        let exit = Proxy::run_oidc(&world.flags(&[])).await;
        assert!(exit.code == Some(1) && exit.output.contains(why) && exit.output.contains("not supported yet"), "{}", exit.output);
        assert_absent(&exit.output, &["hush"]);
    }
    // With everything in one file.
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    world.write_kubeconfig(&format!("server: '{url}', certificate-authority-data: {}", encode(world.authority.pem())), "token: inline");
    let proxy = world.proxy(&[]).await;
    assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 200);
    assert_eq!(world.api.last_request().header("authorization"), Some("Bearer inline"));
}

#[tokio::test]
async fn what_the_program_says_of_itself() {
    let exit = Proxy::run_oidc(&["--version"]).await;
    assert!(exit.code == Some(0) && exit.output.starts_with("kube-oidc-proxy version: version.Info{GitVersion:\"v"), "{}", exit.output);
    let exit = Proxy::run_oidc(&["-h"]).await;
    assert!(exit.code == Some(0) && exit.output.contains("-P, --readiness-probe-port int (default 8080)"), "{}", exit.output);
    let exit = Proxy::run_oidc(&["--audit-log-path=-", "--oidc-client-id=x", "--secure-port=8080"]).await;
    for error in [
        "Error: --audit-log-path is not supported yet",
        "Error: oidc-issuer-url and oidc-client-id should be specified together",
        "Error: unable to securely serve on port 8080 (used by readiness probe)",
    ] {
        assert!(exit.code == Some(1) && exit.output.contains(error), "{}", exit.output);
    }
    let world = World::new().await;
    let proxy = world.proxy(&["-v=5", "--log-format=json", "--alsologtostderr", "--flush-interval=1s"]).await;
    let token = world.token(json!({}));
    assert_status(&world.connect(Version::H1, &proxy).await.send(&Request::get("/").bearer(&token)).await, 200);
    proxy.line_with(&["without effect", "--alsologtostderr, --flush-interval"]).await;
    proxy.line_with(&["FLAG: --oidc-username-claim="]).await;
    assert!(proxy.lines().iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", proxy.output());
    proxy.assert_silent_about(&[&token, OWN]);
}
