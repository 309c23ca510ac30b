use kube::config::{Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

/// What the command line says instead of a kubeconfig, or over one: client-go's flags of these names. Empty: not said.
#[derive(Clone, Default)]
#[expect(missing_docs, reason = "each is the flag of its name")]
pub struct Overrides {
    pub server: String,
    pub tls_server_name: String,
    pub certificate_authority: String,
    pub insecure_skip_tls_verify: bool,
    pub client_certificate: String,
    pub client_key: String,
    pub token: String,
    pub cluster: String,
    pub user: String,
    pub context: String,
}

impl Overrides {
    /// The kubeconfig with nothing in it but what counts, as `k8s.io/client-go/tools/clientcmd` finds it.
    pub(crate) fn over(&self, kubeconfig: Kubeconfig) -> Result<Kubeconfig, String> {
        const ONE: &str = "chosen";
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let missing = |what: &str, name: &str| format!("its {what} {name:?} does not exist");
        let context = match said(&self.context).or(kubeconfig.current_context) {
            Some(name) if !name.is_empty() => {
                let found = kubeconfig.contexts.into_iter().find(|context| context.name == name);
                found.and_then(|found| found.context).ok_or_else(|| missing("context", &name))?
            }
            _ => Context::default(),
        };
        let mut cluster = match said(&self.cluster).unwrap_or(context.cluster) {
            name if name.is_empty() => Default::default(),
            name => {
                let found = kubeconfig.clusters.into_iter().find(|cluster| cluster.name == name);
                found.and_then(|found| found.cluster).ok_or_else(|| missing("cluster", &name))?
            }
        };
        let mut user = match said(&self.user).or(context.user) {
            Some(name) if !name.is_empty() => {
                let found = kubeconfig.auth_infos.into_iter().find(|user| user.name == name);
                found.ok_or_else(|| missing("user", &name))?.auth_info.unwrap_or_default()
            }
            _ => Default::default(),
        };
        if let Some(server) = said(&self.server) {
            (cluster.server, cluster.tls_server_name) = (Some(server), None);
        }
        cluster.tls_server_name = said(&self.tls_server_name).or(cluster.tls_server_name);
        let authority = said(&self.certificate_authority);
        if self.insecure_skip_tls_verify || authority.is_some() {
            cluster.insecure_skip_tls_verify = Some(self.insecure_skip_tls_verify);
            (cluster.certificate_authority, cluster.certificate_authority_data) = (authority, None);
        }
        if let Some(file) = said(&self.client_certificate) {
            (user.client_certificate, user.client_certificate_data) = (Some(file), None);
        }
        if let Some(file) = said(&self.client_key) {
            (user.client_key, user.client_key_data) = (Some(file), None);
        }
        if let Some(token) = said(&self.token) {
            (user.token, user.token_file, user.exec) = (Some(token.into()), None, None);
        }
        Ok(Kubeconfig {
            current_context: Some(ONE.to_owned()),
            contexts: vec![NamedContext {
                name: ONE.to_owned(),
                context: Some(Context { cluster: ONE.to_owned(), user: Some(ONE.to_owned()), ..Context::default() }),
                ..NamedContext::default()
            }],
            clusters: vec![NamedCluster { name: ONE.to_owned(), cluster: Some(cluster), ..NamedCluster::default() }],
            auth_infos: vec![NamedAuthInfo { name: ONE.to_owned(), auth_info: Some(user), ..NamedAuthInfo::default() }],
            ..Kubeconfig::default()
        })
    }
}

impl std::fmt::Debug for Overrides {
    /// There may be a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overrides").field("server", &self.server).field("context", &self.context).finish_non_exhaustive()
    }
}
