use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use observe::Metrics;
use request::Peer;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinSet, yield_now},
    time::{Instant, sleep},
};

use crate::{Body, Drain, Places, ServerTls, connection, interim::Interim, places::Undecided};

/// Answers one request.
pub trait Handler: Send + Sync + 'static {
    /// Every outcome is a response. Dropping the future abandons the request: its client is gone.
    fn handle(&self, request: Request<Incoming>, client: Client) -> impl Future<Output = Response<Body>> + Send;
}

/// Whose request it is, and the way to him ahead of the response.
pub struct Client {
    /// The far end of the connection.
    pub peer: Peer,
    /// `None` where informational responses have no way: HTTP/1.0 and HTTP/2.
    pub(crate) interim: Option<Interim>,
    /// What the request holds of the connection's place, until it is decided.
    pub(crate) undecided: Option<Undecided>,
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
    /// Bounds their number.
    pub places: Places,
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
    /// Time in which a client takes nothing of an answer that there is.
    pub write: Duration,
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

/// Keeps a flood of connections from being one of log lines.
#[derive(Debug, Default)]
struct Seldom(Option<Instant>);

impl Server {
    /// Accepts and serves until the drain is over or every connection has ended after it began.
    pub async fn serve<H: Handler>(self, listener: Listener, handler: Arc<H>) {
        let Listener { name, socket, tls } = listener;
        let mut drain = self.drain.clone();
        let mut connections = JoinSet::new();
        let (mut full, mut faults) = (Seldom::default(), Seldom::default());
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.begun() => break,
                accepted = self.accept(&socket, &mut faults) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (stream, address) = accepted;
            // Who comes is let in and perhaps shown out at once: left waiting, it would stand before those who come after it.
            let (place, is_full) = self.places.take();
            if is_full {
                // Whoever has asked for something meanwhile is heard, and cannot lose his place to the next who comes.
                yield_now().await;
                self.metrics.connection_cut("max-connections");
                if full.is_time() {
                    tracing::warn!(
                        listener = name,
                        "Too many connections for --max-connections: one without a request is closed for each that comes"
                    );
                }
            }
            let Some(place) = place else { continue };
            let (open, place) = (self.metrics.connection(name), Arc::new(place));
            let (server, tls, handler) = (self.clone(), tls.clone(), Arc::clone(&handler));
            connections.spawn(async move {
                tokio::select! {
                    () = connection::serve(&server, stream, address, tls.as_ref(), handler, Arc::clone(&place)) => {}
                    () = place.lost() => tracing::debug!(peer = %address, "Another connection needed its place"),
                }
                drop(open);
            });
        }
        drop(socket);
        tokio::select! {
            () = drain.over() => tracing::warn!(listener = name, connections = connections.len(), "Requests were cut at the end of --shutdown-grace"),
            () = async { while connections.join_next().await.is_some() {} } => {}
        }
    }

    /// Accepts the next connection. A fault of accepting is waited out; where descriptors are what lacks, a connection
    /// without a request has one.
    async fn accept(&self, socket: &TcpListener, faults: &mut Seldom) -> (TcpStream, SocketAddr) {
        const LONGEST: Duration = Duration::from_secs(1);
        const SHORTEST: Duration = Duration::from_millis(5);
        let mut pause = SHORTEST;
        loop {
            match socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    if faults.is_time() {
                        tracing::warn!(%error, "Connections cannot be accepted");
                    }
                    sleep(pause).await;
                    pause = LONGEST.min(pause * 2);
                    if self.places.displace() {
                        self.metrics.connection_cut("open-files");
                        pause = SHORTEST;
                    }
                }
            }
        }
    }
}

impl Seldom {
    fn is_time(&mut self) -> bool {
        const PAUSE: Duration = Duration::from_secs(10);
        let is_time = self.0.is_none_or(|last| last.elapsed() > PAUSE);
        if is_time {
            self.0 = Some(Instant::now());
        }
        is_time
    }
}

/// The client went away before it was accepted.
fn is_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::DrainTrigger;

    /// Has a defect.
    struct Defective;

    impl Handler for Defective {
        async fn handle(&self, request: Request<Incoming>, _: Client) -> Response<Body> {
            assert!(request.uri().path() != "/poison", "a defect");
            Response::new(Body::whole("fine"))
        }
    }

    async fn answer(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// limit-10, fault-27: one request is lost.
    #[tokio::test]
    async fn a_defect_costs_the_request_that_meets_it() {
        let minute = Duration::from_secs(60);
        let limits = Limits { head_bytes: 65536, handshake: minute, head: minute, idle: minute, write: minute };
        let (trigger, drain) = DrainTrigger::new();
        let metrics = Metrics::new("test", "0");
        let server = Server { limits, http2: None, metrics: Arc::clone(&metrics), drain, places: Places::new(1) };
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let serving = tokio::spawn(server.serve(Listener { name: "insecure", socket, tls: None }, Arc::new(Defective)));
        for _ in 0..3 {
            assert_eq!(answer(address, "/poison").await, "");
            assert!(answer(address, "/").await.ends_with("fine"));
        }
        trigger.begin(minute);
        serving.await.expect("the server has no defect");
        // Places and counts are given back.
        assert!(metrics.encode().contains("test_connections{listener=\"insecure\"} 0"), "{}", metrics.encode());
    }
}
