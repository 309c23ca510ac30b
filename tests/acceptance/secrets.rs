//! What no output may hold.

use serde_json::json;
use testkit::{
    api::{Api, Credential, Fault, Kind},
    certs::{Authority, Pair},
    client::{Client, Request, Version},
    process::{Proxy, assert_absent},
    tls::Tls,
    upstream::Reply,
};

use crate::scene::{BOTH, Scene};

const TOKEN: &str = "hush-client-token-7c1f";
const REJECTED: &str = "hush-rejected-token-e27a";
const NULL_TOKEN: &str = "hush-token-quoted-by-the-api-0b5d";
const OWN_TOKEN: &str = "hush-token-of-the-proxy-91c3";
const INLINE: &str = "hush-inline-token-of-kubeconfig-4a77";
const BASIC: &str = "aHVzaC1iYXNpYy1jcmVkZW50aWFs";
const COOKIE: &str = "hush-cookie-55d0";
const QUERY: &str = "hush-query-token-3fe8";

/// The middle of a key, in the PEM form in which it stands in a file.
fn middle(pair: &Pair) -> String {
    pair.key.lines().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn no_secret_is_in_any_output() {
    let authority = Authority::new("all");
    let (own, serving, client) = (authority.client("proxy", &[]), authority.server(), authority.client("carol", &[]));
    let keys = [middle(&own), middle(&serving), middle(&client)];
    let mut secrets = vec![TOKEN, REJECTED, NULL_TOKEN, OWN_TOKEN, INLINE, BASIC, COOKIE];
    secrets.extend(keys.iter().map(String::as_str));
    let tls_api = Api::start_tls(&authority.server()).await;
    let scene = Scene::new().await;
    let token_file = scene.write("own.token", OWN_TOKEN);
    let client_ca = scene.write("client-ca.crt", authority.pem());
    let (chain, key) = serving.write(scene.folder.path(), "hush");
    for format in ["text", "json"] {
        for (api, credential) in [
            (&scene.api, Credential::Token(INLINE)),
            (&scene.api, Credential::TokenFile(token_file.as_ref())),
            (&tls_api, Credential::Certificate(&own)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let kubeconfig = api.kubeconfig(folder.path(), Some(authority.pem()), credential);
            api.user_info(TOKEN, json!({ "username": "alice", "groups": ["devs"] }), &[]);
            api.allow_all();
            let proxy = scene
                .proxy_with_endpoints(&[
                    "-v=10",
                    &format!("--log-format={format}"),
                    &format!("--kubeconfig={}", kubeconfig.display()),
                    &format!("--client-ca-file={client_ca}"),
                    &format!("--tls-cert-file={}", chain.display()),
                    &format!("--tls-private-key-file={}", key.display()),
                    "--tls-reload-interval=20ms",
                    "--auth-header-fields-enabled",
                ])
                .await;
            exercise(&scene, api, &proxy, &authority, &client).await;
            std::fs::write(&key, serving.key.replace("-----END", "!!!!\n-----END")).unwrap();
            proxy.line_with(&["--tls-private-key-file", "stays in use"]).await;
            serving.write(scene.folder.path(), "hush");
            let metrics = Request::get("/metrics").bearer(TOKEN);
            let metrics = Client::connect(Version::H1, proxy.endpoints(), &Tls::default()).await.send(&metrics).await;
            assert_eq!(metrics.status, 200);
            assert_absent(&metrics.text(), &secrets);
            assert_absent(&metrics.text(), &[QUERY]);
            proxy.signal("TERM");
            let exit = proxy.exit().await;
            assert_absent(&exit.output, &secrets);
            assert_absent(&exit.output, &[QUERY]);
            assert!(exit.output.lines().count() > 50, "there is something to look through: {}", exit.output);
        }
    }
}

/// Everything that may make the proxy speak of a request.
async fn exercise(scene: &Scene, api: &Api, proxy: &Proxy, authority: &Authority, certificate: &Pair) {
    let quoting = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {},
        "status": { "error": format!("the token {NULL_TOKEN} is bad") },
    });
    let faults = [
        None,
        Some(Fault::Status(500, None)),
        Some(Fault::Status(403, None)),
        Some(Fault::Html),
        Some(Fault::Garbage),
        Some(Fault::Truncated),
        Some(Fault::Reset),
        Some(Fault::OtherKind),
        Some(Fault::Redirect(format!("http://127.0.0.1:1/?{OWN_TOKEN}"))),
        Some(Fault::Reply(Reply::new(201, &[("Content-Type", "application/json")], quoting.to_string()))),
        Some(Fault::Reply(Reply::new(
            201,
            &[],
            format!("{{\"kind\":\"TokenReview\",\"spec\":{{\"token\":\"{NULL_TOKEN}\"}},\"status\":7}}"),
        ))),
    ];
    for version in BOTH {
        let presenting = Tls::presenting(certificate).trusting(authority.pem());
        let mut clients =
            [Client::connect(version, proxy.secure(), &Tls::default()).await, Client::connect(version, proxy.secure(), &presenting).await];
        for fault in &faults {
            for kind in [Kind::TokenReview, Kind::SubjectAccessReview] {
                if let Some(fault) = fault {
                    api.fail(kind, fault.clone());
                }
                for client in &mut clients {
                    for token in [TOKEN, REJECTED, NULL_TOKEN] {
                        let request = Request::get(&format!("/?access_token={QUERY}")).bearer(token).header("cookie", COOKIE);
                        client.send(&request).await;
                    }
                    client.send(&Request::get("/").header("Authorization", &format!("Basic {BASIC}"))).await;
                    client.send(&Request::get("/%2e%2e").bearer(TOKEN)).await;
                    client.send(&Request::get("/").bearer(TOKEN).bearer(REJECTED)).await;
                }
                api.heal();
            }
        }
    }
    // Bytes that are no request, and a break within one.
    let mut broken = Client::connect(Version::H1, proxy.secure(), &Tls::default()).await;
    broken.wire().send(format!("GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nBad Field {REJECTED}\r\n\r\n")).await.unwrap();
    broken.closed().await;
    let mut broken = Client::connect(Version::H1, proxy.secure(), &Tls::default()).await;
    broken.wire().send(format!("GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}")).await.unwrap();
    drop(broken);
    scene.upstream.drop_connections();
}

