use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    connect::{ConnectError, Connected, Connector},
    http2::{Http2, Stream},
    upload::Upload,
};
use crate::lock;

/// How long an idle connection is kept; as in Go's default transport.
const KEEP: Duration = Duration::from_secs(90);

/// How long a request waits for connections that others have begun to make, rather than for one of its own, and how long
/// one of these may take before another is made beside it.
const PATIENCE: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_millis(250);

/// How many idle connections are kept. Go keeps two for a host and reconnects for every further concurrent request.
const MAX_IDLE: usize = 100;

/// Connections to the upstream: those of HTTP/1.1 counted by nobody while in use, and kept for the next request; those of
/// HTTP/2 shared, as many as the upstream's limit of streams makes necessary.
pub(super) struct Pool {
    connector: Connector,
    /// The one used last is used first; the oldest is at the front.
    idle: Mutex<Vec<Idle>>,
    /// The first that has a place is used, so that the last ones become idle.
    shared: Mutex<Vec<Arc<Http2>>>,
    /// Whether the next connection is likely to be one of HTTP/2, which is worth waiting for.
    is_shared: AtomicBool,
    dialling: tokio::sync::Mutex<()>,
}

/// What takes one request.
pub(crate) enum Connection {
    Http1(Http1),
    Http2(Stream),
}

/// A connection of HTTP/1.1, for one request at a time.
pub(crate) struct Http1 {
    pub(super) sender: SendRequest<Upload>,
    /// It served a request before, so it may have ended unnoticed.
    pub(super) reused: bool,
    /// It asks for another protocol, so it carries nothing of anybody else, whatever is answered.
    single: bool,
    pool: Arc<Pool>,
}

struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        let is_shared = AtomicBool::new(connector.may_be_http2());
        let pool = Arc::new(Self { connector, idle: Mutex::default(), shared: Mutex::default(), is_shared, dialling: Default::default() });
        tokio::spawn(Self::close_the_old(Arc::downgrade(&pool)));
        pool
    }

    pub(super) async fn take(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        if let Some(stream) = self.share() {
            return Ok(Connection::Http2(stream));
        }
        while let Some(sender) = self.take_idle() {
            // What has come from it out of turn is seen first, and ends it: it would be taken for the answer.
            yield_now().await;
            if sender.is_ready() {
                return Ok(Connection::Http1(self.http1(sender, true, false)));
            }
        }
        let mut turn = match self.is_shared.load(Ordering::Relaxed) {
            true => timeout(PATIENCE, self.dialling.lock()).await.ok(),
            false => None,
        };
        if let Some(stream) = self.share() {
            return Ok(Connection::Http2(stream));
        }
        // Those who waited for a connection of HTTP/2 and learn that there is none need not wait for each other.
        turn = turn.filter(|_| self.is_shared.load(Ordering::Relaxed));
        let mut connecting = pin!(self.connector.connect());
        let connected = match timeout(TURN, connecting.as_mut()).await {
            Ok(connected) => connected?,
            Err(_) => {
                turn = None;
                connecting.await?
            }
        };
        self.is_shared.store(matches!(connected, Connected::Http2(_)), Ordering::Relaxed);
        Ok(match connected {
            Connected::Http1(sender) => Connection::Http1(self.http1(sender, false, false)),
            Connected::Http2(connection) => {
                let stream = self.join(connection);
                drop(turn);
                Connection::Http2(stream)
            }
        })
    }

    /// A new connection of HTTP/1.1, for one request.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let sender = self.connector.connect_http1().await?;
        Ok(Connection::Http1(self.http1(sender, false, true)))
    }

    fn http1(self: &Arc<Self>, sender: SendRequest<Upload>, reused: bool, single: bool) -> Http1 {
        Http1 { sender, reused, single, pool: Arc::clone(self) }
    }

    fn share(&self) -> Option<Stream> {
        lock(&self.shared).iter().find_map(Http2::share)
    }

    /// A place on a connection that is there by now, or on this one.
    fn join(&self, connection: Arc<Http2>) -> Stream {
        let mut shared = lock(&self.shared);
        shared.retain(|connection| connection.is_of_use(KEEP));
        if let Some(stream) = shared.iter().find_map(Http2::share) {
            return stream;
        }
        let stream = Stream::new(&connection);
        shared.push(connection);
        stream
    }

    fn take_idle(&self) -> Option<SendRequest<Upload>> {
        let mut idle = lock(&self.idle);
        while let Some(Idle { sender, since }) = idle.pop() {
            if sender.is_ready() && since.elapsed() < KEEP {
                return Some(sender);
            }
        }
        None
    }

    fn put(&self, sender: SendRequest<Upload>) {
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn close_the_old(pool: std::sync::Weak<Self>) {
        loop {
            sleep(KEEP / 3).await;
            let Some(pool) = pool.upgrade() else { return };
            lock(&pool.idle).retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < KEEP);
            lock(&pool.shared).retain(|connection| connection.is_of_use(KEEP));
        }
    }
}

impl Http1 {
    /// Keeps the connection for another request, once its response has been read to the end.
    pub(super) fn keep(self) {
        let Self { mut sender, pool, single, .. } = self;
        if single {
            return;
        }
        if sender.is_ready() {
            return pool.put(sender);
        }
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.put(sender);
            }
        });
    }
}
