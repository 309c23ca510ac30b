use std::sync::Arc;

use rustls::ClientConfig;
use settings::{ServingPair, Watched};

use crate::tls::TodaysPair;

/// The client side of TLS with the upstream. One that asks for a certificate is shown that of `pair`, as it is at each handshake.
pub fn client_config(mut config: ClientConfig, pair: Option<Arc<Watched<ServingPair>>>) -> ClientConfig {
    config.client_auth_cert_resolver = Arc::new(TodaysPair(pair));
    config
}

/// The same without a certificate; `None`: it has none.
pub(super) fn without_certificate(config: &ClientConfig) -> Option<ClientConfig> {
    config.client_auth_cert_resolver.has_certs().then(|| client_config(config.clone(), None))
}
