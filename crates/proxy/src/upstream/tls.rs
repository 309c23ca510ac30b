use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use settings::{ServingPair, UpstreamRoots, Watched};

/// The client side of TLS with the upstream, which must be vouched for by `roots`, as they are at each handshake, or by
/// the system's authorities. An upstream that asks for a certificate is shown that of `pair`, as it is at each handshake.
///
/// # Errors
///
/// The cryptographic library does not fit.
pub fn client_config(
    roots: Option<Arc<Watched<UpstreamRoots>>>,
    pair: Option<Arc<Watched<ServingPair>>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match roots {
        Some(roots) => builder.dangerous().with_custom_certificate_verifier(Arc::new(TodaysRoots { roots, provider })),
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match pair {
        Some(pair) => {
            let mut config = builder.with_client_cert_resolver(Arc::new(TodaysPair(pair)));
            // A resumed session would still be that of the certificate before.
            config.resumption = Resumption::disabled();
            config
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Shows whatever pair is the last good one when a handshake begins.
#[derive(Debug)]
struct TodaysPair(Arc<Watched<ServingPair>>);

impl ResolvesClientCert for TodaysPair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes whom the file of this moment vouches for, and as in Go a certificate that is itself in the file.
#[derive(Debug)]
struct TodaysRoots {
    roots: Arc<Watched<UpstreamRoots>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TodaysRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let roots = self.roots.current();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if roots.holds(end_entity, seconds) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let store = Arc::new(roots.root_store(seconds));
        let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&self.provider)).build();
        // There is none without a root.
        let verifier = verifier.map_err(|_| CertificateError::UnknownIssuer)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
