//! Names in certificates: those that clients ask for, and that of the API server.

use std::fs;

use serde_json::json;
use testkit::{
    certs::{Authority, Pair, Subject},
    client::{Client, Request, Version},
    process::Proxy,
    tls::Tls,
    upstream::{Reply, Upstream},
    wait::wait_for,
};

use super::World;
use crate::scene::assert_status;

#[tokio::test]
async fn pairs_are_served_by_the_name_that_a_client_asks_for() {
    let world = World::new().await;
    let of = |names: &[&str]| world.authority.issue(&Subject::server(names));
    let (explicit, own, wild) = (of(&["localhost"]), of(&["a.test", "c.test", "*.D.test", "f.e.test"]), of(&["localhost"]));
    let write = |pair: &Pair, name: &str| {
        let (certificate, key) = pair.write(world.folder.path(), name);
        format!("--tls-sni-cert-key={}, {}", certificate.display(), key.display())
    };
    let flags =
        [write(&explicit, "explicit") + ":A.test,*.b.test", write(&own, "own"), write(&wild, "wild") + ": x.d.test , *.e.test,localhost2"];
    let proxy = world.proxy(&flags.each_ref().map(String::as_str)).await;
    let served = async |proxy: &Proxy, name: &str| {
        let client = Client::connect(Version::H2, proxy.secure(), &Tls::default().named(name)).await;
        client.agreed().chain.clone()
    };
    let usual = served(&proxy, "localhost").await;
    for (name, pair) in [
        ("127.0.0.1", None),
        ("a.test", Some(&explicit)),
        ("A.TEST", Some(&explicit)),
        ("x.b.test", Some(&explicit)),
        ("b.test", None),
        ("y.x.b.test", None),
        ("c.test", Some(&own)),
        ("y.d.test", Some(&own)),
        ("x.d.test", Some(&wild)),
        ("f.e.test", Some(&own)),
        ("g.e.test", Some(&wild)),
        ("localhost2", Some(&wild)),
        ("elsewhere.test", None),
    ] {
        assert_eq!(served(&proxy, name).await, pair.map_or(usual.clone(), Pair::certificates), "{name}");
    }
    // A broken one leaves the last, and another takes its place.
    fs::write(world.path("own.crt"), "broken").unwrap();
    proxy.line_with(&["what they held before stays in use", "--tls-sni-cert-key"]).await;
    assert_eq!(served(&proxy, "c.test").await, own.certificates());
    let other = of(&["h.test"]);
    other.write(world.folder.path(), "own");
    wait_for("the other pair", async || match served(&proxy, "h.test").await == other.certificates() {
        true => Ok(()),
        false => Err("still the usual one"),
    })
    .await;
    assert_eq!(served(&proxy, "c.test").await, usual);
    assert_status(&world.send(&proxy, json!({}), Request::get("/")).await, 200);

    // Without a usual pair the first is for all others.
    let flags = world.flags(&[&flags[1], &flags[0]]);
    let flags: Vec<_> = flags.into_iter().filter(|flag| !flag.starts_with("--tls-cert") && !flag.starts_with("--tls-private")).collect();
    let proxy = world.started(&flags).await;
    assert_eq!(served(&proxy, "elsewhere.test").await, other.certificates());
    assert_eq!(served(&proxy, "a.test").await, explicit.certificates());
}

#[tokio::test]
async fn what_is_no_pair_with_names_ends_the_start() {
    let world = World::new().await;
    for text in ["", "a", "a,b,c", "a,", ",b", "a,b:", "a,b:x,,y"] {
        let exit = Proxy::run_oidc(&world.flags(&[&format!("--tls-sni-cert-key={text}")])).await;
        let why = format!("--tls-sni-cert-key: {text:?} must be formatted as cert,key or cert,key:name,name");
        assert!(exit.code == Some(1) && exit.output.contains(&why), "{text}: {}", exit.output);
    }
    let exit = Proxy::run_oidc(&world.flags(&["--tls-sni-cert-key=/nowhere/1,/b", "--tls-sni-cert-key=/nowhere/2,/b:a"])).await;
    for why in ["--tls-sni-cert-key: /nowhere/1", "--tls-sni-cert-key: /nowhere/2"] {
        assert!(exit.code == Some(1) && exit.output.contains(why), "{}", exit.output);
    }
}

#[tokio::test]
async fn the_api_server_may_have_another_name_than_its_url() {
    let authority = Authority::new("all");
    let pair = authority.issue(&Subject::server(&["kubernetes.test"]));
    let api = Upstream::start_tls(&pair, |_| Reply::ok("as it should be")).await;
    let world = World::around(authority, api).await;
    let url = world.api.url();
    let get = async |proxy: &Proxy| world.send(proxy, json!({}), Request::get("/")).await.status;
    assert_eq!(get(&world.proxy(&[]).await).await, 502);
    assert_eq!(get(&world.proxy(&["--tls-server-name=kubernetes.test"]).await).await, 200);
    assert_eq!(get(&world.proxy(&["--tls-server-name=other.test"]).await).await, 502);

    let (ca, token) = (world.path("ca.pem"), world.path("own.token"));
    let cluster = format!("server: '{url}', certificate-authority: {ca}, tls-server-name: kubernetes.test");
    world.write_kubeconfig(&cluster, &format!("tokenFile: {token}"));
    assert_eq!(get(&world.proxy(&[]).await).await, 200);
    assert_eq!(get(&world.proxy(&["--tls-server-name=other.test"]).await).await, 502);
    // As in client-go: whoever names another server means that server's name.
    let server = format!("--server={url}");
    assert_eq!(get(&world.proxy(&[&server]).await).await, 502);
    assert_eq!(get(&world.proxy(&[&server, "--tls-server-name=kubernetes.test"]).await).await, 200);

    let exit = Proxy::run_oidc(&world.flags(&["--tls-server-name=a b"])).await;
    assert!(exit.code == Some(1) && exit.output.contains("tls-server-name: invalid dns name"), "{}", exit.output);
    let mut flags = world.flags_of_serving();
    flags.push("--tls-server-name=a".to_owned());
    let exit = Proxy::run_oidc(&flags).await;
    assert!(exit.output.contains("--tls-server-name is without effect in the pod's cluster"), "{}", exit.output);
}
