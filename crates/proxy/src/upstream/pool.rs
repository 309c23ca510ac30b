use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    connect::{ConnectError, Connector},
    outgoing::Outgoing,
};

/// How long an idle connection is kept; as in Go's default transport.
const KEEP: Duration = Duration::from_secs(90);

/// How many idle connections are kept. Go keeps two for a host and reconnects for every further concurrent request.
const MAX_IDLE: usize = 100;

/// Connections to the upstream, those in use counted by nobody and those idle kept for the next request.
pub(super) struct Pool {
    connector: Connector,
    /// The one used last is used first; the oldest is at the front.
    idle: Mutex<Vec<Idle>>,
}

/// A connection that takes one request.
pub(crate) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    /// It served a request before, so it may have ended unnoticed.
    pub(super) reused: bool,
    /// It asks for another protocol, so it carries nothing of anybody else, whatever is answered.
    single: bool,
    pool: Arc<Pool>,
}

struct Idle {
    sender: SendRequest<Outgoing>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        let pool = Arc::new(Self { connector, idle: Mutex::default() });
        tokio::spawn(Self::close_the_old(Arc::downgrade(&pool)));
        pool
    }

    pub(super) async fn take(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let (sender, reused) = match self.take_idle() {
            Some(sender) => (sender, true),
            None => (self.connector.connect().await?, false),
        };
        Ok(Connection { sender, reused, single: false, pool: Arc::clone(self) })
    }

    /// A new connection, for one request.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let sender = self.connector.connect().await?;
        Ok(Connection { sender, reused: false, single: true, pool: Arc::clone(self) })
    }

    fn take_idle(&self) -> Option<SendRequest<Outgoing>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Idle { sender, since }) = idle.pop() {
            if sender.is_ready() && since.elapsed() < KEEP {
                return Some(sender);
            }
        }
        None
    }

    fn put(&self, sender: SendRequest<Outgoing>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn close_the_old(pool: std::sync::Weak<Self>) {
        let mut ticks = interval(KEEP / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < KEEP);
        }
    }
}

impl Connection {
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

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connector", &self.connector).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("reused", &self.reused).finish_non_exhaustive()
    }
}
