use std::env;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::KubeconfigError;

/// Go's `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, which client-go obeys unless the kubeconfig has a `proxy-url`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyEnvironment {
    http: String,
    https: String,
    no: String,
}

impl ProxyEnvironment {
    /// Of this process.
    pub(crate) fn read() -> Self {
        Self { http: variable("HTTP_PROXY"), https: variable("HTTPS_PROXY"), no: variable("NO_PROXY") }
    }

    /// The proxy between here and the API server, if any. kube compares NO_PROXY with the proxy's own host, and never
    /// looks at the environment in a pod.
    pub(crate) fn proxy_of(&self, api: &Uri) -> Result<Option<Uri>, KubeconfigError> {
        let proxy = match api.scheme_str() {
            Some("http") => &self.http,
            _ => &self.https,
        };
        if proxy.is_empty() || is_loopback(api) {
            return Ok(None);
        }
        let matcher = Matcher::builder().http("http://proxy").https("http://proxy").no(self.no.as_str()).build();
        if matcher.intercept(api).is_none() {
            return Ok(None);
        }
        let proxy = match proxy.contains("://") {
            true => proxy.clone(),
            false => format!("http://{proxy}"),
        };
        proxy.parse().map(Some).map_err(KubeconfigError::ParseProxyUrl)
    }
}

fn variable(name: &str) -> String {
    env::var(name).or_else(|_| env::var(name.to_ascii_lowercase())).unwrap_or_default()
}

/// Go never asks a proxy for these.
fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(api: &str) -> Option<String> {
        let environment = ProxyEnvironment {
            http: "plain:3128".into(),
            https: "http://u:p@secure:3128".into(),
            no: "10.0.0.0/8,.svc,other.example".into(),
        };
        environment.proxy_of(&api.parse().expect("a URL")).expect("a proxy's URL").map(|uri| uri.to_string())
    }

    #[test]
    fn the_environment_is_obeyed_as_go_does() {
        assert_eq!(proxy("https://api.example:6443").as_deref(), Some("http://u:p@secure:3128/"));
        assert_eq!(proxy("http://api.example").as_deref(), Some("http://plain:3128/"));
        for direct in [
            "https://10.96.0.1",
            "https://kubernetes.default.svc",
            "https://other.example",
            "https://127.0.0.1:6443",
            "https://[::1]",
            "https://localhost",
        ] {
            assert_eq!(proxy(direct), None, "{direct}");
        }
        assert_eq!(ProxyEnvironment::default().proxy_of(&Uri::from_static("https://api.example")).expect("none"), None);
    }
}
