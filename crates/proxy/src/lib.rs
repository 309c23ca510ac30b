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
pub use tls::{PairsByName, ServerTls, server_config};
use tokio::io::{AsyncRead, AsyncWrite};

/// What carries a connection.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

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