#[tokio::test]
async fn no_secret_is_in_the_refusal_of_a_start() {
    let scene = Scene::new().await;
    let pair = scene.authority.server();
    let key = middle(&pair);
    let kubeconfig = std::fs::read_to_string(scene.path("kubeconfig")).unwrap();
    let with = |name: &str, text: &str| scene.write(name, text);
    let inline = kubeconfig.replace("token: token-of-the-proxy", &format!("token: {INLINE}"));
    assert!(inline.contains(INLINE));
    let crt = with("good.crt", &pair.chain);
    let flags = [
        vec![format!("--kubeconfig={}", with("k1", &inline.replace("users:", "users: ]")))],
        vec![format!("--kubeconfig={}", with("k2", &inline.replace("current-context: test", "current-context: other")))],
        vec![format!("--kubeconfig={}", with("k3", &inline.replace("token:", "token: [")))],
        vec![format!("--kubeconfig={}", with("k4", &inline.replace("token:", "client-key-data:")))],
        vec![format!("--kubeconfig={}", with("k5", &inline.replace("token:", "username: x, password:").replace("http://", "ftp://")))],
        vec![format!("--tls-cert-file={crt}"), format!("--tls-private-key-file={}", with("half.key", &pair.key[..pair.key.len() - 30]))],
        vec![
            format!("--tls-cert-file={crt}"),
            format!("--tls-private-key-file={}", with("odd.key", &pair.key.replace("BEGIN ", "BEGIN SOME "))),
        ],
        vec![format!("--tls-cert-file={}", with("key.crt", &pair.key)), format!("--tls-private-key-file={}", with("k.key", &pair.key))],
        vec![format!("--config-file={}", with("c1", &format!("authorization: {INLINE}\n")))],
        vec![format!("--config-file={}", with("c2", &pair.key))],
        vec![format!("--client-ca-file={}", with("ca1", &pair.key))],
    ];
    for flags in flags {
        let exit = scene.run(&[flags.clone(), vec!["-v=10".to_owned()]].concat()).await;
        assert_eq!(exit.code, Some(1), "{flags:?}: {}", exit.output);
        assert_absent(&exit.output, &[INLINE, &key]);
    }
}
