use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs};
use settings::{ServingPair, TodaysRoots, UpstreamRoots, Watched};

use crate::tls::TodaysPair;

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
        Some(roots) => builder.dangerous().with_custom_certificate_verifier(TodaysRoots::new(roots, provider)),
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots)
        }
    };
    Ok(match pair {
        Some(pair) => {
            let mut config = builder.with_client_cert_resolver(Arc::new(TodaysPair(pair)));
            // A resumed session would still be that of the certificate before.
            config.resumption = Resumption::disabled();
            config
        }
        None => builder.with_no_client_auth(),
    })
}
