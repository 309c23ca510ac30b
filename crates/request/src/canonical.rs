use http::{
    HeaderMap, HeaderName, Method, Uri, Version, header,
    request::Parts,
    uri::{Authority, Scheme},
};

use crate::{OddPaths, Path, Reason, Refusal, ValueNames, form::is_form};

/// What a gate reads of a request; the rest passes byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Rules or reviews are about the path.
    pub path: bool,
    /// What a path that is read may have all the same.
    pub odd_paths: OddPaths,
    /// Reviews are about values that the request has under these names.
    pub values: ValueNames,
}

/// Headers whose values are credentials or hold some; a token may come in the last.
const SECRET: [HeaderName; 4] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SEC_WEBSOCKET_PROTOCOL];

/// A request with one interpretation, which everything downstream uses and nothing goes behind.
#[derive(Debug)]
pub struct CanonicalRequest {
    method: Method,
    /// Path and query as received.
    target: String,
    path: Option<Path>,
    values: Vec<String>,
    has_form: bool,
    authority: Option<Authority>,
    version: Version,
    headers: HeaderMap,
}

impl CanonicalRequest {
    /// Interprets the head of a request.
    ///
    /// # Errors
    ///
    /// A refusal when what must have one meaning has several: the target's form, the host, the credentials, and
    /// what `reads` names.
    pub fn new(head: Parts, reads: &Reads) -> Result<Self, Refusal> {
        let Parts { method, uri, version, mut headers, .. } = head;
        hide_secrets(&mut headers);
        check_method(&method)?;
        check_framing(&headers)?;
        check_expectation(&headers)?;
        let target = target(&uri)?;
        let authority = authority(&uri, version, &headers)?;
        if headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Refusal::because(Reason::AmbiguousCredentials, "the request has more than one Authorization header"));
        }
        let path = match reads.path {
            true => Some(Path::parse(uri.path(), reads.odd_paths).map_err(|fault| Refusal::because(Reason::AmbiguousPath, fault))?),
            false => None,
        };
        let values = reads.values.read(uri.query(), &headers)?;
        let has_form = reads.values.parameter.is_some() && is_form(&headers)?;
        Ok(Self { method, target, path, values, has_form, authority, version, headers })
    }

    /// The method as received.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query as received: what goes upstream.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The query as received, without `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The path, where the gate reads it; `None` where it said that it does not.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// The values that the request is checked for, where the gate reads some: those of the query, then those of the header.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether its body, if it has one, has parameters too, and the gate reads one.
    pub fn has_form(&self) -> bool {
        self.has_form
    }

    /// The host that the client meant; `None` in HTTP/1.0 without one.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The version it arrived in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers as received.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Gives the headers away, for the upstream's request.
    pub fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }
}

/// Keeps credentials out of what is printed of a request.
fn hide_secrets(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if SECRET.contains(name) {
            value.set_sensitive(true);
        }
    }
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    if method == Method::CONNECT {
        return Err(Refusal::new(Reason::MethodNotAllowed));
    }
    let method = method.as_str();
    // Some upstreams fold the case of a method, reviews do not.
    match KNOWN.iter().find(|known| known.eq_ignore_ascii_case(method) && **known != method) {
        Some(known) => Err(Refusal::because(Reason::BadRequest, format_args!("the method {known} is written in another case"))),
        None => Ok(()),
    }
}

/// A body is chunked or has a length. The HTTP library takes the last coding's word for its end, and would pass the body on
/// without saying what else was done to it.
fn check_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::because(Reason::BadRequest, "the body has a transfer coding other than chunked")),
    }
}

/// Nobody on the way may pass on an expectation that he does not know.
fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get_all(header::EXPECT).iter().all(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(()),
        false => Err(Refusal::because(Reason::BadRequest, "the request expects something other than 100-continue")),
    }
}

fn target(uri: &Uri) -> Result<String, Refusal> {
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Refusal::because(Reason::BadRequest, "the target's scheme is not http or https"));
    }
    let target = uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    // `GET x` is read as an authority without a path; `OPTIONS *` names no path.
    if (uri.authority().is_some() && uri.scheme().is_none()) || !target.starts_with('/') {
        return Err(Refusal::because(Reason::BadRequest, "the target is no path"));
    }
    if target.contains(|byte: char| byte.is_ascii_control()) {
        return Err(Refusal::because(Reason::BadRequest, "the target has a control byte"));
    }
    Ok(target.to_owned())
}

