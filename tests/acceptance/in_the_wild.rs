//! Command lines and files as they are found in charts, operators and scaffolds. Each starts as it is, but for addresses, the
//! upstream's port and where files are, and serves who may and nobody else.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use testkit::{
    certs::Authority,
    client::{Client, Request, Version},
    process::{Proxy, free_port},
    tls::Tls,
};

use crate::scene::{ALICE, BOTH, FORGED, MALLORY, Scene, assert_status};

/// One of them.
struct Found {
    place: &'static str,
    flags: &'static [&'static str],
    config: Option<&'static str>,
    /// Served to who may.
    target: &'static str,
    /// What the API server is asked about that; `None`: nothing, for a rule of the file is enough for the one whom it names.
    asked: Option<fn() -> Value>,
    /// Paths that anybody gets.
    open: &'static [&'static str],
    /// Paths that nobody gets.
    hidden: &'static [&'static str],
}

const SCRAPER: &str = "system:serviceaccount:openshift-monitoring:prometheus-k8s";

const PLAIN: Found = Found { place: "", flags: &[], config: None, target: "/metrics", asked: Some(metrics), open: &[], hidden: &[] };

/// Six suites, two of them by the names that Kubernetes keeps.
const KUBE_PROMETHEUS_SUITES: &str = "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
     TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,\
     TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
const OPENSHIFT_SUITES: &str = "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
     TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,\
     TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

