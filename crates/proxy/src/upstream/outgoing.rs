use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version, header};
use http_body::Body;
use request::{CanonicalRequest, Permit, Reason, Refusal};
use tokio::sync::Notify;

use super::{Address, upload::Upload};
use crate::{Client, Forwarding, ManagedHeaders, headers, interim::Interim};

/// How many informational responses are read of one exchange, in which an upstream may say for a long time that it is alive. The
/// client gets the first few.
const MOST_INFORMATIONAL: u32 = 1000;

/// What a client may change to: the tunnels of browsers, and those of kubectl.
const TUNNELS: [&str; 2] = ["websocket", "SPDY/3.1"];

/// Writes the request that goes upstream. The order matters: what the client said about its connection goes first,
/// then what it may not say at all; what this program says about the user comes last and nothing removes it.
pub(super) fn request(
    address: &Address,
    managed: &ManagedHeaders,
    forwarding: &Forwarding,
    permit: Permit,
    client: &Client,
    mut body: Upload,
) -> Result<Request<Upload>, Refusal> {
    let (mut request, grant) = permit.into_parts();
    let mut headers = request.take_headers();
    let upgrade = upgrade(&request, &headers, &body)?;
    let wants_trailers = headers::list(&headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    headers::strip_hop_by_hop(&mut headers);
    headers.remove(header::TRAILER);
    managed.strip(&mut headers);
    if !forwarding.passes_bearer(grant.is_some()) {
        headers::strip_bearer(&mut headers);
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers::strip_websocket_token(&mut headers);
        headers::ask_for(&mut headers, protocol);
    }
    headers::join_cookies(&mut headers);
    headers::frame(&mut headers, request.method(), body.is_end_stream());
    forwarding.write(&mut headers, &client.peer, request.authority().map(|authority| authority.as_str()));
    let host = request.authority().map_or(address.authority.as_str(), |authority| authority.as_str());
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|error| Refusal::because(Reason::BadRequest, error))?);
    // Their names are managed, so nobody else's are there.
    for (name, value) in grant.into_iter().flat_map(|grant| grant.headers) {
        headers.append(name, value);
    }
    let continued = Arc::new(Notify::new());
    if headers.get(header::EXPECT).is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        body.hold(Arc::clone(&continued));
    }
    if request.version() == Version::HTTP_2 && headers::is_grpc(&headers) {
        body.be_patient();
    }
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = request.method().clone();
    *outgoing.uri_mut() = target(address, &request)?;
    *outgoing.headers_mut() = headers;
    let flooded = outgoing.body().progress().flooded();
    pass_informational(&mut outgoing, client.interim.clone(), continued, flooded);
    Ok(outgoing)
}

/// Lets informational responses release a held body and pass on to the client.
fn pass_informational(outgoing: &mut Request<Upload>, interim: Option<Interim>, continued: Arc<Notify>, flooded: Arc<Notify>) {
    let count = AtomicU32::new(0);
    hyper::ext::on_informational(outgoing, move |response| {
        if count.fetch_add(1, Ordering::Relaxed) == MOST_INFORMATIONAL {
            flooded.notify_one();
        }
        if response.status() == StatusCode::CONTINUE {
            continued.notify_one();
        } else if let Some(interim) = &interim {
            interim.push(response.status(), response.headers());
        }
    });
}

/// The one protocol that the request changes to, if it asks for a change that may be: in the tunnel to come nothing is
/// decided. `h2c` would make requests of it that nobody looked at; it may be ignored and is. Whoever asks for another protocol,
/// or for a choice of them, cannot do without and is refused, and so is a body, which the upstream would get ahead of its answer.
fn upgrade(request: &CanonicalRequest, headers: &HeaderMap, body: &Upload) -> Result<Option<HeaderValue>, Refusal> {
    let asked =
        request.version() <= Version::HTTP_11 && headers::connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = headers::list(headers, &header::UPGRADE);
    if !asked || protocols.all(|protocol| protocol.eq_ignore_ascii_case(b"h2c")) {
        return Ok(None);
    }
    let refusal = || Refusal::new(Reason::UpgradeNotSupported);
    let mut protocols = headers::list(headers, &header::UPGRADE);
    match (protocols.next(), protocols.next()) {
        (Some(protocol), None)
            if TUNNELS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(protocol))
                && request.version() == Version::HTTP_11
                && body.is_end_stream() =>
        {
            HeaderValue::from_bytes(protocol).map(Some).map_err(|_| refusal())
        }
        _ => Err(refusal()),
    }
}

