use go_compat::ProxyEnvironment;
use http::Uri;
use kube::config::KubeconfigError;

/// The proxy between here and the API server, if any: client-go obeys the environment unless the kubeconfig has a
/// `proxy-url`. kube compares NO_PROXY with the proxy's own host, and never looks at the environment in a pod.
pub(crate) fn proxy_of(environment: &ProxyEnvironment, api: &Uri) -> Result<Option<Uri>, KubeconfigError> {
    let is_https = api.scheme_str() != Some("http");
    let host = api.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = api.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let Some((_, proxy)) = environment.proxy_for(is_https, host, port) else { return Ok(None) };
    let proxy = match proxy.contains("://") {
        true => proxy.to_owned(),
        false => format!("http://{proxy}"),
    };
    proxy.parse().map(Some).map_err(KubeconfigError::ParseProxyUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(api: &str) -> Option<String> {
        let environment = ProxyEnvironment::read(|name| match name {
            "HTTP_PROXY" => Some("plain:3128".to_owned()),
            "https_proxy" => Some("http://u:p@secure:3128".to_owned()),
            "NO_PROXY" => Some("10.0.0.0/8,.svc,other.example".to_owned()),
            _ => None,
        });
        proxy_of(&environment, &api.parse().expect("a URL")).expect("a proxy's URL").map(|uri| uri.to_string())
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
        assert_eq!(proxy_of(&ProxyEnvironment::default(), &Uri::from_static("https://api.example")).expect("none"), None);
    }
}
