use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use tempfile::TempDir;
use testkit::{
    api::{Api, Credential, Verdict},
    certs::Authority,
    client::{Client, Request, Version},
    process::{Proxy, free_port},
    upstream::{Received, Reply, Upstream},
    wire::chunk,
};

use crate::{faults::Faults, ledger::Ledger};

/// Pieces of an answer that streams, and the time between two of them.
pub(crate) const PIECES: usize = 8;
const PAUSE: Duration = Duration::from_millis(15);

/// Of the proxy itself, on a port of its own.
const METRICS: &str = "/metrics";

/// The proxy, and all around it.
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) upstream: Upstream,
    pub(crate) proxy: Proxy,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) faults: Arc<Faults>,
    /// Vouches for the proxy's certificate.
    pub(crate) serving: Authority,
    /// Vouches for clients.
    pub(crate) clients: Authority,
    folder: TempDir,
}

/// Who may do what: each user what is below `/u/NAME/`, and everybody whom the API server knows what is below `/shared/`.
pub(crate) fn may(user: &str, path: &str) -> bool {
    let own = path.strip_prefix("/u/").and_then(|rest| rest.strip_prefix(user)).is_some_and(|rest| rest.starts_with('/'));
    user != "mallory" && (own || path.starts_with("/shared/"))
}

impl World {
    pub(crate) async fn start() -> Self {
        let (ledger, faults) = (Arc::<Ledger>::default(), Arc::<Faults>::default());
        let api = Api::start().await;
        for user in ["alice", "bob", "mallory"] {
            api.user(&format!("token-of-{user}"), user, &["devs"]);
        }
        let (said, failing) = (Arc::clone(&ledger), Arc::clone(&faults));
        api.rule(move |spec| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            if spec["nonResourceAttributes"]["path"] == METRICS {
                return Verdict::Allow;
            }
            if !may(&text(&spec["user"]), &text(&spec["nonResourceAttributes"]["path"])) {
                return Verdict::NoOpinion;
            }
            // What a broken API server thinks, it does not say.
            if !failing.api_is_mute() {
                said.allow(spec);
            }
            Verdict::Allow
        });
        let failing = Arc::clone(&faults);
        let upstream = Upstream::start(move |received| failing.spoil(answer(received))).await;
        let (serving, clients, folder) = (Authority::new("serving"), Authority::new("clients"), tempfile::tempdir().expect("a folder"));
        let (certificate, key) = serving.server().write(folder.path(), "serving");
        let authority = folder.path().join("clients.crt");
        fs::write(&authority, clients.pem()).expect("the folder is writable");
        let kubeconfig = api.kubeconfig(folder.path(), None, Credential::Token("token-of-the-proxy"));
        let proxy = Proxy::start(&[
            "--secure-listen-address=127.0.0.1:0".to_owned(),
            format!("--tls-cert-file={}", certificate.display()),
            format!("--tls-private-key-file={}", key.display()),
            format!("--client-ca-file={}", authority.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--upstream={}/", upstream.url()),
            format!("--proxy-endpoints-port={}", free_port()),
            "--tls-reload-interval=500ms".to_owned(),
            "--auth-header-fields-enabled=true".to_owned(),
            // So that the API server is asked all the time.
            "--authentication-token-webhook-cache-ttl=2s".to_owned(),
            "--authorization-webhook-cache-authorized-ttl=2s".to_owned(),
            "--authorization-webhook-cache-unauthorized-ttl=2s".to_owned(),
        ])
        .await;
        Self { api, upstream, proxy, ledger, faults, serving, clients, folder }
    }

    /// Compares what arrived since the last time, and forgets it.
    pub(crate) fn settle(&self) {
        let arrived = self.upstream.take_requests();
        self.api.forget();
        self.api.server().take_requests();
        self.ledger.arrive(&arrived);
    }

    /// A path in the proxy's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many answers the proxy passed on, by its own metrics.
    pub(crate) async fn counted(&self) -> u64 {
        let mut client = Client::connect(Version::H1, self.proxy.endpoints(), &self.serving.tls()).await;
        let text = client.send(&Request::get(METRICS).bearer("token-of-alice")).await.text();
        let lines = text.lines().filter(|line| line.starts_with("kube_rbac_proxy_requests_total") && line.contains("reason=\"\""));
        lines.filter_map(|line| line.split(' ').next_back()?.parse::<u64>().ok()).sum()
    }
}

/// What the upstream says when nothing is wrong: the tag, the user, and the request's body or some of its own.
fn answer(received: &Received) -> Reply {
    let (tag, user) = (received.header("x-tag").unwrap_or_default(), received.header("x-remote-user").unwrap_or_default());
    let fields = [("X-Tag", tag), ("X-User", user)];
    if !received.target().contains("/stream") {
        let body = if received.method() == "POST" { received.body.content.clone() } else { format!("answer to {tag}").into_bytes() };
        return Reply::new(200, &fields, body);
    }
    let head = Reply::head(200, &[&fields[..], &[("Transfer-Encoding", "chunked")]].concat());
    (0..PIECES).fold(head, |reply, _| reply.send(chunk(format!("{tag};"))).pause(PAUSE)).send("0\r\n\r\n")
}
