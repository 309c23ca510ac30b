//! What clients read when they get nothing else.

use serde_json::{Value, json};
use testkit::client::{Request, Version};

use super::World;
use crate::scene::{BOTH, assert_status};

const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn errors_are_a_status_for_who_reads_it_and_the_old_text_for_others() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let (good, old) = (world.token(json!({})), world.token(json!({"exp": 1})));
    let impersonating = Request::get("/").bearer(&good).header("Impersonate-User", "b");
    for (request, status, reason, text) in [
        (Request::get("/"), 401, "Unauthorized", "Unauthorized"),
        (Request::get("/").bearer(&old), 401, "Unauthorized", "Unauthorized"),
        (Request::get("/").header("Authorization", "Basic eDp5"), 401, "Unauthorized", "Unauthorized"),
        (impersonating, 403, "Forbidden", "Impersonation requests are disabled when using kube-oidc-proxy"),
    ] {
        for version in BOTH {
            let mut client = world.connect(version, &proxy).await;
            for accept in [KUBECTL, "application/vnd.kubernetes.protobuf", "*/*"] {
                let response = client.send(&request.clone().header("Accept", accept)).await;
                assert_eq!((response.status, response.header("content-type")), (status, Some("application/json")));
                let said: Value = serde_json::from_str(&response.text()).unwrap();
                assert_eq!((&said["kind"], &said["code"], &said["reason"]), (&json!("Status"), &json!(status), &json!(reason)));
                assert_eq!((&said["message"], &said["details"]["causes"][0]["message"]), (&json!(text), &json!(text)));
            }
            for plain in [request.clone(), request.clone().header("Accept", "text/plain")] {
                let response = client.send(&plain).await;
                assert_eq!((response.status, response.text()), (status, format!("{text}\n")));
                assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
                assert_eq!(response.header("www-authenticate"), (status == 401).then_some("Bearer realm=\"kubernetes\""));
            }
        }
    }
    proxy.line_with(&["token_rejected", "the token has expired"]).await;
    proxy.assert_silent_about(&[&old, &good]);
}

#[tokio::test]
async fn a_failure_of_the_api_server_is_502_and_its_answers_pass_as_they_are() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    let request = Request::get("/").header("Accept", KUBECTL);
    assert_status(&world.send(&proxy, json!({}), request.clone()).await, 200);
    let (token, World { api, authority, issuer: _issuer, .. }) = (world.token(json!({})), world);
    drop(api);
    let mut client = testkit::client::Client::connect(Version::H1, proxy.secure(), &authority.tls()).await;
    let response = client.send(&request.bearer(&token)).await;
    let said: Value = serde_json::from_str(&response.text()).unwrap();
    assert_eq!((response.status, &said["code"], &said["message"]), (502, &json!(502), &json!("Bad Gateway")));
    let response = client.send(&Request::get("/").bearer(&token)).await;
    assert_eq!((response.status, response.text().as_str()), (502, ""));
}