const FOUND: &[Found] = &[
    Found {
        place: "kube-prometheus, kube-state-metrics",
        flags: &["--secure-listen-address=:8443", KUBE_PROMETHEUS_SUITES, "--upstream=http://127.0.0.1:8081/"],
        ..PLAIN
    },
    Found {
        place: "kube-prometheus, node-exporter",
        flags: &["--secure-listen-address=[$(IP)]:9100", KUBE_PROMETHEUS_SUITES, "--upstream=http://127.0.0.1:9100/"],
        ..PLAIN
    },
    Found {
        place: "OpenShift's cluster-monitoring-operator, metrics",
        flags: &[
            "--secure-listen-address=0.0.0.0:9092",
            "--upstream=http://127.0.0.1:9090",
            "--allow-paths=/metrics",
            "--config-file=/etc/kube-rbac-proxy/config.yaml",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            "--client-ca-file=/etc/tls/client/client-ca.crt",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
        ],
        config: Some(
            "\"authorization\":\n  \"static\":\n  - \"path\": \"/metrics\"\n    \"resourceRequest\": false\n    \"user\":\n      \
             \"name\": \"system:serviceaccount:openshift-monitoring:prometheus-k8s\"\n    \"verb\": \"get\"\n",
        ),
        asked: None,
        hidden: &["/", "/federate"],
        ..PLAIN
    },
    Found {
        place: "OpenShift's cluster-monitoring-operator, federation",
        flags: &[
            "--secure-listen-address=0.0.0.0:9092",
            "--upstream=http://localhost:9090/",
            "--allow-paths=/federate",
            "--config-file=/etc/kube-rbac-proxy/config.yaml",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            "--client-ca-file=/etc/tls/client/client-ca.crt",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
            "--logtostderr=true",
        ],
        config: Some("authorization:\n  resourceAttributes:\n    apiVersion: v1\n    resource: namespaces\n    verb: get\n"),
        target: "/federate?match[]=up",
        asked: Some(|| json!({ "resourceAttributes": { "verb": "get", "version": "v1", "resource": "namespaces" } })),
        hidden: &["/metrics"],
        ..PLAIN
    },
    Found {
        place: "OpenShift's cluster-monitoring-operator, queries of tenants",
        flags: &[
            "--secure-listen-address=0.0.0.0:9092",
            "--upstream=http://127.0.0.1:9095",
            "--config-file=/etc/kube-rbac-proxy/config.yaml",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
            "--logtostderr=true",
            "--allow-paths=/api/v1/query,/api/v1/query_range,/api/v1/labels,/api/v1/label/*/values,/api/v1/series",
        ],
        config: Some(
            "\"authorization\":\n  \"resourceAttributes\":\n    \"apiGroup\": \"metrics.k8s.io\"\n    \"apiVersion\": \"v1beta1\"\n    \
             \"namespace\": \"{{ .Value }}\"\n    \"resource\": \"pods\"\n  \"rewrites\":\n    \"byQueryParameter\":\n      \
             \"name\": \"namespace\"\n",
        ),
        target: "/api/v1/label/job/values?namespace=team",
        asked: Some(|| {
            let (version, resource) = ("v1beta1", "pods");
            json!({ "resourceAttributes": {
                "namespace": "team", "verb": "get", "group": "metrics.k8s.io", "version": version, "resource": resource,
            } })
        }),
        hidden: &["/metrics", "/api/v1/label/a/b/values?namespace=team"],
        ..PLAIN
    },
    Found {
        place: "OpenShift's cluster-monitoring-operator, alerts of tenants",
        flags: &[
            "--secure-listen-address=0.0.0.0:9092",
            "--upstream=http://127.0.0.1:9096",
            "--config-file=/etc/kube-rbac-proxy/config.yaml",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
        ],
        config: Some(
            "\"authorization\":\n  \"resourceAttributes\":\n    \"apiGroup\": \"monitoring.coreos.com\"\n    \
             \"namespace\": \"{{ .Value }}\"\n    \"resource\": \"prometheusrules\"\n  \"rewrites\":\n    \
             \"byQueryParameter\":\n      \"name\": \"namespace\"\n",
        ),
        target: "/api/v2/alerts?namespace=team",
        asked: Some(|| {
            let group = "monitoring.coreos.com";
            json!({ "resourceAttributes": { "namespace": "team", "verb": "get", "group": group, "resource": "prometheusrules" } })
        }),
        ..PLAIN
    },
    Found {
        place: "OpenShift's cluster-monitoring-operator, Thanos' sidecar",
        flags: &[
            "--secure-listen-address=[$(POD_IP)]:10903",
            "--upstream=http://127.0.0.1:10902",
            "--ignore-paths=/-/healthy,/-/ready",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
        ],
        open: &["/-/healthy", "/-/ready"],
        ..PLAIN
    },
    Found {
        place: "OpenShift's machine-config-operator, CRI-O",
        flags: &[
            "--secure-listen-address=:9637",
            "--config-file=/etc/kubernetes/crio-metrics-proxy.cfg",
            "--client-ca-file=/etc/kubernetes/kubelet-ca.crt",
            "--logtostderr=true",
            "--kubeconfig=/var/lib/kubelet/kubeconfig",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
            "--upstream=http://127.0.0.1:9537",
            "--tls-cert-file=/var/lib/kubelet/pki/kubelet-server-current.pem",
            "--tls-private-key-file=/var/lib/kubelet/pki/kubelet-server-current.pem",
        ],
        config: Some(
            "authorization:\n  static:\n    - resourceRequest: false\n      path: /metrics\n      verb: get\n      user:\n        \
             name: system:serviceaccount:openshift-monitoring:prometheus-k8s\n",
        ),
        asked: None,
        ..PLAIN
    },
    Found {
        place: "csi-operator",
        flags: &[
            "--secure-listen-address=0.0.0.0:9202",
            "--upstream=http://127.0.0.1:8202/",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            OPENSHIFT_SUITES,
            "--tls-min-version=VersionTLS12",
            "--logtostderr=true",
        ],
        ..PLAIN
    },
    Found {
        place: "the chart of kube-state-metrics",
        flags: &[
            "--secure-listen-address=:8080",
            "--upstream=http://127.0.0.1:9090/",
            "--proxy-endpoints-port=8888",
            "--config-file=/etc/kube-rbac-proxy-config/config-file.yaml",
            "--ignore-paths=/livez,/readyz",
        ],
        config: Some(
            "authorization:\n  resourceAttributes:\n    namespace: monitoring\n    apiVersion: v1\n    resource: services\n    \
             subresource: kube-state-metrics\n    name: kube-state-metrics\n",
        ),
        asked: Some(|| service("kube-state-metrics")),
        open: &["/livez", "/readyz"],
        ..PLAIN
    },
    Found {
        place: "the chart of node-exporter",
        flags: &[
            "--secure-listen-address=$(IP):9100",
            "--upstream=http://127.0.0.1:9101/",
            "--proxy-endpoints-port=8888",
            "--config-file=/etc/kube-rbac-proxy-config/config-file.yaml",
        ],
        config: Some(
            "authorization:\n  resourceAttributes:\n    namespace: monitoring\n    apiVersion: v1\n    resource: services\n    \
             subresource: node-exporter\n    name: node-exporter\n",
        ),
        asked: Some(|| service("node-exporter")),
        ..PLAIN
    },
    Found {
        place: "kubebuilder v2",
        flags: &["--secure-listen-address=0.0.0.0:8443", "--upstream=http://127.0.0.1:8080/", "--logtostderr=true", "--v=10"],
        ..PLAIN
    },
    Found {
        place: "kubebuilder v3.14",
        flags: &["--secure-listen-address=0.0.0.0:8443", "--upstream=http://127.0.0.1:8080/", "--logtostderr=true", "--v=0"],
        ..PLAIN
    },
    Found {
        place: "konflux",
        flags: &[
            "--http2-disable",
            "--secure-listen-address=0.0.0.0:8443",
            "--upstream=http://127.0.0.1:8080/",
            "--logtostderr=true",
            "--v=0",
        ],
        ..PLAIN
    },
    Found {
        place: "security-profiles-operator",
        flags: &[
            "--secure-listen-address=0.0.0.0:9443",
            "--upstream=http://127.0.0.1:8080",
            "--v=10",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            "--http2-disable",
        ],
        ..PLAIN
    },
    Found {
        place: "gitpod",
        flags: &["--logtostderr", "--insecure-listen-address=[$(IP)]:9500", "--upstream=http://127.0.0.1:9500/", "--http2-disable"],
        ..PLAIN
    },
    Found {
        place: "gardener",
        flags: &[
            "--insecure-listen-address=0.0.0.0:8080",
            "--upstream=http://127.0.0.1:9090/",
            "--kubeconfig=/var/lib/kubelet/kubeconfig",
            "--v=6",
        ],
        ..PLAIN
    },
    Found {
        place: "KServe in Open Data Hub",
        flags: &[
            "--secure-listen-address=0.0.0.0:8443",
            "--proxy-endpoints-port=8643",
            "--upstream=http://localhost:8080",
            "--auth-header-fields-enabled=true",
            "--config-file=/etc/kube-rbac-proxy/config-file.yaml",
            "--tls-cert-file=/etc/tls/private/tls.crt",
            "--tls-private-key-file=/etc/tls/private/tls.key",
            "--v=4",
            "--upstream-timeout=600s",
        ],
        config: Some(
            "authorization:\n  resourceAttributes:\n    namespace: \"models\"\n    apiGroup: \"serving.kserve.io\"\n    \
             apiVersion: \"v1beta1\"\n    resource: \"inferenceservices\"\n    name: \"llm\"\n    verb: \"get\"\n",
        ),
        target: "/v1/models",
        asked: Some(|| {
            json!({ "resourceAttributes": {
                "namespace": "models", "verb": "get", "group": "serving.kserve.io", "version": "v1beta1",
                "resource": "inferenceservices", "name": "llm",
            } })
        }),
        ..PLAIN
    },
    Found {
        place: "the gRPC example of 2018",
        flags: &["--insecure-listen-address=0.0.0.0:8888", "--upstream=http://127.0.0.1:44134/"],
        target: "/helm.Tiller",
        asked: Some(|| json!({ "nonResourceAttributes": { "verb": "get", "path": "/helm.Tiller" } })),
        ..PLAIN
    },
];

