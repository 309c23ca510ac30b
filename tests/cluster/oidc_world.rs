use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use testkit::{
    certs::Authority,
    client::{Exchange, Http2, Request},
    cluster::Cluster,
    issuer::Issuer,
    jwt::SigningKey,
    process::{Exit, Process, Proxy, free_port},
    wait::in_time,
};

use crate::scene::Scene;

/// A scene whose users an issuer knows. Their names are the scene's own, as the cluster is everybody's.
pub(crate) struct World<'a> {
    pub(crate) scene: Scene<'a>,
    issuer: Issuer,
    key: SigningKey,
}

impl<'a> World<'a> {
    pub(crate) async fn new(cluster: &'a Cluster) -> Self {
        let scene = Scene::without_rights(cluster).await;
        let (authority, key) = (Authority::new("issuers"), SigningKey::new("RS256"));
        scene.write("issuers.pem", authority.pem());
        let issuer = Issuer::start(&authority.server()).await;
        issuer.keys(&[key.jwk("")]);
        Self { scene, issuer, key }
    }

    /// All that the docs say that the proxy must be let do, and no more.
    pub(crate) async fn let_impersonate(&mut self) {
        self.give_role("kube-oidc-proxy").await;
    }

    pub(crate) async fn proxy(&self, more: &[&str]) -> Proxy {
        let (certificate, key) = self.scene.authority.server().write(self.scene.folder.path(), "serving");
        let mut flags = vec![
            format!("--kubeconfig={}", self.scene.kubeconfig()),
            format!("--oidc-issuer-url={}", self.issuer.url()),
            "--oidc-client-id=client".to_owned(),
            format!("--oidc-ca-file={}", self.scene.path("issuers.pem").display()),
            "--oidc-groups-claim=groups".to_owned(),
            format!("--oidc-username-prefix={}:", self.scene.namespace),
            format!("--oidc-groups-prefix={}:", self.scene.namespace),
            format!("--secure-port={}", free_port()),
            format!("--readiness-probe-port={}", free_port()),
            format!("--tls-cert-file={}", certificate.display()),
            format!("--tls-private-key-file={}", key.display()),
        ];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let proxy = Proxy::start_oidc(&flags).await;
        proxy.line_with(&["The issuer's keys are in use"]).await;
        proxy
    }

    /// A token without a kid, as many issuers make them.
    pub(crate) fn token(&self, name: &str, groups: &[&str]) -> String {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3000;
        let claims =
            json!({"iss": self.issuer.url(), "aud": ["client"], "exp": end, "sub": name, "groups": groups, "jti": format!("of-{name}")});
        self.key.token("", &claims)
    }

    /// Makes a config map of the namespace.
    pub(crate) async fn config_map(&self, name: &str) {
        let metadata = json!({"name": name, "namespace": self.scene.namespace});
        self.scene.admin().apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).await;
    }

    /// Lets a group of the issuer's do all to pods and config maps of the namespace.
    pub(crate) async fn let_group_work(&mut self, group: &str) {
        let (namespace, group) = (self.scene.namespace.clone(), format!("{}:{group}", self.scene.namespace));
        self.scene.role("work", json!({"apiGroups": [""], "resources": ["pods", "pods/log", "pods/exec", "pods/attach", "pods/portforward", "configmaps", "events"], "verbs": ["*"]})).await;
        let subject = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group});
        self.scene.bind_here("work", "Role", "work", subject).await;
        let attributes = json!({"verb": "list", "version": "v1", "resource": "pods", "namespace": namespace});
        self.scene.until_allowed(&json!({"user": "somebody", "groups": [group], "resourceAttributes": attributes})).await;
    }
}

/// A watch of the scene's config maps.
pub(crate) struct Watch(Exchange<'static>);

impl Watch {
    pub(crate) async fn start(world: &World<'_>, client: &Http2, token: &str) -> Self {
        let request = Request::get(&format!("/api/v1/namespaces/{}/configmaps?watch=1", world.scene.namespace)).bearer(token);
        let mut exchange = client.open(&request).await.unwrap();
        assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
        Self(exchange)
    }

    /// Whether it tells of a name; otherwise it has ended.
    pub(crate) async fn tells(&mut self, name: &str) -> bool {
        loop {
            match in_time("an event or the end", self.0.next()).await {
                Ok(Some(piece)) if String::from_utf8_lossy(&piece).contains(name) => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }
}

/// kubectl, as somebody, in the scene's namespace.
pub(crate) struct Kubectl<'a> {
    pub(crate) program: PathBuf,
    pub(crate) world: &'a World<'a>,
    pub(crate) server: String,
    pub(crate) name: &'static str,
    pub(crate) token: String,
    /// `KUBECTL_` names of features that it is to do without.
    pub(crate) without: &'static [&'static str],
}

impl Kubectl<'_> {
    pub(crate) async fn run(&self, arguments: &[&str]) -> Exit {
        self.start(arguments).exit().await
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command().args(["-c", r#"exec "$0" "$@""#]).arg(&self.program).args(arguments))
    }

    /// The same, with something on its standard input.
    pub(crate) fn start_reading(&self, input: impl Into<Stdio>, arguments: &[&str]) -> Process {
        Process::spawn_reading(input, self.command().args(["-c", r#"exec "$0" "$@""#]).arg(&self.program).args(arguments))
    }

    /// The same at a terminal, where `input` is typed, and whose name is in the file `NAME.tty`.
    pub(crate) fn start_at_terminal(&self, input: impl Into<Stdio>, name: &str, arguments: &[&str]) -> Process {
        let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
        let line = format!("tty >{name}.tty.new; mv {name}.tty.new {name}.tty; exec {} {}", self.program.display(), quoted.join(" "));
        Process::spawn_reading(input, self.command().args(["-c", r#"exec script -qefc "$0" /dev/null"#]).arg(line))
    }

    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let exit = self.run(arguments).await;
        assert_eq!(exit.code, Some(0), "{arguments:?}: {}", exit.output);
        exit.output
    }

    /// A shell with all that kubectl needs to know.
    fn command(&self) -> Command {
        let (scene, home) = (&self.world.scene, self.world.scene.folder.path());
        scene.write("server.pem", scene.authority.pem());
        let (cluster, user) = (json!({"server": self.server, "certificate-authority": "server.pem"}), json!({"token": self.token}));
        let context = json!({"cluster": "c", "user": "u", "namespace": scene.namespace});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": context}],
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
        });
        let path = scene.write(&format!("{}.kubeconfig", self.name), &config.to_string());
        let mut command = Command::new("sh");
        command.env("KUBECONFIG", path).env("HOME", home).current_dir(home);
        command.envs(self.without.iter().map(|feature| (feature, "false")));
        command
    }
}
