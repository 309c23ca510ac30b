use std::sync::Arc;

use auth::{GateSettings, IdentityHeaders, OidcSettings, RequestGate};
use kube_api::{Api, environment};
use observe::Metrics;
use outbound::Fetcher;

use crate::{
    files::DecidingFiles,
    settings::{Deciding, Method, Mode, Oidc, Sources},
};

/// The API server, where somebody needs to ask it. `None`: it is needed and cannot be reached, and why is among `errors`.
pub(crate) async fn connect(sources: &Sources, errors: &mut Vec<String>) -> Option<Option<Arc<Api>>> {
    match sources.api.clone() {
        Some(api) => Api::connect(api).await.map(|api| Some(Arc::new(api))).map_err(|why| errors.push(why.to_string())).ok(),
        None => Some(None),
    }
}

/// Puts the gate together.
pub(crate) fn open(
    deciding: &Deciding,
    files: &DecidingFiles,
    api: Option<&Arc<Api>>,
    identity: Option<IdentityHeaders>,
    metrics: &Arc<Metrics>,
) -> Result<RequestGate, String> {
    let fetcher = deciding.oidc.as_ref().map(|_| Fetcher::new(files.oidc_roots.clone())).transpose();
    let fetcher = fetcher.map_err(|why| format!("--oidc-issuer: TLS cannot be prepared: {why}"))?;
    let fetcher = fetcher.map(|fetcher| fetcher.through(environment()));
    // What is named was opened: a name without its file is an error before this.
    let method = |method: &Method| match method {
        Method::X509 => files.client_ca.clone().map(auth::Method::X509),
        Method::TokenReview => {
            let (audiences, ttl) = (deciding.audiences.clone(), deciding.token_ttl);
            api.cloned().map(|api| auth::Method::TokenReview { api, audiences, ttl })
        }
        Method::TokenFile => files.tokens.clone().map(auth::Method::TokenFile),
        Method::Oidc => deciding.oidc.clone().zip(fetcher.clone()).map(|(oidc, fetcher)| {
            let Oidc { rules, system_authenticated } = oidc;
            auth::Method::Oidc(Box::new(OidcSettings { rules, fetcher, ttl: deciding.token_ttl, system_authenticated }))
        }),
    };
    let mode = |mode: &Mode| match mode {
        Mode::Webhook => api.cloned().map(|api| auth::Mode::Webhook { api, allow_ttl: deciding.allow_ttl, deny_ttl: deciding.deny_ttl }),
        Mode::Rbac => files.policy.clone().map(auth::Mode::Rbac),
    };
    RequestGate::new(GateSettings {
        methods: deciding.deciders.methods.iter().filter_map(method).collect(),
        modes: deciding.deciders.modes.iter().filter_map(mode).collect(),
        paths: deciding.paths.clone(),
        odd_paths: deciding.odd_paths,
        config: Arc::clone(&files.config),
        identity,
        compat_api_errors: deciding.compat_api_errors,
        metrics: Arc::clone(metrics),
    })
    .map_err(|why| why.to_string())
}
