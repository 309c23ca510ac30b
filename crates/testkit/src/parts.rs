//! The real servers that the suites drive: where each is, or why it cannot be had.

use std::{
    env, fmt,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A real server or peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The API server's storage.
    Etcd,
    /// The API server itself.
    KubeApiserver,
    /// Fills in aggregated ClusterRoles, which the API server alone never does.
    KubeControllerManager,
    /// The client that everybody has, of the API server's release.
    Kubectl,
    /// What the API server takes for a kubelet.
    Kubelet,
    /// The Go program that ours replaces.
    KubeRbacProxyGo,
    /// npm's OpenID Connect issuer.
    OidcProvider,
    /// Servers and clients of gRPC and of WebSocket that are not ours.
    Peers,
    /// Conformance tests of HTTP/2.
    H2spec,
    /// Debian's `curl`.
    Curl,
    /// Debian's `haproxy`.
    Haproxy,
    /// Debian's `prometheus`.
    Prometheus,
    /// Debian's `prometheus-node-exporter`.
    NodeExporter,
}

/// A part that cannot be had on this machine.
#[derive(Clone, Debug)]
pub struct Absent {
    part: Part,
    why: String,
}

impl Part {
    /// The program's path: from `KUBEBUILDER_ASSETS`, from the cache (built first, which takes minutes, when it is not
    /// there or its pin has changed), or from `PATH`.
    ///
    /// # Errors
    /// The part is not installed, or neither given nor buildable. Tests pass that to [`skip`].
    pub fn path(self) -> Result<PathBuf, Absent> {
        match self {
            Self::Etcd | Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => match env::var_os("KUBEBUILDER_ASSETS") {
                Some(assets) => self.in_assets(Path::new(&assets)),
                None => self.built(),
            },
            Self::Kubelet | Self::KubeRbacProxyGo | Self::OidcProvider | Self::Peers | Self::H2spec => self.built(),
            Self::Curl | Self::Haproxy | Self::Prometheus | Self::NodeExporter => self.installed(),
        }
    }

    /// The names that the program has, the usual one first.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Etcd => &["etcd"],
            Self::KubeApiserver => &["kube-apiserver"],
            Self::KubeControllerManager => &["kube-controller-manager"],
            Self::Kubectl => &["kubectl"],
            Self::Kubelet => &["kubelet"],
            Self::KubeRbacProxyGo => &["kube-rbac-proxy-go"],
            Self::OidcProvider => &["oidc-provider"],
            Self::Peers => &["peers"],
            Self::H2spec => &["h2spec"],
            Self::Curl => &["curl"],
            Self::Haproxy => &["haproxy"],
            Self::Prometheus => &["prometheus"],
            Self::NodeExporter => &["prometheus-node-exporter", "node_exporter"],
        }
    }

    fn in_assets(self, assets: &Path) -> Result<PathBuf, Absent> {
        let path = assets.join(self.names()[0]);
        if path.is_file() { Ok(path) } else { Err(self.absent(format!("KUBEBUILDER_ASSETS has no {}", path.display()))) }
    }

    fn installed(self) -> Result<PathBuf, Absent> {
        let folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        let candidates = self.names().iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| self.absent("it is not on PATH".to_owned()))
    }

    fn built(self) -> Result<PathBuf, Absent> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/build-parts");
        // Its words about a build that takes minutes belong on the terminal, so stderr is not captured.
        let output = Command::new(script)
            .arg(self.names()[0])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.absent(format!("{script} cannot be run: {error}")))?;
        if !output.status.success() {
            return Err(self.absent(format!("tests/build-parts: {}", output.status)));
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    }

    fn absent(self, why: String) -> Absent {
        Absent { part: self, why }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}: {}", self.part.names()[0], self.why)
    }
}

impl std::error::Error for Absent {}

/// Says on the terminal that a test does not run here, and why; under `CI=true` that is a failure.
///
/// # Panics
/// Under `CI=true`.
pub fn skip(why: impl fmt::Display) {
    assert!(!in_ci(), "skipped under CI=true: {why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not a print macro: the test harness would swallow it, for a skipped test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Whether a skip is a failure.
pub fn in_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true")
}
