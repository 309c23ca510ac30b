use std::{io, sync::Arc};

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, HandshakeKind, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    certs::{Authority, Pair},
    wire::{Stream, Wire},
};

/// How a client speaks TLS. Clones share one session store, so that a second connection can resume.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol's name; `None` without one.
    pub alpn: Option<String>,
    /// Whether it is TLS 1.3; 1.2 otherwise.
    pub tls13: bool,
    /// The cipher suite.
    pub suite: CipherSuite,
    /// Whether a former session was resumed.
    pub resumed: bool,
    /// What the server presented, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Default for Tls {
    fn default() -> Self {
        Self::new(&[&TLS13, &TLS12], None, None)
    }
}

impl Tls {
    /// Accepts any server, presents no certificate, offers no ALPN, speaks TLS 1.2 and 1.3.
    pub fn new(versions: &[&'static SupportedProtocolVersion], suites: Option<&[SupportedCipherSuite]>, identity: Option<&Pair>) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(suites) = suites {
            provider.cipher_suites = suites.to_vec();
        }
        Self::with(provider, versions, identity)
    }

    fn with(provider: CryptoProvider, versions: &[&'static SupportedProtocolVersion], identity: Option<&Pair>) -> Self {
        let provider = Arc::new(provider);
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).expect("versions and suites fit");
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(Arc::clone(&provider))));
        let config = match identity {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key(pair, &provider)))),
            None => builder.with_no_client_auth(),
        };
        Self { config: Arc::new(config), name: ServerName::try_from("localhost").expect("a name") }
    }

    /// The default with a client certificate. Its key need not fit.
    pub fn presenting(pair: &Pair) -> Self {
        Self::new(&[&TLS13, &TLS12], None, Some(pair))
    }

    /// Accepts only servers called `localhost` that the authority vouches for.
    #[must_use]
    pub fn trusting(self, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(authority.as_bytes()).collect::<Result<Vec<_>, _>>().expect("PEM");
        assert_ne!(roots.add_parsable_certificates(certificates), (0, 0), "no certificate to trust");
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()))
                .build()
                .expect("a verifier");
        self.change(|config| config.dangerous().set_certificate_verifier(verifier))
    }

    /// The default with one key exchange alone.
    pub fn exchanging(group: &'static dyn SupportedKxGroup) -> Self {
        let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
        Self::with(provider, &[&TLS13, &TLS12], None)
    }

    /// Offers these protocols.
    #[must_use]
    pub fn alpn(self, protocols: &[&str]) -> Self {
        self.change(|config| config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect())
    }

    /// Asks for a server of another name than `localhost`; an address is asked for by none.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: ServerName::try_from(name.to_owned()).expect("a name"), ..self }
    }

    /// Never resumes a session.
    #[must_use]
    pub fn without_resumption(self) -> Self {
        self.change(|config| config.resumption = Resumption::disabled())
    }

    fn change(self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        Self { config: Arc::new(config), ..self }
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    ///
    /// Those of TCP and TLS. A TLS 1.3 server refuses a client's certificate after this: the first read fails.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<Wire> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let tls = TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), tcp).await?;
        Ok(Wire::new(tokio_rustls::TlsStream::Client(tls)))
    }
}

impl Agreed {
    /// What a connection's handshake agreed on.
    pub fn on(stream: &Stream) -> Self {
        let (_, session) = stream.tls().expect("TLS").get_ref();
        Self {
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            tls13: session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3),
            suite: session.negotiated_cipher_suite().expect("the handshake is over").suite(),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            chain: session.peer_certificates().unwrap_or_default().to_vec(),
        }
    }
}

/// A server's side: the pair, HTTP/1.1 only, any client certificate or none.
pub(crate) fn acceptor(pair: &Pair, protocols: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the defaults fit")
        .with_client_cert_verifier(Arc::new(Anything(provider)))
        .with_single_cert(pair.certificates(), pair.private_key())
        .expect("chain and key fit");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Does not check that the key is the certificate's.
fn certified_key(pair: &Pair, provider: &CryptoProvider) -> CertifiedKey {
    let key = provider.key_provider.load_private_key(pair.private_key()).expect("a key");
    CertifiedKey::new(pair.certificates(), key)
}

/// Accepts whoever has the key of what he presents.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl Anything {
    fn verify(
        &self,
        tls13: bool,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        if tls13 {
            rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
        } else {
            rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
        }
    }
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(false, message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(true, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Anything {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(false, message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(true, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Authority {
    /// A client's TLS that trusts only this authority's servers.
    pub fn tls(&self) -> Tls {
        Tls::default().trusting(self.pem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        certs::fixtures,
        client::{Client, Request, Version},
        upstream::{Reply, Upstream},
    };

    #[tokio::test]
    async fn a_client_certificate_arrives_only_with_its_key() {
        let authority = Authority::new("root");
        let server = authority.intermediate("between").server();
        let upstream = Upstream::start_tls(&server, |_| Reply::ok("")).await;
        let (alice, bob) = (authority.client("alice", &["a", "b"]), authority.client("bob", &[]));
        let mut client = Client::connect(Version::H1, upstream.address(), &Tls::presenting(&alice).trusting(authority.pem())).await;
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
        assert_eq!(upstream.only_request().certificate.as_deref(), Some(alice.certificates()[0].as_ref()));
        let thief = Tls::presenting(&alice.with_key_of(&bob));
        if let Ok(mut client) = Client::try_connect(Version::H1, upstream.address(), &thief).await {
            client.try_send(&Request::get("/")).await.expect_err("the signature is wrong");
        }
        assert_eq!(upstream.count(), 1);
    }

    #[tokio::test]
    async fn a_client_that_trusts_another_authority_does_not_connect() {
        let upstream = Upstream::start_tls(&Authority::new("right").server(), |_| Reply::ok("")).await;
        Client::try_connect(Version::H1, upstream.address(), &Authority::new("wrong").tls()).await.expect_err("not trusted");
    }

    #[tokio::test]
    async fn clones_resume_and_the_others_do_not() {
        let upstream = Upstream::start_tls(&Authority::new("root").server(), |_| Reply::ok("")).await;
        let tls = Tls::default().alpn(&["http/1.1"]);
        for (tls, resumed) in [(tls.clone(), [false, true]), (tls.without_resumption(), [false, false])] {
            for expected in resumed {
                let mut client = Client::connect(Version::H1, upstream.address(), &tls).await;
                client.send(&Request::get("/")).await;
                assert_eq!(client.agreed().resumed, expected);
            }
        }
    }

    #[tokio::test]
    async fn the_fixtures_fit_together() {
        for (chain, key) in [
            (fixtures::RSA_CERT, fixtures::RSA_PKCS1),
            (fixtures::RSA_CERT, fixtures::RSA_PKCS8),
            (fixtures::EC_CERT, fixtures::EC_SEC1),
            (fixtures::EC_CERT, fixtures::EC_PKCS8),
        ] {
            let upstream = Upstream::start_tls(&Pair::from_pem(chain, key), |_| Reply::ok("")).await;
            Client::connect(Version::H1, upstream.address(), &Tls::default().trusting(chain)).await;
        }
    }
}
