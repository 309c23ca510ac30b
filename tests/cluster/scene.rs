use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    certs::Authority,
    client::{Client, Request, Response, Version},
    cluster::{Admin, Cluster, TokenRequest},
    process::Proxy,
    upstream::{Reply, Upstream},
    wait::wait_for,
};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// A namespace of the test's own, with a ServiceAccount for the proxy, an upstream that says who it was told is asking,
/// and a folder. Whatever it made in the cluster is deleted with it.
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: String,
    pub(crate) folder: TempDir,
    pub(crate) upstream: Upstream,
    /// Vouches for the proxy's serving certificate.
    pub(crate) authority: Authority,
    made: Vec<Value>,
}

/// A ServiceAccount of the scene's namespace that is somebody to the API server and has no rights.
pub(crate) struct Account {
    pub(crate) name: String,
    /// As the API server calls it.
    pub(crate) user: String,
    pub(crate) token: String,
}

/// The cluster role that a proxy needs, and no more.
pub(crate) const DELEGATOR: &str = "system:auth-delegator";

impl<'a> Scene<'a> {
    /// A scene whose proxy has [`DELEGATOR`].
    pub(crate) async fn new(cluster: &'a Cluster) -> Self {
        let mut scene = Self::without_rights(cluster).await;
        scene.bind("proxy", DELEGATOR, scene.subject("proxy")).await;
        for (group, resource) in [("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews")] {
            let attributes = json!({ "verb": "create", "group": group, "version": "v1", "resource": resource });
            scene.until_allowed(&json!({ "user": scene.user("proxy"), "resourceAttributes": attributes })).await;
        }
        scene
    }

