use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    client::{ResolvesClientCert, danger::HandshakeSignatureValid},
    crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use settings::{ServingPair, Watched};

/// What a TLS listener needs.
pub type ServerTls = Arc<ServerConfig>;

/// The server side: today's pair, the client's certificate asked for and never required.
///
/// # Errors
///
/// The suites and versions do not fit together.
pub fn server_config(
    pair: Arc<Watched<ServingPair>>,
    suites: Vec<SupportedCipherSuite>,
    versions: &[&'static SupportedProtocolVersion],
    groups: Vec<&'static dyn SupportedKxGroup>,
    http2: bool,
) -> Result<ServerTls, rustls::Error> {
    let provider = Arc::new(CryptoProvider { cipher_suites: suites, kx_groups: groups, ..aws_lc_rs::default_provider() });
    let verifier = Arc::new(PossessionVerifier(provider.signature_verification_algorithms));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(TodaysPair(Some(pair))));
    config.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    // Tickets cost no memory here; what they carry is verified anew at each request.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Shows clients, or the upstream, whatever pair is the last good one when a handshake begins, or none.
#[derive(Debug)]
pub(crate) struct TodaysPair(pub(crate) Option<Arc<Watched<ServingPair>>>);

impl ResolvesServerCert for TodaysPair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.as_ref().map(|pair| Arc::clone(&pair.current().certified))
    }
}

impl ResolvesClientCert for TodaysPair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.as_ref().map(|pair| Arc::clone(&pair.current().certified))
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Shows clients the pair of the name that they ask for, as kube-apiserver does: a name before its wildcard, a pair with names of
/// its own before one that has its certificate's, the first of several; the usual pair where there is none.
#[derive(Debug)]
pub struct PairsByName {
    /// For all others.
    pub usual: Arc<Watched<ServingPair>>,
    /// Each with its names, in small letters; without some, its certificate's count.
    pub named: Vec<(Vec<String>, Arc<Watched<ServingPair>>)>,
}

impl ResolvesServerCert for PairsByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let wildcard = name.split_once('.').map_or("*".to_owned(), |(_, domain)| format!("*.{domain}"));
        let find = |name: &String| {
            let by_certificate =
                |(names, pair): &&(Vec<String>, Arc<Watched<ServingPair>>)| names.is_empty() && pair.current().has_name(name);
            self.named.iter().find(|(names, _)| names.contains(name)).or_else(|| self.named.iter().find(by_certificate))
        };
        let pair = find(&name).or_else(|| find(&wildcard)).map_or(&self.usual, |(_, pair)| pair);
        Some(Arc::clone(&pair.current().certified))
    }
}

/// Checks that a client has the key of the certificate it presents, and nothing else: whether the certificate means
/// anything is decided at each request, against the CA of that moment. Go calls this RequestClientCert.
#[derive(Debug)]
struct PossessionVerifier(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
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
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
