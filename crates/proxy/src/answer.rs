use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use request::Refusal;

use crate::{Body, headers};

/// What refusals look like to the clients of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorForm {
    /// The reason's text.
    #[default]
    Text,
    /// As in Kubernetes' API: a `Status` (`metav1.Status`) for who accepts JSON, and the reason's text for others. 401 says what
    /// is wanted, and its reason is in the log whatever the verbosity.
    Status,
}

impl ErrorForm {
    /// What this client is to get: clients of Kubernetes' API that prefer protobuf read JSON too. Where a discovery fails kubectl
    /// shows text alone, and says "unknown" of a `Status`.
    pub(crate) fn of(self, request: &HeaderMap) -> Form {
        let ranges: Vec<&str> = headers::list(request, &header::ACCEPT).filter_map(|range| std::str::from_utf8(range).ok()).collect();
        let is_discovery = ranges.iter().any(|range| range.contains("g=apidiscovery.k8s.io"));
        let kinds = ranges.iter().map(|range| range.split(';').next().unwrap_or_default().trim());
        let mut json =
            kinds.filter(|kind| ["application/json", "application/vnd.kubernetes.protobuf", "application/*", "*/*"].contains(kind));
        match self {
            Self::Text => Form::Text,
            Self::Status if !is_discovery && json.next().is_some() => Form::Status,
            Self::Status => Form::Challenge,
        }
    }
}

/// What one client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// Text, and what is wanted.
    Challenge,
    /// JSON, and what is wanted.
    Status,
}

/// An answer of the program's own.
pub(crate) fn own(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Turns a refusal into its response, and writes its log line. The only maker of error responses.
pub(crate) fn refuse(refusal: &Refusal, peer: SocketAddr, form: Form) -> Response<Body> {
    observe::log_refusal(refusal, peer, form != Form::Text);
    let row = refusal.reason().row();
    let (body, kind) = match (form, refusal.text()) {
        (Form::Status, text) => (status(row.status, text), Some("application/json")),
        (_, Some(text)) => (text + "\n", Some("text/plain; charset=utf-8")),
        (_, None) => (String::new(), None),
    };
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if form != Form::Text && row.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kubernetes\""));
    }
    if let Some(seconds) = row.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(location) = refusal.location().and_then(|location| HeaderValue::from_str(location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// A `Status` as client-go makes one of a text (`NewGenericServerResponse` of `k8s.io/apimachinery/pkg/api/errors`), whose first
/// cause is that text.
fn status(status: StatusCode, text: Option<String>) -> String {
    let text = text.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
    let reason = match status.as_u16() {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        431 => "RequestEntityTooLarge",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        408 | 504 => "Timeout",
        _ => "",
    };
    serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": text,
        "reason": reason,
        "details": { "causes": [{ "reason": "UnexpectedServerResponse", "message": text }] },
        "code": status.as_u16(),
    })
    .to_string()
        + "\n"
}

#[cfg(test)]
mod tests {
    use request::Reason;

    use super::*;

    #[test]
    fn json_is_for_who_accepts_it() {
        for (accept, form) in [
            (None, Form::Challenge),
            (Some("text/plain"), Form::Challenge),
            (Some("text/html, application/jsonp"), Form::Challenge),
            (Some("*/*"), Form::Status),
            (Some("application/vnd.kubernetes.protobuf"), Form::Status),
            (Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Form::Status),
            (Some("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"), Form::Challenge),
        ] {
            let headers: HeaderMap = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
            assert_eq!((ErrorForm::Status.of(&headers), ErrorForm::Text.of(&headers)), (form, Form::Text), "{accept:?}");
        }
    }

    #[test]
    fn every_reason_has_a_status_with_its_text() {
        for reason in Reason::ALL {
            let row = reason.row();
            let refusal = Refusal::new(*reason);
            let status: serde_json::Value = serde_json::from_str(&status(row.status, refusal.text())).expect("JSON");
            assert_eq!(status["code"], row.status.as_u16());
            assert_eq!(status["message"], status["details"]["causes"][0]["message"]);
            assert!(refusal.text().is_none_or(|text| status["message"] == text), "{status}");
        }
    }
}
