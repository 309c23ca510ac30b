//! What kube-oidc-proxy costs, beside the Go program in the same run: CPU per GET, memory when idle and with 2,000 watches.
//!
//! `KUBE_OIDC_PROXY_GO=/path/to/kube-oidc-proxy cargo bench -p benches --bench oidc` prints a table. No registry has that
//! program: it is built by hand from the source of Tremolo's 1.0.11. Both have the same flags, issuer and API server, and
//! take turns, so that whatever else the machine does falls on both; each figure is the median.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a program for people at a terminal")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use benches::{cpu_micros, head, median, memory, row};
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use testkit::{
    certs::Authority,
    client::{Client, Exchange, Request, Version},
    issuer::Issuer,
    jwt::SigningKey,
    process::{Proxy, free_port, oidc_binary},
    tls::Tls,
    upstream::{Received, Reply, Upstream},
    wait::wait_for,
    wire::chunk,
};

const ROUNDS: usize = 5;
const REQUESTS: usize = 3200;
/// Requests at a time: a proxy that wakes up for each alone measures the machine's scheduler.
const AT_A_TIME: usize = 16;
/// On so many connections there are so many watches each.
const WATCHES: (usize, usize) = (20, 100);

/// An issuer and what it signs with.
struct Tokens {
    issuer: Issuer,
    keys: [(&'static str, SigningKey); 2],
    made: AtomicUsize,
}

impl Tokens {
    async fn new(authority: &Authority) -> Self {
        let keys = ["RS256", "ES256"].map(|algorithm| (algorithm, SigningKey::new(algorithm)));
        let issuer = Issuer::start(&authority.server()).await;
        issuer.keys(&keys.each_ref().map(|(name, key)| key.jwk(name)));
        Self { issuer, keys, made: AtomicUsize::new(0) }
    }

    /// One that nobody has seen.
    fn make(&self, (name, key): &(&'static str, SigningKey)) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 3000;
        let claims = json!({
            "iss": self.issuer.url(), "aud": "client", "exp": end, "sub": "anna", "groups": ["devs", "ops"], "jti": number.to_string(),
        });
        key.token(name, &claims)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(go) = env::var_os("KUBE_OIDC_PROXY_GO").map(PathBuf::from) else {
        return println!("nothing to compare with: KUBE_OIDC_PROXY_GO names no program");
    };
    let (folder, authority) = (tempfile::tempdir().expect("a temporary folder"), Authority::new("all"));
    let watch = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send(chunk("event")).then_hang();
    let answer = move |received: &Received| if received.target().contains("watch") { watch.clone() } else { Reply::ok("ok\n") };
    let api = Upstream::start_http2(Some(&authority.server()), answer).await;
    let (tokens, tls) = (Tokens::new(&authority).await, authority.tls());
    let ours = Proxy::start_oidc(&flags(&folder, &authority, &tokens, &api, [free_port(), free_port()])).await;
    let ports = [free_port(), free_port()];
    let [secure, probes] = ports.map(|port| Some(([127, 0, 0, 1], port).into()));
    let theirs = Proxy::start_other(&go, &flags(&folder, &authority, &tokens, &api, ports), secure, None, probes).await;
    let [first, _] = &tokens.keys;
    for proxy in [&ours, &theirs] {
        let token = tokens.make(first);
        wait_for("the issuer's keys", async || match get(&mut connect(proxy, &tls).await, &token).await {
            200 => Ok(()),
            other => Err(other),
        })
        .await;
    }

    head("Go");
    let bytes = |path: &Path| fs::metadata(path).expect("the program is there").len() as f64;
    row("binary, MB", bytes(oidc_binary()) / 1e6, bytes(&go) / 1e6);
    memory("idle", &ours, &theirs);
    for key in &tokens.keys {
        for is_new in [false, true] {
            let (mut this, mut that) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                this.push(load(&ours, &tls, &tokens, key, is_new).await);
                that.push(load(&theirs, &tls, &tokens, key, is_new).await);
            }
            let sight = if is_new { "a new token for each" } else { "one token" };
            row(&format!("CPU µs/GET, {}, {sight}", key.0), median(this), median(that));
        }
    }
    memory("after load", &ours, &theirs);
    let token = tokens.make(first);
    let (_ours, _theirs) = (open_watches(&ours, &tls, &token).await, open_watches(&theirs, &tls, &token).await);
    memory(&format!("with {} watches", WATCHES.0 * WATCHES.1), &ours, &theirs);
}

fn flags(folder: &TempDir, authority: &Authority, tokens: &Tokens, api: &Upstream, [secure, probes]: [u16; 2]) -> Vec<String> {
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let ca = write("ca.pem", authority.pem());
    let kubeconfig = write(
        "kubeconfig",
        &format!(
            "{{apiVersion: v1, kind: Config, current-context: x, contexts: [{{name: x, context: {{cluster: c, user: u}}}}],
             clusters: [{{name: c, cluster: {{server: '{}', certificate-authority: '{ca}'}}}}], users: [{{name: u, user: {{token: t}}}}]}}",
            api.url()
        ),
    );
    let (certificate, key) = authority.server().write(folder.path(), "serving");
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--oidc-issuer-url={}", tokens.issuer.url()),
        "--oidc-client-id=client".to_owned(),
        format!("--oidc-ca-file={ca}"),
        "--oidc-groups-claim=groups".to_owned(),
        "--oidc-signing-algs=RS256,ES256".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={secure}"),
        format!("--readiness-probe-port={probes}"),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-private-key-file={}", key.display()),
    ]
}

async fn connect(proxy: &Proxy, tls: &Tls) -> Client {
    Client::connect(Version::H2, proxy.secure(), tls).await
}

fn of(token: &str) -> Request {
    Request::get("/api/v1/namespaces/default/pods/a").bearer(token)
}

async fn get(client: &mut Client, token: &str) -> u16 {
    client.send(&of(token)).await.status
}

/// Sends requests on one connection, and says how many microseconds of CPU each cost the proxy.
async fn load(proxy: &Proxy, tls: &Tls, tokens: &Tokens, key: &(&'static str, SigningKey), is_new: bool) -> f64 {
    let made: Vec<String> = (0..if is_new { REQUESTS } else { 1 }).map(|_| tokens.make(key)).collect();
    let mut client = connect(proxy, tls).await;
    assert_eq!(get(&mut client, &made[0]).await, 200);
    let before = cpu_micros(proxy.id());
    let requests: Vec<Request> = made.iter().cycle().take(REQUESTS).map(|token| of(token)).collect();
    for some in requests.chunks(AT_A_TIME) {
        let answers = some.iter().map(async |request| {
            let answer = client.http2().open(request).await.expect("a stream").rest().await;
            assert_eq!(answer.expect("an answer").status, 200, "every request is to be admitted");
        });
        join_all(answers).await;
    }
    (cpu_micros(proxy.id()) - before) / REQUESTS as f64
}

/// Watches that have had their first event, for as long as they are held.
async fn open_watches(proxy: &Proxy, tls: &Tls, token: &str) -> (Vec<Client>, Vec<Exchange<'static>>) {
    let (connections, each) = WATCHES;
    let watch = Request::get("/api/v1/pods?watch=1").bearer(token);
    let (mut clients, mut watches) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let client = connect(proxy, tls).await;
        for opened in join_all((0..each).map(|_| client.http2().open(&watch))).await {
            let mut exchange = opened.expect("a stream");
            assert_eq!(exchange.head().await.expect("a head").0, 200);
            assert!(exchange.next().await.expect("an event").is_some());
            watches.push(exchange);
        }
        clients.push(client);
    }
    (clients, watches)
}
