use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::outgoing::Outgoing;

/// As in Go's default transport.
const DIAL: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The most that an upstream's response head may have.
const HEAD_BYTES: usize = 1024 * 1024;
const HEAD_FIELDS: usize = 1024;

/// Opens connections to the upstream.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

/// Why the upstream cannot be connected to.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("{host} cannot be resolved: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{address} cannot be connected to: {source}")]
    Dial { address: SocketAddr, source: io::Error },
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
    pub(super) fn new(host: String, port: u16, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { host, port, tls }
    }

    /// Connects to the first address that answers.
    pub(super) async fn connect(&self) -> Result<SendRequest<Outgoing>, ConnectError> {
        let stream = self.dial().await?;
        let Some(tls) = &self.tls else {
            return self.handshake(stream).await;
        };
        let host = || self.host.clone();
        let name = ServerName::try_from(host()).map_err(|source| ConnectError::Name { host: host(), source })?;
        let connecting = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        let stream = match timeout(HANDSHAKE, connecting).await {
            Ok(stream) => stream.map_err(|source| ConnectError::Tls { host: host(), source })?,
            Err(_) => return Err(ConnectError::Tls { host: host(), source: io::ErrorKind::TimedOut.into() }),
        };
        self.handshake(stream).await
    }

    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let mut last = ConnectError::NoAddress { host: self.host.clone() };
        for address in self.addresses().await? {
            match timeout(DIAL, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Without it each small request waits for an acknowledgement; a socket that refuses it still works.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(source)) => last = ConnectError::Dial { address, source },
                Err(_) => last = ConnectError::Dial { address, source: io::ErrorKind::TimedOut.into() },
            }
        }
        Err(last)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![(address, self.port).into()]);
        }
        // The usual upstream of a sidecar; asking the system for it would take a thread for each connection.
        if self.host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, self.port).into(), (Ipv6Addr::LOCALHOST, self.port).into()]);
        }
        let resolved = lookup_host((self.host.as_str(), self.port)).await;
        resolved.map(Iterator::collect).map_err(|source| ConnectError::Resolve { host: self.host.clone(), source })
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<Outgoing>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::Builder::new().max_header_size(HEAD_BYTES).max_headers(HEAD_FIELDS).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|source| ConnectError::Http { host: self.host.clone(), source })?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "Upstream connection broke");
            }
        });
        Ok(sender)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("host", &self.host).field("port", &self.port).field("tls", &self.tls.is_some()).finish()
    }
}
