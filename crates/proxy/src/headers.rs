use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// Headers that speak for one connection and never pass.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Names that only this program may write: they never arrive from a client, in any case, nor with `_` for `-`, which
/// many upstreams read as the same name.
#[derive(Clone, Debug, Default)]
pub struct ManagedHeaders {
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl ManagedHeaders {
    /// Manages `names`, and all names that begin with one of `prefixes`.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>, prefixes: &[&str]) -> Self {
        Self {
            names: names.into_iter().map(|name| fold(name.as_str())).collect(),
            prefixes: prefixes.iter().map(|prefix| fold(prefix)).collect(),
        }
    }

    /// Removes whatever a client sent under a managed name.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let managed: Vec<HeaderName> = headers.keys().filter(|name| self.manages(name.as_str())).cloned().collect();
        for name in managed {
            headers.remove(name);
        }
    }

    fn manages(&self, name: &str) -> bool {
        let name = fold(name);
        self.names.contains(&name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Removes what speaks for the client's connection: each header that `Connection` names, then those above.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers).filter_map(|option| HeaderName::try_from(option).ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Asks for another protocol, or says that it is spoken from here on.
pub(crate) fn ask_for(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// The options of every `Connection` header.
pub(crate) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list(headers, &header::CONNECTION)
}

/// The elements of a comma-separated header, over all its lines. One that is no text hides none of those beside it.
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Removes a bearer token, however its scheme is written: the upstream gets no credential that is valid elsewhere.
///
/// What stands before the scheme is ignored as widely as by the reader of tokens, who takes Unicode's spaces for spaces.
pub(crate) fn strip_bearer(headers: &mut HeaderMap) {
    let is_bearer = |value: &HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = value.trim_start().as_bytes();
        value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")) && value.get(6).is_none_or(u8::is_ascii_whitespace)
    };
    if headers.get_all(header::AUTHORIZATION).iter().any(is_bearer) {
        headers.remove(header::AUTHORIZATION);
    }
}

/// Removes a bearer token from among the subprotocols of a WebSocket, as Kubernetes does: the others become one line.
pub(crate) fn strip_websocket_token(headers: &mut HeaderMap) {
    const PREFIX: &[u8] = b"base64url.bearer.authorization.k8s.io.";
    let is_token = |protocol: &&[u8]| protocol.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols: Vec<&[u8]> = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect();
    if !protocols.iter().any(is_token) {
        return;
    }
    let others: Vec<&[u8]> = protocols.into_iter().filter(|protocol| !is_token(protocol)).collect();
    match HeaderValue::from_bytes(&others.join(&b","[..])) {
        Ok(value) if !value.is_empty() => drop(headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value)),
        _ => drop(headers.remove(header::SEC_WEBSOCKET_PROTOCOL)),
    }
}

/// Appends to `X-Forwarded-For`, as Go's reverse proxy does: all earlier lines become one.
pub(crate) fn append_forwarded_for(headers: &mut HeaderMap, client: std::net::IpAddr) {
    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let mut value = Vec::new();
    for earlier in headers.get_all(NAME) {
        value.extend_from_slice(earlier.as_bytes());
        value.extend_from_slice(b", ");
    }
    value.extend_from_slice(client.to_canonical().to_string().as_bytes());
    // Bytes of valid values, joined: a valid value.
    if let Ok(value) = HeaderValue::from_bytes(&value) {
        headers.insert(NAME, value);
    }
}

/// Joins the lines of `Cookie`, which HTTP/2 may split, as HTTP/1 needs it.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Says in HTTP/1 how long a body is that came without a length: chunked, whatever the method (the library drops such a body
/// of a GET). A length of 0 is said where the method means a body and nowhere else, as in Go.
pub(crate) fn frame(headers: &mut HeaderMap, method: &Method, is_empty: bool) {
    let means_a_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    match headers.contains_key(header::CONTENT_LENGTH) {
        false if !is_empty => drop(headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        false if means_a_body => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"))),
        true if is_empty && !means_a_body => drop(headers.remove(header::CONTENT_LENGTH)),
        _ => {}
    }
}

/// Whether it is a call of gRPC, in which either side may be silent for as long as it likes.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()?.strip_prefix("application/grpc"));
    kind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Lower case, and `-` for `_`.
fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn every_connection_line_is_read() {
        let mut headers =
            headers(&[("connection", "close, x-a"), ("connection", "X-B"), ("x-a", "1"), ("x-b", "2"), ("x-c", "3"), ("te", "gzip")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["x-c"]);
    }

    #[test]
    fn an_option_that_is_no_text_hides_no_other() {
        let mut headers = headers(&[("x-a", "1"), ("x-b", "2"), ("x-c", "3")]);
        headers.insert(header::CONNECTION, HeaderValue::from_bytes(b"\xff, x-a, x-b\xe9,x-c").expect("a value"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["x-b"]);
    }

    #[test]
    fn managed_names_have_no_alias() {
        let managed = ManagedHeaders::new(&[HeaderName::from_static("x-remote-user")], &["impersonate-"]);
        let mut headers = headers(&[
            ("x-remote-user", "a"),
            ("x_remote_user", "b"),
            ("x-remote_user", "c"),
            ("impersonate-extra-x", "d"),
            ("impersonate_user", "e"),
            ("x-remote-users", "f"),
        ]);
        managed.strip(&mut headers);
        assert_eq!(names(&headers), ["x-remote-users"]);
    }

    #[test]
    fn a_bearer_token_goes_and_other_schemes_stay() {
        for (value, stays) in [("Bearer x", false), ("bEARER\tx", false), (" bearer", false), ("Basic eDp5", true), ("Bearerx y", true)] {
            let mut headers = headers(&[("authorization", value)]);
            strip_bearer(&mut headers);
            assert_eq!(headers.contains_key("authorization"), stays, "{value}");
        }
    }

    #[test]
    fn a_token_behind_unicode_spaces_goes_too() {
        for value in ["\u{3000}Bearer x", "\u{a0}\t\u{2028}bearer x", "Bearer \u{fffd}"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            strip_bearer(&mut headers);
            assert!(headers.is_empty(), "{value:?}");
        }
    }

    #[test]
    fn a_body_of_any_method_has_one_framing() {
        for (method, length, is_empty, expected) in [
            (Method::GET, None, true, [None, None]),
            (Method::GET, None, false, [Some("chunked"), None]),
            (Method::DELETE, Some("3"), false, [None, Some("3")]),
            (Method::GET, Some("0"), true, [None, None]),
            (Method::POST, None, true, [None, Some("0")]),
            (Method::PUT, Some("0"), true, [None, Some("0")]),
            (Method::PATCH, None, false, [Some("chunked"), None]),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            frame(&mut headers, &method, is_empty);
            let text = |name| headers.get(name).map(|value| value.to_str().expect("text"));
            assert_eq!([text(header::TRANSFER_ENCODING), text(header::CONTENT_LENGTH)], expected, "{method} {length:?} {is_empty}");
        }
    }

    #[test]
    fn the_client_is_appended_to_those_before_it() {
        let mut headers = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        append_forwarded_for(&mut headers, "::ffff:3.3.3.3".parse().expect("an address"));
        assert_eq!(headers.get("x-forwarded-for").expect("set"), "1.1.1.1, 2.2.2.2, 3.3.3.3");
    }
}
