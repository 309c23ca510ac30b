use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use go_compat::{HttpProxy, HttpProxyError, ProxyEnvironment};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use settings::{UpstreamRoots, Watched, tls_client};
use thiserror::Error;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{HttpsUrl, TunnelError, tunnel};

/// From the host's name to the last byte.
const DEADLINE: Duration = Duration::from_secs(10);
/// A document that is larger is none.
const MAX_BYTES: usize = 1 << 20;
const HEAD_BYTES: usize = 64 * 1024;
const HEAD_FIELDS: usize = 128;

/// Fetches documents from servers that an authority vouches for.
#[derive(Clone, Debug)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    environment: ProxyEnvironment,
    deadline: Duration,
}

/// Why there is no document.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum FetchError {
    #[error("{host} cannot be connected to: {source}")]
    Connect { host: String, source: io::Error },
    #[error("{variable}: {source}")]
    Proxy { variable: &'static str, source: HttpProxyError },
    #[error("the proxy {proxy} opens no tunnel to {host}: {source}")]
    Tunnel { proxy: String, host: String, source: TunnelError },
    #[error("{host} is no name for TLS: {source}")]
    Name { host: String, source: InvalidDnsNameError },
    #[error("TLS with {host} failed: {source}")]
    Tls { host: String, source: io::Error },
    #[error("HTTP with {host} failed: {source}")]
    Http { host: String, source: hyper::Error },
    #[error("{host} answered with status {status}")]
    Status { host: String, status: StatusCode },
    #[error("{host} answered with status {status}, and redirects are not followed")]
    Redirect { host: String, status: StatusCode },
    #[error("{host} sent more than {MAX_BYTES} bytes")]
    TooLarge { host: String },
    #[error("{host}'s answer ended too early")]
    Cut { host: String },
    #[error("{host} did not answer in {} s", .after.as_secs())]
    Late { host: String, after: Duration },
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
}

