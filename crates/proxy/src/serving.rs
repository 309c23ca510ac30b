use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use go_compat::{ListenAddress, ListenHost};
use tokio::net::TcpListener;

use crate::{DrainTrigger, Handler, Listener, Places, Server, listen};

/// Connections to the endpoints, which nobody else can take away.
const PROBES: usize = 100;
/// For a probe that is being answered when everything else has ended.
const LAST_PROBE: Duration = Duration::from_secs(1);

/// Sockets that are bound, and what serves on them.
#[derive(Debug)]
pub struct Serving {
    /// Serves on all of them.
    pub server: Server,
    /// Where requests come in.
    pub road: Vec<Listener>,
    /// Where the program tells of itself.
    pub endpoints: Vec<Listener>,
}

impl Serving {
    /// Serves until the drain has ended on every listener.
    pub async fn run<R: Handler, E: Handler>(self, road_handler: Arc<R>, endpoints_handler: Arc<E>) {
        for listener in self.road.iter().chain(&self.endpoints) {
            if let Ok(address) = listener.socket.local_addr() {
                tracing::info!(listener = listener.name, %address, "Listening");
            }
        }
        let Self { server, road, endpoints } = self;
        // Probes are answered to the end: whoever sends requests here learns from them that it is coming.
        let (ending, drain) = DrainTrigger::new();
        let probes = Server { drain, places: Places::new(PROBES), ..server.clone() };
        let road = road.into_iter().map(|listener| server.clone().serve(listener, Arc::clone(&road_handler)));
        let endpoints = endpoints.into_iter().map(|listener| probes.clone().serve(listener, Arc::clone(&endpoints_handler)));
        let road = async {
            join_all(road).await;
            ending.begin(LAST_PROBE);
        };
        tokio::join!(road, join_all(endpoints));
    }
}

/// Binds a socket to an address as Go writes it.
///
/// # Errors
///
/// The host has no address, or it cannot be bound.
pub async fn listen_on(address: &ListenAddress) -> std::io::Result<TcpListener> {
    let address = match address.host() {
        ListenHost::All => SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())),
        ListenHost::Ip(ip) => SocketAddr::from((IpAddr::clone(ip), address.port())),
        ListenHost::Name(name) => listen::resolve(name, address.port()).await?,
    };
    listen::bind(address)
}
