//! HTTP/2 as its RFCs have it, by a suite that is not ours.

use std::process::Command;

use testkit::{
    parts::{Part, skip},
    process::Process,
    upstream::Reply,
    wait::wait_for_within,
};
use tokio::time::Duration;

use crate::scene::Scene;

/// Of RFC 7540 and RFC 7541, the strict ones too, and those of its own.
const CASES: usize = 146;

/// The requests have no credentials: a path that anybody may ask for takes them all the way to the upstream. The frames are
/// as large as where nothing is said of them: one case sends a larger one without looking.
#[tokio::test]
async fn http2_conforms_over_tls_and_in_cleartext() {
    let program = match Part::H2spec.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    let scene = Scene::answering(|_| Reply::ok("x".repeat(1000))).await;
    let proxy = scene.proxy(&["--ignore-paths=/", "--http2-max-size=16384", "--insecure-listen-address=127.0.0.1:0"]).await;
    let runs = [(proxy.secure(), &["--tls", "--insecure"][..]), (proxy.insecure(), &[])].map(|(address, flags)| {
        let port = address.port().to_string();
        Process::spawn(Command::new(&program).args(["--strict", "--host", "127.0.0.1", "--timeout", "5", "--port", &port]).args(flags))
    });
    for run in runs {
        wait_for_within("the end of the cases", Duration::from_secs(120), async || {
            if run.is_running() { Err(run.lines().len().to_string()) } else { Ok(()) }
        })
        .await;
        let exit = run.exit().await;
        let verdict = format!("{CASES} tests, {CASES} passed, 0 skipped, 0 failed");
        assert!(exit.code == Some(0) && exit.output.contains(&verdict), "{}", exit.output);
    }
    assert!(scene.upstream.count() > 20, "requests went to the upstream");
}
