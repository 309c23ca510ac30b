use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header, request::Parts};
use request::{CanonicalRequest, OddPaths, Path, PathFault, Reads, ValueNames};

use super::{headers, readings, split_once};

const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// A path that is accepted leads every server to one place, and a detour is told from a path that is clean.
pub fn path(data: &[u8]) -> bool {
    let Ok(raw) = std::str::from_utf8(data) else { return false };
    let path = match Path::parse(raw, OddPaths::default()) {
        Ok(path) => path,
        Err(fault) => {
            assert!(fault != PathFault::NotAbsolute || !raw.starts_with('/'));
            return false;
        }
    };
    readings::assert_one_meaning(data, path.decoded().as_bytes());
    assert_eq!(path.decoded().as_bytes(), readings::decoded(data));
    assert!(path.decoded().bytes().all(|byte| !byte.is_ascii_control() && !matches!(byte, b';' | b'\\')), "{path:?}");
    match path.cleaned() {
        None => assert!(path.decoded().split('/').all(|segment| !matches!(segment, "." | "..")) && !raw.contains("//"), "{path:?}"),
        Some(cleaned) => {
            readings::assert_one_meaning(data, cleaned.as_bytes());
            assert_eq!(Path::parse(cleaned, OddPaths::default()).map(|path| path.cleaned().is_none()), Ok(true), "{cleaned:?}");
        }
    }
    true
}

/// `ns=a&ns=b`: no reader finds a value that is not checked.
pub fn query(data: &[u8]) -> bool {
    let (query, lines) = split_once(data, b"\n");
    let Ok(uri) = Uri::try_from([b"/?", query].concat()) else { return false };
    let Ok(mut request) = Request::get(uri).header(header::HOST, "h").body(()) else { return false };
    request.headers_mut().extend(headers(lines));
    let (head, ()) = request.into_parts();
    let (sent, lines) = (head.uri.query().unwrap_or_default().to_owned(), head.headers.clone());
    let Ok(request) = CanonicalRequest::new(head, &reads(false)) else { return false };
    let mut found: Vec<Vec<u8>> = sent
        .split(['&', ';'])
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| unescaped(name) == b"ns")
        .map(|(_, value)| unescaped(value))
        .collect();
    let folded = |name: &HeaderName| name.as_str().replace('_', "-") == "x-ns";
    found.extend(lines.iter().filter(|(name, _)| folded(name)).map(|(_, value)| value.as_bytes().to_vec()));
    let values: Vec<&[u8]> = request.values().iter().map(|value| value.as_bytes()).collect();
    assert_eq!(values, found);
    assert!(request.values().iter().all(|value| !value.bytes().any(|byte| byte.is_ascii_control())));
    !found.is_empty()
}

/// `METHOD TARGET VERSION` and headers: what is accepted has one host, one framing, one credential and one target, which is
/// kept byte for byte, and what is accepted by one who reads it is accepted by one who does not.
pub fn head(data: &[u8]) -> bool {
    let (line, lines) = split_once(data, b"\n");
    let Some(head) = parts(line, lines) else { return false };
    let given = head.uri.clone();
    let Ok(request) = CanonicalRequest::new(head.clone(), &reads(true)) else { return false };
    let target = request.target();
    assert_eq!(Some(target), given.path_and_query().map(|target| target.as_str()));
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte > b' ' && byte != b'#' && byte != 0x7f), "{target:?}");
    let path = request.path().expect("it is read");
    readings::assert_one_meaning(target.split('?').next().unwrap_or_default().as_bytes(), path.decoded().as_bytes());
    let method = request.method().as_str();
    assert!(method != "CONNECT" && METHODS.iter().all(|known| *known == method || !known.eq_ignore_ascii_case(method)), "{method}");
    let all = |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    assert!(all(header::HOST).len() <= 1 && all(header::AUTHORIZATION).len() <= 1);
    let codings = all(header::TRANSFER_ENCODING);
    assert!(codings.is_empty() || (codings.len() == 1 && codings[0].trim_ascii().eq_ignore_ascii_case(b"chunked")), "{codings:?}");
    match (request.version(), request.authority(), all(header::HOST).first()) {
        (Version::HTTP_11, _, None) | (Version::HTTP_2, None, _) => panic!("no host in {request:?}"),
        (_, Some(authority), Some(host)) if !host.is_empty() => assert!(authority.as_str().as_bytes().eq_ignore_ascii_case(host)),
        _ => {}
    }
    assert!(request.authority().is_none_or(|authority| !authority.as_str().contains('@')));
    let careless = CanonicalRequest::new(head, &Reads::default()).expect("whoever reads less refuses no more");
    assert_eq!((careless.target(), careless.path()), (target, None));
    true
}

fn parts(line: &[u8], lines: &[u8]) -> Option<Parts> {
    let mut words = line.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let uri = Uri::try_from(words.next()?).ok()?;
    let version = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    let mut request = Request::builder().method(method).uri(uri).version(version).body(()).ok()?;
    *request.headers_mut() = headers(lines);
    Some(request.into_parts().0)
}

fn reads(path: bool) -> Reads {
    let values = ValueNames { parameter: Some("ns".to_owned()), header: Some(HeaderName::from_static("x-ns")) };
    Reads { path, odd_paths: OddPaths::default(), values }
}

fn unescaped(text: &str) -> Vec<u8> {
    readings::decoded(text.replace('+', " ").as_bytes())
}
