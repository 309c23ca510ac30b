mod http2;
mod reply;

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinHandle},
};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::{
    certs::Pair,
    tls,
    wire::{Body, Framing, Head, Stream, Wire},
};

pub use reply::Reply;

/// A server, of HTTP/1.1 unless it says otherwise, that records each request byte for byte and answers as scripted. Dropping it closes everything.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    scheme: &'static str,
    log: Arc<Log>,
    /// Records the requests of one that speaks HTTP/2.
    behind: Option<Box<Upstream>>,
    accepting: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counted from 1 in the order of acceptance.
    pub connection: usize,
    /// Start line and fields.
    pub head: Head,
    /// What followed.
    pub body: Body,
    /// The certificate that the client presented (DER); `None` without one.
    pub certificate: Option<Vec<u8>>,
}

/// One connection, for servers that the script of a [`Reply`] cannot express.
#[derive(Debug)]
pub struct Session {
    /// The bytes.
    pub wire: Wire,
    /// Counted from 1 in the order of acceptance.
    pub connection: usize,
    certificate: Option<Vec<u8>>,
    log: Opened,
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
struct Opened(Arc<Log>);

#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Vec<Received>>,
    accepted: AtomicUsize,
    /// Of each TLS connection, what its client presented.
    certificates: Mutex<Vec<Option<Vec<u8>>>>,
    open: AtomicUsize,
    sessions: Mutex<Vec<AbortHandle>>,
}

