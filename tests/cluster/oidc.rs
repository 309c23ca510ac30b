//! An OpenID Connect issuer that is not ours: npm's oidc-provider.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use testkit::{
    certs::Authority,
    client::{Client, Request, Version},
    cluster,
    parts::{Part, skip},
    process::{Process, Proxy, free_port},
    wait::wait_for,
};

use crate::scene::{Scene, assert_status};

const ALGORITHMS: [&str; 3] = ["RS256", "PS256", "ES256"];

#[tokio::test]
async fn tokens_of_an_issuer_that_is_not_ours_are_believed() {
    let program = match Part::OidcProvider.path() {
        Ok(program) => program,
        Err(absent) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let prefix = format!("{}:", scene.namespace);
    scene.allow_group(&format!("{prefix}prometheus-clients"), "/metrics").await;
    let provider = Provider::new(program, &scene);
    let proxy = scene
        .proxy(&[
            &format!("--oidc-issuer=https://localhost:{}", provider.port),
            "--oidc-clientID=https://proxy.test",
            &format!("--oidc-ca-file={}", scene.write("issuer-ca.crt", provider.authority.pem())),
            "--oidc-username-claim=sub",
            "--oidc-username-prefix=o:",
            &format!("--oidc-groups-prefix={prefix}"),
            "--oidc-sign-alg=RS256",
            "--oidc-sign-alg=PS256",
            "--oidc-sign-alg=ES256",
        ])
        .await;
    proxy.line_with(&["The issuer's keys cannot be read", "cannot be connected to"]).await;

    let running = provider.start().await;
    let first = provider.token("prometheus", "https://proxy.test/").await;
    until_believed(&scene, &proxy, &first).await;
    for algorithm in ALGORITHMS {
        let token = provider.token("prometheus", &format!("https://proxy.test/?alg={algorithm}")).await;
        let stranger = provider.token("stranger", &format!("https://proxy.test/?alg={algorithm}")).await;
        let other = provider.token("prometheus", &format!("https://other.test/?alg={algorithm}")).await;
        let (unsigned, signature) = token.rsplit_once('.').unwrap();
        let swapped = format!("{unsigned}.{}", stranger.rsplit_once('.').unwrap().1);
        let upper = format!("{unsigned}.{}", signature.to_uppercase());
        for version in [Version::H1, Version::H2] {
            let mut client = scene.connect(version, &proxy).await;
            let response = client.send(&Request::get("/metrics").bearer(&token)).await;
            assert_eq!((response.status, response.text().as_str()), (200, "o:prometheus /metrics"), "{algorithm}");
            assert_status(&client.send(&Request::get("/other").bearer(&token)).await, 403);
            assert_status(&client.send(&Request::get("/metrics").bearer(&stranger)).await, 403);
            for refused in [&other, &swapped, &upper] {
                assert_status(&client.send(&Request::get("/metrics").bearer(refused)).await, 401);
            }
        }
    }

    // Down, it costs nobody who has a token; up again it has other keys.
    drop(running);
    assert_status(&scene.get(&proxy, "/metrics", &first).await, 200);
    let _running = provider.start().await;
    let second = provider.token("prometheus", "https://proxy.test/").await;
    until_believed(&scene, &proxy, &second).await;
    assert_status(&scene.get(&proxy, "/metrics", &first).await, 401);
    proxy.assert_silent_about(&[&first, &second]);
}

async fn until_believed(scene: &Scene<'_>, proxy: &Proxy, token: &str) {
    wait_for("a token that is believed", async || match scene.get(proxy, "/metrics", token).await.status {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
}

/// The issuer, running or not: always at one address, with other keys at each start.
struct Provider {
    program: PathBuf,
    port: u16,
    authority: Authority,
    pair: (PathBuf, PathBuf),
}

impl Provider {
    fn new(program: PathBuf, scene: &Scene<'_>) -> Self {
        let authority = Authority::new("issuers");
        let pair = authority.server().write(scene.folder.path(), "issuer");
        Self { program, port: free_port(), authority, pair }
    }

    async fn start(&self) -> Process {
        let process = Process::spawn(Command::new(&self.program).arg(self.port.to_string()).arg(&self.pair.0).arg(&self.pair.1));
        process.line_with(&["listening as"]).await;
        process
    }

    /// An access token of a client, for a resource.
    async fn token(&self, client: &str, resource: &str) -> String {
        let basic = STANDARD.encode(format!("{client}:secret-of-{client}"));
        let encoded: String = resource.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = Request::new("POST", "/token")
            .header("Authorization", &format!("Basic {basic}"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=client_credentials&resource={encoded}"));
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let response = Client::connect(Version::H1, address, &self.authority.tls()).await.send(&request).await;
        assert_status(&response, 200);
        let answer: Value = serde_json::from_str(&response.text()).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}
