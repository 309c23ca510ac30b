use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::{
    Refusal,
    values::{ambiguous, check_arrival},
};

/// The body of a request that is a form: more of its parameters.
pub trait Form: Send {
    /// Reads it whole and keeps it for the upstream. For those alone who are known, and may do what the head says.
    fn read(&mut self) -> impl Future<Output = Result<Bytes, Refusal>> + Send;
}

/// Of a request without a body, or with one that nobody gets.
#[derive(Clone, Copy, Debug)]
pub struct NoForm;

impl Form for NoForm {
    async fn read(&mut self) -> Result<Bytes, Refusal> {
        Ok(Bytes::new())
    }
}

/// Whether the body has parameters for some reader. Without a Content-Type it has.
///
/// # Errors
///
/// Readers disagree about whether, or about what the parameters are.
pub(crate) fn is_form(headers: &HeaderMap) -> Result<bool, Refusal> {
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        check_arrival(&name, headers)?;
    }
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let line = lines.next().map_or(&b""[..], HeaderValue::as_bytes);
    if lines.next().is_some() {
        return Err(ambiguous("the request has more than one Content-Type"));
    }
    let kind = String::from_utf8_lossy(line).to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    if !matches!(parts.next(), Some("" | "application/x-www-form-urlencoded")) {
        return match ["multipart/form-data", "x-www-form-urlencoded"].iter().any(|form| kind.contains(form)) {
            true => Err(ambiguous("the body is a form of a kind that some readers take parameters from")),
            false => Ok(false),
        };
    }
    let is_utf8 =
        |charset: &str| charset.trim_start_matches("charset").trim_start().trim_start_matches('=').trim().trim_matches('"') == "utf-8";
    if parts.any(|part| part.starts_with("charset") && !is_utf8(part)) {
        return Err(ambiguous("the form is in another encoding than UTF-8"));
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    match codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        true => Ok(true),
        false => Err(ambiguous("the form has a Content-Encoding, behind which the upstream may find other values")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::Reason;

    fn said(headers: &[(&'static str, &str)]) -> Result<bool, Reason> {
        let headers = headers.iter().map(|&(name, text)| (HeaderName::from_static(name), HeaderValue::from_str(text).expect("a value")));
        is_form(&headers.collect()).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn a_form_is_known_by_its_type_or_the_lack_of_one() {
        for (kind, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-URLEncoded ; Charset=\"UTF-8\"; x=y", true),
            ("application/x-www-form-urlencoded;charset = utf-8", true),
            ("", true),
            ("; charset=utf-8", true),
            ("application/json; charset=utf-16", false),
            ("application/grpc", false),
            ("multipart/related; boundary=x", false),
        ] {
            assert_eq!(said(&[("content-type", kind), ("content-encoding", "identity")]), Ok(expected), "{kind:?}");
        }
        assert_eq!(said(&[]), Ok(true));
        assert_eq!(said(&[("content-type", "text/plain"), ("content-encoding", "gzip")]), Ok(false));
    }

    #[test]
    fn a_form_that_readers_disagree_about_is_refused() {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        for headers in [
            &[("content-type", "multipart/form-data; boundary=x")][..],
            &[("content-type", "text/plain, application/x-www-form-urlencoded")],
            &[("content-type", "application/x-www-form-urlencoded, text/plain")],
            &[("content-type", "text/plain; x=\"multipart/form-data\"")],
            &[("content-type", "application/x-www-form-urlencoded; charset=ibm037")],
            &[("content-type", "application/x-www-form-urlencoded; charset")],
            &[("content-type", "text/plain"), FORM],
            &[FORM, FORM],
            &[FORM, ("content-encoding", "gzip")],
            &[FORM, ("content-encoding", "identity"), ("content-encoding", "br")],
            &[("content-type", "text/plain"), ("content_type", "application/x-www-form-urlencoded")],
            &[("content-type", "text/plain"), ("connection", "close, Content-Type")],
            &[FORM, ("content_encoding", "gzip")],
        ] {
            assert_eq!(said(headers), Err(Reason::AmbiguousValue), "{headers:?}");
        }
    }
}
