use std::{error::Error, path::PathBuf};

use http::StatusCode;
use kube::{client::AuthError, config::KubeconfigError};
use request::Reason;
use thiserror::Error;

/// Why the way to the API server cannot be prepared. Nothing in it is secret.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// `--kubeconfig` was given and its file is of no use.
    #[error("--kubeconfig {path}: {1}; it must be a kubeconfig whose current-context names a context, that a cluster and a user", path = .0.display())]
    Kubeconfig(PathBuf, String),
    /// `--kubeconfig` was not given, and this is no pod with a ServiceAccount.
    #[error(
        "no --kubeconfig is given and the pod's own credentials are of no use: {0}; give --kubeconfig, or run in a pod whose ServiceAccount token is mounted"
    )]
    InCluster(String),
    /// Flags say how to reach the API server, and what they say is of no use.
    #[error("the flags that say how to reach the API server, with the kubeconfig that $KUBECONFIG may name, are of no use: {0}")]
    Flags(String),
    /// The program's name cannot be sent as a header.
    #[error("the user agent {0:?} cannot be sent as a header")]
    UserAgent(String),
}

/// Why the API server gave no verdict. None of them is one: a caller must refuse. Nothing in it is secret.
#[derive(Debug, Error)]
pub enum ApiError {
    /// It cannot be connected to, or the connection broke, twice.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// It did not answer before the deadline.
    #[error("the API server did not answer in time")]
    Timeout,
    /// It answered with a status that is no answer to the question.
    #[error("the API server answered with status {0}")]
    Status(StatusCode),
    /// It answered with something that is no answer to the question.
    #[error("the API server's answer is none: {0}")]
    Answer(String),
    /// It refuses who is asking, which is this program.
    #[error("the API server refuses this program with status {status}: its credentials need the permission to {permission}")]
    CredentialsRefused {
        /// 401 or 403.
        status: StatusCode,
        /// What is missing, as `verb resource.group`.
        permission: &'static str,
    },
    /// This program's own credentials for the API server cannot be had.
    #[error("this program's credentials for the API server cannot be had: {0}")]
    NoCredentials(String),
    /// Too many calls are in flight, or the rate is used up, until after the deadline.
    #[error("too many calls to the API server are in flight or due")]
    Busy,
}

impl ApiError {
    /// The reason of a request that ends with this.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::ApiUnreachable,
            Self::Timeout => Reason::ApiTimeout,
            Self::Status(_) | Self::Answer(_) => Reason::ApiError,
            Self::CredentialsRefused { .. } | Self::NoCredentials(_) => Reason::ApiCredentialsRefused,
            Self::Busy => Reason::ApiBusy,
        }
    }
}

/// What is wrong with a kubeconfig, in words that quote nothing of it but names and paths.
pub(crate) fn describe_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, _) => format!("it cannot be read: {source}"),
        // The parser's own words quote the file, with the tokens and keys in it.
        KubeconfigError::Parse(source) => match source.location() {
            Some(location) => format!("it is no kubeconfig at line {}, column {}", location.line(), location.column()),
            None => "it is no kubeconfig".to_owned(),
        },
        KubeconfigError::CurrentContextNotSet => "it has no current-context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("its current-context {name:?} names no context"),
        KubeconfigError::LoadClusterOfContext(name) => format!("its current context's cluster {name:?} does not exist"),
        KubeconfigError::MissingClusterUrl => "its current context's cluster has no server".to_owned(),
        other => other.to_string(),
    }
}

/// What is wrong with the way to the API server, in words that quote no plugin's output.
pub(crate) fn describe_client(error: &kube::Error) -> String {
    match error {
        kube::Error::Auth(error) => describe_auth(error),
        kube::Error::InferKubeconfig(error) => describe_kubeconfig(error),
        kube::Error::ProxyProtocolUnsupported { proxy_url } | kube::Error::ProxyProtocolDisabled { proxy_url, .. } => {
            format!("the proxy's scheme {:?} is not supported; use http, https or socks5", proxy_url.scheme_str().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// Several of these errors quote what a plugin printed, which is where credentials are.
pub(crate) fn describe_auth(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(source) => format!("the exec plugin cannot be started: {source}"),
        AuthError::AuthExecRun { out, .. } => format!("the exec plugin failed with {}", out.status),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => "the exec plugin printed no ExecCredential".to_owned(),
        AuthError::MissingCommand => "the exec plugin has no command".to_owned(),
        AuthError::InvalidBearerToken(_) | AuthError::InvalidBasicAuth(_) => "they cannot be sent as a header".to_owned(),
        AuthError::UnrefreshableTokenResponse => "the exec plugin answered with another kind of credentials than before".to_owned(),
        _ => "the credentials plugin failed".to_owned(),
    }
}
