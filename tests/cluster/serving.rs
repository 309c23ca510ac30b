//! Flags of existing manifests, seen from a client that has a real token.

use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use testkit::{
    client::{Client, Request, Version},
    cluster,
    tls::{Agreed, Tls},
};

use crate::scene::{Scene, assert_status};

#[tokio::test]
async fn flags_that_klog_lost_are_accepted_with_one_warning_each() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let lost = [
        "logtostderr=true",
        "add-dir-header=true",
        "alsologtostderr=true",
        "log-backtrace-at=main.go:1",
        "log-dir=/nowhere",
        "log-file=/nowhere/log",
        "log-file-max-size=1800",
        "one-output=true",
        "skip-headers=true",
        "skip-log-headers=true",
        "stderrthreshold=2",
    ];
    let flags = lost.map(|flag| format!("--{flag}"));
    let proxy = scene.proxy(&flags.each_ref().map(String::as_str)).await;
    assert_status(&scene.get(&proxy, "/metrics", &alice.token).await, 200);
    let lines = proxy.lines();
    for flag in lost {
        let name = flag.split('=').next().unwrap();
        let warnings = lines.iter().filter(|line| mentions(line, name)).count();
        assert_eq!(warnings, 1, "warnings about {name} in\n{}", lines.join("\n"));
    }
}

/// Before kube-rbac-proxy 0.17.1 it had to go, and came back.
#[tokio::test]
async fn the_scaffold_of_kubebuilder_starts() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let upstream = format!("--upstream={}/", scene.upstream.url());
    let proxy = scene.proxy(&[&upstream, "--logtostderr=true", "--v=0"]).await;
    assert_status(&scene.get(&proxy, "/metrics", &alice.token).await, 200);
}

#[tokio::test]
async fn http2_is_spoken_unless_it_is_disabled() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let request = Request::get("/metrics").bearer(&alice.token);
    let offering_both = scene.authority.tls().alpn(&["h2", "http/1.1"]);

    let enabled = scene.proxy(&[]).await;
    assert_status(&scene.connect(Version::H2, &enabled).await.send(&request).await, 200);
    let wire = offering_both.connect(enabled.secure()).await.unwrap();
    assert_eq!(Agreed::on(wire.stream()).alpn.as_deref(), Some("h2"));

    let disabled = scene.proxy(&["--http2-disable"]).await;
    assert_status(&scene.connect(Version::H1, &disabled).await.send(&request).await, 200);
    let wire = offering_both.connect(disabled.secure()).await.unwrap();
    assert_eq!(Agreed::on(wire.stream()).alpn.as_deref(), Some("http/1.1"));
}

#[tokio::test]
async fn the_least_tls_version_is_kept() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let request = Request::get("/metrics").bearer(&alice.token);
    // The older two are older than any that is spoken here.
    for (least, allows_tls12) in [("VersionTLS10", true), ("VersionTLS11", true), ("VersionTLS12", true), ("VersionTLS13", false)] {
        let proxy = scene.proxy(&[&format!("--tls-min-version={least}")]).await;
        let speaking = |version: &'static SupportedProtocolVersion| Tls::new(&[version], None, None);
        let mut tls13 = Client::connect(Version::H1, proxy.secure(), &speaking(&TLS13)).await;
        assert_status(&tls13.send(&request).await, 200);
        match Client::try_connect(Version::H1, proxy.secure(), &speaking(&TLS12)).await {
            Ok(mut tls12) => {
                assert!(allows_tls12, "{least}");
                assert_status(&tls12.send(&request).await, 200);
            }
            Err(error) => assert!(!allows_tls12, "{least}: {error}"),
        }
    }
}

/// Whether a line is about a flag: its name stands there whole, after dashes or quotes or blanks.
fn mentions(line: &str, flag: &str) -> bool {
    line.match_indices(flag).any(|(start, _)| {
        let boundary = |byte: Option<&u8>| !byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let bytes = line.as_bytes();
        let before = bytes[..start].iter().rev().find(|&&byte| byte != b'-');
        let dashed = bytes[..start].last() != Some(&b'-') || bytes[..start].ends_with(b"--");
        dashed && boundary(before) && boundary(bytes.get(start + flag.len())) && bytes.get(start + flag.len()) != Some(&b'-')
    })
}
