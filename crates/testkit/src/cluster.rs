//! A real cluster without nodes: etcd, kube-apiserver and kube-controller-manager, one for all tests of a process; or
//! the cluster that `KUBECONFIG` names.
#![expect(clippy::unwrap_used, reason = "a cluster that cannot be started should stop the test and say where")]

mod admin;
mod audit;
mod leash;
mod servers;

use std::{
    ops::Deref,
    path::Path,
    sync::{OnceLock, mpsc},
};

use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use admin::{Admin, ApiFault, TokenRequest};
pub use audit::{Audit, Entry};

use crate::{
    certs::Authority,
    parts::{Absent, skip},
};
use servers::Servers;

/// A cluster that may be used.
#[derive(Debug)]
pub struct Cluster {
    admin: Admin,
    kubeconfig: Value,
    servers: Option<Servers>,
}

/// The use of a cluster together with other tests.
#[derive(Debug)]
pub struct Guest {
    cluster: &'static Cluster,
    _turn: RwLockReadGuard<'static, ()>,
}

/// The use of a cluster by one test alone, which may therefore break its API server.
#[derive(Debug)]
pub struct Master {
    cluster: &'static Cluster,
    servers: &'static Servers,
    _turn: RwLockWriteGuard<'static, ()>,
}

/// The API server under SIGSTOP, until this is dropped.
#[derive(Debug)]
pub struct Paused<'a>(&'a Servers);

static SHARED: OnceLock<Result<Cluster, Absent>> = OnceLock::new();
static TURNS: RwLock<()> = RwLock::const_new(());

/// The cluster, started first if need be, which takes seconds; `None`, after a word on why, when there is none to be
/// had here.
pub async fn guest() -> Option<Guest> {
    let cluster = shared()?;
    let turn = TURNS.read().await;
    cluster.settled().await;
    Some(Guest { cluster, _turn: turn })
}

/// The cluster without other guests. A cluster that `KUBECONFIG` names is nobody's alone.
pub async fn master() -> Option<Master> {
    let cluster = shared()?;
    let servers = cluster.own("its API server is to be stopped")?;
    let turn = TURNS.write().await;
    cluster.settled().await;
    Some(Master { cluster, servers, _turn: turn })
}

impl Cluster {
    /// A client with all rights.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// A kubeconfig's text for a user as the `user` of a kubeconfig describes him, such as
    /// `{ "tokenFile": "/some/path" }`.
    pub fn kubeconfig(&self, user: &Value) -> String {
        let mut kubeconfig = self.kubeconfig.clone();
        kubeconfig["users"] = json!([{ "name": "user", "user": user }]);
        for context in kubeconfig["contexts"].as_array_mut().unwrap() {
            context["context"]["user"] = json!("user");
        }
        kubeconfig.to_string()
    }

    /// What the API server itself recorded; `None`, after a word on why, when that cannot be read.
    pub fn audit(&self) -> Option<&Audit> {
        self.own("its audit log is to be read").map(Servers::audit)
    }

    /// The authority that the API server takes client certificates from, and its own comes from; `None`, after a word on
    /// why, when its key is not ours.
    pub fn authority(&self) -> Option<&Authority> {
        self.own("its client CA is to issue a certificate").map(Servers::authority)
    }

    /// The port of the API server on 127.0.0.1; `None`, after a word on why, when it is not there.
    pub fn port(&self) -> Option<u16> {
        self.own("its API server is to be on 127.0.0.1").map(Servers::port)
    }

    /// Whether something fills in aggregated ClusterRoles; false comes with a word on why.
    pub fn aggregates_roles(&self) -> bool {
        let missing = self.servers.as_ref().and_then(Servers::why_no_controller_manager);
        missing.map(skip).is_none()
    }

    /// Waits for an API server that a failed test left to be started again.
    async fn settled(&self) {
        if let Some(servers) = &self.servers {
            servers.ready(&self.admin).await.unwrap_or_else(|words| panic!("{words}"));
        }
    }

    fn own(&self, purpose: &str) -> Option<&Servers> {
        if self.servers.is_none() {
            skip(format_args!("the cluster of KUBECONFIG is not this test's, and {purpose}"));
        }
        self.servers.as_ref()
    }
}

impl Master {
    /// Stops the API server with SIGSTOP: connections are taken and nothing is answered.
    pub fn pause(&self) -> Paused<'_> {
        self.servers.signal_apiserver("STOP");
        Paused(self.servers)
    }

    /// Kills the API server: connections are refused until it is started again.
    pub fn kill_apiserver(&self) {
        self.servers.kill_apiserver();
    }

    /// Starts the API server again, on the same port and with the same state.
    pub async fn start_apiserver(&self) {
        self.servers.start_apiserver();
        self.servers.ready(&self.cluster.admin).await.unwrap_or_else(|words| panic!("{words}"));
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // A test that failed half way leaves the next one a cluster that works.
        if !self.servers.apiserver_is_alive() {
            self.servers.start_apiserver();
        }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.signal_apiserver("CONT");
    }
}

impl Deref for Guest {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

impl Deref for Master {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

fn shared() -> Option<&'static Cluster> {
    match SHARED.get_or_init(on_its_own_thread) {
        Ok(cluster) => Some(cluster),
        Err(absent) => {
            skip(absent);
            None
        }
    }
}

/// Starts the cluster on a thread that then serves its client's connections for as long as the process lives.
fn on_its_own_thread() -> Result<Cluster, Absent> {
    let (send, receive) = mpsc::channel();
    let name = std::thread::Builder::new().name("cluster".to_owned());
    let thread = name.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            send.send(start().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    thread.unwrap();
    receive.recv().expect("the cluster's thread says above why it failed")
}

async fn start() -> Result<Cluster, Absent> {
    if let Some(given) = Kubeconfig::from_env().expect("KUBECONFIG can be read") {
        let admin = Admin::connect(given.clone()).await;
        return Ok(Cluster { admin, kubeconfig: serde_json::to_value(given).unwrap(), servers: None });
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        let servers = Servers::launch()?;
        let own = read_kubeconfig(&servers.admin_kubeconfig());
        let admin = Admin::connect(own.clone()).await;
        match servers.ready(&admin).await {
            Ok(()) => return Ok(Cluster { admin, kubeconfig: serde_json::to_value(own).unwrap(), servers: Some(servers) }),
            // A port that was free may have been taken since; that does not happen three times.
            Err(words) => assert!(attempts < 3, "{words}"),
        }
    }
}

fn read_kubeconfig(path: &Path) -> Kubeconfig {
    Kubeconfig::read_from(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
