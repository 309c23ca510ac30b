use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rcgen::KeyPair;
use serde_json::json;

use super::{Admin, Audit, audit::POLICY, leash::Leash};
use crate::{
    certs::{Authority, Pair},
    parts::{Absent, Part},
    process::free_port,
    wait::wait_for_within,
};

/// The servers' processes and the folder that they live in.
#[derive(Debug)]
pub(super) struct Servers {
    audit: Audit,
    authority: Authority,
    ports: Ports,
    programs: Programs,
    // Dropped in this order: those that write the folder before etcd, which takes it along.
    controller_manager: Mutex<Option<Leash>>,
    apiserver: Mutex<Option<Leash>>,
    _etcd: Leash,
    folder: PathBuf,
}

#[derive(Debug)]
struct Programs {
    etcd: PathBuf,
    apiserver: PathBuf,
    controller_manager: Result<PathBuf, Absent>,
}

#[derive(Debug)]
struct Ports {
    etcd: u16,
    apiserver: u16,
}

/// Generous: other builds and suites may use the machine at the same time. It takes about 5 s.
const READY_WITHIN: Duration = Duration::from_secs(90);

impl Servers {
    /// Writes keys and files and starts the processes; they serve some seconds later.
    pub(super) fn launch() -> Result<Self, Absent> {
        let programs = Programs {
            etcd: Part::Etcd.path()?,
            apiserver: Part::KubeApiserver.path()?,
            controller_manager: Part::KubeControllerManager.path(),
        };
        // Kept: this process may never drop anything; etcd's leash deletes it.
        let folder = tempfile::Builder::new().prefix("kube-rbac-proxy-cluster-").tempdir().unwrap().keep();
        let authority = Authority::new("cluster");
        let ports = Ports { etcd: free_port(), apiserver: free_port() };
        write_files(&folder, &authority, ports.apiserver);
        let etcd = Leash::start(&programs.etcd, &etcd_arguments(&folder, &ports), &folder.join("etcd.log"), Some(&folder));
        let servers = Self {
            audit: Audit::new(&folder.join("audit.log")),
            authority,
            ports,
            programs,
            controller_manager: Mutex::default(),
            apiserver: Mutex::default(),
            _etcd: etcd,
            folder,
        };
        servers.start_apiserver();
        Ok(servers)
    }

    /// Waits until the API server has its built-in roles and answers all that it will ever answer.
    ///
    /// # Errors
    /// It ended: with its last words.
    pub(super) async fn ready(&self, admin: &Admin) -> Result<(), String> {
        let died = wait_for_within("API server that is ready", READY_WITHIN, async || {
            if !self.apiserver_is_alive() {
                return Ok(true);
            }
            admin.get("/readyz").await.map(|_| false)
        })
        .await;
        if died {
            let words = held(&self.apiserver).as_ref().map(Leash::last_words);
            return Err(format!("kube-apiserver ended: {}", words.unwrap_or_default()));
        }
        let mut controller_manager = held(&self.controller_manager);
        if let (None, Ok(program)) = (&*controller_manager, &self.programs.controller_manager) {
            let log = self.folder.join("controller-manager.log");
            *controller_manager = Some(Leash::start(program, &self.controller_manager_arguments(), &log, None));
        }
        Ok(())
    }

    pub(super) fn audit(&self) -> &Audit {
        &self.audit
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn port(&self) -> u16 {
        self.ports.apiserver
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    pub(super) fn why_no_controller_manager(&self) -> Option<&Absent> {
        self.programs.controller_manager.as_ref().err()
    }

    pub(super) fn signal_apiserver(&self, name: &str) {
        held(&self.apiserver).as_ref().expect("it was started").signal(name);
    }

    pub(super) fn apiserver_is_alive(&self) -> bool {
        held(&self.apiserver).as_ref().is_some_and(Leash::is_alive)
    }

    pub(super) fn kill_apiserver(&self) {
        *held(&self.apiserver) = None;
    }

    pub(super) fn start_apiserver(&self) {
        let log = self.folder.join("apiserver.log");
        *held(&self.apiserver) = Some(Leash::start(&self.programs.apiserver, &self.apiserver_arguments(), &log, None));
    }

    fn apiserver_arguments(&self) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", self.ports.apiserver),
            "--service-cluster-ip-range=10.96.0.0/24".to_owned(),
            format!("--cert-dir={}", file("certs")),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!("--service-account-signing-key-file={}", file("service-account.key")),
            "--authorization-mode=RBAC".to_owned(),
            // Written before the answer, so that what was answered is in it.
            "--audit-log-mode=blocking".to_owned(),
            format!("--audit-log-path={}", file("audit.log")),
            format!("--audit-policy-file={}", file("audit-policy.json")),
            "--profiling=false".to_owned(),
        ]
    }

    fn controller_manager_arguments(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.admin_kubeconfig().display()),
            "--controllers=clusterrole-aggregation-controller".to_owned(),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }
}

fn etcd_arguments(folder: &Path, ports: &Ports) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        // Nobody else is in this etcd cluster.
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        // The data need not outlive a power failure.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
    ]
}

fn write_files(folder: &Path, authority: &Authority, port: u16) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("ca.crt", authority.pem());
    authority.server().write(folder, "server");
    let Pair { chain, key } = authority.client("admin", &["system:masters"]);
    write("admin.crt", &chain);
    write("admin.key", &key);
    let service_accounts = KeyPair::generate().unwrap();
    write("service-account.key", &service_accounts.serialize_pem());
    write("service-account.pub", &service_accounts.public_key_pem());
    write("audit-policy.json", POLICY);
    let admin = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": folder.join("ca.crt") } }],
        "users": [{ "name": "admin", "user": {
            "client-certificate": folder.join("admin.crt"), "client-key": folder.join("admin.key") } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "admin" } }],
    });
    write("admin.kubeconfig", &admin.to_string());
}

/// A test that panicked while it held a leash has broken nothing.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
