use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder,
    client::{Resumption, WantsClientCert},
};
use settings::{ServingPair, Watched};

use crate::tls::TodaysPair;

/// The client side of TLS with the upstream. One that asks for a certificate is shown that of `pair`, as it is at each handshake.
pub fn client_config(builder: ConfigBuilder<ClientConfig, WantsClientCert>, pair: Option<Arc<Watched<ServingPair>>>) -> ClientConfig {
    let mut config = match pair {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(TodaysPair(Some(pair)))),
        None => builder.with_no_client_auth(),
    };
    // As in Go. A resumed session would be that of the certificate before, or with a server in whose authority is believed no more.
    config.resumption = Resumption::disabled();
    config
}

/// The same without a certificate; `None`: it has none.
pub(super) fn without_certificate(config: &ClientConfig) -> Option<ClientConfig> {
    let mut config = Some(config.clone()).filter(|config| config.client_auth_cert_resolver.has_certs())?;
    config.client_auth_cert_resolver = Arc::new(TodaysPair(None));
    Some(config)
}
