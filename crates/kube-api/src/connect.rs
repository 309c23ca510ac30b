use std::{
    env, io,
    path::{Path, PathBuf},
};

use http::{HeaderValue, header};
use kube::config::{AuthInfo, Cluster, Config, Context, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::{ConnectError, Overrides, Pem, error::describe_kubeconfig, proxy_url::proxy_of, route::pem, token_file::TokenFile};
use go_compat::ProxyEnvironment;

/// What a pod has of its ServiceAccount.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How to reach the API server.
#[derive(Clone, Debug, Default)]
pub struct ApiSettings {
    /// `--kubeconfig`; without it the pod's ServiceAccount is used.
    pub kubeconfig: Option<PathBuf>,
    /// What is said over the kubeconfig; without a `kubeconfig`, over those of `$KUBECONFIG`.
    pub overrides: Option<Overrides>,
    /// This program's name and version.
    pub user_agent: String,
    /// `--kube-api-qps`: calls a second. Unset or not above zero: no limit.
    pub qps: Option<f32>,
    /// `--kube-api-burst`: calls at once, where a rate is set. Unset or zero: 10.
    pub burst: Option<u32>,
    /// Whether a token for which the API server names no audience is for none that was asked for, rather than for all.
    pub strict_audiences: bool,
}

/// How to reach the API server, and as whom; nothing was sent yet.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) config: Config,
    /// The token that kube does not send, because of how it reads such files.
    pub(crate) token: Option<TokenFile>,
    /// What kube reads once, or has sessions by: this program's own certificate and key, and the authorities.
    pub(crate) files: Vec<PathBuf>,
    /// Who vouches for the API server.
    pub(crate) authorities: Option<Pem>,
}

impl ApiSettings {
    /// What is to be said of what they lead to.
    pub(crate) fn unusable(&self, why: String) -> ConnectError {
        match (&self.kubeconfig, &self.overrides) {
            (Some(path), _) => ConnectError::Kubeconfig(path.clone(), why),
            (None, Some(_)) => ConnectError::Flags(why),
            (None, None) => ConnectError::InCluster(why),
        }
    }
}

impl Way {
    /// Reads the kubeconfig, or else the pod's ServiceAccount.
    pub(crate) async fn find(settings: &ApiSettings, environment: &ProxyEnvironment) -> Result<Self, ConnectError> {
        let way = match (&settings.kubeconfig, &settings.overrides) {
            (None, None) => in_cluster(environment),
            (path, overrides) => from_kubeconfig(path.as_deref(), overrides.as_ref(), environment).await,
        };
        let mut way = way.map_err(|why| settings.unusable(why))?;
        let user_agent = &settings.user_agent;
        let user_agent = HeaderValue::try_from(user_agent).map_err(|_| ConnectError::UserAgent(user_agent.clone()))?;
        way.config.headers.push((header::USER_AGENT, user_agent));
        // Each call has a deadline and few tries of its own.
        way.config.default_retry = false;
        way.config.read_timeout = None;
        way.config.write_timeout = None;
        Ok(way)
    }
}

