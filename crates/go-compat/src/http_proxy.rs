use std::{fmt, net::IpAddr, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::Network;

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case, as Go's `net/http` obeys them.
#[derive(Clone, Default)]
pub struct ProxyEnvironment {
    http: Variable,
    https: Variable,
    exempt: Vec<Exempt>,
    /// Whether a client of this process may have set `HTTP_PROXY`, which Go then refuses to use.
    pub is_cgi: bool,
}

/// A proxy that speaks HTTP/1.1 in cleartext.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// What `Proxy-Authorization` says: a secret.
    pub authorization: Option<String>,
}

/// Why a proxy that is named cannot be used. None of it repeats the URL, which may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpProxyError {
    /// It is none.
    #[error("it is no URL of a proxy, such as http://proxy:3128")]
    Malformed,
    /// `https`, `socks5` and the like.
    #[error("only proxies of the scheme http are supported, such as http://proxy:3128")]
    Scheme,
}

/// The name as it was found, and the value.
type Variable = Option<(&'static str, String)>;

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Exempt {
    All,
    Network(Network),
    Address {
        address: IpAddr,
        port: String,
    },
    /// With a leading dot; whether the name itself is meant too, and not only what is below it.
    Domain {
        suffix: String,
        port: String,
        itself: bool,
    },
}

impl ProxyEnvironment {
    /// Reads the variables, and `REQUEST_METHOD`, which a CGI program has.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| -> Variable {
            names.into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        let (_, no_proxy) = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Self {
            http: first(["HTTP_PROXY", "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            exempt: no_proxy.split(',').filter_map(Exempt::read).collect(),
            is_cgi: variable("REQUEST_METHOD").is_some_and(|value| !value.is_empty()),
        }
    }

    /// The variable that names the proxy for requests to a server, and its value. Mirrors `httpproxy.Config.ProxyFunc`, but
    /// that `localhost` is exempt in any case and names outside ASCII are not brought to it.
    pub fn proxy_for(&self, is_https: bool, host: &str, port: u16) -> Option<(&'static str, &str)> {
        let (name, value) = if is_https { &self.https } else { &self.http }.as_ref()?;
        (!self.is_exempt(host, port)).then_some((*name, value))
    }

    fn is_exempt(&self, host: &str, port: u16) -> bool {
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let (host, port) = (host.to_ascii_lowercase(), port.to_string());
        self.exempt.iter().any(|exempt| exempt.covers(&host, address, &port))
    }
}

impl Exempt {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = text.parse() {
            return Some(Self::Network(network));
        }
        let (host, port) = split_port(&text);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address { address: address.to_canonical(), port: port.to_owned() });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let itself = !host.starts_with('.');
        let suffix = if itself { format!(".{host}") } else { host.to_owned() };
        (!host.is_empty()).then(|| Self::Domain { suffix, port: port.to_owned(), itself })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let fits = |given: &str| given.is_empty() || given == port;
        match (self, address) {
            (Self::All, _) => true,
            (Self::Network(network), Some(address)) => network.contains(address),
            (Self::Address { address: given, port }, Some(address)) => *given == address && fits(port),
            (Self::Domain { suffix, port, itself }, None) => {
                (host.ends_with(suffix) || (*itself && suffix.strip_prefix('.') == Some(host))) && fits(port)
            }
            _ => false,
        }
    }
}

/// Mirrors `net.SplitHostPort`: what it does not take apart is a host.
fn split_port(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((host, port)) => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => (host, port),
            None if !host.contains([':', '[', ']']) && !port.contains(']') => (host, port),
            None => (text, ""),
        },
        None => (text, ""),
    }
}

impl FromStr for HttpProxy {
    type Err = HttpProxyError;

    /// A URL, or what stands behind its `http://`.
    fn from_str(text: &str) -> Result<Self, HttpProxyError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => return Err(HttpProxyError::Scheme),
            Some(_) => return Err(HttpProxyError::Malformed),
            None => text,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = authority.rsplit_once('@').map_or((None, authority), |(user, address)| (Some(user), address));
        let (host, port) = split_port(address);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let is_address = host.parse::<IpAddr>().is_ok();
        if host.is_empty() || !host.bytes().all(is_host) || (host.contains(':') && !is_address) || !port.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(HttpProxyError::Malformed);
        }
        let port = if port.is_empty() { 80 } else { port.parse().map_err(|_| HttpProxyError::Malformed)? };
        let authorization = user.map(basic).transpose()?;
        Ok(Self { host: host.to_owned(), port, authorization })
    }
}

fn basic(user: &str) -> Result<String, HttpProxyError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain = unescape(name)?;
    plain.push(b':');
    plain.extend(unescape(password)?);
    Ok(format!("Basic {}", STANDARD.encode(plain)))
}

/// Mirrors `url.PathUnescape`.
fn unescape(text: &str) -> Result<Vec<u8>, HttpProxyError> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(HttpProxyError::Malformed);
        let (high, low) = (digit()?, digit()?);
        plain.push(u8::try_from(high * 16 + low).map_err(|_| HttpProxyError::Malformed)?);
    }
    Ok(plain)
}

impl fmt::Display for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpProxy({self})")
    }
}

