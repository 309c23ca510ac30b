//! kube-oidc-proxy, between an issuer and an API server that records what it is told.

mod clusters;
mod errors;
mod extras;
mod identity;
mod impersonation;
mod logs;
mod names;
mod passthrough;
mod scenarios;
mod start;
mod streams;
mod threats;

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    certs::Authority,
    client::{Client, Request, Response, Version},
    issuer::Issuer,
    jwt::SigningKey,
    process::{Proxy, free_port},
    upstream::{Received, Reply, Upstream},
};

/// As the API server knows the proxy.
const OWN: &str = "token-of-the-proxy";

/// The world of one test. One authority vouches for all that is in it.
struct World {
    api: Upstream,
    issuer: Issuer,
    key: SigningKey,
    authority: Authority,
    folder: TempDir,
}

impl World {
    /// Whose API server answers with the target of the request.
    async fn new() -> Self {
        let authority = Authority::new("all");
        let api = Upstream::start_tls(&authority.server(), |received: &Received| Reply::ok(received.target())).await;
        Self::around(authority, api).await
    }

    /// Around this API server.
    async fn around(authority: Authority, api: Upstream) -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), SigningKey::new("ES256"));
        let issuer = Issuer::start(&authority.server()).await;
        issuer.keys(&[key.jwk("k")]);
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("own.token"), OWN).unwrap();
        let world = Self { api, issuer, key, authority, folder };
        let (ca, token) = (world.path("ca.pem"), world.path("own.token"));
        world.write_kubeconfig(&format!("server: '{}', certificate-authority: {ca}", world.api.url()), &format!("tokenFile: {token}"));
        world
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write_kubeconfig(&self, cluster: &str, user: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}, {{name: other, context: {{cluster: none, user: test}}}}]\n\
             clusters: [{{name: test, cluster: {{{cluster}}}}}]\nusers: [{{name: test, user: {{{user}}}}}]\n"
        );
        fs::write(self.path("kubeconfig"), text).unwrap();
    }

    /// What is needed to serve, but for the way to the API server.
    fn flags_of_serving(&self) -> Vec<String> {
        let (certificate, key) = self.authority.server().write(self.folder.path(), "serving");
        vec![
            format!("--oidc-issuer-url={}", self.issuer.url()),
            "--oidc-client-id=client".to_owned(),
            format!("--oidc-ca-file={}", self.path("ca.pem")),
            "--oidc-groups-claim=groups".to_owned(),
            "--oidc-signing-algs=ES256".to_owned(),
            format!("--secure-port={}", free_port()),
            format!("--readiness-probe-port={}", free_port()),
            format!("--tls-cert-file={}", certificate.display()),
            format!("--tls-private-key-file={}", key.display()),
        ]
    }

    fn flags(&self, more: &[&str]) -> Vec<String> {
        let kubeconfig = format!("--kubeconfig={}", self.path("kubeconfig"));
        let more = more.iter().map(|flag| (*flag).to_owned());
        self.flags_of_serving().into_iter().chain([kubeconfig]).chain(more).collect()
    }

    /// A proxy that knows the issuer's keys.
    async fn proxy(&self, more: &[&str]) -> Proxy {
        self.started(&self.flags(more)).await
    }

    async fn started(&self, flags: &[String]) -> Proxy {
        let proxy = Proxy::start_oidc(flags).await;
        proxy.line_with(&["The issuer's keys are in use"]).await;
        proxy
    }

    fn token(&self, changes: Value) -> String {
        self.key.token("k", &self.claims(changes))
    }

    fn claims(&self, changes: Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": self.issuer.url(), "aud": "client", "exp": now + 300, "sub": "anna", "groups": ["devs"]});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    async fn connect(&self, version: Version, proxy: &Proxy) -> Client {
        Client::connect(version, proxy.secure(), &self.authority.tls()).await
    }

    /// Sends a request with the token of `changes` on a connection of its own.
    async fn send(&self, proxy: &Proxy, changes: Value, request: Request) -> Response {
        self.connect(Version::H1, proxy).await.send(&request.bearer(&self.token(changes))).await
    }

    /// Who the API server was told is asking: name, groups, extras.
    fn told(&self) -> (String, Vec<String>) {
        let received = self.api.last_request();
        let texts = |name: &str| received.head.all(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        (texts("impersonate-user").join(" AND "), texts("impersonate-group"))
    }
}