/// One host: of the target where it has one, which a `Host` header may repeat and not contradict.
fn authority(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Option<Authority>, Refusal> {
    let bad = |why: &str| Refusal::because(Reason::BadRequest, why);
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("the request has more than one Host"));
    }
    if version == Version::HTTP_11 && host.is_none() {
        return Err(bad("the request has no Host"));
    }
    let host = match host {
        Some(host) if host.is_empty() => None,
        Some(host) => Some(Authority::try_from(host.as_bytes()).map_err(|_| bad("Host is no host"))?),
        None => None,
    };
    let authority = match (uri.authority().cloned(), host) {
        (Some(target), Some(host)) if target != host => return Err(bad("the target names another host than Host does")),
        (Some(target), _) => Some(target),
        (None, host) => host,
    };
    match authority {
        Some(authority) if authority.as_str().contains('@') => Err(bad("the host has user information")),
        None if version == Version::HTTP_2 => Err(bad("the request has no :authority")),
        authority => Ok(authority),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const PATH: Reads = Reads {
        path: true,
        odd_paths: OddPaths { encoded_slashes: false, parameters: false },
        values: ValueNames { parameter: None, header: None },
    };

    fn parse(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<CanonicalRequest, Reason> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        CanonicalRequest::new(head, &PATH).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn the_target_is_kept_byte_for_byte() {
        let request = parse("GET", "/a%20b?x=%zz;y&&", &[("host", "h")]).expect("accepted");
        assert_eq!(request.target(), "/a%20b?x=%zz;y&&");
        assert_eq!(request.query(), Some("x=%zz;y&&"));
        assert_eq!(request.path().map(Path::decoded), Some("/a b"));
    }

    #[test]
    fn a_path_that_nobody_reads_may_have_many_meanings() {
        let (head, ()) = Request::get("/a/%2e%2e/b;c//d").header("host", "h").body(()).expect("a request").into_parts();
        let request = CanonicalRequest::new(head, &Reads::default()).expect("accepted");
        assert_eq!((request.target(), request.path()), ("/a/%2e%2e/b;c//d", None));
    }

    #[test]
    fn an_absolute_target_must_name_the_host_of_the_host_header() {
        let request = parse("GET", "http://h/x", &[("host", "h")]).expect("accepted");
        assert_eq!((request.target(), request.authority().map(Authority::as_str)), ("/x", Some("h")));
        assert_eq!(parse("GET", "http://other/x", &[("host", "h")]).err(), Some(Reason::BadRequest));
    }

    #[test]
    fn no_credential_is_printed_with_a_request() {
        let secrets = ["authorization", "proxy-authorization", "cookie", "sec-websocket-protocol"].map(|name| (name, "hush"));
        let request = parse("GET", "/", &[&[("host", "h"), ("x-other", "said")][..], &secrets].concat()).expect("accepted");
        let printed = format!("{request:?}");
        assert!(printed.contains("said") && !printed.contains("hush"), "{printed}");
        assert!(request.headers().get_all(header::AUTHORIZATION).iter().eq(["hush"]), "it is there all the same");
    }

    #[test]
    fn a_chunked_body_is_one() {
        parse("POST", "/", &[("host", "a"), ("transfer-encoding", "Chunked")]).expect("accepted");
    }

    #[test]
    fn what_no_parser_may_accept_is_refused() {
        for (method, uri, headers, reason) in [
            ("GET", "/", &[][..], Reason::BadRequest),
            ("GET", "http://a/", &[][..], Reason::BadRequest),
            ("GET", "/", &[("host", "a"), ("host", "a")], Reason::BadRequest),
            ("GET", "/", &[("host", "u@a")], Reason::BadRequest),
            ("GET", "/", &[("host", "a/b")], Reason::BadRequest),
            ("GET", "/", &[("host", "a, b")], Reason::BadRequest),
            ("GET", "x", &[("host", "a")], Reason::BadRequest),
            ("OPTIONS", "*", &[("host", "a")], Reason::BadRequest),
            ("get", "/", &[("host", "a")], Reason::BadRequest),
            ("CONNECT", "a:1", &[("host", "a:1")], Reason::MethodNotAllowed),
            ("GET", "ftp://a/x", &[("host", "a")], Reason::BadRequest),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")], Reason::BadRequest),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Reason::BadRequest),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "identity")], Reason::BadRequest),
            ("PUT", "/", &[("host", "a"), ("expect", "200-ok")], Reason::BadRequest),
            ("GET", "/", &[("host", "a"), ("authorization", "x"), ("authorization", "y")], Reason::AmbiguousCredentials),
            ("GET", "/a/%2e%2e/b", &[("host", "a")], Reason::AmbiguousPath),
        ] {
            assert_eq!(parse(method, uri, headers).err(), Some(reason), "{method} {uri} {headers:?}");
        }
    }
}
