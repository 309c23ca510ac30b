use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use observe::Metrics;
use request::Peer;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{Body, Drain, ServerTls, connection, interim::Interim};

/// Answers one request.
pub trait Handler: Send + Sync + 'static {
    /// Every outcome is a response. Dropping the future abandons the request: its client is gone.
    fn handle(&self, request: Request<Incoming>, client: Client) -> impl Future<Output = Response<Body>> + Send;
}

/// Whose request it is, and the way to him ahead of the response.
#[derive(Clone, Debug)]
pub struct Client {
    /// The far end of the connection.
    pub peer: Peer,
    /// `None` where informational responses have no way: HTTP/1.0 and HTTP/2.
    pub(crate) interim: Option<Interim>,
}

/// What all listeners of the program share.
#[derive(Clone, Debug)]
pub struct Server {
    /// What a client may cost.
    pub limits: Limits,
    /// HTTP/2's own settings; `None`: it is not spoken.
    pub http2: Option<Http2>,
    /// Counts connections.
    pub metrics: Arc<Metrics>,
    /// Ends them.
    pub drain: Drain,
}

/// What a client may cost before a request of his is decided.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from the first byte of a head to its last; on a new connection, from its beginning.
    pub head: Duration,
    /// Time between two requests.
    pub idle: Duration,
}

/// HTTP/2's own settings.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// Streams open at a time on a connection.
    pub max_concurrent_streams: u32,
    /// Bytes of a frame, and of what a stream buffers.
    pub max_size: u32,
}

/// A bound socket and what is spoken on it.
#[derive(Debug)]
pub struct Listener {
    /// `secure`, `insecure` or `endpoints`: a metric label, and a word of the log.
    pub name: &'static str,
    /// Accepts.
    pub socket: TcpListener,
    /// `None`: in cleartext.
    pub tls: Option<ServerTls>,
}

impl Server {
    /// Accepts and serves until the drain is over or every connection has ended after it began.
    pub async fn serve<H: Handler>(self, listener: Listener, handler: Arc<H>) {
        let Listener { name, socket, tls } = listener;
        let mut drain = self.drain.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.begun() => break,
                accepted = accept(&socket) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (stream, address) = accepted;
            let open = self.metrics.connection(name);
            let (server, tls, handler) = (self.clone(), tls.clone(), Arc::clone(&handler));
            connections.spawn(async move {
                connection::serve(&server, stream, address, tls.as_ref(), handler).await;
                drop(open);
            });
        }
        drop(socket);
        tokio::select! {
            () = drain.over() => tracing::warn!(listener = name, connections = connections.len(), "Requests were cut at the end of --shutdown-grace"),
            () = async { while connections.join_next().await.is_some() {} } => {}
        }
    }
}

/// Accepts the next connection. A fault of accepting, such as the lack of descriptors, is waited out.
async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    const LONGEST: Duration = Duration::from_secs(1);
    let mut pause = Duration::from_millis(5);
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "Connections cannot be accepted");
                sleep(pause).await;
                pause = LONGEST.min(pause * 2);
            }
        }
    }
}

/// The client went away before it was accepted.
fn is_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}