type Serve = Arc<dyn Fn(Session) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Upstream {
    /// Answers each request, read whole, as the function says.
    pub async fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(None, scripted(answer)).await
    }

    /// [`Upstream::start`] over TLS, asking for a client certificate.
    pub async fn start_tls(pair: &Pair, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(Some(tls::acceptor(pair, &["http/1.1"])), scripted(answer)).await
    }

    /// [`Upstream::start`] that speaks HTTP/2: alone without a pair, and over TLS to those who offer it. Requests are
    /// recorded as HTTP/1.1 would have them.
    pub async fn start_http2(pair: Option<&Pair>, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let behind = {
            let answer = Arc::clone(&answer);
            Self::start(move |received| answer(received)).await
        };
        let (address, http1) = (behind.address(), scripted(move |received| answer(received)));
        let serve: Serve = Arc::new(move |session| {
            let is_http1 = session.wire.stream().tls().is_some_and(|tls| tls.get_ref().1.alpn_protocol() != Some(b"h2"));
            if is_http1 { http1(session) } else { Box::pin(http2::serve(session, address)) }
        });
        let mut upstream = Self::launch(pair.map(|pair| tls::acceptor(pair, &["h2", "http/1.1"])), serve).await;
        upstream.behind = Some(Box::new(behind));
        upstream
    }

    /// Gives each connection to the function.
    pub async fn start_raw<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(Session) -> F + Send + Sync + 'static) -> Self {
        Self::launch(None, Arc::new(move |session| Box::pin(serve(session)))).await
    }

    /// An HTTP proxy that records who wants to be connected where, and connects everybody to this address.
    pub async fn start_tunnels(to: SocketAddr) -> Self {
        Self::start_raw(move |mut session| async move {
            let Some(head) = session.read_head().await else { return };
            session.record(head, Body::default());
            if session.wire.send("HTTP/1.1 200 Connected\r\n\r\n").await.is_err() {
                return;
            }
            let Session { wire, log, .. } = session;
            if let Ok(mut upstream) = TcpStream::connect(to).await {
                let _ = copy_bidirectional(&mut wire.into_stream(), &mut upstream).await;
            }
            drop(log);
        })
        .await
    }

    async fn launch(tls: Option<TlsAcceptor>, serve: Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Log::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&log), serve));
        Self { behind: None, address, scheme, log, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT` over TLS.
    pub fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// What arrived so far, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        self.logs().flat_map(|log| lock(&log.requests).clone()).collect()
    }

    /// How many requests arrived so far.
    pub fn count(&self) -> usize {
        self.logs().map(|log| lock(&log.requests).len()).sum()
    }

    /// The only request so far.
    pub fn only_request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "one request should have arrived: {requests:#?}");
        requests.remove(0)
    }

    /// The last request so far.
    pub fn last_request(&self) -> Received {
        self.requests().pop().expect("a request should have arrived")
    }

    /// Forgets the requests so far and returns them.
    pub fn take_requests(&self) -> Vec<Received> {
        self.logs().flat_map(|log| std::mem::take(&mut *lock(&log.requests))).collect()
    }

    /// Of those who speak HTTP/2, and of the others.
    fn logs(&self) -> impl Iterator<Item = &Log> {
        self.behind.iter().map(|behind| &*behind.log).chain([&*self.log])
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.log.accepted.load(Ordering::SeqCst)
    }

    /// The certificate (DER) that the client of the last connection presented.
    pub fn last_certificate(&self) -> Option<Vec<u8>> {
        lock(&self.log.certificates).last().cloned().flatten()
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.log.open.load(Ordering::SeqCst)
    }

    /// Closes all connections at once; new ones are welcome.
    pub fn drop_connections(&self) {
        for session in lock(&self.log.sessions).drain(..) {
            session.abort();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
        self.drop_connections();
    }
}

impl Received {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// Path and query, as received.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The only value of a field; `None` without one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.head.all(name);
        assert!(values.len() < 2, "{name} has several values: {values:?}");
        values.first().copied()
    }
}

impl Session {
    /// Reads a request whole and records it; `None` when the client leaves before its end.
    pub async fn read(&mut self) -> Option<Received> {
        let head = self.read_head().await?;
        let body = self.wire.read_body(head.framing().unwrap_or(Framing::Empty)).await;
        let received = self.record(head, body);
        received.body.complete.then_some(received)
    }

    /// Reads a request's head and records nothing.
    pub async fn read_head(&mut self) -> Option<Head> {
        self.wire.read_head().await.ok().flatten()
    }

    /// Records a request that was read by hand.
    pub fn record(&self, head: Head, body: Body) -> Received {
        let received = Received { connection: self.connection, head, body, certificate: self.certificate.clone() };
        lock(&self.log.0.requests).push(received.clone());
        received
    }

    /// Answers.
    pub async fn answer(&mut self, reply: Reply) -> bool {
        reply.play(&mut self.wire).await
    }
}

impl Opened {
    fn new(log: &Arc<Log>) -> Self {
        log.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(log))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn scripted(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Serve {
    let answer = Arc::new(answer);
    Arc::new(move |mut session| {
        let answer = Arc::clone(&answer);
        Box::pin(async move {
            while let Some(received) = session.read().await {
                let reply = answer(&received);
                if !session.answer(reply).await {
                    break;
                }
            }
        })
    })
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, log: Arc<Log>, serve: Serve) {
    loop {
        let (tcp, _) = listener.accept().await.expect("the listener works");
        let connection = log.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        let session = open(tcp, tls.clone(), connection, Opened::new(&log));
        let serve = Arc::clone(&serve);
        let task = tokio::spawn(async move {
            if let Some(session) = session.await {
                serve(session).await;
            }
        });
        lock(&log.sessions).push(task.abort_handle());
    }
}

async fn open(tcp: TcpStream, tls: Option<TlsAcceptor>, connection: usize, log: Opened) -> Option<Session> {
    let _ = tcp.set_nodelay(true);
    let stream = match tls {
        None => Stream::from(tcp),
        Some(acceptor) => Stream::from(TlsStream::Server(acceptor.accept(tcp).await.ok()?)),
    };
    let certificate = stream.tls().and_then(|tls| tls.get_ref().1.peer_certificates()?.first().map(|leaf| leaf.to_vec()));
    lock(&log.0.certificates).push(certificate.clone());
    Some(Session { wire: Wire::new(stream), connection, certificate, log })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Client, Request},
        wait::wait_until,
    };

    #[tokio::test]
    async fn requests_are_recorded_byte_for_byte() {
        let upstream = Upstream::start(|_| Reply::chunked(&[("X-A", "1")], &["ab", "c"], &[("X-T", "2")])).await;
        let mut client = Client::connect_plain(upstream.address()).await;
        let response = client.send(&Request::post("/p?q", "body").header("x-ODD", "v").trailer("X-Late", "t")).await;
        assert_eq!((response.status, response.text().as_str(), response.header("x-a")), (200, "abc", Some("1")));
        assert_eq!(response.trailers, [("X-T".to_owned(), "2".to_owned())]);
        let received = upstream.only_request();
        assert_eq!((received.method(), received.target(), received.connection), ("POST", "/p?q", 1));
        assert_eq!(received.head.fields[1], ("x-ODD".to_owned(), "v".to_owned()));
        assert_eq!((received.body.content.as_slice(), received.body.chunks.as_slice()), (b"body".as_slice(), [4].as_slice()));
        assert_eq!(received.body.trailers, [("X-Late".to_owned(), "t".to_owned())]);
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_a_hanging_reply() {
        let upstream = Upstream::start(|_| Reply::hang()).await;
        let mut client = Client::connect_plain(upstream.address()).await;
        client.wire().send("GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        wait_until("the request", || upstream.count() == 1).await;
        assert_eq!(upstream.open_connections(), 1);
        drop(client);
        wait_until("the end", || upstream.open_connections() == 0).await;
    }

    #[tokio::test]
    async fn a_reset_and_a_cut_are_told_from_an_answer() {
        for (reply, complete) in [
            (Reply::ok("abc"), true),
            (Reply::head(200, &[("Content-Length", "9")]).send("abc").then_close(), false),
            (Reply::default().then_reset(), false),
            (Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("9\r\nabc").then_close(), false),
        ] {
            let script = reply.clone();
            let upstream = Upstream::start(move |_| script.clone()).await;
            let answer = Client::connect_plain(upstream.address()).await.try_send(&Request::get("/")).await;
            assert_eq!(answer.is_ok(), complete, "{reply:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn connections_can_be_dropped_and_made_again() {
        let upstream = Upstream::start(|_| Reply::ok("")).await;
        let mut client = Client::connect_plain(upstream.address()).await;
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
        upstream.drop_connections();
        client.closed().await;
        assert_eq!(Client::connect_plain(upstream.address()).await.send(&Request::get("/")).await.status, 200);
        assert_eq!((upstream.connections(), upstream.last_request().connection), (2, 2));
    }
}