impl Fetcher {
    /// Servers must be vouched for by `roots`, as they are at each connection, or by the system's authorities.
    ///
    /// # Errors
    ///
    /// The cryptographic library does not fit.
    pub fn new(roots: Option<Arc<Watched<UpstreamRoots>>>) -> Result<Self, rustls::Error> {
        let mut config = tls_client(roots)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(config), environment: ProxyEnvironment::default(), deadline: DEADLINE })
    }

    /// The same by way of the proxies that are named here.
    #[must_use]
    pub fn through(self, environment: ProxyEnvironment) -> Self {
        Self { environment, ..self }
    }

    /// The document: the body of an answer with status 200, whole. With a bearer token, if there is one.
    ///
    /// # Errors
    ///
    /// There is no document within the deadline and the bound, or the token cannot stand in a header.
    pub async fn get(&self, url: &HttpsUrl, token: Option<&str>) -> Result<Bytes, FetchError> {
        let late = || FetchError::Late { host: url.host().to_owned(), after: self.deadline };
        timeout(self.deadline, self.fetch(url, token)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn fetch(&self, url: &HttpsUrl, token: Option<&str>) -> Result<Bytes, FetchError> {
        let host = || url.host().to_owned();
        let name = ServerName::try_from(host()).map_err(|source| FetchError::Name { host: host(), source })?;
        let stream = self.dial(url).await?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        let stream = stream.map_err(|source| FetchError::Tls { host: host(), source })?;
        let http = |source| FetchError::Http { host: host(), source };
        let mut builder = http1::Builder::new();
        builder.max_header_size(HEAD_BYTES).max_headers(HEAD_FIELDS);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
        // The connection's task ends with the fetch.
        let mut task = JoinSet::new();
        task.spawn(connection);
        let mut request = Request::get(url.target())
            .header(header::HOST, url.authority())
            .header(header::ACCEPT, "application/json, application/jwt, */*;q=0.1")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(http::Error::from)?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = sender.send_request(request).await.map_err(http)?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect { host: host(), status }),
            status => return Err(FetchError::Status { host: host(), status }),
        }
        match Limited::new(answer.into_body(), MAX_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge { host: host() }),
            Err(_) => Err(FetchError::Cut { host: host() }),
        }
    }

    /// To the server, or through a proxy's tunnel.
    async fn dial(&self, url: &HttpsUrl) -> Result<TcpStream, FetchError> {
        let connect = async |host: &str, port| {
            let stream = TcpStream::connect((host, port)).await;
            stream.map_err(|source| FetchError::Connect { host: host.to_owned(), source })
        };
        let Some((variable, proxy)) = self.environment.proxy_for(true, url.host(), url.port()) else {
            return connect(url.host(), url.port()).await;
        };
        let proxy: HttpProxy = proxy.parse().map_err(|source| FetchError::Proxy { variable, source })?;
        let opened = tunnel(connect(&proxy.host, proxy.port).await?, url.host(), url.port(), &proxy).await;
        opened.map_err(|source| FetchError::Tunnel { proxy: proxy.to_string(), host: url.host().to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use settings::Reloadable;
    use testkit::{
        certs::{Authority, Subject},
        upstream::{Reply, Upstream},
        wait::{in_time, wait_until},
    };

    use super::*;

    struct World {
        folder: tempfile::TempDir,
        roots: Arc<Watched<UpstreamRoots>>,
        authority: Authority,
    }

    impl World {
        fn new() -> Self {
            let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new("issuers"));
            let path = folder.path().join("ca.pem");
            fs::write(&path, authority.pem()).expect("written");
            let roots = UpstreamRoots::open("--oidc-ca-file", path).expect("roots");
            Self { folder, roots, authority }
        }

        fn fetcher(&self) -> Fetcher {
            let fetcher = Fetcher::new(Some(Arc::clone(&self.roots))).expect("a fetcher");
            Fetcher { deadline: Duration::from_secs(2), ..fetcher }
        }

        async fn server(&self, reply: Reply) -> Upstream {
            Upstream::start_tls(&self.authority.server(), move |_| reply.clone()).await
        }
    }

    fn at(server: &Upstream, path: &str) -> HttpsUrl {
        format!("{}{path}", server.url()).parse().expect("a URL")
    }

    #[tokio::test]
    async fn a_document_comes_whole_over_a_connection_of_its_own() {
        let world = World::new();
        let (fetcher, server) = (world.fetcher(), world.server(Reply::chunked(&[], &["{", "}"], &[])).await);
        for _ in 0..2 {
            assert_eq!(in_time("the document", fetcher.get(&at(&server, "/a?b"), None)).await.expect("a document"), "{}");
        }
        let received = server.last_request();
        assert_eq!((received.method(), received.target(), received.connection), ("GET", "/a?b", 2));
        assert_eq!(received.header("host"), Some(format!("localhost:{}", server.address().port()).as_str()));
        assert_eq!(received.header("authorization"), None);
        in_time("the document", fetcher.get(&at(&server, "/"), Some("secret"))).await.expect("a document");
        assert_eq!(server.last_request().header("authorization"), Some("Bearer secret"));
        let error = fetcher.get(&at(&server, "/"), Some("secret\n")).await.expect_err("no header").to_string();
        assert!(error.contains("cannot be written") && !error.contains("secret"), "{error}");
        wait_until("the end of the connections", || server.open_connections() == 0).await;
    }

    #[tokio::test]
    async fn what_is_no_document_is_an_error_in_time() {
        let world = World::new();
        let other = world.server(Reply::ok("elsewhere")).await;
        let location = other.url();
        for (reply, expected) in [
            (Reply::new(302, &[("Location", &location)], ""), "status 302"),
            (Reply::new(307, &[("Location", &location)], ""), "status 307"),
            (Reply::new(204, &[], ""), "status 204"),
            (Reply::new(500, &[], "{}"), "status 500"),
            (Reply::head(200, &[("Content-Length", "1048577")]).endless("x".repeat(4096)), "sent more than 1048576 bytes"),
            (Reply::head(200, &[("Connection", "close")]).endless("x".repeat(4096)), "sent more than 1048576 bytes"),
            (Reply::head(200, &[("Content-Length", "9")]).send("abc").then_close(), "ended too early"),
            (Reply::raw("SSH-2.0-x\r\n").then_close(), "HTTP with localhost failed"),
            (Reply::default().then_reset(), "HTTP with localhost failed"),
            (Reply::hang(), "did not answer in 2 s"),
            (Reply::head(200, &[("Content-Length", "9")]).then_hang(), "did not answer in 2 s"),
        ] {
            let server = world.server(reply.clone()).await;
            let error = in_time("the error", world.fetcher().get(&at(&server, "/"), None)).await.expect_err("no document").to_string();
            assert!(error.contains(expected), "{reply:?}: {error}");
            wait_until("the end of the connection", || server.open_connections() == 0).await;
        }
        assert_eq!(other.count(), 0, "no redirect is followed");
    }

    #[tokio::test]
    async fn a_proxy_of_the_environment_opens_a_tunnel_and_reads_nothing() {
        let world = World::new();
        let pair = world.authority.issue(&Subject::server(&["issuer.test"]));
        let server = Upstream::start_tls(&pair, |_| Reply::ok("{}")).await;
        let url: HttpsUrl = format!("https://issuer.test:{}/keys", server.address().port()).parse().expect("a URL");
        let through = |proxy: &str| {
            let environment = ProxyEnvironment::read(|name| (name == "HTTPS_PROXY").then(|| proxy.to_owned()));
            world.fetcher().through(environment)
        };
        let proxy = Upstream::start_tunnels(server.address()).await;
        let fetcher = through(&proxy.url().replace("//", "//u:p@"));
        assert_eq!(in_time("the document", fetcher.get(&url, Some("hush"))).await.expect("a document"), "{}");
        let asked = proxy.only_request();
        assert_eq!((asked.method(), asked.target()), ("CONNECT", format!("issuer.test:{}", server.address().port()).as_str()));
        assert_eq!((asked.header("proxy-authorization"), asked.header("authorization")), (Some("Basic dTpw"), None));
        assert_eq!((server.only_request().target(), server.only_request().header("proxy-authorization")), ("/keys", None));

        let refuses = Upstream::start(|_| Reply::new(403, &[], "")).await;
        for (proxy, why) in [
            (refuses.url(), "opens no tunnel to issuer.test: it answers 403 Forbidden"),
            ("socks5://hush@proxy".to_owned(), "HTTPS_PROXY: only proxies of the scheme http are supported"),
        ] {
            let error = in_time("an error", through(&proxy).get(&url, None)).await.expect_err("no document").to_string();
            assert!(error.contains(why) && !error.contains("hush"), "{error}");
        }
        assert_eq!(server.count(), 1);
    }

    #[tokio::test]
    async fn only_a_server_that_todays_authorities_vouch_for_is_asked() {
        let world = World::new();
        let (fetcher, server) = (world.fetcher(), world.server(Reply::ok("{}")).await);
        assert!(fetcher.get(&at(&server, "/"), None).await.is_ok());
        fs::write(world.folder.path().join("ca.pem"), Authority::new("others").pem()).expect("written");
        world.roots.reload();
        let error = fetcher.get(&at(&server, "/"), None).await.expect_err("refused").to_string();
        assert!(error.contains("TLS with localhost failed"), "{error}");
        let by_address: HttpsUrl = format!("https://127.0.0.2:{}/", server.address().port()).parse().expect("a URL");
        assert!(world.fetcher().get(&by_address, None).await.is_err());
        assert!(Fetcher::new(None).expect("a fetcher").get(&at(&server, "/"), None).await.is_err(), "the system does not know it");
        assert_eq!(server.count(), 1);
    }
}
