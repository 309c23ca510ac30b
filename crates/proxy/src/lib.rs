//! The bytes of the road: sockets, TLS, HTTP servers, header hygiene, the upstream, limits and drain.
//!
//! Nothing here knows who may do what: a request goes through [`request::admit`], and the upstream takes the permit.

mod activity;
mod answer;
mod body;
mod connection;
mod drain;
mod endpoints;
mod forwarding;
mod headers;
mod heads;
mod interim;
mod listen;
mod places;
mod preface;
mod probes;
mod road;
mod server;
mod serving;
mod signals;
mod taking;
mod tls;
mod tunnel;
mod unfinished;
pub mod upstream;
mod wire;

use std::{
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use answer::ErrorForm;
pub use body::Body;
pub use drain::{Drain, DrainTrigger};
pub use endpoints::{Endpoints, Readiness, StatusLine};
pub use forwarding::Forwarding;
pub use headers::ManagedHeaders;
pub use places::Places;
pub use probes::Probes;
pub use road::Road;
pub use server::{Client, Handler, Http2, Limits, Listener, Server};
pub use serving::{Serving, listen_on};
pub use signals::Signals;
use socket2::{SockRef, TcpKeepalive};
pub use tls::{PairsByName, ServerTls, server_config};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What carries a connection.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

/// A peer that is gone without a word is noticed, as in Go. HTTP/2's own pings are not for that: servers of gRPC take offence at
/// them.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Has a connection send small pieces at once, and notice the silent end of its peer. A socket that refuses it still works.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

/// Locks, whatever became of those who had it locked before: a panic costs one request.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error and what is behind it.
fn chain(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
