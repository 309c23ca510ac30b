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
pub use tls::{ServerTls, server_config};
