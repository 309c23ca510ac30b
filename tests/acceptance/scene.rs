use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use testkit::{
    api::{Api, Credential, Verdict},
    certs::Authority,
    client::{Client, Request, Response, Version},
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
}

impl Scene {
    /// A scene whose upstream answers with the target of the request.
    pub(crate) async fn new() -> Self {
        Self::answering(|received| Reply::ok(received.target())).await
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
        Self { api, upstream, authority, folder, kubeconfig, serving }
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

    /// Starts a proxy with [`Scene::flags`].
    pub(crate) async fn proxy<S: AsRef<str>>(&self, more: &[S]) -> Proxy {
        Proxy::start(&self.flags(more)).await
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
