//! docs/several-clusters.md: one issuer, two clusters.

use std::fs;

use serde_json::json;
use testkit::{
    client::{Request, Version},
    process::Proxy,
    upstream::{Reply, Upstream},
};

use super::{OWN, World};
use crate::scene::{BOTH, assert_status};

/// The flags of the page's command for this client, with what is different on this machine.
fn flags(world: &World, client: &str, kubeconfig: &str) -> Vec<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/several-clusters.md")).unwrap();
    let is_it = |block: &&str| block.starts_with("sh\nkube-oidc-proxy") && block.contains(&format!("--oidc-client-id={client} "));
    let command = page.split("```").find(is_it).unwrap();
    let of_the_page = || command.split_whitespace().filter(|word| word.starts_with("--"));
    let mut here = world.flags_of_serving();
    here.push(format!("--kubeconfig={}", world.path(kubeconfig)));
    let name = |flag: &str| flag.split('=').next().unwrap().to_owned();
    let said = ["--oidc-client-id", "--oidc-groups-claim"];
    here.retain(|flag| !said.contains(&name(flag).as_str()));
    let is_known_here = |flag: &&str| here.iter().any(|known| name(known) == name(flag));
    assert_eq!(of_the_page().filter(is_known_here).count(), 5, "issuer, kubeconfig, pair and port are this machine's");
    let more: Vec<String> = of_the_page().filter(|flag| !is_known_here(flag)).map(str::to_owned).collect();
    [here, more].concat()
}

#[tokio::test]
async fn a_token_of_one_cluster_is_none_of_another() {
    let world = World::new().await;
    let other = Upstream::start_tls(&world.authority.server(), |_| Reply::ok("b")).await;
    fs::rename(world.path("kubeconfig"), world.path("a")).unwrap();
    world.write_kubeconfig(&format!("server: '{}', certificate-authority: {}", other.url(), world.path("ca.pem")), "token: own-of-b");
    let (a, b) = (world.started(&flags(&world, "cluster-a", "a")).await, world.started(&flags(&world, "cluster-b", "kubeconfig")).await);
    let get = async |version: Version, proxy: &Proxy, aud: serde_json::Value| {
        let request = Request::get("/api/v1/pods").bearer(&world.token(json!({"aud": aud})));
        world.connect(version, proxy).await.send(&request).await
    };
    for version in BOTH {
        assert_status(&get(version, &a, json!("cluster-a")).await, 200);
        assert_eq!(world.told(), ("oidc:anna".to_owned(), vec!["oidc:devs".to_owned(), "system:authenticated".to_owned()]));
        assert_status(&get(version, &b, json!("cluster-a")).await, 401);
        assert_status(&get(version, &a, json!(["cluster-b", "client"])).await, 401);
        assert_eq!(other.take_requests().len(), 0);
        assert_status(&get(version, &b, json!(["cluster-b"])).await, 200);
        assert_eq!(other.take_requests()[0].header("authorization"), Some("Bearer own-of-b"));
        assert_eq!(world.api.take_requests().len(), 1, "what was for A");
        // What the page warns of.
        for proxy in [&a, &b] {
            assert_status(&get(version, proxy, json!(["cluster-a", "cluster-b"])).await, 200);
        }
        assert_eq!((world.api.take_requests().len(), other.take_requests().len()), (1, 1));
    }
    b.line_with(&["token_rejected", "the token's aud does not contain the client ID"]).await;
    b.assert_silent_about(&[OWN, "own-of-b"]);
}
