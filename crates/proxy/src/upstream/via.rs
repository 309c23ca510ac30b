//! An HTTP proxy that passes on what it is told in cleartext.

use go_compat::HttpProxy;
use http::{HeaderValue, Request, Uri, header, uri::Scheme};
use outbound::authorize;
use request::{Reason, Refusal};

use super::{Address, upload::Upload};

/// Names the upstream in a request that a proxy is to send there, and nothing else: whoever reads the client's Host in it would
/// let clients choose where requests go.
pub(super) fn address(request: &mut Request<Upload>, upstream: &Address, proxy: &HttpProxy) -> Result<(), Refusal> {
    let bad = |error: http::Error| Refusal::because(Reason::BadRequest, error);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(upstream.authority.as_str()).path_and_query(target).build().map_err(bad)?;
    let host = HeaderValue::from_str(&upstream.authority).map_err(|error| bad(error.into()))?;
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::HOST, host);
    authorize(request.headers_mut(), proxy).map_err(bad)
}
