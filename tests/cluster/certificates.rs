//! Client certificates of the cluster's own authority.

use testkit::{
    certs::{Authority, Pair},
    client::{Client, Request, Response, Version},
    cluster,
    process::Proxy,
    tls::Tls,
};

use crate::scene::{Scene, assert_status};

#[tokio::test]
async fn a_certificate_is_a_user_whose_groups_rbac_knows() {
    let Some(cluster) = cluster::guest().await else { return };
    let Some(authority) = cluster.authority() else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/metrics"]).await;
    let group = format!("scrapers-{}", scene.namespace);
    scene.allow_group(&group, "/metrics").await;
    let client_ca = scene.write("client-ca.crt", authority.pem());
    let proxy = scene.proxy(&[&format!("--client-ca-file={client_ca}")]).await;

    // Any of the groups will do.
    let carol = authority.client("carol", &["others", &group]);
    let allowed = get(&proxy, &carol, None).await;
    assert_status(&allowed, 200);
    assert_eq!(allowed.text(), "carol /metrics");

    let dave = authority.client("dave", &["others"]);
    let denied = get(&proxy, &dave, None).await;
    assert_status(&denied, 403);
    assert_eq!(denied.text().trim_end(), "Forbidden (user=dave, verb=get, resource=, subresource=)");
    // A certificate that is good is not outdone by a token.
    assert_status(&get(&proxy, &dave, Some(&alice.token)).await, 403);

    let stranger = Authority::new("another").client("carol", &[&group]);
    assert_status(&get(&proxy, &stranger, None).await, 401);
    let by_token = get(&proxy, &stranger, Some(&alice.token)).await;
    assert_status(&by_token, 200);
    assert_eq!(by_token.text(), format!("{} /metrics", alice.user));
}

#[tokio::test]
async fn a_certificate_is_nobody_without_an_authority_to_trust() {
    let Some(cluster) = cluster::guest().await else { return };
    let Some(authority) = cluster.authority() else { return };
    let mut scene = Scene::new(&cluster).await;
    let group = format!("scrapers-{}", scene.namespace);
    scene.allow_group(&group, "/metrics").await;
    let proxy = scene.proxy(&[]).await;
    assert_status(&get(&proxy, &authority.client("carol", &[&group]), None).await, 401);
}

async fn get(proxy: &Proxy, certificate: &Pair, token: Option<&str>) -> Response {
    let mut client = Client::connect(Version::H1, proxy.secure(), &Tls::presenting(certificate)).await;
    let request = Request::get("/metrics");
    client.send(&token.map_or(request.clone(), |token| request.bearer(token))).await
}
