use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::{activity::InFlight, lock};

/// What a connection becomes once the upstream has switched protocols: bytes in both directions, and no more requests.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
    /// Its connection is not one that waits for a request.
    _in_flight: InFlight,
}

/// Where a request leaves the tunnel for its connection, which runs it when HTTP is over. Empty on most connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<Mutex<Option<Tunnel>>>);

impl Switch {
    pub(crate) fn put(&self, tunnel: Tunnel) {
        *lock(&self.0) = Some(tunnel);
    }

    pub(crate) fn take(&self) -> Option<Tunnel> {
        lock(&self.0).take()
    }
}

impl Tunnel {
    pub(crate) fn new(client: OnUpgrade, upstream: OnUpgrade, in_flight: InFlight) -> Self {
        Self { client, upstream, _in_flight: in_flight }
    }

    /// Carries bytes until both ends have ended or one breaks. An end that only stops sending is told to the other. There is
    /// no limit on silence: nobody but the two knows how long theirs may be.
    pub(crate) async fn run(self, peer: SocketAddr) {
        let (client, upstream) = match tokio::try_join!(self.client, self.upstream) {
            Ok(ends) => ends,
            Err(error) => return tracing::debug!(%peer, %error, "A tunnel's end was gone before it began"),
        };
        let (mut client, mut upstream) = (TokioIo::<Upgraded>::new(client), TokioIo::<Upgraded>::new(upstream));
        match copy_bidirectional(&mut client, &mut upstream).await {
            Ok((sent, received)) => tracing::debug!(%peer, sent, received, "A tunnel ended"),
            Err(error) => tracing::debug!(%peer, %error, "A tunnel broke"),
        }
    }
}
