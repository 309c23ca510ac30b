//! The proxy in front of real services, with a real API server behind its decisions.
//!
//! A test that finds no cluster, program or right that it needs says so and passes; under `CI=true` it fails.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop and say so"
)]

mod access;
mod certificates;
mod check;
mod counts;
mod crowd;
mod examples;
mod identity;
mod kubelet;
mod oidc;
mod oidc_impersonation;
mod oidc_proxy;
mod oidc_role;
mod oidc_world;
mod outage;
mod quickstart;
mod rbac_agree;
mod rbac_check;
mod replicas;
mod rotation;
mod scene;
mod scrape;
mod serving;
mod tokens;