impl fmt::Debug for ProxyEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [&self.http, &self.https].map(|variable| variable.as_ref().map(|(name, _)| name));
        f.debug_tuple("ProxyEnvironment").field(&names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> ProxyEnvironment {
        let find = |name: &str| variables.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        ProxyEnvironment::read(find)
    }

    #[test]
    fn the_variable_is_that_of_the_scheme() {
        let both = environment(&[("HTTP_PROXY", "a"), ("http_proxy", "b"), ("https_proxy", "c"), ("HTTPS_PROXY", "")]);
        assert_eq!(both.proxy_for(false, "x", 80), Some(("HTTP_PROXY", "a")));
        assert_eq!(both.proxy_for(true, "x", 443), Some(("https_proxy", "c")));
        assert_eq!(environment(&[("HTTPS_PROXY", "c")]).proxy_for(false, "x", 80), None);
        assert_eq!(environment(&[("http_proxy", "b")]).proxy_for(false, "x", 80), Some(("http_proxy", "b")));
        assert!(environment(&[("REQUEST_METHOD", "GET")]).is_cgi && !both.is_cgi);
        assert!(!format!("{:?}", environment(&[("HTTP_PROXY", "http://u:hush@p")])).contains("hush"));
    }

    #[test]
    fn exempt_hosts_are_those_of_go() {
        for (no_proxy, direct, proxied) in [
            ("", &["localhost:80", "LocalHost:1", "127.0.0.1:80", "127.9.9.9:1", "::1:80", "::ffff:127.0.0.1:80"][..], &["a.test:80"][..]),
            ("*", &["a.test:80", "1.2.3.4:80"], &[]),
            ("x, * ,y", &["a.test:80"], &[]),
            ("*.", &[], &["a.test:80"]),
            ("10.0.0.0/8", &["10.1.2.3:80", "::ffff:10.0.0.1:80"], &["11.0.0.1:80", "10.0.0.1.test:80"]),
            ("fd00::/8", &["fd00::1:80"], &["fe00::1:80"]),
            ("1.2.3.4,::2", &["1.2.3.4:80", "1.2.3.4:8080", "::2:80"], &["1.2.3.5:80", "::3:80"]),
            ("1.2.3.4:80,[::2]:80", &["1.2.3.4:80", "::2:80"], &["1.2.3.4:81", "::2:81"]),
            ("foo.test", &["foo.test:80", "bar.foo.test:443", "FOO.test:80"], &["xfoo.test:80", "test:80", "foo.test.x:80"]),
            (" .Foo.test ", &["bar.foo.test:80"], &["foo.test:80"]),
            ("*.foo.test", &["a.b.foo.test:80"], &["foo.test:80"]),
            ("foo.test:80", &["foo.test:80", "a.foo.test:80"], &["foo.test:81"]),
            (":80,,", &[], &["foo.test:80"]),
            ("[::2]", &[], &["::2:80"]),
        ] {
            let environment = environment(&[("HTTP_PROXY", "p"), ("NO_PROXY", no_proxy)]);
            for (targets, expected) in [(direct, None), (proxied, Some(("HTTP_PROXY", "p")))] {
                for target in targets {
                    let (host, port) = target.rsplit_once(':').expect("a port");
                    assert_eq!(environment.proxy_for(false, host, port.parse().expect("a port")), expected, "{no_proxy:?} {target}");
                }
            }
        }
    }

    #[test]
    fn a_proxy_is_a_url_or_its_end() {
        for (text, host, port, authorization) in [
            ("http://proxy.test:3128", "proxy.test", 3128, None),
            ("HTTP://proxy.test/ignored?too", "proxy.test", 80, None),
            ("proxy:3128", "proxy", 3128, None),
            ("10.0.0.1", "10.0.0.1", 80, None),
            ("http://[fd00::1]:3128/", "fd00::1", 3128, None),
            ("http://[fd00::1]", "fd00::1", 80, None),
            ("http://user:pa%3Ass@proxy:1", "proxy", 1, Some("Basic dXNlcjpwYTpzcw==")),
            ("user@proxy", "proxy", 80, Some("Basic dXNlcjo=")),
            ("http://a@b:c@proxy", "proxy", 80, Some("Basic YUBiOmM=")),
        ] {
            let expected = HttpProxy { host: host.to_owned(), port, authorization: authorization.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("https://proxy", HttpProxyError::Scheme),
            ("socks5://u:hush@proxy", HttpProxyError::Scheme),
            ("", HttpProxyError::Malformed),
            ("http://", HttpProxyError::Malformed),
            ("http://:3128", HttpProxyError::Malformed),
            ("http://a b", HttpProxyError::Malformed),
            ("http://a:99999", HttpProxyError::Malformed),
            ("http://a:+1", HttpProxyError::Malformed),
            ("http://u:%zz@a", HttpProxyError::Malformed),
            ("a:b:c", HttpProxyError::Malformed),
        ] {
            assert_eq!(text.parse::<HttpProxy>(), Err(error), "{text}");
        }
        assert_eq!(format!("{:?}", "u:hush@[fd00::1]:1".parse::<HttpProxy>().expect("a proxy")), "HttpProxy([fd00::1]:1)");
    }
}
