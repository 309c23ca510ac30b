use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder,
    client::{Resumption, WantsClientCert},
};
use settings::{ServingPair, Watched};

use crate::tls::TodaysPair;

/// The client side of TLS with the upstream. One that asks for a certificate is shown that of `pair`, as it is at each handshake.
pub fn client_config(builder: ConfigBuilder<ClientConfig, WantsClientCert>, pair: Option<Arc<Watched<ServingPair>>>) -> ClientConfig {
    match pair {
        Some(pair) => {
            let mut config = builder.with_client_cert_resolver(Arc::new(TodaysPair(Some(pair))));
            // A resumed session would still be that of the certificate before.
            config.resumption = Resumption::disabled();
            config
        }
        None => builder.with_no_client_auth(),
    }
}

/// The same without a certificate; `None`: it has none.
pub(super) fn without_certificate(config: &ClientConfig) -> Option<ClientConfig> {
    let mut config = Some(config.clone()).filter(|config| config.client_auth_cert_resolver.has_certs())?;
    config.client_auth_cert_resolver = Arc::new(TodaysPair(None));
    // With sessions of its own.
    config.resumption = Resumption::default();
    Some(config)
}