fn metrics() -> Value {
    json!({ "nonResourceAttributes": { "verb": "get", "path": "/metrics" } })
}

fn service(name: &str) -> Value {
    let (namespace, resource) = ("monitoring", "services");
    json!({ "resourceAttributes": {
        "namespace": namespace, "verb": "get", "version": "v1", "resource": resource, "subresource": name, "name": name,
    } })
}

#[tokio::test]
async fn what_is_found_in_the_wild_starts_unchanged_and_serves() {
    let scene = Scene::new().await;
    scene.api.user("token-of-the-scraper", SCRAPER, &[]);
    let clients = Authority::new("clients");
    scene.write("client-ca.crt", clients.pem());
    let serving = scene.authority.server();
    scene.write("tls.crt", &serving.chain);
    scene.write("tls.key", &serving.key);
    let combined = scene.write("kubelet-server-2026.pem", format!("{}{}", serving.chain, serving.key));
    symlink(combined, scene.path("kubelet-server-current.pem")).unwrap();
    let scraper = Tls::presenting(&clients.client(SCRAPER, &[]));
    for found in FOUND {
        let proxy = Proxy::start(&here(&scene, found)).await;
        let mut tries: Vec<(Client, bool)> = Vec::new();
        let has = |name: &str| found.flags.iter().any(|flag| flag.trim_start_matches('-').split('=').next() == Some(name));
        let token = if found.asked.is_some() { ALICE } else { "token-of-the-scraper" };
        for version in BOTH {
            if has("insecure-listen-address") {
                tries.push((Client::connect_plain(proxy.insecure()).await, true));
            } else if version == Version::H1 || !has("http2-disable") {
                tries.push((Client::connect(version, proxy.secure(), &Tls::default()).await, true));
                if has("client-ca-file") {
                    tries.push((Client::connect(version, proxy.secure(), &scraper).await, false));
                }
            }
        }
        let mut was_asked = false;
        for (mut client, by_token) in tries {
            scene.api.forget();
            let arrived = scene.upstream.count();
            let request = Request::get(found.target);
            let response = client.send(&if by_token { request.bearer(token) } else { request }).await;
            assert!(response.status == 200 && response.text() == found.target, "{}: {} {}", found.place, response.status, proxy.output());
            assert_eq!(scene.upstream.count(), arrived + 1, "{}", found.place);
            let name = scene.upstream.last_request().header("x-remote-user").map(str::to_owned);
            assert_eq!(name.is_some(), has("auth-header-fields-enabled"), "{}", found.place);
            for mut spec in scene.api.access_specs() {
                let asked = found.asked.unwrap_or_else(|| panic!("{}: nobody need be asked {spec}", found.place))();
                spec.as_object_mut().unwrap().retain(|key, _| key.ends_with("Attributes"));
                assert_eq!(spec, asked, "{}", found.place);
                was_asked = true;
            }
            // Whoever has shown a certificate needs no token.
            if by_token {
                assert_status(&client.send(&Request::get(found.target)).await, 401);
                assert_status(&client.send(&Request::get(found.target).bearer(FORGED)).await, 401);
                assert_status(&client.send(&Request::get(found.target).bearer(MALLORY)).await, 403);
            }
            for path in found.open {
                assert_status(&client.send(&Request::get(path)).await, 200);
            }
            for path in found.hidden {
                assert_status(&client.send(&Request::get(path).bearer(token)).await, 404);
            }
            assert_eq!(scene.upstream.count(), arrived + 1 + found.open.len(), "{}", found.place);
        }
        assert_eq!(was_asked, found.asked.is_some(), "{}", found.place);
        if has("proxy-endpoints-port") {
            let mut probe = Client::connect(Version::H1, proxy.endpoints(), &Tls::default()).await;
            assert_eq!(probe.send(&Request::get("/healthz")).await.text(), "ok", "{}", found.place);
        }
    }
}

