//! The Go kube-rbac-proxy and ours get the same flags, files and requests, before the same API server and the same upstream.
//! What differs must be explained in docs/compatibility.md, and what is explained there must differ.
#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on should stop and say so")]

mod answers;
mod api_failures;
mod attributes;
mod case;
mod certificates;
mod credentials;
mod endings;
mod forwarding;
mod http2;
mod http_proxy;
mod identity;
mod listeners;
mod oidc;
mod path_lists;
mod paths;
mod replies;
mod rewrites;
mod rows;
mod run;
mod seen;
mod stage;
mod start;
mod world;

use case::Group;
use rows::Rows;

/// Flags that the Go program does not have.
const OWN_FLAGS: &[&str] = &[
    "allow-encoded-slashes",
    "allow-path-parameters",
    "allow-reserved-identities",
    "as",
    "as-group",
    "as-uid",
    "authentication-methods",
    "authentication-token-webhook-cache-ttl",
    "authorization-mode",
    "authorization-webhook-cache-authorized-ttl",
    "authorization-webhook-cache-unauthorized-ttl",
    "compat-api-errors",
    "forward-authorization",
    "header",
    "idle-timeout",
    "livez-path",
    "log-format",
    "max-connections",
    "max-header-bytes",
    "method",
    "oidc-system-authenticated",
    "output",
    "path",
    "rbac-manifests",
    "read-body-timeout",
    "read-header-timeout",
    "resource-attributes-file",
    "reviews",
    "shutdown-grace",
    "strict",
    "tls-curve-preferences",
    "tls-handshake-timeout",
    "token-auth-file",
    "trusted-proxies",
    "upstream-timeout",
    "write-timeout",
];

#[tokio::test]
async fn credentials_are_read_alike() {
    run::run(&credentials::groups()).await;
}

#[tokio::test]
async fn certificates_are_read_alike() {
    run::run(&certificates::groups()).await;
}

#[tokio::test]
async fn requests_are_authorized_alike() {
    run::run(&attributes::groups()).await;
}

#[tokio::test]
async fn values_are_read_and_authorized_alike() {
    run::run(&rewrites::groups()).await;
}

#[tokio::test]
async fn paths_are_read_alike() {
    run::run(&paths::groups()).await;
}

#[tokio::test]
async fn path_lists_mean_alike() {
    run::run(&path_lists::groups()).await;
}

#[tokio::test]
async fn the_upstream_is_told_alike_who_asks() {
    run::run(&identity::groups()).await;
}

#[tokio::test]
async fn requests_are_forwarded_alike() {
    run::run(&forwarding::groups()).await;
}

#[tokio::test]
async fn answers_are_passed_on_alike() {
    run::run(&answers::groups()).await;
}

#[tokio::test]
async fn api_failures_end_alike() {
    run::run(&api_failures::groups()).await;
}

#[tokio::test]
async fn proxies_of_the_environment_are_used_alike() {
    run::run(&http_proxy::groups()).await;
}

#[tokio::test]
async fn listeners_serve_alike() {
    run::run(&listeners::groups()).await;
}

#[tokio::test]
async fn tokens_of_an_issuer_are_verified_alike() {
    run::run(&oidc::groups()).await;
}

#[tokio::test]
async fn command_lines_are_read_alike() {
    start::run(&start::starts()).await;
}

#[test]
fn every_row_is_shown_by_a_case_or_by_a_test() {
    let (groups, starts) = (all_groups(), start::starts());
    let by_cases = groups.iter().flat_map(|group| &group.cases).flat_map(|case| &case.declared);
    let declared: Vec<&str> = by_cases.chain(starts.iter().flat_map(|start| &start.declared)).map(|declared| declared.row).collect();
    let rows = Rows::read();
    let unshown = rows.unshown(&declared);
    assert!(unshown.is_empty(), "no case declares these rows of docs/compatibility.md, and they name no test: {unshown:?}");
}

#[test]
fn every_flag_of_the_go_program_is_given() {
    let (groups, starts) = (all_groups(), start::starts());
    let given: Vec<&str> =
        groups.iter().flat_map(|group| &group.flags).chain(starts.iter().flat_map(start::Start::flags)).copied().collect();
    let name = |flag: &str| flag.trim_start_matches('-').split('=').next().unwrap_or_default().replace('_', "-");
    // Those that every start has, with the values that every start has.
    let usual = ["config-file", "insecure-listen-address", "secure-listen-address", "proxy-endpoints-port", "upstream"];
    for flag in rows::flags() {
        let is_given = usual.contains(&flag.as_str()) || given.iter().any(|given| name(given) == flag);
        assert_ne!(is_given, OWN_FLAGS.contains(&flag.as_str()), "--{flag}");
    }
}

#[test]
fn the_tables_have_not_shrunk() {
    let cases = all_groups().iter().map(|group| group.cases.len()).sum::<usize>() + start::starts().len();
    assert!(cases >= 1000, "{cases} cases");
}

fn all_groups() -> Vec<Group> {
    [
        credentials::groups(),
        certificates::groups(),
        attributes::groups(),
        rewrites::groups(),
        path_lists::groups(),
        paths::groups(),
        identity::groups(),
        forwarding::groups(),
        answers::groups(),
        api_failures::groups(),
        listeners::groups(),
        http_proxy::groups(),
        oidc::groups(),
    ]
    .concat()
}
