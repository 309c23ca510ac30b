//! The one upstream: what was permitted goes there, as it was permitted.

mod body;
mod connect;
mod http2;
mod outgoing;
mod pool;
mod portions;
mod tls;
mod upload;
mod via;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use go_compat::HttpProxy;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use request::{Permit, Reason, Refusal};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

pub use body::{BodyError, UpstreamBody};
use pool::{Connection, Pool};
pub use tls::client_config;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use upload::FORMS_BYTES;
pub(crate) use upload::Progress;
pub use upload::{Upload, UploadError};

use crate::{Client, Forwarding, ManagedHeaders, chain};

/// How often a request that was provably not sent, or not processed, is sent at most.
const MOST_TRIES: u32 = 4;

/// What an upstream that refuses streams of HTTP/2 is given time by, from the second refusal on.
const BREATH: Duration = Duration::from_millis(100);

/// Where admitted requests go.
///
/// It takes a [`Permit`] and nothing else:
///
/// ```compile_fail,E0308
/// async fn without_a_gate(
///     upstream: &proxy::upstream::Upstream,
///     request: request::CanonicalRequest,
///     client: &proxy::Client,
///     body: proxy::upstream::Upload,
/// ) {
///     let _ = upstream.send(request, client, body).await;
/// }
/// ```
pub struct Upstream {
    address: Address,
    /// The proxy that sends the requests on.
    told: Option<HttpProxy>,
    managed: ManagedHeaders,
    silence: Option<Duration>,
    forwarding: Forwarding,
    patience: Option<Duration>,
    forms: Arc<Semaphore>,
    pool: Arc<Pool>,
    /// Without this program's certificate, where it has one: for users who act as themselves.
    bare: Option<Arc<Pool>>,
}

