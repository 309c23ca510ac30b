use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use tempfile::TempDir;
use testkit::{
    api::{Api, Credential, Verdict},
    certs::Authority,
    client::{Client, Request, Response, Version},
    issuer::Issuer,
    jwt::SigningKey,
    process::{Exit, Proxy, free_port},
    upstream::{Received, Reply, Upstream},
};

/// For what holds in both versions.
pub(crate) const BOTH: [Version; 2] = [Version::H1, Version::H2];

/// A user in the groups `devs` and `ops` who may do everything.
pub(crate) const ALICE: &str = "token-of-alice";
/// Another user, in no group, who may do everything.
pub(crate) const BOB: &str = "token-of-bob";
/// A user who may do nothing.
pub(crate) const MALLORY: &str = "token-of-mallory";
/// Nobody's.
pub(crate) const FORGED: &str = "token-of-nobody";

/// The world of one test.
pub(crate) struct Scene {
    pub(crate) api: Api,
    pub(crate) upstream: Upstream,
    /// Vouches for the proxy's serving certificate.
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
    kubeconfig: PathBuf,
    serving: (PathBuf, PathBuf),
    /// Of kube-oidc-proxy's users.
    issuer: Option<(Issuer, SigningKey)>,
}

/// Answers with the target of the request.
pub(crate) async fn echo() -> Upstream {
    Upstream::start(|received| Reply::ok(received.target())).await
}

impl Scene {
    /// A scene whose upstream answers with the target of the request.
    pub(crate) async fn new() -> Self {
        Self::around(echo().await).await
    }

    /// A scene whose upstream answers like this.
    pub(crate) async fn answering(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::around(Upstream::start(answer).await).await
    }

    /// A scene with this upstream.
    pub(crate) async fn around(upstream: Upstream) -> Self {
        let api = Api::start().await;
        api.user(ALICE, "alice", &["devs", "ops"]);
        api.user(BOB, "bob", &[]);
        api.user(MALLORY, "mallory", &[]);
        api.rule(|spec| if spec["user"] == "mallory" { Verdict::NoOpinion } else { Verdict::Allow });
        let (authority, folder) = (Authority::new("serving"), tempfile::tempdir().unwrap());
        let kubeconfig = api.kubeconfig(folder.path(), None, Credential::Token("token-of-the-proxy"));
        let serving = authority.server().write(folder.path(), "serving");
        Self { api, upstream, authority, folder, kubeconfig, serving, issuer: None }
    }

