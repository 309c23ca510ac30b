//! The one upstream: what was permitted goes there, as it was permitted.

mod body;
mod connect;
mod outgoing;
mod pool;
mod tls;

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use request::{Permit, Reason, Refusal};
use rustls::ClientConfig;

pub use body::UpstreamBody;
use outgoing::Outgoing;
use pool::Pool;
pub use tls::client_config;

use crate::{Client, ManagedHeaders};

/// Where admitted requests go.
///
/// It takes a [`Permit`] and nothing else:
///
/// ```compile_fail,E0308
/// async fn without_a_gate(
///     upstream: &proxy::upstream::Upstream,
///     request: request::CanonicalRequest,
///     client: &proxy::Client,
///     body: hyper::body::Incoming,
/// ) {
///     let _ = upstream.send(request, client, body).await;
/// }
/// ```
#[derive(Debug)]
pub struct Upstream {
    address: Address,
    managed: ManagedHeaders,
    pool: Arc<Pool>,
}

/// The upstream's URL, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// Host and port as the URL has them, for requests that name no host.
    pub authority: String,
    /// What the request's path is appended to; may be empty.
    pub base_path: String,
    /// What the request's query is appended to; may be empty.
    pub base_query: String,
}

impl Upstream {
    /// An upstream reached in cleartext, or over TLS when there is a configuration for it.
    pub fn new(address: Address, tls: Option<Arc<ClientConfig>>, managed: ManagedHeaders) -> Self {
        let pool = Pool::new(connect::Connector::new(address.host.clone(), address.port, tls));
        Self { address, managed, pool }
    }

    /// Sends a request and gives the response, whose body streams. Dropping the future, or the response's body before
    /// its end, abandons the request upstream.
    ///
    /// # Errors
    ///
    /// The upstream cannot be connected to, breaks the connection before a response, or sends what is no response: the
    /// client sees 502. The client's body breaks off or is none: it sees 400.
    pub async fn send(&self, permit: Permit, client: &Client, body: Incoming) -> Result<Response<UpstreamBody>, Refusal> {
        let request = outgoing::request(&self.address, &self.managed, permit, client, body)?;
        let mut response = self.exchange(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::because(Reason::UpstreamFailed, "the upstream switched protocols unasked"));
        }
        settle_framing(response.headers_mut())?;
        // Of the client's connection, and not the upstream's: an answer as of HTTP/1.0 would end it, and not be chunked.
        *response.version_mut() = Version::HTTP_11;
        // What trailers follow is said to the client too.
        crate::headers::strip_hop_by_hop(response.headers_mut());
        Ok(response)
    }

    async fn exchange(&self, mut request: Request<Outgoing>) -> Result<Response<UpstreamBody>, Refusal> {
        loop {
            let mut connection = self.pool.take().await.map_err(|error| Refusal::because(Reason::UpstreamUnreachable, error))?;
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| UpstreamBody::new(body, connection))),
                Err(mut failed) => match failed.take_message() {
                    // Provably not sent: the kept connection had ended.
                    Some(unsent) if connection.reused => request = unsent,
                    _ => return Err(failure(failed.error())),
                },
            }
        }
    }
}

/// Chunks say where a body ends, whatever a length beside them says. In another coding it would reach the client with
/// nobody left to say so.
fn settle_framing(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = match (codings.next(), codings.next()) {
        (None, _) => return Ok(()),
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if !is_chunked {
        return Err(Refusal::because(Reason::UpstreamFailed, "the upstream's body has a transfer coding other than chunked"));
    }
    headers.remove(header::CONTENT_LENGTH);
    Ok(())
}

/// The upstream failed, or it was the client's own body that did.
fn failure(error: &hyper::Error) -> Refusal {
    let reason = if error.is_user() { Reason::BadRequest } else { Reason::UpstreamFailed };
    match std::error::Error::source(error) {
        Some(source) => Refusal::because(reason, format_args!("{error}: {source}")),
        None => Refusal::because(reason, error),
    }
}