/// Of this process.
pub fn environment() -> ProxyEnvironment {
    ProxyEnvironment::read(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

async fn from_kubeconfig(path: Option<&Path>, overrides: Option<&Overrides>, environment: &ProxyEnvironment) -> Result<Way, String> {
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path).map(Some),
        None => Kubeconfig::from_env(),
    };
    let mut kubeconfig = kubeconfig.map_err(|error| describe_kubeconfig(&error))?.unwrap_or_default();
    if let Some(overrides) = overrides {
        kubeconfig = overrides.over(kubeconfig)?;
    }
    let cluster = current_cluster(&kubeconfig).cloned().unwrap_or_default();
    let missing_user = missing_user(&kubeconfig).map(str::to_owned);
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| describe_kubeconfig(&error))?;
    if !matches!(config.cluster_url.scheme_str(), Some("http" | "https")) || config.cluster_url.host().is_none() {
        return Err(format!("its current context's server {} is no URL with http or https", config.cluster_url));
    }
    if config.cluster_url.query().is_some() {
        return Err(format!("its current context's server {} has a query, which is not supported", config.cluster_url));
    }
    if let Some(user) = missing_user {
        return Err(format!("its current context's user {user:?} does not exist"));
    }
    let authorities = pem(cluster.certificate_authority_data.as_deref(), cluster.certificate_authority.as_deref())?;
    if config.accept_invalid_certs && authorities.is_some() {
        return Err("its cluster has both insecure-skip-tls-verify and a certificate authority: one or the other is meant".to_owned());
    }
    if cluster.proxy_url.is_none_or(|url| url.is_empty()) {
        config.proxy_url = proxy_of(environment, &config.cluster_url).map_err(|error| describe_proxy(&error))?;
    }
    if cluster.certificate_authority_data.is_none() {
        config.root_cert_file = cluster.certificate_authority.map(PathBuf::from);
    }
    let files = identity_files(&config.auth_info).chain(config.root_cert_file.clone()).collect();
    let token = take_token_file(&mut config.auth_info).map_err(|error| format!("its user's tokenFile is of no use: {error}"))?;
    Ok(Way { config, token, files, authorities })
}

/// As client-go, without a look at the file with the namespace, which not every pod has.
fn in_cluster(environment: &ProxyEnvironment) -> Result<Way, String> {
    let variable = |name| env::var(name).ok().filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is not set: this is no pod"));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = format!("https://{host}:{port}");
    let url = url.parse().map_err(|_| format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no URL: {url}"))?;
    let file = |name| Path::new(SERVICE_ACCOUNT).join(name);
    let (mut config, ca) = (Config::new(url), file("ca.crt"));
    // Those of the file count; without any at all kube would want the system's.
    (config.root_cert, config.root_cert_file) = (Some(Vec::new()), Some(ca.clone()));
    config.auth_info.token_file = Some(file("token").display().to_string());
    config.proxy_url = proxy_of(environment, &config.cluster_url).map_err(|error| describe_proxy(&error))?;
    let token = take_token_file(&mut config.auth_info).map_err(|error| format!("failed to read the ServiceAccount's token: {error}"))?;
    Ok(Way { config, token, files: vec![ca.clone()], authorities: Some(Pem::File(ca)) })
}

/// The URL may hold a password.
fn describe_proxy(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ParseProxyUrl(_) => "the proxy of the environment is no URL".to_owned(),
        other => describe_kubeconfig(other),
    }
}

fn current_context(kubeconfig: &Kubeconfig) -> Option<&Context> {
    let name = kubeconfig.current_context.as_ref()?;
    kubeconfig.contexts.iter().find(|context| context.name == *name)?.context.as_ref()
}

fn current_cluster(kubeconfig: &Kubeconfig) -> Option<&Cluster> {
    let context = current_context(kubeconfig)?;
    kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()
}

/// A user that the current context names and nobody describes. kube goes on without credentials, client-go does not.
fn missing_user(kubeconfig: &Kubeconfig) -> Option<&str> {
    let user = current_context(kubeconfig)?.user.as_deref().filter(|user| !user.is_empty())?;
    let is_described = kubeconfig.auth_infos.iter().any(|described| described.name == user);
    (!is_described).then_some(user)
}

fn identity_files(user: &AuthInfo) -> impl Iterator<Item = PathBuf> {
    let certificate = user.client_certificate.iter().filter(|_| user.client_certificate_data.is_none());
    let key = user.client_key.iter().filter(|_| user.client_key_data.is_none());
    certificate.chain(key).map(PathBuf::from)
}

/// Takes a token file out of kube's hands, with what client-go prefers it to. A file that is of no use leaves the token
/// that stands beside it.
fn take_token_file(user: &mut AuthInfo) -> io::Result<Option<TokenFile>> {
    let Some(file) = user.token_file.take() else { return Ok(None) };
    match TokenFile::open(PathBuf::from(file)) {
        Ok(token) => {
            user.token = None;
            user.exec = None;
            Ok(Some(token))
        }
        Err(_) if user.token.is_some() => Ok(None),
        Err(error) => Err(error),
    }
}
