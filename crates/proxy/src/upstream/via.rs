//! An HTTP proxy between here and the upstream.

use bytes::Bytes;
use go_compat::HttpProxy;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::Empty;
use hyper::{client::conn::http1, upgrade::on};
use hyper_util::rt::TokioIo;
use request::{Reason, Refusal};
use thiserror::Error;
use tokio::net::TcpStream;

use super::{Address, upload::Upload};

/// Why a proxy opens no tunnel to the upstream.
#[derive(Debug, Error)]
pub(crate) enum TunnelError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] http::Error),
    #[error("it answers {0}")]
    Refused(StatusCode),
    #[error("it sends something before the upstream was asked anything")]
    Early,
}

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

/// Has a proxy connect to the upstream, and leaves what both then say to them.
pub(super) async fn tunnel(stream: TcpStream, upstream: &str, proxy: &HttpProxy) -> Result<TcpStream, TunnelError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut connect = Request::connect(upstream).header(header::HOST, upstream).body(Empty::<Bytes>::new())?;
    authorize(connect.headers_mut(), proxy)?;
    let response = sender.send_request(connect).await?;
    if !response.status().is_success() {
        return Err(TunnelError::Refused(response.status()));
    }
    let parts = on(response).await?.downcast::<TokioIo<TcpStream>>().map_err(|_| TunnelError::Early)?;
    match parts.read_buf.is_empty() {
        true => Ok(parts.io.into_inner()),
        false => Err(TunnelError::Early),
    }
}

fn authorize(headers: &mut HeaderMap, proxy: &HttpProxy) -> Result<(), http::Error> {
    if let Some(authorization) = &proxy.authorization {
        let mut value = HeaderValue::from_str(authorization)?;
        value.set_sensitive(true);
        headers.insert(header::PROXY_AUTHORIZATION, value);
    }
    Ok(())
}
