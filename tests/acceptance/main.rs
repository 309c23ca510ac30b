//! What the program promises, shown on the program itself: between a fake API server, a recording upstream and clients
//! without manners. Needs nothing but this machine.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop and say so"
)]

mod api_failures;
mod authorization;
mod bad_requests;
mod caches;
mod certificates;
mod config_file;
mod conformance;
mod crossings;
mod crowds;
mod doors;
mod drain;
mod endpoints;
mod faults;
mod floods;
mod forks;
mod forms;
mod forwarding;
mod headers;
mod http2_upstream;
mod http_proxy;
mod identity;
mod in_the_wild;
mod limits;
mod listeners;
mod memory;
mod no_cluster;
mod odd_paths;
mod odd_requests;
mod oidc;
mod oidc_hostile;
mod oidc_issuer;
mod oidc_proxy;
mod program;
mod raw_http2;
mod real_clients;
mod rewrites;
mod rotations;
mod scene;
mod secrets;
mod serving;
mod start;
mod streaming;
mod tls;
mod tokens;
mod trust;
mod tunnels;
mod upstream;
