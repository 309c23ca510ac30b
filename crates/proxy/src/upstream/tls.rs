use std::sync::Arc;

use rustls::{ClientConfig, client::Resumption};
use settings::{ServingPair, UpstreamRoots, Watched, tls_client};

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
    let builder = tls_client(roots)?;
    Ok(match pair {
        Some(pair) => {
            let mut config = builder.with_client_cert_resolver(Arc::new(TodaysPair(Some(pair))));
            // A resumed session would still be that of the certificate before.
            config.resumption = Resumption::disabled();
            config
        }
        None => builder.with_no_client_auth(),
    })
}

/// The same without a certificate; `None`: it has none.
pub(super) fn without_certificate(config: &ClientConfig) -> Option<ClientConfig> {
    let mut config = Some(config.clone()).filter(|config| config.client_auth_cert_resolver.has_certs())?;
    config.client_auth_cert_resolver = Arc::new(TodaysPair(None));
    // With sessions of its own.
    config.resumption = Resumption::default();
    Some(config)
}
