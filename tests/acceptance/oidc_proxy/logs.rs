//! What is told of requests: a line for each, and metrics.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{
    client::{Client, Request, Version},
    process::{Process, Proxy, oidc_binary},
    wait::wait_for,
};

use super::{OWN, World, start::probe};
use crate::scene::{BOTH, assert_status};

/// Fails unless these are the lines about requests, behind their dates.
async fn assert_told(proxy: &Proxy, expected: &[&str]) {
    wait_for("a line for each request", async || {
        let lines = proxy.lines();
        let dated = lines.iter().filter_map(|line| line.split_once("+0000] "));
        let told: Vec<_> = dated.filter(|(date, _)| date.len() == "[2006-01-02T15:04:05".len()).map(|(_, told)| told).collect();
        if told == expected { Ok(()) } else { Err(told.join("\n")) }
    })
    .await;
}

#[tokio::test]
async fn each_request_has_a_line_in_the_words_of_the_go_program() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let token = world.token(json!({"sub": "änna", "groups": ["devs", "/ops"], "jti": "1/2"}));
    for version in BOTH {
        let mut client = world.connect(version, &proxy).await;
        let request = Request::get("/api/v1/pods?watch=0&token=hush").header("X-Forwarded-For", "127.0.0.1, 5.6.7.8");
        assert_status(&client.send(&request.clone().bearer(&token)).await, 200);
        assert_status(&client.send(&request.bearer("hush")).await, 401);
    }
    let success = "AuSuccess src:[127.0.0.1 / 5.6.7.8] URI:/api/v1/pods inbound:[änna / devs|/ops|system:authenticated / \
                   authentication.kubernetes.io/credential-id=JTI=1/2 ]";
    let fail = "AuFail src:[127.0.0.1 / 5.6.7.8] URI:/api/v1/pods";
    assert_told(&proxy, &[success, fail, success, fail]).await;
    proxy.assert_silent_about(&[&token, "hush", OWN]);
}

#[tokio::test]
async fn no_name_forges_a_line_about_a_request() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let forged = "x / y] outbound:[root";
    let claims = json!({"sub": forged, "groups": [forged, "a|b"], "jti": "1 ] 2"});
    assert_status(&world.send(&proxy, claims, Request::get("/").header("X-Forwarded-For", "] URI:/x")).await, 200);
    let (line, other) =
        ("\n[2006-01-02T15:04:05+0000] AuSuccess src:[1.1.1.1 / ] URI:/ inbound:[root / a / ]", Request::get("/a%0aAuFail"));
    assert_status(&world.send(&proxy, json!({"groups": [line]}), other.clone()).await, 403);
    assert_status(&world.send(&proxy, json!({}), other.header("Authorization", "Bearer x")).await, 400);
    let fail = "AuFail src:[127.0.0.1 / ] URI:/a%0aAuFail";
    let success = format!(
        "AuSuccess src:[127.0.0.1 / \"] URI:/x\"] URI:/ inbound:[{forged:?} / {forged:?}|\"a|b\"|system:authenticated / \
         authentication.kubernetes.io/credential-id=\"JTI=1 ] 2\" ]"
    );
    assert_told(&proxy, &[&success, fail, fail]).await;
}

#[tokio::test]
async fn requests_are_told_in_json_and_on_standard_output_alone() {
    let world = World::new().await;
    let flags = world.flags(&["--log-format=json", "--bind-address=127.0.0.1"]);
    let proxy = Process::spawn(Command::new("sh").args(["-c", "exec \"$0\" \"$@\" 2>/dev/null"]).arg(oidc_binary()).args(&flags));
    let port = flags.iter().find_map(|flag| flag.strip_prefix("--secure-port=")).unwrap();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let token = world.token(json!({"groups": ["a|b"]}));
    wait_for("200", async || {
        let mut client = Client::try_connect(Version::H1, address, &world.authority.tls()).await.map_err(|why| why.to_string())?;
        match client.send(&Request::get("/a?b").bearer(&token)).await.status {
            200 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let line: Value = serde_json::from_str(&proxy.line_with(&["AuSuccess"]).await).unwrap();
    for (name, value) in [
        ("level", json!("info")),
        ("src", json!("127.0.0.1")),
        ("forwardedFor", json!("")),
        ("uri", json!("/a")),
        ("inbound", json!({"user": "anna", "groups": ["a|b", "system:authenticated"], "uid": "", "extra": {}})),
        ("outbound", json!(null)),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    let is_of_a_request = |line: &String| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| ["AuSuccess", "AuFail"].contains(&line["msg"].as_str().unwrap()))
    };
    assert!(proxy.lines().iter().all(is_of_a_request), "{}", proxy.output());
}

#[tokio::test]
async fn metrics_are_on_the_port_of_the_probes() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let token = world.token(json!({"sub": "somebody"}));
    let mut client = world.connect(Version::H2, &proxy).await;
    assert_status(&client.send(&Request::get("/").bearer(&token)).await, 200);
    assert_status(&client.send(&Request::get("/").bearer(&token).header("Impersonate-User", "b")).await, 403);
    let (status, metrics) = probe(&proxy, "GET", "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "kube_oidc_proxy_requests_total{code=\"200\",reason=\"\"} 1",
        "kube_oidc_proxy_requests_total{code=\"403\",reason=\"impersonation_disabled\"} 1",
        "kube_oidc_proxy_connections{listener=\"secure\"} 1",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    for secret in ["somebody", &token, OWN] {
        assert!(!metrics.contains(secret), "{metrics}");
    }
}
