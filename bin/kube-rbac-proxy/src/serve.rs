use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use auth::RequestGate;
use futures_util::future::join_all;
use go_compat::{ListenAddress, ListenHost};
use observe::Metrics;
use proxy::{Drain, DrainTrigger, Endpoints, Listener, Road, Server, ServerTls, server_config};

use crate::{
    files::Files,
    settings::{Settings, TlsSettings},
};

const ENDPOINTS: &str = "endpoints";
/// For a probe that is being answered when everything else has ended.
const LAST_PROBE: Duration = Duration::from_secs(1);

/// What answers requests.
pub(crate) struct Handlers {
    pub(crate) road: Arc<Road<RequestGate>>,
    pub(crate) endpoints: Arc<Endpoints<RequestGate>>,
}

/// Sockets that are bound, and what serves on them.
pub(crate) struct Serving {
    server: Server,
    road: Vec<Listener>,
    endpoints: Vec<Listener>,
}

/// Binds every listener, or none.
pub(crate) async fn bind(settings: &Settings, files: &Files, drain: Drain, metrics: &Arc<Metrics>) -> Result<Serving, Vec<String>> {
    let listeners = &settings.listeners;
    let TlsSettings { suites, versions, groups } = &settings.tls;
    let config = server_config(Arc::clone(&files.serving), suites.clone(), versions, groups.clone(), settings.http2.is_some());
    let config = config
        .map_err(|why| vec![format!("--tls-cipher-suites, --tls-min-version, --tls-curve-preferences: they do not fit together: {why}")])?;
    let tls = ServerTls::new(config);
    let mut errors = Vec::new();
    let mut bound = Vec::new();
    for (flag, name, address, tls) in [
        ("--secure-listen-address", "secure", &listeners.secure, Some(&tls)),
        ("--insecure-listen-address", "insecure", &listeners.insecure, None),
        ("--proxy-endpoints-port", ENDPOINTS, &listeners.endpoints, Some(&tls)),
    ] {
        let Some(address) = address else { continue };
        match listen(address).await {
            Ok(socket) => bound.push(Listener { name, socket, tls: tls.cloned() }),
            Err(why) => errors.push(format!("{flag}: {address} cannot be listened on: {why}")),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let (endpoints, road) = bound.into_iter().partition(|listener| listener.name == ENDPOINTS);
    Ok(Serving { server: Server { limits: settings.limits, http2: settings.http2, metrics: Arc::clone(metrics), drain }, road, endpoints })
}

impl Serving {
    /// Serves until the drain has ended on every listener.
    pub(crate) async fn run(self, handlers: Handlers) {
        for listener in self.road.iter().chain(&self.endpoints) {
            if let Ok(address) = listener.socket.local_addr() {
                tracing::info!(listener = listener.name, %address, "Listening");
            }
        }
        let Self { server, road, endpoints } = self;
        // Probes are answered to the end: whoever sends requests here learns from them that it is coming.
        let (ending, drain) = DrainTrigger::new();
        let probes = Server { drain, ..server.clone() };
        let road = road.into_iter().map(|listener| server.clone().serve(listener, Arc::clone(&handlers.road)));
        let endpoints = endpoints.into_iter().map(|listener| probes.clone().serve(listener, Arc::clone(&handlers.endpoints)));
        let road = async {
            join_all(road).await;
            ending.begin(LAST_PROBE);
        };
        tokio::join!(road, join_all(endpoints));
    }
}

async fn listen(address: &ListenAddress) -> std::io::Result<tokio::net::TcpListener> {
    let address = match address.host() {
        ListenHost::All => SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())),
        ListenHost::Ip(ip) => SocketAddr::from((IpAddr::clone(ip), address.port())),
        ListenHost::Name(name) => proxy::resolve(name, address.port()).await?,
    };
    proxy::bind(address)
}
