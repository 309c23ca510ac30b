//! What the tests need of the world around the proxies: certificates, a fake API server, a recording upstream, clients
//! that send what no decent client would, and the programs themselves.
//!
//! Dev only. Servers and clients live on the test's own runtime and end with it.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on should stop and say so"
)]

/// A fake kube-apiserver.
pub mod api;
/// Certificates of every kind.
pub mod certs;
/// HTTP/1 and HTTP/2 clients behind one face.
pub mod client;
pub mod cluster;
/// HTTP/2 frame by frame.
pub mod frames;
/// A fake OpenID Connect issuer.
pub mod issuer;
/// Tokens that an issuer signs.
pub mod jwt;
pub mod parts;
pub mod policy;
/// The programs under test.
pub mod process;
/// TLS that accepts what it should not.
pub mod tls;
/// A recording, scripted server.
pub mod upstream;
/// The one way to wait: for a state, with a deadline.
pub mod wait;
/// HTTP/1 byte for byte.
pub mod wire;