    /// A scene whose proxy may ask the API server nothing.
    pub(crate) async fn without_rights(cluster: &'a Cluster) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("krp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let upstream = Upstream::start(|received| {
            let user = received.header("x-remote-user").unwrap_or("nobody");
            Reply::ok(format!("{user} {}", received.target()))
        });
        let mut scene = Self {
            cluster,
            namespace,
            folder: tempfile::tempdir().unwrap(),
            upstream: upstream.await,
            authority: Authority::new("serving"),
            made: Vec::new(),
        };
        scene.make(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": scene.namespace } })).await;
        let proxy = scene.account("proxy").await;
        scene.write("proxy.token", &proxy.token);
        scene
    }

    pub(crate) fn admin(&self) -> &Admin {
        self.cluster.admin()
    }

    /// Makes a ServiceAccount and a token of it.
    pub(crate) async fn account(&mut self, name: &str) -> Account {
        let metadata = json!({ "name": name, "namespace": self.namespace });
        self.admin().apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })).await;
        Account { name: name.to_owned(), user: self.user(name), token: self.token(name, &TokenRequest::default()).await }
    }

    /// Another token of a ServiceAccount.
    pub(crate) async fn token(&self, name: &str, request: &TokenRequest<'_>) -> String {
        self.admin().token(&self.namespace, name, request).await
    }

    /// A token that dies with a new Secret, and that Secret.
    pub(crate) async fn mortal_token(&self, name: &str, secret: &str) -> (String, Value) {
        let metadata = json!({ "name": secret, "namespace": self.namespace });
        let secret = self.admin().apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata })).await;
        let (bound, uid) = (secret["metadata"]["name"].as_str().unwrap(), secret["metadata"]["uid"].as_str().unwrap());
        let request = TokenRequest { bound_to: Some((bound, uid)), ..TokenRequest::default() };
        (self.token(name, &request).await, secret)
    }

    /// What the API server calls a ServiceAccount of the namespace.
    pub(crate) fn user(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.namespace)
    }

    /// A ServiceAccount as the subject of a binding.
    pub(crate) fn subject(&self, name: &str) -> Value {
        json!({ "kind": "ServiceAccount", "name": name, "namespace": self.namespace })
    }

    /// Binds a cluster role everywhere, under a name within the scene, and returns the binding.
    pub(crate) async fn bind(&mut self, name: &str, role: &str, subject: Value) -> Value {
        let binding = json!({
            "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": { "name": self.global(name) },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role }, "subjects": [subject],
        });
        self.make(binding.clone()).await;
        binding
    }

    /// Binds a role, or a cluster role, within the namespace.
    pub(crate) async fn bind_here(&mut self, name: &str, kind: &str, role: &str, subject: Value) {
        let metadata = json!({ "name": name, "namespace": self.namespace });
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role });
        let binding = json!({ "apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject] });
        self.admin().apply(&binding).await;
    }

    /// Makes a role of the namespace.
    pub(crate) async fn role(&mut self, name: &str, rule: Value) {
        let metadata = json!({ "name": name, "namespace": self.namespace });
        self.admin().apply(&json!({ "apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": [rule] })).await;
    }

    /// Lets a ServiceAccount GET paths, and returns the binding once it is effective.
    pub(crate) async fn allow(&mut self, account: &str, paths: &[&str]) -> Value {
        let binding = self.allow_subject(account, self.subject(account), paths).await;
        for path in paths.iter().filter(|path| !path.contains('*')) {
            let attributes = json!({ "verb": "get", "path": path });
            self.until_allowed(&json!({ "user": self.user(account), "nonResourceAttributes": attributes })).await;
        }
        binding
    }

    /// Lets a group GET a path.
    pub(crate) async fn allow_group(&mut self, group: &str, path: &str) {
        let subject = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group });
        self.allow_subject(&group.replace(':', "-"), subject, &[path]).await;
        let attributes = json!({ "verb": "get", "path": path });
        self.until_allowed(&json!({ "user": "somebody", "groups": [group], "nonResourceAttributes": attributes })).await;
    }

    /// Makes a cluster role and gives it to the proxy.
    pub(crate) async fn give_proxy(&mut self, name: &str, rule: Value) {
        let role = self.global(name);
        self.make(json!({ "apiVersion": RBAC, "kind": "ClusterRole", "metadata": { "name": role }, "rules": [rule] })).await;
        self.bind(name, &role, self.subject("proxy")).await;
    }

    async fn allow_subject(&mut self, name: &str, subject: Value, paths: &[&str]) -> Value {
        let name = format!("{name}-may-get");
        let rules = json!([{ "nonResourceURLs": paths, "verbs": ["get"] }]);
        self.make(json!({ "apiVersion": RBAC, "kind": "ClusterRole", "metadata": { "name": self.global(&name) }, "rules": rules })).await;
        self.bind(&name, &self.global(&name), subject).await
    }

    /// Waits until the API server itself says yes: it reads its roles a moment after it took them.
    pub(crate) async fn until_allowed(&self, spec: &Value) {
        self.until_decided(spec, true).await;
    }

    /// The same of yes or no.
    pub(crate) async fn until_decided(&self, spec: &Value, allowed: bool) {
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec });
        wait_for(&format!("allowed: {allowed} of {spec}"), async || {
            let answer = self.admin().call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review)).await;
            let answer = answer.map_err(|fault| fault.to_string())?;
            if answer["status"]["allowed"] == allowed { Ok(()) } else { Err(answer["status"].to_string()) }
        })
        .await;
    }

    /// Writes a file of the scene's folder at once, as a kubelet does, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let (path, half) = (self.path(name), self.path(&format!(".{name}.new")));
        fs::write(&half, text).unwrap();
        fs::rename(&half, &path).unwrap();
        path.display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A kubeconfig of the proxy's ServiceAccount, by token file.
    pub(crate) fn kubeconfig(&self) -> String {
        self.write("kubeconfig", &self.cluster.kubeconfig(&json!({ "tokenFile": self.path("proxy.token") })))
    }

    /// Flags of a proxy with a secure listener and probes in front of the scene's upstream, and more flags.
    pub(crate) fn flags(&self, more: &[&str]) -> Vec<String> {
        let (certificate, key) = self.authority.server().write(self.folder.path(), "serving");
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut flags = vec![
            "--secure-listen-address=127.0.0.1:0".to_owned(),
            format!("--proxy-endpoints-port={}", testkit::process::free_port()),
            flag("tls-cert-file", &certificate),
            flag("tls-private-key-file", &key),
            format!("--kubeconfig={}", self.kubeconfig()),
            "--auth-header-fields-enabled".to_owned(),
        ];
        if !more.iter().any(|flag| flag.starts_with("--upstream=")) {
            flags.push(format!("--upstream={}", self.upstream.url()));
        }
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        flags
    }

    /// Starts a proxy with [`Scene::flags`].
    pub(crate) async fn proxy(&self, more: &[&str]) -> Proxy {
        Proxy::start(&self.flags(more)).await
    }

    /// A new connection to a proxy, without a client certificate.
    pub(crate) async fn connect(&self, version: Version, proxy: &Proxy) -> Client {
        Client::connect(version, proxy.secure(), &self.authority.tls()).await
    }

    /// GETs a path on a connection of its own.
    pub(crate) async fn get(&self, proxy: &Proxy, path: &str, token: &str) -> Response {
        self.connect(Version::H1, proxy).await.send(&Request::get(path).bearer(token)).await
    }

    fn global(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// Makes an object that is deleted with the scene.
    pub(crate) async fn make(&mut self, object: Value) {
        self.admin().apply(&object).await;
        self.made.push(object);
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let made = std::mem::take(&mut self.made);
        self.admin().delete_at_last(made);
    }
}

/// Fails unless the answer has the status, with all that is known of it.
#[track_caller]
pub(crate) fn assert_status(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?} {:?}", response.fields, response.text());
}
