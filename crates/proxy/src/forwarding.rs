use std::{
    net::{IpAddr, SocketAddr},
    str,
};

use go_compat::Network;
use http::{HeaderMap, HeaderName, HeaderValue};
use request::Peer;

use crate::{ManagedHeaders, headers};

/// What the upstream is told of the way that a request has taken, and what of the client's own word passes.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    trusted: Option<Vec<Network>>,
    claims: ManagedHeaders,
    bearer: bool,
}

impl Forwarding {
    /// What peers in the `trusted` networks say of the way before them passes; without such a list what everybody says, as in
    /// Go. With `bearer` the token of a user goes upstream.
    pub fn new(trusted: Option<Vec<Network>>, bearer: bool) -> Self {
        let names = ["forwarded", "x-real-ip"].map(HeaderName::from_static);
        Self { trusted, claims: ManagedHeaders::new(&names, &["x-forwarded-"]), bearer }
    }

    /// Where a request comes from: the last in `X-Forwarded-For` who is in none of the trusted networks, if the peer is in one;
    /// with the peer's port, as nobody knows another.
    pub fn client(&self, headers: &HeaderMap, peer: SocketAddr) -> SocketAddr {
        let mut client = peer.ip().to_canonical();
        let said: Vec<&[u8]> = headers::list(headers, &HeaderName::from_static("x-forwarded-for")).collect();
        for said in said.into_iter().rev().take_while(|_| self.trusted.is_some()) {
            let before = str::from_utf8(said).ok().and_then(|said| said.parse::<IpAddr>().ok());
            let Some(before) = before.filter(|_| self.trusts(client)) else { break };
            client = before.to_canonical();
        }
        (client, peer.port()).into()
    }

    /// Removes what may not pass, and adds the peer.
    pub(crate) fn write(&self, headers: &mut HeaderMap, peer: &Peer, authority: Option<&str>) {
        let ip = peer.address.ip();
        if !self.trusts(ip) {
            self.claims.strip(headers);
            if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(authority).ok()) {
                headers.insert(HeaderName::from_static("x-forwarded-host"), host);
            }
            let scheme = if peer.secure { "https" } else { "http" };
            headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(scheme));
        }
        headers::append_forwarded_for(headers, ip);
    }

    /// Whether the token of a user passes. Nobody asked whose it is where there is no user.
    pub(crate) fn passes_bearer(&self, has_user: bool) -> bool {
        self.bearer && has_user
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(ip)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn written(trusted: Option<&str>, peer: &str, secure: bool) -> Vec<(String, String)> {
        let trusted = trusted.map(|network| vec![network.parse().expect("a network")]);
        let peer = Peer { address: (peer.parse::<IpAddr>().expect("an address"), 1).into(), chain: Arc::default(), secure };
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "x_forwarded_host", "x-forwarded-port", "forwarded", "x-real_ip", "via"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1.1.1.1"));
        }
        Forwarding::new(trusted, false).write(&mut headers, &peer, Some("a.test:8443"));
        let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned())).collect();
        fields.sort();
        fields
    }

    fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_client_is_the_last_who_is_not_trusted() {
        let client = |trusted: Option<&str>, peer: &str, said: &[&str]| {
            let trusted = trusted.map(|networks| networks.split(',').map(|network| network.parse().expect("a network")).collect());
            let name = HeaderName::from_static("x-forwarded-for");
            let headers = said.iter().map(|said| (name.clone(), HeaderValue::from_bytes(said.as_bytes()).expect("a value"))).collect();
            Forwarding::new(trusted, false).client(&headers, peer.parse().expect("an address")).to_string()
        };
        let said = &["1.1.1.1, 2.2.2.2", "10.0.0.2"];
        assert_eq!(client(None, "10.0.0.1:5", said), "10.0.0.1:5", "nobody is trusted");
        assert_eq!(client(Some("10.0.0.0/8"), "10.0.0.1:5", said), "2.2.2.2:5");
        assert_eq!(client(Some("10.0.0.0/8"), "[::ffff:10.0.0.1]:5", said), "2.2.2.2:5");
        assert_eq!(client(Some("10.0.0.0/8"), "11.0.0.1:5", said), "11.0.0.1:5");
        assert_eq!(client(Some("10.0.0.0/8,2.0.0.0/8"), "10.0.0.1:5", said), "1.1.1.1:5");
        assert_eq!(client(Some("0.0.0.0/0"), "10.0.0.1:5", said), "1.1.1.1:5", "everybody is trusted");
        for odd in ["unknown", "ü", "1.1.1.1:80", "_hidden"] {
            assert_eq!(client(Some("10.0.0.0/8"), "10.0.0.1:5", &[&format!("1.1.1.1, {odd}, 10.0.0.2")]), "10.0.0.2:5");
        }
        assert_eq!(client(Some("10.0.0.0/8"), "10.0.0.1:5", &["", " , "]), "10.0.0.1:5");
        assert_eq!(client(Some("::/0"), "[2001:db8::1]:5", &["2001:db8::2"]), "[2001:db8::2]:5");
    }

    #[test]
    fn only_a_trusted_peer_tells_of_the_way_before_it() {
        let passed = written(None, "10.0.0.1", true);
        assert!(passed.contains(&("x-forwarded-for".to_owned(), "1.1.1.1, 10.0.0.1".to_owned())) && passed.len() == 6, "{passed:?}");
        assert_eq!(written(Some("10.0.0.0/8"), "10.0.0.1", true), passed);
        assert_eq!(written(Some("10.0.0.0/8"), "::ffff:10.0.0.1", true), passed);
        for (secure, scheme) in [(true, "https"), (false, "http")] {
            let expected =
                [("via", "1.1.1.1"), ("x-forwarded-for", "11.0.0.1"), ("x-forwarded-host", "a.test:8443"), ("x-forwarded-proto", scheme)];
            assert_eq!(written(Some("10.0.0.0/8"), "11.0.0.1", secure), fields(&expected));
        }
    }
}
