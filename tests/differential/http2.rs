//! HTTP/2 as its RFCs have it, by a suite that is not ours.

use std::{process::Command, time::Duration};

use testkit::{
    parts::{Part, skip},
    process::Process,
    upstream::{Reply, Upstream},
    wait::wait_for_within,
};

use crate::stage::{Program, Stage};

/// go-16: some of h2spec's strict cases fail before the Go program, none before this one, of which the acceptance suite
/// asks the same in cleartext too.
#[tokio::test]
async fn http2_is_spoken_to_the_letter_where_the_go_program_does_not() {
    let (go, h2spec) = match (Part::KubeRbacProxyGo.path(), Part::H2spec.path()) {
        (Ok(go), Ok(h2spec)) => (go, h2spec),
        (Err(absent), _) | (_, Err(absent)) => return skip(absent),
    };
    let upstream = Upstream::start(|_| Reply::ok("x".repeat(1000))).await;
    let flags = [&format!("--upstream={}", upstream.url()), "--ignore-paths=/", "--http2-max-size=16384"];
    let mut verdicts = Vec::new();
    for program in [Program::Go, Program::Ours] {
        let stage = Stage::serving(program, &go, &flags, &[]).await;
        let port = stage.address.port().to_string();
        let arguments = ["--strict", "--host", "127.0.0.1", "--timeout", "5", "--tls", "--insecure", "--port", &port];
        let run = Process::spawn(Command::new(&h2spec).args(arguments));
        wait_for_within("the end of the cases", Duration::from_secs(240), async || {
            if run.is_running() { Err(run.lines().len().to_string()) } else { Ok(()) }
        })
        .await;
        let output = run.exit().await.output;
        let verdict = output.lines().rfind(|line| line.contains(" skipped, ")).map(str::to_owned);
        verdicts.push(verdict.unwrap_or_else(|| panic!("{program:?}: {output}")));
    }
    let [of_go, ours] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert!(ours.ends_with(" 0 failed") && !of_go.ends_with(" 0 failed"), "Go: {of_go}; ours: {ours}");
}
