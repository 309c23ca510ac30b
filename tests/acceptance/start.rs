//! What cannot be served is refused before anything is bound, by the flag's name.

use std::{fs, os::unix::fs::PermissionsExt};

use testkit::{
    certs::Authority,
    process::{Exit, Proxy, free_port},
};
use tokio::net::TcpListener;

use crate::scene::Scene;

/// Fails unless the program ended with 1, served nothing, and said each of these in a line of its own, and no more.
#[track_caller]
fn assert_refused(exit: &Exit, lines: &[&[&str]]) {
    let errors: Vec<&str> = exit.output.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert_eq!((exit.code, exit.signal), (Some(1), None), "{}", exit.output);
    assert_eq!(errors.len(), lines.len(), "{lines:?} and not more in\n{}", exit.output);
    for words in lines {
        let said = errors.iter().any(|error| words.iter().all(|word| error.contains(word)));
        assert!(said, "{words:?} is not in one line of\n{}", exit.output);
    }
    for unwanted in ["Listening", "panicked", "RUST_BACKTRACE"] {
        assert!(!exit.output.contains(unwanted), "{}", exit.output);
    }
}

#[tokio::test]
async fn bad_input_is_refused_by_name() {
    let scene = Scene::new().await;
    let pair = scene.authority.server();
    let garbage = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let folder = scene.folder.path().display().to_string();
    let file = |name: &str, text: &str| scene.write(name, text);
    let (good_chain, good_key) = (file("good.crt", &pair.chain), file("good.key", &pair.key));
    let kubeconfig = fs::read_to_string(scene.path("kubeconfig")).unwrap();
    let broken_kubeconfig = |name: &str, from: &str, to: &str| {
        assert!(kubeconfig.contains(from), "{from} is not in {kubeconfig}");
        file(name, &kubeconfig.replace(from, to))
    };

    let missing = scene.path("missing").display().to_string();
    let empty = file("empty", "");
    let text = file("text", "this is no PEM\n");
    let garbage = file("garbage.pem", garbage);
    let no_certificate = file("no-certificate.pem", no_certificate);
    let half = file("half.pem", &pair.chain[..pair.chain.len() / 2]);
    let other_key = file("other.key", &Authority::new("other").server().key);
    let encrypted = file("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n");

    let mut cases: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for bad in [&missing, &folder, &empty, &text, &garbage, &no_certificate, &half] {
        for (flag, others) in [
            ("--tls-cert-file", vec![format!("--tls-private-key-file={good_key}")]),
            ("--client-ca-file", vec![]),
            ("--upstream-ca-file", vec!["--upstream=https://localhost:1".to_owned()]),
        ] {
            cases.push(([vec![format!("{flag}={bad}")], others].concat(), vec![flag, bad]));
        }
    }
    for bad in [&missing, &folder, &empty, &text, &good_chain, &encrypted] {
        let flags = vec![format!("--tls-cert-file={good_chain}"), format!("--tls-private-key-file={bad}")];
        cases.push((flags, vec!["--tls-private-key-file", bad]));
    }
    let mismatch = vec![format!("--tls-cert-file={good_chain}"), format!("--tls-private-key-file={other_key}")];
    cases.push((mismatch, vec!["--tls-cert-file", &good_chain, &other_key]));

    let kubeconfigs = [
        missing.clone(),
        folder.clone(),
        empty.clone(),
        file("not.yaml", "{[\n"),
        file("scalar.yaml", "just words\n"),
        broken_kubeconfig("no-context", "current-context: test", "current-context: other"),
        broken_kubeconfig("no-current", "current-context: test\n", ""),
        broken_kubeconfig("no-cluster", "{cluster: test,", "{cluster: other,"),
        broken_kubeconfig("no-user", "user: test}}", "user: other}}"),
        broken_kubeconfig("no-server", "http://127.0.0.1", "ftp://127.0.0.1"),
        broken_kubeconfig("no-token", "token: token-of-the-proxy", &format!("tokenFile: {missing}")),
        broken_kubeconfig("no-key", "token: token-of-the-proxy", &format!("client-certificate: {good_chain}, client-key: {text}")),
        broken_kubeconfig("no-ca", "{server: \"http://", &format!("{{certificate-authority: {text}, server: \"https://")),
    ];
    for bad in &kubeconfigs {
        cases.push((vec![format!("--kubeconfig={bad}")], vec!["--kubeconfig", bad]));
    }

    let configs = [
        (missing.clone(), ""),
        (folder.clone(), ""),
        (empty.clone(), "authorization"),
        (file("config-broken", "authorization: [\n"), ":"),
        (file("config-scalar", "words\n"), ""),
        (file("config-other", "kind: Config\n"), "authorization"),
        (file("config-null", "authorization:\n"), "authorization"),
        (file("config-typo", "authorisation: {}\n"), "authorisation"),
        (file("config-typo-within", "authorization:\n  resourceAttribute:\n    resource: pods\n"), "resourceAttribute"),
        (file("config-typo-deep", "authorization:\n  resourceAttributes:\n    resourc: pods\n"), "resourc"),
        (file("config-type", "authorization:\n  resourceAttributes:\n    name: [web]\n"), "name"),
        (
            file("config-static", "authorization:\n  static:\n  - verb: get\n    path: /\n    resourceRequest: true\n"),
            "3:5: authorization.static[0]",
        ),
        (file("config-static-none", "authorization:\n  static:\n  - verb: get\n"), "3:5: authorization.static[0]"),
        (file("config-static-typo", "authorization:\n  static:\n  - verbs: get\n    path: /\n"), "3:5: authorization.static[0].verbs"),
        (
            file("config-static-user", "authorization:\n  static:\n  - user: {nmae: a}\n    path: /\n"),
            "3:12: authorization.static[0].user.nmae",
        ),
    ];
    for (bad, word) in &configs {
        cases.push((vec![format!("--config-file={bad}")], vec!["--config-file", bad, word]));
    }

    for (flag, words) in [
        ("--nope", vec!["--nope"]),
        ("-x", vec!["x"]),
        ("--secure-listen-address=127.0.0.1", vec!["--secure-listen-address", "127.0.0.1"]),
        ("--secure-listen-address=127.0.0.1:99999", vec!["--secure-listen-address", "99999"]),
        ("--secure-listen-address=[::1:0", vec!["--secure-listen-address", "[::1:0"]),
        ("--secure-listen-address=name.invalid:0", vec!["--secure-listen-address", "name.invalid"]),
        ("--secure-listen-address=192.0.2.1:0", vec!["--secure-listen-address", "192.0.2.1"]),
        ("--insecure-listen-address=1.2.3:x", vec!["--insecure-listen-address", "1.2.3:x"]),
        ("--proxy-endpoints-port=70000", vec!["--proxy-endpoints-port", "70000"]),
        ("--proxy-endpoints-port=-1", vec!["--proxy-endpoints-port", "-1"]),
        ("--upstream=ftp://127.0.0.1:1/", vec!["--upstream", "ftp://127.0.0.1:1/"]),
        ("--upstream=127.0.0.1:8080", vec!["--upstream", "127.0.0.1:8080"]),
        ("--upstream=", vec!["--upstream"]),
        ("--upstream=http://", vec!["--upstream"]),
        ("--tls-min-version=TLS13", vec!["--tls-min-version", "TLS13"]),
        ("--tls-cipher-suites=AES128-SHA", vec!["--tls-cipher-suites", "AES128-SHA"]),
        ("--tls-curve-preferences=23,30", vec!["--tls-curve-preferences", "30", "4588 (X25519MLKEM768)"]),
        ("--tls-reload-interval=5", vec!["--tls-reload-interval", "5"]),
        ("--http2-max-size=-1", vec!["--http2-max-size", "-1"]),
        ("--http2-disable=perhaps", vec!["--http2-disable", "perhaps"]),
        ("--idle-timeout=0", vec!["--idle-timeout"]),
        ("--shutdown-grace=-1s", vec!["--shutdown-grace"]),
        ("--max-header-bytes=10", vec!["--max-header-bytes"]),
        ("--auth-header-user-field-name=a b", vec!["--auth-header-user-field-name"]),
        ("--auth-header-groups-field-name=Connection", vec!["--auth-header-groups-field-name"]),
        ("--auth-token-audiences=a,,b", vec!["--auth-token-audiences"]),
        ("--kube-api-qps=fast", vec!["--kube-api-qps", "fast"]),
        ("--log-format=xml", vec!["--log-format", "xml"]),
        ("-v=loud", vec!["-v", "loud"]),
        ("serve", vec!["serve"]),
    ] {
        cases.push((vec![flag.to_owned()], words));
    }

    for (flags, words) in &cases {
        let exit = scene.run(flags).await;
        assert_refused(&exit, &[words]);
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_refused_by_name() {
    let scene = Scene::new().await;
    let path = scene.write("client-ca.crt", scene.authority.pem());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        // Root reads everything.
        return;
    }
    assert_refused(&scene.run(&[format!("--client-ca-file={path}")]).await, &[&["--client-ca-file", &path, "denied"]]);
}

#[tokio::test]
async fn half_a_pair_is_refused() {
    let scene = Scene::new().await;
    let none: &[&str] = &[];
    for left_out in ["--tls-cert-file", "--tls-private-key-file"] {
        let exit = Proxy::run(&scene.flags_without(&[left_out], none)).await;
        assert_refused(&exit, &[&["--tls-cert-file", "--tls-private-key-file", "needs"]]);
    }
}

#[tokio::test]
async fn what_must_be_given_is_asked_for() {
    let scene = Scene::new().await;
    let none: &[&str] = &[];
    let without_listener = Proxy::run(&scene.flags_without(&["--secure-listen-address"], none)).await;
    assert_refused(&without_listener, &[&["--secure-listen-address"]]);
    let without_upstream = Proxy::run(&scene.flags_without(&["--upstream"], none)).await;
    assert_refused(&without_upstream, &[&["--upstream"]]);
    let without_kubeconfig = Proxy::run(&scene.flags_without(&["--kubeconfig"], none)).await;
    assert_refused(&without_kubeconfig, &[&["--kubeconfig", "pod"]]);
    let with_nothing = Proxy::run(none).await;
    assert_refused(&with_nothing, &[&["--secure-listen-address"], &["--upstream"], &["--kubeconfig"]]);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_start_is_said_at_once() {
    let scene = Scene::new().await;
    let missing = scene.path("missing").display().to_string();
    let flags = [
        "--nope".to_owned(),
        "--oidc-issuer=http://issuer.test".to_owned(),
        "--oidc-sign-alg=HS256".to_owned(),
        format!("--oidc-ca-file={missing}"),
        "--upstream=ftp://x".to_owned(),
        "--tls-min-version=old".to_owned(),
        format!("--client-ca-file={missing}"),
        format!("--config-file={missing}"),
        format!("--kubeconfig={missing}"),
        "argument".to_owned(),
    ];
    let lines: &[&[&str]] = &[
        &["--nope"],
        &["--oidc-issuer", "http://issuer.test", "https"],
        &["--oidc-clientID"],
        &["--oidc-sign-alg", "HS256"],
        &["--oidc-ca-file", &missing],
        &["--upstream", "ftp://x"],
        &["--tls-min-version", "old"],
        &["--client-ca-file", &missing],
        &["--config-file", &missing],
        &["--kubeconfig", &missing],
        &["argument"],
    ];
    assert_refused(&scene.run(&flags).await, lines);
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_and_no_listener_is_half_started() {
    let scene = Scene::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (taken, free) = (taken.local_addr().unwrap().to_string(), format!("127.0.0.1:{}", free_port()));
    for (flag, other) in
        [("--secure-listen-address", "--insecure-listen-address"), ("--insecure-listen-address", "--secure-listen-address")]
    {
        let exit = scene.run(&[format!("{flag}={taken}"), format!("{other}={free}")]).await;
        assert_refused(&exit, &[&[flag, &taken]]);
    }
    let port = taken.rsplit(':').next().unwrap();
    let exit = scene.run(&[format!("--proxy-endpoints-port={port}"), format!("--secure-listen-address={free}")]).await;
    assert_refused(&exit, &[&["--proxy-endpoints-port", &taken]]);
    let both = scene.run(&[format!("--secure-listen-address={taken}"), format!("--insecure-listen-address={taken}")]).await;
    assert_refused(&both, &[&["--secure-listen-address", &taken], &["--insecure-listen-address", &taken]]);
    assert_eq!(scene.api.server().connections(), 0, "a start that fails asks nobody");
}

#[tokio::test]
async fn a_password_in_the_upstreams_url_is_refused_and_not_repeated() {
    let scene = Scene::new().await;
    let exit = scene.run(&["--upstream=http://user:hush@127.0.0.1:1/"]).await;
    assert_refused(&exit, &[&["--upstream", "password"]]);
    assert!(!exit.output.contains("hush"), "{}", exit.output);
}

#[tokio::test]
async fn what_is_wider_than_in_go_is_named_at_the_start() {
    let scene = Scene::new().await;
    let config = scene.write("config.yaml", "authorization:\n  resourceAttributes:\n    resource: pods\n    verb: list\n");
    let proxy = scene.proxy(&[format!("--config-file={config}"), "--livez-path=/livez".to_owned()]).await;
    proxy.line_with(&["W", "More passes than in the Go program", r#"rows="unclean-path-unread, livez-path, verb-honoured""#]).await;
}