/// The flags with addresses, ports and files of this machine. A pod has a ServiceAccount where there is no kubeconfig.
fn here(scene: &Scene, found: &Found) -> Vec<String> {
    let file = |name: &str| scene.path(name).display().to_string();
    let place = |flag: &&str| {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let host = || value.rsplit_once(':').unwrap().0.replace("$(IP)", "127.0.0.1").replace("$(POD_IP)", "127.0.0.1");
        let value = match name {
            "--secure-listen-address" | "--insecure-listen-address" => format!("{}:0", host()),
            "--proxy-endpoints-port" => free_port().to_string(),
            "--upstream" => {
                let slash = if value.ends_with('/') { "/" } else { "" };
                format!("{}:{}{slash}", host(), scene.upstream.address().port())
            }
            "--config-file" => scene.write("config.yaml", found.config.unwrap()),
            "--client-ca-file" => file("client-ca.crt"),
            "--tls-cert-file" | "--tls-private-key-file" => file(value.rsplit('/').next().unwrap()),
            "--kubeconfig" => file("kubeconfig"),
            _ => return (*flag).to_owned(),
        };
        format!("{name}={value}")
    };
    let mut flags: Vec<String> = found.flags.iter().map(place).collect();
    if !flags.iter().any(|flag| flag.starts_with("--kubeconfig")) {
        flags.push(format!("--kubeconfig={}", file("kubeconfig")));
    }
    flags
}
