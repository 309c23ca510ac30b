//! An HTTP proxy between here and a server.

use bytes::Bytes;
use go_compat::HttpProxy;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::{client::conn::http1, upgrade::on};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

/// Why a proxy opens no tunnel to a server.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// It does not speak HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// What it is to be told cannot be written.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// It says no.
    #[error("it answers {0}")]
    Refused(StatusCode),
    /// Servers of TLS do not speak first.
    #[error("it sends something before the server was asked anything")]
    Early,
}

/// Has a proxy connect to a server, and leaves what both then say to them.
///
/// # Errors
///
/// The proxy does not.
pub async fn tunnel(stream: TcpStream, host: &str, port: u16, proxy: &HttpProxy) -> Result<TcpStream, TunnelError> {
    let server = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut connect = Request::connect(&server).header(header::HOST, &server).body(Empty::<Bytes>::new())?;
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

/// Adds what the proxy wants to know of who asks.
///
/// # Errors
///
/// It cannot stand in a header.
pub fn authorize(headers: &mut HeaderMap, proxy: &HttpProxy) -> Result<(), http::Error> {
    if let Some(authorization) = &proxy.authorization {
        let mut value = HeaderValue::from_str(authorization)?;
        value.set_sensitive(true);
        headers.insert(header::PROXY_AUTHORIZATION, value);
    }
    Ok(())
}
