use std::net::SocketAddr;

use http::{HeaderValue, Response, header};
use request::Refusal;

use crate::Body;

/// Turns a refusal into its response, and writes its log line. The only maker of error responses.
pub(crate) fn refuse(refusal: &Refusal, peer: SocketAddr) -> Response<Body> {
    observe::log_refusal(refusal, peer);
    let row = refusal.reason().row();
    let text = refusal.text();
    let mut response = Response::new(Body::whole(text.map_or_else(String::new, |text| text + "\n")));
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
    if row.text != request::Text::Empty {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Some(seconds) = row.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(location) = refusal.location().and_then(|location| HeaderValue::from_str(location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}
