use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{UpstreamRoots, Watched};

/// Who vouches for servers.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The system's authorities.
    System,
    /// These, as they are at each handshake.
    Roots(Arc<Watched<UpstreamRoots>>),
    /// Nobody needs to: whoever stands between reads and writes what is said.
    Anyone,
}

/// The client side of TLS with servers that are trusted so; without its own certificate, and as in Go without sessions: one would be
/// that of the certificate before, or with a server in whose authority is believed no more.
///
/// # Errors
///
/// The cryptographic library does not fit.
pub fn tls_client(trust: impl Into<Trust>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let todays = |roots| Arc::new(TodaysRoots { roots, provider });
    let builder = match trust.into() {
        Trust::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots)
        }
        Trust::Roots(roots) => builder.dangerous().with_custom_certificate_verifier(todays(Some(roots))),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(todays(None)),
    };
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl Trust {
    /// The authorities, if they are those of a file.
    pub fn roots(&self) -> Option<&Arc<Watched<UpstreamRoots>>> {
        match self {
            Self::Roots(roots) => Some(roots),
            Self::System | Self::Anyone => None,
        }
    }
}

/// `None`: no file is named, and the system's authorities vouch.
impl From<Option<Arc<Watched<UpstreamRoots>>>> for Trust {
    fn from(roots: Option<Arc<Watched<UpstreamRoots>>>) -> Self {
        roots.map_or(Self::System, Self::Roots)
    }
}

/// Believes whom the file of this moment vouches for, and as in Go a certificate that is itself in the file.
#[derive(Debug)]
struct TodaysRoots {
    /// `None`: whoever has the key of the certificate is believed.
    roots: Option<Arc<Watched<UpstreamRoots>>>,
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
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let roots = roots.current();
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

    fn verify_tls12_signature(&self, message: &[u8], certificate: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signature {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(&self, message: &[u8], certificate: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signature {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

type Signature = Result<HandshakeSignatureValid, rustls::Error>;
