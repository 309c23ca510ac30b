//! What the API server is told of users beside what their tokens say.

use serde_json::json;
use testkit::{
    client::{Request, Version},
    process::Proxy,
};

use super::World;
use crate::scene::{BOTH, assert_status};

impl World {
    /// What the API server is told of anna: `key=value`, in order of the keys.
    async fn extras(&self, version: Version, proxy: &Proxy, request: Request) -> Vec<String> {
        let request = request.bearer(&self.token(json!({})));
        assert_status(&self.connect(version, proxy).await.send(&request).await, 200);
        let fields = self.api.last_request().head.fields;
        let mut extras: Vec<String> = fields
            .iter()
            .filter_map(|(name, value)| Some(format!("{}={value}", name.to_ascii_lowercase().strip_prefix("impersonate-extra-")?)))
            .collect();
        extras.sort();
        extras
    }
}

/// Splits off the client's port, which nobody knows before.
#[track_caller]
fn without_port(extra: &str) -> &str {
    let (rest, port) = extra.rsplit_once(':').unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    rest
}

#[tokio::test]
async fn extras_are_told_of_every_user() {
    let world = World::new().await;
    let proxy = world.proxy(&[]).await;
    assert_eq!(world.extras(Version::H1, &proxy, Request::get("/foo/bar")).await, [""; 0]);

    let flags = ["--extra-user-header-client-ip", "--extra-user-headers=key1=foo,key2=foo,key1=bar", "--extra-user-headers=a/ü=x y"];
    let proxy = world.proxy(&flags).await;
    for version in BOTH {
        let forged = Request::get("/foo/bar").header("X-Forwarded-For", "1.1.1.1").header("X-Real-Ip", "1.1.1.1");
        let forged = forged.header("Impersonate_Extra_Key1", "x").header("Forwarded", "for=1.1.1.1");
        let told = world.extras(version, &proxy, forged).await;
        let expected = ["a%2f%c3%bc=x y", "key1=bar", "key1=foo", "key2=foo", "remote-client-ip=127.0.0.1"];
        assert_eq!((&told[..4], without_port(&told[4]), told.len()), (&expected.map(str::to_owned)[..4], expected[4], 5), "{told:?}");
        assert_eq!(world.api.last_request().head.all("impersonate-extra-key1"), ["foo", "bar"], "in the order of the flag");
        // Nothing is left of a user before.
        let token = world.token(json!({"sub": "otto", "jti": "1"}));
        assert_status(&world.connect(version, &proxy).await.send(&Request::get("/").bearer(&token)).await, 200);
        assert_eq!(world.api.last_request().head.all("impersonate-extra-key1"), ["foo", "bar"]);
        assert_eq!(world.api.last_request().header("impersonate-extra-authentication.kubernetes.io%2Fcredential-id"), Some("JTI=1"));
    }
}

#[tokio::test]
async fn the_client_of_a_trusted_proxy_is_told() {
    let world = World::new().await;
    let request = || Request::get("/").header("X-Forwarded-For", "6.6.6.6, 9.9.9.9").header("X-Forwarded-For", "10.0.0.1");
    for (trusted, client, passed) in [
        ("127.0.0.0/8,10.0.0.0/8", "9.9.9.9", "6.6.6.6, 9.9.9.9, 10.0.0.1, 127.0.0.1"),
        ("127.0.0.1", "10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.1, 127.0.0.1"),
        ("10.0.0.0/8", "127.0.0.1", "127.0.0.1"),
    ] {
        let proxy = world.proxy(&["--extra-user-header-client-ip", &format!("--trusted-proxies={trusted}")]).await;
        for version in BOTH {
            let told = world.extras(version, &proxy, request()).await;
            assert_eq!((told.len(), without_port(&told[0])), (1, format!("remote-client-ip={client}").as_str()), "{trusted}: {told:?}");
            assert_eq!(world.api.last_request().head.all("x-forwarded-for"), [passed], "{trusted}");
        }
    }
}
