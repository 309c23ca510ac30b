use command::trusted;
use go_compat::{HttpProxy, quote};
use http::{Uri, uri::Scheme};
use kube_api::environment;
use proxy::{
    Forwarding,
    upstream::{Address, Speech},
};

use super::{Findings, time};
use crate::flags::Options;

/// Where admitted requests go.
#[derive(Debug)]
pub(crate) struct UpstreamSettings {
    pub(crate) address: Address,
    /// Over TLS.
    pub(crate) secure: bool,
    /// Without its TLS, which needs files.
    pub(crate) speech: Speech,
}

/// `--upstream` and what belongs to it.
pub(super) fn read(options: &Options, findings: &mut Findings) -> Option<UpstreamSettings> {
    let (address, secure) = parse(&options.upstream).map_err(|why| findings.error(format!("--upstream: {why}"))).ok()?;
    if !secure && !options.upstream_ca_file.is_empty() {
        findings.warn("--upstream-ca-file is without effect: --upstream is not https");
    }
    if !secure && !options.upstream_cert.is_empty() {
        findings.warn("--upstream-client-cert-file is without effect: --upstream is not https");
    }
    let silence = Some(time("read-body-timeout", options.read_body_timeout, findings)).filter(|silence| !silence.is_zero());
    let patience = Some(time("upstream-timeout", options.upstream_timeout, findings)).filter(|patience| !patience.is_zero());
    let forwarding = Forwarding::new(trusted(&options.trusted_proxies, findings), options.forward_authorization);
    if options.forward_authorization {
        findings.warn("--forward-authorization: the upstream gets its users' tokens, with which it can act for them elsewhere");
    }
    // As in Go, whose transport of HTTP/2 alone knows of no proxy.
    let http2_only = options.upstream_force_h2c;
    let via = if http2_only { None } else { via(&address, secure, findings) };
    Some(UpstreamSettings { address, secure, speech: Speech { http2_only, silence, via, forwarding, patience, ..Speech::default() } })
}

/// The proxy that the environment names for the upstream, as in Go.
fn via(upstream: &Address, secure: bool, findings: &mut Findings) -> Option<HttpProxy> {
    let environment = environment();
    let (name, url) = environment.proxy_for(secure, &upstream.host, upstream.port)?;
    if environment.is_cgi && !secure {
        findings.error(format!("{name} and REQUEST_METHOD are set: a proxy that a client may have named is not used"));
    }
    url.parse().map_err(|why| findings.error(format!("{name}: {why}"))).ok()
}

fn parse(text: &str) -> Result<(Address, bool), String> {
    const EXAMPLE: &str = "such as http://127.0.0.1:8080/";
    if text.is_empty() {
        return Err(format!("it must be given: an http or https URL, {EXAMPLE}"));
    }
    // A password would be among it.
    if text.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@')) {
        return Err("a user and a password in the URL are not supported: the upstream is asked without credentials".to_owned());
    }
    let not_http = || format!("{} must be an http or https URL, {EXAMPLE}", quote(text));
    let url: Uri = text.parse().map_err(|_| not_http())?;
    let secure = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(not_http()),
    };
    let authority = url.authority().ok_or_else(not_http)?;
    let port = match (authority.as_str().rsplit_once(':').filter(|(_, port)| !port.ends_with(']')), authority.port_u16()) {
        (_, Some(0)) => return Err(format!("{} has the port 0: it must be from 1 to 65535", quote(text))),
        (_, Some(port)) => port,
        (Some((_, given)), None) if !given.is_empty() => return Err(format!("{} has no port that is a number to 65535", quote(text))),
        (_, None) if secure => 443,
        (_, None) => 80,
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(format!("{} has no host: {EXAMPLE}", quote(text)));
    }
    let address = Address {
        host,
        port,
        authority: authority.as_str().to_owned(),
        base_path: url.path().to_owned(),
        base_query: url.query().unwrap_or_default().to_owned(),
    };
    Ok((address, secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (text, host, port, path, query, secure) in [
            ("http://127.0.0.1:8081/", "127.0.0.1", 8081, "/", "", false),
            ("http://localhost", "localhost", 80, "/", "", false),
            ("https://a.b/base/x?q=1", "a.b", 443, "/base/x", "q=1", true),
            ("https://[::1]:9443", "::1", 9443, "/", "", true),
            ("HTTP://h:1/", "h", 1, "/", "", false),
        ] {
            let (address, is_secure) = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            let found = (address.host.as_str(), address.port, address.base_path.as_str(), address.base_query.as_str(), is_secure);
            assert_eq!(found, (host, port, path, query, secure), "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused_and_no_password_is_repeated() {
        for text in
            ["", "localhost:8080", "/x", "ftp://x", "http://", "http:///x", "http://h:0", "http://h:99999", "http://h:x", "http://a b"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        let why = parse("http://u:hush@h/").expect_err("refused");
        assert!(!why.contains("hush"), "{why}");
    }
}