/// The base path and the request's path, joined by exactly one `/`; the base query and the request's, by `&`.
fn target(address: &Address, request: &CanonicalRequest) -> Result<Uri, Refusal> {
    let (path, query) = match request.target().split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.target(), None),
    };
    let base_path = address.base_path.strip_suffix('/').unwrap_or(&address.base_path);
    if !base_path.is_empty() && climbs(path) {
        return Err(Refusal::because(Reason::AmbiguousPath, "the path may lead out of the base path of --upstream"));
    }
    let mut target = String::with_capacity(address.base_path.len() + request.target().len() + address.base_query.len() + 2);
    target.push_str(base_path);
    target.push_str(path);
    match (address.base_query.as_str(), query) {
        ("", None) => {}
        ("", Some(query)) => target.extend(["?", query]),
        (base, None | Some("")) => target.extend(["?", base]),
        (base, Some(query)) => target.extend(["?", base, "&", query]),
    }
    Uri::try_from(target).map_err(|error| Refusal::because(Reason::BadRequest, error))
}

/// Whether some server reads a `..` segment in a path.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    path.split(['/', '\\']).any(|segment| segment.split(';').next() == Some(".."))
}

#[cfg(test)]
mod tests {
    use request::Reads;

    use super::*;

    fn try_joined(base_path: &str, base_query: &str, target: &str) -> Result<String, Reason> {
        let address = Address {
            host: String::new(),
            port: 0,
            authority: String::new(),
            base_path: base_path.to_owned(),
            base_query: base_query.to_owned(),
        };
        let (head, ()) = Request::get(target).header("host", "h").body(()).expect("a request").into_parts();
        let request = CanonicalRequest::new(head, &Reads::default()).expect("accepted");
        super::target(&address, &request).map(|target| target.to_string()).map_err(|refusal| refusal.reason())
    }

    fn joined(base_path: &str, base_query: &str, target: &str) -> String {
        try_joined(base_path, base_query, target).expect("a target")
    }

    #[test]
    fn no_path_leads_out_of_a_base_path() {
        for target in ["/../x", "/a/..", "/%2e%2E/x", "/a%2f.%2e%2Fx", "/..%5cx", "/..;a=b/x"] {
            assert_eq!(try_joined("/base/", "", target), Err(Reason::AmbiguousPath), "{target}");
            assert_eq!(joined("/", "", target), target);
        }
        for target in ["/...", "/a..", "/..a", "/?x=/../", "//a"] {
            assert_eq!(joined("/base", "", target), format!("/base{target}"));
        }
    }

    #[test]
    fn paths_and_queries_are_joined_as_in_go() {
        for (base_path, base_query, target, expected) in [
            ("", "", "/metrics", "/metrics"),
            ("/", "", "/metrics", "/metrics"),
            ("/base", "", "/metrics?x=%zz;", "/base/metrics?x=%zz;"),
            ("/base/", "", "/", "/base/"),
            ("/", "", "//a/../%2f", "//a/../%2f"),
            ("/", "", "/a?", "/a?"),
            ("/", "b=1", "/a", "/a?b=1"),
            ("/", "b=1", "/a?c=2", "/a?b=1&c=2"),
        ] {
            assert_eq!(joined(base_path, base_query, target), expected, "{base_path:?} {base_query:?} {target:?}");
        }
    }
}
