//! The two questions that are put to the API server: who is this token ([`Api::review_token`]), and may this user do
//! this ([`Api::review_access`]).
//!
//! And the way there for those who carry requests themselves: [`Route`].
//!
//! A thin layer on `kube`, which reads kubeconfigs and in-cluster credentials, runs exec plugins and does TLS. What
//! this adds are bounds: on the time a call takes, its tries, the calls in flight, and the size and shape of answers.

mod access_review;
mod api;
mod connect;
mod error;
mod health;
mod limits;
mod overrides;
mod proxy_url;
mod route;
mod token_file;
mod token_review;
mod transport;
mod wire;

pub use access_review::AccessVerdict;
pub use api::Api;
pub use connect::{ApiSettings, environment};
pub use error::{ApiError, ConnectError};
pub use health::Health;
pub use limits::Lane;
pub use overrides::Overrides;
pub use route::{Authorities, Pem, Route};
pub use token_review::TokenVerdict;
