use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use go_compat::HttpProxy;
use http::uri::Scheme;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use outbound::{TunnelError, tunnel};
use rustls::ClientConfig;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Speech, http2::Http2, portions::Portions, upload::Upload};
use crate::{Socket, prepare};

/// As in Go's default transport.
const DIAL: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The most that an upstream's response head may have; what the HTTP library buffers at most.
pub(super) const HEAD_BYTES: u32 = 400 * 1024;
const HEAD_FIELDS: usize = 1024;

/// Opens connections to the upstream.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<Tls>,
    http2_only: bool,
    /// What is connected to in the upstream's place.
    via: Option<HttpProxy>,
    server_name: Option<ServerName<'static>>,
}

/// A connection in the version that both ends agreed on.
pub(super) enum Connected {
    Http1(SendRequest<Upload>),
    Http2(Arc<Http2>),
}

/// What is offered to the upstream.
struct Tls {
    usual: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// Why the upstream cannot be connected to.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("{host} cannot be resolved: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{address} cannot be connected to: {source}")]
    Dial { address: SocketAddr, source: io::Error },
    #[error("the proxy {proxy} opens no tunnel: {source}")]
    Tunnel { proxy: String, source: TunnelError },
    #[error("the proxy {proxy} opens no tunnel in time")]
    TunnelTimeout { proxy: String },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("{host} is no name for TLS: {source}")]
    Name { host: String, source: InvalidDnsNameError },
    #[error("TLS with {host} failed: {source}")]
    Tls { host: String, source: io::Error },
    #[error("HTTP with {host} failed: {source}")]
    Http { host: String, source: hyper::Error },
}

impl Connector {
    pub(super) fn new(host: String, port: u16, speech: Speech) -> Self {
        let Speech { tls, http2_only, via, server_name, .. } = speech;
        let offering = |config: &ClientConfig, protocols: &[&str]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            Arc::new(config)
        };
        let usual: &[&str] = if http2_only { &["h2"] } else { &["h2", "http/1.1"] };
        let tls = tls.map(|config| Tls { usual: offering(&config, usual), http1: offering(&config, &["http/1.1"]) });
        Self { host, port, tls, http2_only, via, server_name }
    }

    pub(super) fn may_be_http2(&self) -> bool {
        self.http2_only || self.tls.is_some()
    }

    /// Connects to the first address that answers.
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        let stream = self.dial().await?;
        let Some(tls) = &self.tls else {
            return match self.http2_only {
                true => self.http2(Box::new(stream), Scheme::HTTP).await,
                false => self.http1(Box::new(stream)).await.map(Connected::Http1),
            };
        };
        let stream = self.secure(stream, &tls.usual).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(stream, Scheme::HTTPS).await,
            None if self.http2_only => self.http2(stream, Scheme::HTTPS).await,
            _ => self.http1(stream).await.map(Connected::Http1),
        }
    }

    /// [`Connector::connect`] in HTTP/1.1, which alone can change to another protocol.
    pub(super) async fn connect_http1(&self) -> Result<SendRequest<Upload>, ConnectError> {
        let stream = self.dial().await?;
        match &self.tls {
            Some(tls) => self.http1(self.secure(stream, &tls.http1).await?).await,
            None => self.http1(Box::new(stream)).await,
        }
    }

    /// To the upstream, through the proxy if there is one: that leaves a tunnel to its ends, and passes on what is in cleartext.
    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let Some(proxy) = &self.via else { return dial(&self.host, self.port).await };
        let stream = dial(&proxy.host, proxy.port).await?;
        if self.tls.is_none() {
            return Ok(stream);
        }
        match timeout(DIAL, tunnel(stream, &self.host, self.port, proxy)).await {
            Ok(stream) => stream.map_err(|source| ConnectError::Tunnel { proxy: proxy.to_string(), source }),
            Err(_) => Err(ConnectError::TunnelTimeout { proxy: proxy.to_string() }),
        }
    }

    async fn secure(&self, stream: TcpStream, tls: &Arc<ClientConfig>) -> Result<Box<TlsStream<TcpStream>>, ConnectError> {
        let host = || self.host.clone();
        let name = self.server_name.clone().map_or_else(|| ServerName::try_from(host()), Ok);
        let name = name.map_err(|source| ConnectError::Name { host: host(), source })?;
        match timeout(HANDSHAKE, TlsConnector::from(Arc::clone(tls)).connect(name, stream)).await {
            Ok(stream) => stream.map(Box::new).map_err(|source| ConnectError::Tls { host: host(), source }),
            Err(_) => Err(ConnectError::Tls { host: host(), source: io::ErrorKind::TimedOut.into() }),
        }
    }

    async fn http1(&self, stream: Box<dyn Socket>) -> Result<SendRequest<Upload>, ConnectError> {
        let io = TokioIo::new(Portions::new(stream));
        let handshake = http1::Builder::new().max_header_size(HEAD_BYTES as usize).max_headers(HEAD_FIELDS).handshake(io).await;
        let (sender, connection) = handshake.map_err(|source| ConnectError::Http { host: self.host.clone(), source })?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "Upstream connection broke");
            }
        });
        Ok(sender)
    }

    async fn http2(&self, stream: Box<dyn Socket>, scheme: Scheme) -> Result<Connected, ConnectError> {
        let connection = Http2::handshake(stream, scheme).await;
        connection.map(Connected::Http2).map_err(|source| ConnectError::Http { host: self.host.clone(), source })
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NoAddress { host: host.to_owned() };
    for address in addresses(host, port).await? {
        match timeout(DIAL, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                prepare(&stream);
                return Ok(stream);
            }
            Ok(Err(source)) => last = ConnectError::Dial { address, source },
            Err(_) => last = ConnectError::Dial { address, source: io::ErrorKind::TimedOut.into() },
        }
    }
    Err(last)
}

async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    // The usual upstream of a sidecar; asking the system for it would take a thread for each connection.
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let resolved = lookup_host((host, port)).await;
    resolved.map(Iterator::collect).map_err(|source| ConnectError::Resolve { host: host.to_owned(), source })
}
