//! The program as a process: what it prints, how it is told to be, how it ends.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use testkit::{
    client::{Client, Request, Version},
    process::{Proxy, binary, free_port},
    wait::wait_for,
};

use crate::scene::{ALICE, FORGED, MALLORY, Scene, assert_status};

#[tokio::test]
async fn version_and_help_are_printed() {
    for (flag, expected) in [
        ("--version", "kube-rbac-proxy v"),
        ("--version=true", "kube-rbac-proxy v"),
        ("--version=raw", "GitVersion:\"v"),
        ("--help", "--secure-listen-address"),
        ("-h", "--secure-listen-address"),
    ] {
        let exit = Proxy::run(&[flag]).await;
        assert_eq!(exit.code, Some(0), "{flag}: {}", exit.output);
        assert!(exit.output.contains(expected), "{flag}: {}", exit.output);
    }
    // A wrong flag beside it is not hidden by it.
    assert_eq!(Proxy::run(&["--version", "--nope"]).await.code, Some(1));

    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--version=v9.9.9"]).await;
    proxy.line_with(&["--version", "without effect"]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

#[tokio::test]
async fn a_signal_ends_it_well() {
    let scene = Scene::new().await;
    for signal in ["TERM", "INT"] {
        let proxy = scene.proxy::<&str>(&[]).await;
        proxy.signal(signal);
        let exit = proxy.exit().await;
        assert_eq!((exit.code, exit.signal), (Some(0), None), "{}", exit.output);
        assert!(!exit.output.contains("Error"), "{}", exit.output);
    }
}

/// It starts where there is nothing but itself, and finds names there too.
#[tokio::test]
async fn no_library_of_the_system_is_needed() {
    let scene = Scene::new().await;
    let upstream = scene.upstream.url().replace("127.0.0.1", "localhost");
    let proxy = Proxy::start(&scene.flags_without(&["--upstream"], &[format!("--upstream={upstream}")])).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", proxy.id())).unwrap();
    assert!(!maps.contains(".so"), "{maps}");
}

#[tokio::test]
async fn flags_are_read_in_every_spelling() {
    let scene = Scene::new().await;
    let none: &[&str] = &[];
    let mut flags = scene.flags_without(&["--secure-listen-address", "--upstream"], none);
    let more = ["--secure_listen_address=127.0.0.1:0", "--upstream", &scene.upstream.url(), "--auth_header_fields_enabled", "-v", "1"];
    flags.extend(more.map(str::to_owned));
    let proxy = Proxy::start(&flags).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    assert_eq!(scene.upstream.only_request().header("x-remote-user"), Some("alice"));
    proxy.line_with(&["FLAG: --auth-header-fields-enabled=", "true"]).await;
    proxy.line_with(&["FLAG: --upstream=", &scene.upstream.url()]).await;
}

#[tokio::test]
async fn flags_without_effect_are_accepted_and_named_in_one_warning() {
    let scene = Scene::new().await;
    let old = [
        "--logtostderr=true",
        "--add_dir_header",
        "--alsologtostderr=true",
        "--log-backtrace-at=main.go:1",
        "--log-dir=/nowhere",
        "--log-file=/nowhere/log",
        "--log-file-max-size=1",
        "--one-output",
        "--skip-headers",
        "--skip-log-headers",
        "--stderrthreshold=2",
        "--vmodule=main=9",
        "--log-flush-frequency=1s",
    ];
    let proxy = scene.proxy(&old).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    for flag in old {
        let name = flag.split('=').next().unwrap().replace('_', "-");
        let warnings: Vec<_> = proxy.lines().into_iter().filter(|line| line.starts_with('W')).collect();
        let naming = |line: &&String| line.split([' ', '"', ',']).any(|word| word == name);
        assert_eq!(warnings.iter().filter(naming).count(), 1, "warnings of {name} in {warnings:#?}");
    }
    let none: &[&str] = &[];
    let quiet = scene.proxy(none).await;
    assert!(!quiet.lines().iter().any(|line| line.starts_with('W')), "{}", quiet.output());
}

#[tokio::test]
async fn logs_can_be_json() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--log-format=json", "-v=2"]).await;
    assert_status(&scene.get(&proxy, "/", FORGED).await, 401);
    proxy.line_with(&["\"reason\":\"token_rejected\""]).await;
    for line in proxy.lines() {
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["ts", "level", "caller", "msg"] {
            assert!(fields[name].is_string(), "{name} in {line}");
        }
    }
}

/// Whoever reads standard error may stop reading it.
#[tokio::test]
async fn logs_that_nobody_reads_hold_up_no_request() {
    let scene = Scene::new().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let flags = scene.flags(&[format!("--secure-listen-address={address}"), "-v=10".to_owned()]);
    let mut child = Command::new(binary()).args(&flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let tls = scene.authority.tls();
    let mut client = wait_for("the listener", async || Client::try_connect(Version::H1, address, &tls).await).await;
    // Each refusal is a line of 2 KB, together more than a pipe holds.
    let path = format!("/{}", "x".repeat(2000));
    for _ in 0..200 {
        assert_status(&client.send(&Request::get(&path).bearer(MALLORY)).await, 403);
    }
    // Nor does it matter that nobody can read them any more.
    drop(child.stderr.take());
    for _ in 0..20 {
        assert_status(&client.send(&Request::get(&path).bearer(MALLORY)).await, 403);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
