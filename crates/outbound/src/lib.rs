//! Documents that are fetched from elsewhere over HTTPS: the configuration and the keys of token issuers.
//!
//! Each fetch has a connection of its own, a deadline and a bound on what it reads, and follows no redirect: where a
//! document is, is said by the operator or by his issuer, and by nobody on the way. A proxy that the environment names opens
//! a tunnel, as it does for an upstream of HTTPS.

mod fetch;
mod tunnel;
mod url;

pub use fetch::{FetchError, Fetcher};
pub use tunnel::{TunnelError, authorize, tunnel};
pub use url::{HttpsUrl, UrlError};
