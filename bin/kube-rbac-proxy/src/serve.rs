use std::sync::Arc;

use observe::Metrics;
use proxy::{Drain, Listener, Places, Server, Serving, listen_on, server_config};

use crate::{
    files::Files,
    settings::{Settings, TlsSettings},
};

const ENDPOINTS: &str = "endpoints";

/// Binds every listener, or none.
pub(crate) async fn bind(settings: &Settings, files: &Files, drain: Drain, metrics: &Arc<Metrics>) -> Result<Serving, Vec<String>> {
    let listeners = &settings.listeners;
    let TlsSettings { suites, versions, groups } = &settings.tls;
    let tls = server_config(Arc::clone(&files.serving), suites.clone(), versions, groups.clone(), settings.http2.is_some());
    let tls = tls
        .map_err(|why| vec![format!("--tls-cipher-suites, --tls-min-version, --tls-curve-preferences: they do not fit together: {why}")])?;
    let mut errors = Vec::new();
    let mut bound = Vec::new();
    for (flag, name, address, tls) in [
        ("--secure-listen-address", "secure", &listeners.secure, Some(&tls)),
        ("--insecure-listen-address", "insecure", &listeners.insecure, None),
        ("--proxy-endpoints-port", ENDPOINTS, &listeners.endpoints, Some(&tls)),
    ] {
        let Some(address) = address else { continue };
        match listen_on(address).await {
            Ok(socket) => bound.push(Listener { name, socket, tls: tls.cloned() }),
            Err(why) => errors.push(format!("{flag}: {address} cannot be listened on: {why}")),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let (endpoints, road) = bound.into_iter().partition(|listener| listener.name == ENDPOINTS);
    let places = Places::new(settings.max_connections);
    let server = Server { limits: settings.limits, http2: settings.http2, metrics: Arc::clone(metrics), drain, places };
    Ok(Serving { server, road, endpoints })
}