/// How the upstream is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    /// `None`: in cleartext.
    pub tls: Option<ClientConfig>,
    /// HTTP/2 without asking; otherwise HTTP/1.1, or what is agreed on by ALPN.
    pub http2_only: bool,
    /// How long a client may send nothing of its body before the upstream answers. `None`: for ever.
    pub silence: Option<Duration>,
    /// The HTTP proxy that is connected to in its place.
    pub via: Option<HttpProxy>,
    /// What the upstream is told of the way here, and whether it gets tokens.
    pub forwarding: Forwarding,
    /// How long the head of each response is waited for, connecting and the request's body included.
    pub patience: Option<Duration>,
    /// The name in the upstream's certificate; `None`: the address's host.
    pub server_name: Option<ServerName<'static>>,
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
    /// An upstream at an address.
    pub fn new(address: Address, speech: Speech, managed: ManagedHeaders) -> Self {
        // What it is to pass on in cleartext it must be told; a tunnel it leaves to its ends.
        let told = speech.via.clone().filter(|_| speech.tls.is_none());
        let (silence, forwarding, patience) = (speech.silence, speech.forwarding.clone(), speech.patience);
        let pool = |speech| Pool::new(connect::Connector::new(address.host.clone(), address.port, speech));
        let bare = speech.tls.as_ref().and_then(tls::without_certificate).map(|tls| pool(Speech { tls: Some(tls), ..speech.clone() }));
        let pool = pool(speech);
        Self { address, told, managed, silence, forwarding, patience, forms: Arc::new(Semaphore::new(FORMS_BYTES)), pool, bare }
    }

    /// Takes a request's body, to be sent with it.
    pub fn take(&self, body: Incoming, version: Version) -> Upload {
        Upload::new(body, version == Version::HTTP_2, self.silence, Arc::clone(&self.forms))
    }

    /// Sends a request and gives the response, whose body streams. Dropping the future, or the response's body before
    /// its end, abandons the request upstream.
    ///
    /// # Errors
    ///
    /// The upstream cannot be connected to, breaks the connection before a response, or sends what is no response: the
    /// client sees 502. The client's body breaks off or is none: it sees 400. It does not come: 408. Patience has
    /// ended: 504.
    pub async fn send(&self, permit: Permit, client: &Client, body: Upload) -> Result<Response<UpstreamBody>, Refusal> {
        let pool = self.bare.as_ref().filter(|_| permit.is_as_himself()).unwrap_or(&self.pool);
        let mut request = outgoing::request(&self.address, &self.managed, &self.forwarding, permit, client, body)?;
        if let Some(proxy) = &self.told {
            via::address(&mut request, &self.address, proxy)?;
        }
        let asked = request.headers().get(header::UPGRADE).cloned();
        let exchange = Self::exchange(pool, request, asked.is_some());
        let mut response = match self.patience {
            Some(patience) => timeout(patience, exchange).await.map_err(|_| Refusal::new(Reason::UpstreamTimeout))?,
            None => exchange.await,
        }?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return switched(response, asked.as_ref());
        }
        settle_framing(response.headers_mut())?;
        // Of the client's connection, and not the upstream's: an answer as of HTTP/1.0 would end it, and not be chunked.
        *response.version_mut() = Version::HTTP_11;
        // What trailers follow is said to the client too.
        crate::headers::strip_hop_by_hop(response.headers_mut());
        Ok(response)
    }

    async fn exchange(pool: &Arc<Pool>, mut request: Request<Upload>, is_upgrade: bool) -> Result<Response<UpstreamBody>, Refusal> {
        let mut tries = 0;
        loop {
            tries += 1;
            let progress = request.body().progress();
            let connection = match is_upgrade {
                true => pool.open().await,
                false => pool.take().await,
            };
            match connection.map_err(|error| Refusal::because(Reason::UpstreamUnreachable, error))? {
                Connection::Http1(mut connection) => match unless_flooded(&progress, connection.sender.try_send_request(request)).await? {
                    Ok(response) => return Ok(answered(response, &progress, Connection::Http1(connection))),
                    Err(mut failed) => match failed.take_message() {
                        // Provably not sent: the kept connection had ended.
                        Some(unsent) if connection.reused => request = unsent,
                        _ => return Err(failure(failed.error(), &progress)),
                    },
                },
                Connection::Http2(stream) => {
                    let (head, body) = request.into_parts();
                    request = Request::from_parts(head.clone(), body);
                    stream.translate(&mut request)?;
                    let failed = match stream.send(request).await {
                        Ok(response) => return Ok(answered(response, &progress, Connection::Http2(stream))),
                        Err(failed) => failed,
                    };
                    let again = (failed.is_unprocessed && tries < MOST_TRIES).then(|| progress.again()).flatten();
                    let Some(body) = again else { return Err(failure(&failed.error, &progress)) };
                    drop(stream);
                    request = Request::from_parts(head, body);
                    if tries > 1 {
                        sleep(BREATH * tries).await;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Gives up an exchange in which the upstream sends informational responses without end.
async fn unless_flooded<T>(progress: &Progress, exchange: impl Future<Output = T>) -> Result<T, Refusal> {
    let flooded = progress.flooded();
    tokio::select! {
        biased;
        () = flooded.notified() => Err(Refusal::because(Reason::UpstreamFailed, "the upstream sends informational responses without end")),
        response = exchange => Ok(response),
    }
}

fn answered(response: Response<Incoming>, progress: &Progress, connection: Connection) -> Response<UpstreamBody> {
    progress.answered();
    UpstreamBody::of(response, connection)
}

/// The answer that ends HTTP on both connections. What the upstream's connection has become is among its extensions.
fn switched(mut response: Response<UpstreamBody>, asked: Option<&HeaderValue>) -> Result<Response<UpstreamBody>, Refusal> {
    response.body_mut().discard_connection();
    let headers = response.headers_mut();
    let is_upgrade = crate::headers::connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let protocol = headers.get(header::UPGRADE).filter(|_| is_upgrade);
    let is_the_one_asked_for = |asked: &&HeaderValue| protocol.is_some_and(|got| got.as_bytes().eq_ignore_ascii_case(asked.as_bytes()));
    let Some(protocol) = asked.filter(is_the_one_asked_for) else {
        return Err(Refusal::because(Reason::UpstreamFailed, "the upstream switched to a protocol that was not asked for"));
    };
    crate::headers::strip_hop_by_hop(headers);
    headers.remove(header::CONTENT_LENGTH);
    crate::headers::ask_for(headers, protocol.clone());
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
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
fn failure(error: &hyper::Error, progress: &Progress) -> Refusal {
    let reason = progress.fault().unwrap_or(if error.is_user() { Reason::BadRequest } else { Reason::UpstreamFailed });
    Refusal::because(reason, chain(error))
}
