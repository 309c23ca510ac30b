use std::{fmt, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use go_compat::{HttpProxy, HttpProxyError};
use http::{HeaderValue, Uri, uri::Scheme};
use kube::config::AuthInfo;

use crate::{
    ApiSettings, ConnectError,
    connect::{Way, environment},
    token_file::TokenFile,
};

/// The way to the API server for requests that a program carries there itself, and as whom it is known there.
#[derive(Debug)]
pub struct Route {
    /// The API server.
    pub url: Uri,
    /// The name in its certificate; `None`: the URL's host.
    pub server_name: Option<String>,
    /// The proxy between here and there.
    pub proxy: Option<HttpProxy>,
    /// Who vouches for it.
    pub authorities: Authorities,
    /// This program's own certificate and key.
    pub identity: Option<(Pem, Pem)>,
    token: Option<Token>,
}

/// Who vouches for the API server.
#[derive(Clone, Debug)]
pub enum Authorities {
    /// The system's authorities.
    System,
    /// These.
    These(Pem),
    /// Nobody, and it is believed: `insecure-skip-tls-verify`.
    Anyone,
}

/// Where something in PEM is.
#[derive(Clone)]
pub enum Pem {
    /// In a file, to be followed.
    File(PathBuf),
    /// In the kubeconfig.
    Inline(Vec<u8>),
}

#[derive(Debug)]
enum Token {
    File(TokenFile),
    Fixed(HeaderValue),
}

impl Route {
    /// Reads the kubeconfig, or else the pod's ServiceAccount. Sends nothing.
    ///
    /// # Errors
    ///
    /// One of them is of no use, or has what is not supported here.
    pub async fn find(settings: &ApiSettings) -> Result<Self, ConnectError> {
        let way = Way::find(settings, &environment()).await?;
        Self::of(way).map_err(|why| settings.unusable(why))
    }

    /// Whether what is told on the way is nobody else's.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTPS)
    }

    /// The `Authorization` of a request as of now; `None`: the certificate says it all.
    pub fn authorization(&self) -> Option<HeaderValue> {
        match &self.token {
            Some(Token::File(file)) => Some(file.authorization()),
            Some(Token::Fixed(token)) => Some(token.clone()),
            None => None,
        }
    }

    fn of(way: Way) -> Result<Self, String> {
        let Way { config, token, authorities, .. } = way;
        let user = &config.auth_info;
        for (what, is_there) in [
            ("a user with exec", user.exec.is_some()),
            ("a user with auth-provider", user.auth_provider.is_some()),
            (
                "a user who acts as another",
                user.impersonate.is_some() || user.impersonate_uid.is_some() || user.impersonate_groups.is_some(),
            ),
        ] {
            if is_there {
                return Err(format!("{what} is not supported yet"));
            }
        }
        let Secrets { token: own_token, password, key: own_key } = Secrets::of(user);
        if own_token.is_some() && user.username.is_some() {
            return Err("its user has both a token and a name with a password: one or the other is meant".to_owned());
        }
        let token = match (token, own_token, &user.username) {
            (Some(file), ..) => Some(Token::File(file)),
            (None, Some(token), _) => Some(Token::Fixed(authorization("Bearer", &token)?)),
            (None, None, Some(name)) => {
                let password = password.unwrap_or_default();
                Some(Token::Fixed(authorization("Basic", &BASE64_STANDARD.encode(format!("{name}:{password}")))?))
            }
            (None, None, None) => None,
        };
        let certificate = pem(user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
        let key = pem(own_key.as_deref(), user.client_key.as_deref())?;
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err("its user has one of client certificate and key: both or neither are needed".to_owned()),
        };
        if token.is_none() && identity.is_none() {
            return Err("its user has neither a token, a password nor a certificate".to_owned());
        }
        // As in client-go: whoever reads it on the way could do what this program may.
        let token = token.filter(|_| config.cluster_url.scheme() == Some(&Scheme::HTTPS));
        let authorities = match authorities {
            _ if config.accept_invalid_certs => Authorities::Anyone,
            Some(pem) => Authorities::These(pem),
            None => Authorities::System,
        };
        let proxy = config.proxy_url.map(|url| url.to_string().parse()).transpose();
        let proxy = proxy.map_err(|why: HttpProxyError| format!("the proxy for the API server: {why}"))?;
        Ok(Self { url: config.cluster_url, server_name: config.tls_server_name, proxy, authorities, identity, token })
    }
}

/// As in client-go, data counts before a file.
pub(crate) fn pem(data: Option<&str>, file: Option<&str>) -> Result<Option<Pem>, String> {
    match (data.filter(|data| !data.is_empty()), file.filter(|file| !file.is_empty())) {
        (Some(data), _) => {
            BASE64_STANDARD.decode(data.trim()).map(|bytes| Some(Pem::Inline(bytes))).map_err(|_| "its PEM data is no base64".to_owned())
        }
        (None, file) => Ok(file.map(|file| Pem::File(PathBuf::from(file)))),
    }
}

fn authorization(scheme: &str, credentials: &str) -> Result<HeaderValue, String> {
    let header = HeaderValue::try_from(format!("{scheme} {credentials}"));
    let mut header = header.map_err(|_| "its user's token cannot be sent".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// What kube keeps behind a type of another crate, and gives away as JSON.
struct Secrets {
    token: Option<String>,
    password: Option<String>,
    key: Option<String>,
}

impl Secrets {
    fn of(user: &AuthInfo) -> Self {
        let user = serde_json::to_value(user).unwrap_or_default();
        let text = |name: &str| user.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self { token: text("token"), password: text("password"), key: text("client-key-data") }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(bytes) => f.debug_tuple("Inline").field(&bytes.len()).finish(),
        }
    }
}
