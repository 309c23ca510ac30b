use std::sync::Arc;

use auth::Policy;
use settings::{ClientCa, ConfigFile, LoadError, Reloadable, TokenAuthFile, UpstreamRoots, Watched, followed};

use crate::settings::Sources;

/// What decisions about requests are made of.
pub(crate) struct DecidingFiles {
    pub(crate) client_ca: Option<Arc<Watched<ClientCa>>>,
    pub(crate) tokens: Option<Arc<Watched<TokenAuthFile>>>,
    pub(crate) oidc_roots: Option<Arc<Watched<UpstreamRoots>>>,
    pub(crate) policy: Option<Arc<Watched<Policy>>>,
    /// Without a file: requests are about their path.
    pub(crate) config: Arc<Watched<ConfigFile>>,
}

impl DecidingFiles {
    /// Opens each file that a flag names; all that are of no use are named among `errors`.
    pub(crate) fn open(sources: Sources, errors: &mut Vec<String>) -> Option<Self> {
        let client_ca = open(sources.client_ca, |path| ClientCa::open("--client-ca-file", path), errors);
        let tokens = open(sources.tokens, |path| Watched::open("--token-auth-file", vec![path], TokenAuthFile::parse), errors);
        let oidc_roots = open(sources.oidc_ca, |path| UpstreamRoots::open("--oidc-ca-file", path), errors);
        let manifests = (!sources.manifests.is_empty()).then_some(sources.manifests);
        let policy = open(manifests, |paths| Policy::open("--rbac-manifests", paths), errors);
        let config = match sources.attributes {
            None => open(sources.config, |path| ConfigFile::open("--config-file", path, sources.managed), errors),
            bare => open(bare, |path| Watched::open("--resource-attributes-file", vec![path], ConfigFile::parse_bare), errors),
        };
        let config = config?.unwrap_or_else(|| Watched::fixed(ConfigFile::default()));
        Some(Self { client_ca: client_ca?, tokens: tokens?, oidc_roots: oidc_roots?, policy: policy?, config })
    }

    /// What is doubtful in them today, each with the flag that names them.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let config = said(self.config.subject(), &self.config.current().warnings);
        let policy = self.policy.iter().flat_map(|policy| said("--rbac-manifests", &policy.current().warnings));
        let client_ca = self.client_ca.iter().flat_map(|ca| said("--client-ca-file", &ca.current().skipped));
        let oidc_roots = self.oidc_roots.iter().flat_map(|roots| said("--oidc-ca-file", &roots.current().skipped));
        config.into_iter().chain(policy).chain(client_ca).chain(oidc_roots).collect()
    }

    /// Those that are followed while they change.
    pub(super) fn followed(&self) -> impl Iterator<Item = Arc<dyn Reloadable>> {
        let who = followed(&self.client_ca).chain(followed(&self.tokens)).chain(followed(&self.oidc_roots));
        who.chain(followed(&self.policy)).chain(followed([&self.config]))
    }
}

/// Opens what is named. Named and of no use: `None`, and why is among `errors`.
pub(super) fn open<N, T>(
    named: Option<N>,
    open: impl FnOnce(N) -> Result<Arc<Watched<T>>, LoadError>,
    errors: &mut Vec<String>,
) -> Option<Option<Arc<Watched<T>>>> {
    named.map(open).transpose().map_err(|why| errors.push(why.to_string())).ok()
}

pub(super) fn said(flag: &str, doubts: &[String]) -> Vec<String> {
    doubts.iter().map(|doubt| format!("{flag}: {doubt}")).collect()
}
