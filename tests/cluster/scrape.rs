//! The main job: a real Prometheus scrapes a real node_exporter through the proxy.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};
use testkit::{
    client::{Client, Request},
    cluster,
    parts::{Part, skip},
    process::{Process, free_port},
    wait::wait_for,
};
use tokio::net::TcpStream;

use crate::scene::{Scene, assert_status};

#[tokio::test]
async fn prometheus_scrapes_as_long_as_rbac_lets_it() {
    let (prometheus, exporter) = match (Part::Prometheus.path(), Part::NodeExporter.path()) {
        (Ok(prometheus), Ok(exporter)) => (prometheus, exporter),
        (Err(absent), _) | (_, Err(absent)) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    scene.account("prometheus").await;
    let binding = scene.allow("prometheus", &["/metrics"]).await;
    let (first, secret) = scene.mortal_token("prometheus", "first").await;
    scene.write("prometheus.token", &first);

    let (_exporter, exporter_url) = start_exporter(exporter).await;
    let ttl = |of: &str| format!("--{of}-ttl=2s");
    let proxy = scene
        .proxy(&[
            &format!("--upstream={exporter_url}"),
            &ttl("authentication-token-webhook-cache"),
            &ttl("authorization-webhook-cache-authorized"),
            &ttl("authorization-webhook-cache-unauthorized"),
        ])
        .await;
    let prometheus = Prometheus::start(prometheus, &scene, proxy.secure().port()).await;

    prometheus.until("up", "").await;
    let families = prometheus.value(r#"count({__name__=~"node_.+"})"#).await.unwrap();
    assert!(families > 100.0, "node_exporter has more than {families} series");

    // Rotation: the old token dies some time after the new one is in its place.
    scene.write("prometheus.token", &scene.token("prometheus", &Default::default()).await);
    prometheus.scrapes_again(2).await;
    scene.admin().delete(&secret).await;
    wait_for("refusal of the old token", async || match scene.get(&proxy, "/metrics", &first).await.status {
        401 => Ok(()),
        status => Err(status),
    })
    .await;
    prometheus.scrapes_again(2).await;
    prometheus.until("up", "").await;
    assert_eq!(prometheus.value("min_over_time(up[5m])").await, Some(1.0), "a scrape failed");

    scene.admin().delete(&binding).await;
    prometheus.until("down", "403").await;
    wait_for("up to be 0", async || match prometheus.value("up").await {
        Some(0.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// As Grafana asks: the namespace in the URL, the query as a form.
#[tokio::test]
async fn a_query_as_a_form_reaches_prometheus_within_its_namespace() {
    let program = match Part::Prometheus.path() {
        Ok(program) => program,
        Err(absent) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let grafana = scene.account("grafana").await;
    scene.role("queries", json!({ "apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["create"] })).await;
    scene.bind_here("grafana", "Role", "queries", scene.subject("grafana")).await;
    let asked = json!({ "namespace": scene.namespace, "verb": "create", "group": "metrics.k8s.io", "resource": "pods" });
    scene.until_allowed(&json!({ "user": grafana.user, "resourceAttributes": asked })).await;
    scene.write("prometheus.token", &grafana.token);
    let prometheus = Prometheus::start(program, &scene, free_port()).await;
    let config = json!({ "authorization": {
        "rewrites": { "byQueryParameter": { "name": "namespace" } },
        "resourceAttributes": { "apiGroup": "metrics.k8s.io", "resource": "pods", "namespace": "{{ .Value }}" },
    } });
    let config = scene.write("config.yaml", &config.to_string());
    let proxy = scene.proxy(&[&format!("--config-file={config}"), &format!("--upstream=http://{}/", prometheus.address)]).await;
    let ca = scene.path("serving-ca.crt").display().to_string();
    let bearer = format!("Authorization: Bearer {}", grafana.token);
    for (namespace, version, expected) in [
        (scene.namespace.as_str(), "--http1.1", r#""value":["#),
        (scene.namespace.as_str(), "--http2", r#""value":["#),
        ("kube-system", "--http2", "Forbidden (user="),
    ] {
        let url = format!("https://{}/api/v1/query?namespace={namespace}", proxy.secure());
        let form = ["--data-urlencode", "query=vector(41) + 1"];
        let curl = Process::spawn(Command::new("curl").args(["--silent", version, "--cacert", &ca, "-H", &bearer]).args(form).arg(url));
        let answer = curl.exit().await.output;
        assert!(answer.contains(expected) && answer.contains("42") == expected.contains("value"), "{namespace} {version}: {answer}");
    }
}

struct Prometheus {
    _process: Process,
    address: std::net::SocketAddr,
}

impl Prometheus {
    /// Scrapes the proxy every four seconds, which a busy machine has time for, with the token file of the scene and trust in nothing but the scene's authority.
    async fn start(program: PathBuf, scene: &Scene<'_>, proxy: u16) -> Self {
        let config = json!({
            "global": { "scrape_interval": "4s", "scrape_timeout": "4s" },
            "scrape_configs": [{
                "job_name": "node", "scheme": "https",
                "static_configs": [{ "targets": [format!("127.0.0.1:{proxy}")] }],
                "authorization": { "type": "Bearer", "credentials_file": scene.path("prometheus.token") },
                "tls_config": { "ca_file": scene.write("serving-ca.crt", scene.authority.pem()) },
            }],
        });
        let config = scene.write("prometheus.yml", &config.to_string());
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(program);
        command.arg(format!("--config.file={config}")).arg(format!("--web.listen-address={address}"));
        command.arg(format!("--storage.tsdb.path={}", scene.path("tsdb").display()));
        let process = Process::spawn(&mut command);
        let prometheus = Self { _process: process, address: address.parse().unwrap() };
        wait_for("Prometheus", async || prometheus.try_get("/-/ready").await.map(drop)).await;
        prometheus
    }

    /// Waits until the target has this health, and an error with these words.
    async fn until(&self, health: &str, error: &str) {
        wait_for(&format!("target that is {health}"), async || {
            let target = self.target().await?;
            let last = target["lastError"].as_str().unwrap_or_default();
            if target["health"] == health && last.contains(error) { Ok(()) } else { Err(target.to_string()) }
        })
        .await;
    }

    /// Waits for so many more scrapes, of which the first may have begun before.
    async fn scrapes_again(&self, times: usize) {
        for _ in 0..times {
            let before = self.target().await.unwrap()["lastScrape"].take();
            wait_for("next scrape", async || match self.target().await? {
                target if target["lastScrape"] == before => Err(target.to_string()),
                _ => Ok(()),
            })
            .await;
        }
    }

    /// What a query's only series is now.
    async fn value(&self, query: &str) -> Option<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await;
        answer["data"]["result"][0]["value"][1].as_str().map(|value| value.parse().unwrap())
    }

    async fn target(&self) -> Result<Value, String> {
        let targets = self.get("/api/v1/targets").await;
        targets.pointer("/data/activeTargets/0").cloned().ok_or_else(|| "no target yet".to_owned())
    }

    async fn get(&self, target: &str) -> Value {
        let text = self.try_get(target).await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{target}: {text}"))
    }

    async fn try_get(&self, target: &str) -> Result<String, String> {
        // Not there yet, at first.
        TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let response = Client::connect_plain(self.address).await.try_send(&Request::get(target)).await?;
        if response.status == 200 { Ok(response.text()) } else { Err(format!("{} {}", response.status, response.text())) }
    }
}

async fn start_exporter(program: PathBuf) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let process = Process::spawn(Command::new(program).arg(format!("--web.listen-address={address}")));
    wait_for("node_exporter", async || TcpStream::connect(&address).await).await;
    assert_status(&Client::connect_plain(address.parse().unwrap()).await.send(&Request::get("/metrics")).await, 200);
    (process, format!("http://{address}/"))
}