    /// A scene of kube-oidc-proxy, for which the upstream is the API server. Alice is a user of an issuer; nobody else is known.
    pub(crate) async fn of_oidc(upstream: Upstream) -> Self {
        let (mut scene, key) = (Self::around(upstream).await, SigningKey::new("ES256"));
        let issuer = Issuer::start(&scene.authority.server()).await;
        issuer.keys(&[key.jwk("k")]);
        scene.write("issuer.pem", scene.authority.pem());
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": scene.upstream.url()}}],
            "users": [{"name": "u", "user": {"token": "token-of-the-proxy"}}],
        });
        fs::write(&scene.kubeconfig, text.to_string()).unwrap();
        scene.issuer = Some((issuer, key));
        scene
    }

    pub(crate) fn is_oidc(&self) -> bool {
        self.issuer.is_some()
    }

    /// Alice's token.
    pub(crate) fn alice(&self) -> String {
        self.token_of("alice", &["devs", "ops"]).unwrap_or_else(|| ALICE.to_owned())
    }

    /// A token of the issuer's, if there is one.
    pub(crate) fn token_of(&self, name: &str, groups: &[&str]) -> Option<String> {
        let (issuer, key) = self.issuer.as_ref()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Some(key.token("k", &json!({"iss": issuer.url(), "aud": "client", "exp": now + 300, "sub": name, "groups": groups})))
    }

    /// In which headers the upstream is told of the user and of his groups, where it is.
    pub(crate) fn identity_headers(&self) -> (&'static str, &'static str) {
        if self.is_oidc() { ("impersonate-user", "impersonate-group") } else { ("x-remote-user", "x-remote-groups") }
    }

    /// The Authorization that the upstream gets, unless it could be read on the way.
    pub(crate) fn own_authorization(&self) -> Option<&'static str> {
        (self.is_oidc() && self.upstream.url().starts_with("https:")).then_some("Bearer token-of-the-proxy")
    }

    /// What [`MALLORY`] gets, whom no issuer knows.
    pub(crate) fn status_of_mallory(&self) -> u16 {
        if self.is_oidc() { 401 } else { 403 }
    }

    /// A connection in cleartext, where there is a listener for it.
    pub(crate) async fn connect_plain(&self, proxy: &Proxy) -> Option<Client> {
        match self.is_oidc() {
            true => None,
            false => Some(Client::connect_plain(proxy.insecure()).await),
        }
    }

    fn oidc_flags(&self, issuer: &Issuer) -> Vec<String> {
        let file = |path: &Path| path.display().to_string();
        vec![
            format!("--oidc-issuer-url={}", issuer.url()),
            "--oidc-client-id=client".to_owned(),
            format!("--oidc-ca-file={}", file(&self.path("issuer.pem"))),
            "--oidc-groups-claim=groups".to_owned(),
            "--oidc-signing-algs=ES256".to_owned(),
            format!("--kubeconfig={}", file(&self.kubeconfig)),
            format!("--tls-cert-file={}", file(&self.serving.0)),
            format!("--tls-private-key-file={}", file(&self.serving.1)),
            format!("--secure-port={}", free_port()),
            format!("--readiness-probe-port={}", free_port()),
        ]
    }

    /// A path in the scene's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the scene's folder at once, as a kubelet does, and returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let (path, half) = (self.path(name), self.path(&format!(".{name}.new")));
        fs::write(&half, text).unwrap();
        fs::rename(&half, &path).unwrap();
        path.display().to_string()
    }

    /// The flags of a proxy between the scene's API server and its upstream, and more, which replace those.
    pub(crate) fn flags<S: AsRef<str>>(&self, more: &[S]) -> Vec<String> {
        self.flags_without(&[], more)
    }

    /// [`Scene::flags`] without some that it would have.
    pub(crate) fn flags_without<S: AsRef<str>>(&self, left_out: &[&str], more: &[S]) -> Vec<String> {
        let file = |path: &Path| path.display().to_string();
        let usual = [
            ("--secure-listen-address", "127.0.0.1:0".to_owned()),
            ("--tls-cert-file", file(&self.serving.0)),
            ("--tls-private-key-file", file(&self.serving.1)),
            ("--kubeconfig", file(&self.kubeconfig)),
            ("--upstream", self.upstream.url()),
        ];
        let more: Vec<&str> = more.iter().map(AsRef::as_ref).collect();
        let is_replaced = |name: &str| left_out.contains(&name) || more.iter().any(|flag| flag.split('=').next() == Some(name));
        let usual = usual.into_iter().filter(|(name, _)| !is_replaced(name)).map(|(name, value)| format!("{name}={value}"));
        usual.chain(more.iter().map(|&flag| flag.to_owned())).collect()
    }

    /// Starts a proxy with [`Scene::flags`]; in a scene of kube-oidc-proxy that, without `more`.
    pub(crate) async fn proxy<S: AsRef<str>>(&self, more: &[S]) -> Proxy {
        let Some((issuer, _)) = &self.issuer else { return Proxy::start(&self.flags(more)).await };
        let proxy = Proxy::start_oidc(&self.oidc_flags(issuer)).await;
        proxy.line_with(&["The issuer's keys are in use"]).await;
        proxy
    }

    /// Starts a proxy with [`Scene::flags`] and its own endpoints.
    pub(crate) async fn proxy_with_endpoints(&self, more: &[&str]) -> Proxy {
        let port = format!("--proxy-endpoints-port={}", free_port());
        self.proxy(&[more, &[&port]].concat()).await
    }

    /// Starts a proxy with [`Scene::flags`] in the expectation that it does not serve.
    pub(crate) async fn run<S: AsRef<str>>(&self, more: &[S]) -> Exit {
        Proxy::run(&self.flags(more)).await
    }

    /// A new connection to a proxy, without a client certificate.
    pub(crate) async fn connect(&self, version: Version, proxy: &Proxy) -> Client {
        Client::connect(version, proxy.secure(), &self.authority.tls()).await
    }

    /// Sends a request on a connection of its own, in HTTP/1.1.
    pub(crate) async fn send(&self, proxy: &Proxy, request: &Request) -> Response {
        self.connect(Version::H1, proxy).await.send(request).await
    }

    /// GETs a path on a connection of its own, in HTTP/1.1.
    pub(crate) async fn get(&self, proxy: &Proxy, path: &str, token: &str) -> Response {
        self.send(proxy, &Request::get(path).bearer(token)).await
    }
}

/// Fails unless the answer has the status, with all that is known of it.
#[track_caller]
pub(crate) fn assert_status(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?} {:?}", response.fields, response.text());
}
