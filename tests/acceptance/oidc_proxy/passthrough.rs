//! Users who act as themselves, by tokens of their own.

use std::time::Instant;

use serde_json::{Value, json};
use testkit::{
    api::{Api, Credential, Fault, Kind},
    client::{Request, Response, Version},
    jwt::encode,
    process::Proxy,
    upstream::Received,
    wait::{wait_for, wait_until},
};

use super::{OWN, World};
use crate::scene::{BOTH, assert_status};

/// A ServiceAccount's.
const ROBOT: &str = "token-of-a-robot";
/// What the API server says to whatever is no review.
const ARRIVED: u16 = 404;

/// A world whose API server reviews tokens, and knows the robot's.
struct Reviewing {
    world: World,
    api: Api,
}

impl Reviewing {
    async fn new() -> Self {
        let world = World::new().await;
        let api = Api::start_tls(&world.authority.server()).await;
        api.user_info(ROBOT, json!({"username": "system:serviceaccount:n:robot", "groups": ["system:serviceaccounts"]}), &[]);
        let (ca, token) = (world.path("ca.pem"), world.path("own.token"));
        world.write_kubeconfig(&format!("server: '{}', certificate-authority: {ca}", api.server().url()), &format!("tokenFile: {token}"));
        Self { world, api }
    }

    /// Sends a request on a connection of its own.
    async fn send(&self, version: Version, proxy: &Proxy, request: &Request) -> Response {
        self.world.connect(version, proxy).await.send(request).await
    }

    /// The last request that is no review.
    fn arrived(&self) -> Received {
        self.all_arrived().pop().unwrap()
    }

    fn all_arrived(&self) -> Vec<Received> {
        self.api.server().requests().into_iter().filter(|received| !received.target().ends_with("/tokenreviews")).collect()
    }
}

/// Fails unless the request says who asks by this token and in no other way.
#[track_caller]
fn assert_as_himself(received: &Received, token: &str) {
    assert_eq!(received.head.all("authorization"), [format!("Bearer {token}")]);
    let names = received.head.fields.iter().map(|(name, _)| name.to_ascii_lowercase().replace('_', "-"));
    let others: Vec<String> = names.filter(|name| name.starts_with("impersonate-") || name.starts_with("x-remote-")).collect();
    assert_eq!(others, [""; 0]);
    assert_eq!(received.certificate, None);
}

/// A token among the subprotocols of a WebSocket.
fn websocket(token: &str) -> Request {
    let protocols = format!("base64url.bearer.authorization.k8s.io.{}, v5.channel.k8s.io", encode(token));
    Request::get("/exec").header("Connection", "Upgrade").header("Upgrade", "websocket").header("Sec-WebSocket-Protocol", &protocols)
}

#[tokio::test]
async fn tokens_of_the_api_server_pass_as_they_are() {
    let reviewing = Reviewing::new().await;
    let flags = ["--token-passthrough", "-v=5", "--extra-user-headers=a=b", "--extra-user-header-client-ip"];
    let (world, proxy) = (&reviewing.world, reviewing.world.proxy(&flags).await);
    let anna = world.token(json!({}));
    for version in BOTH {
        let request = Request::get("/api/v1/pods?a=%zz")
            .header("X-Remote-User", "root")
            .header("X_Remote_Group", "system:masters")
            .header("Impersonate_User", "root");
        assert_status(&reviewing.send(version, &proxy, &request.clone().bearer(ROBOT)).await, ARRIVED);
        assert_eq!(reviewing.arrived().target(), "/api/v1/pods?a=%zz");
        assert_as_himself(&reviewing.arrived(), ROBOT);
        let more = request.clone().header("Authorization", &format!("bEARER {ROBOT} and more"));
        assert_status(&reviewing.send(version, &proxy, &more).await, ARRIVED);
        assert_as_himself(&reviewing.arrived(), ROBOT);

        assert_status(&reviewing.send(version, &proxy, &request.clone().bearer(&anna)).await, ARRIVED);
        let received = reviewing.arrived();
        assert_eq!(
            (received.header("impersonate-user"), received.header("authorization").unwrap()),
            (Some("anna"), &*format!("Bearer {OWN}"))
        );

        let count = reviewing.all_arrived().len();
        for name in ["Impersonate-User", "impersonate-uid", "Impersonate-Extra-A"] {
            let response = reviewing.send(version, &proxy, &Request::get("/").bearer(ROBOT).header(name, "root")).await;
            assert_status(&response, 403);
            assert!(response.text().starts_with("Impersonation requests are disabled"), "{}", response.text());
        }
        for request in [Request::get("/").bearer("forged"), Request::get("/"), Request::get("/").header("Authorization", "Basic eDp5")] {
            assert_status(&reviewing.send(version, &proxy, &request).await, 401);
        }
        assert_eq!(reviewing.all_arrived().len(), count);
    }
    assert_status(&reviewing.send(Version::H1, &proxy, &websocket(ROBOT)).await, ARRIVED);
    assert_as_himself(&reviewing.arrived(), ROBOT);
    assert_eq!(reviewing.arrived().header("sec-websocket-protocol"), Some("v5.channel.k8s.io"));
    // Whoever sends two acts by the one that is good.
    assert_status(&reviewing.send(Version::H1, &proxy, &websocket(ROBOT).bearer("forged")).await, ARRIVED);
    assert_as_himself(&reviewing.arrived(), ROBOT);

    let reviews = reviewing.api.reviews(Kind::TokenReview);
    let specs: Vec<Value> = reviews.iter().map(|review| review.spec.clone()).collect();
    assert_eq!(specs, [json!({"token": ROBOT}), json!({"token": "forged"})], "one of each, and none of the issuer's tokens");
    assert!(reviews.iter().all(|review| review.request.header("authorization") == Some(&format!("Bearer {OWN}"))));
    proxy.line_with(&["token_rejected"]).await;
    proxy.assert_silent_about(&[ROBOT, OWN, &anna]);

    let proxy = world.proxy(&["--token-passthrough=false", "--token-passthrough-audiences=a"]).await;
    proxy.line_with(&["--token-passthrough-audiences is without effect"]).await;
    assert_status(&reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(ROBOT)).await, 401);
    assert_eq!(reviewing.api.reviews(Kind::TokenReview).len(), 2);
}

#[tokio::test]
async fn tokens_for_other_audiences_do_not_pass() {
    let reviewing = Reviewing::new().await;
    let proxy = reviewing.world.proxy(&["--token-passthrough", "--token-passthrough-audiences=a,b"]).await;
    for (token, audiences, status) in
        [("for-b", &["x", "b"][..], ARRIVED), ("for-x", &["x"], 401), ("for-nobody", &[], 401), ("for-A", &["A", "ab"], 401)]
    {
        reviewing.api.user_info(token, json!({"username": token}), audiences);
        assert_eq!(reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(token)).await.status, status, "{token}");
        assert_eq!(reviewing.api.reviews(Kind::TokenReview).pop().unwrap().spec, json!({"token": token, "audiences": ["a", "b"]}));
    }
    assert_eq!(reviewing.all_arrived().len(), 1);
    assert_as_himself(&reviewing.arrived(), "for-b");
}

#[tokio::test]
async fn many_requests_with_a_token_cost_one_review_in_ten_seconds() {
    const TOKENS: usize = 20;
    let reviewing = Reviewing::new().await;
    let proxy = reviewing.world.proxy(&["--token-passthrough"]).await;
    let tokens: Vec<String> = (0..TOKENS).map(|number| format!("token-of-robot-{number}")).collect();
    for token in &tokens {
        reviewing.api.user(token, "robot", &[]);
    }
    let start = Instant::now();
    let mut clients = Vec::new();
    for client in 0..10 {
        let (mut client, tokens) = (reviewing.world.connect(BOTH[client % 2], &proxy).await, tokens.clone());
        clients.push(tokio::spawn(async move {
            for number in 0..50 {
                assert_status(&client.send(&Request::get("/").bearer(&tokens[number % TOKENS])).await, ARRIVED);
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let (reviews, seconds) = (reviewing.api.reviews(Kind::TokenReview).len(), start.elapsed().as_secs());
    let periods = usize::try_from(seconds).unwrap() / 10 + 1;
    assert!(reviews >= TOKENS && reviews <= TOKENS * periods, "{reviews} reviews in {seconds} s");
    assert_eq!(reviewing.all_arrived().len(), 500);

    // What is remembered is forgotten in time.
    reviewing.api.revoke(&tokens[0]);
    wait_for("401", async || match reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(&tokens[0])).await.status {
        401 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn a_token_that_cannot_be_reviewed_is_503() {
    let reviewing = Reviewing::new().await;
    let proxy = reviewing.world.proxy(&["--token-passthrough", "-v=2"]).await;
    let anna = reviewing.world.token(json!({}));
    for (fault, reason) in [
        (Fault::Status(500, None), "api_error"),
        (Fault::Status(403, None), "api_credentials_refused"),
        (Fault::Reset, "api_unreachable"),
        (Fault::Html, "api_error"),
        (Fault::HangBeforeHead, "api_timeout"),
    ] {
        reviewing.api.fail(Kind::TokenReview, fault.clone());
        let response = reviewing.send(Version::H2, &proxy, &Request::get("/").bearer(ROBOT)).await;
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{fault:?}");
        wait_until(reason, || proxy.lines().iter().any(|line| line.contains("Request refused") && line.contains(reason))).await;
        assert_status(&reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(&anna)).await, ARRIVED);
        reviewing.api.heal();
    }
    assert_eq!(reviewing.all_arrived().len(), 5);
    assert_status(&reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(ROBOT)).await, ARRIVED);
    proxy.assert_silent_about(&[ROBOT, &anna]);
}

#[tokio::test]
async fn without_impersonation_users_keep_their_tokens() {
    let reviewing = Reviewing::new().await;
    let (world, proxy) = (&reviewing.world, reviewing.world.proxy(&["--disable-impersonation", "-v=5"]).await);
    let (anna, admin) = (world.token(json!({})), world.token(json!({"groups": ["system:masters"]})));
    for version in BOTH {
        let request = Request::get("/api").bearer(&anna).header("X-Remote-User", "root").header("Impersonate_User", "root");
        assert_status(&reviewing.send(version, &proxy, &request).await, ARRIVED);
        assert_as_himself(&reviewing.arrived(), &anna);
        proxy.line_with(&["AuSuccess", "URI:/api inbound:[anna / "]).await;
        let count = reviewing.all_arrived().len();
        let impersonating = Request::get("/").bearer(&anna).header("Impersonate-User", "root");
        for (request, status) in [
            (Request::get("/").bearer(ROBOT), 401),
            (Request::get("/").bearer(&world.token(json!({"exp": 1}))), 401),
            (Request::get("/").bearer(&admin), 403),
            (impersonating, 403),
        ] {
            assert_status(&reviewing.send(version, &proxy, &request).await, status);
        }
        assert_eq!(reviewing.all_arrived().len(), count);
    }
    assert_status(&reviewing.send(Version::H1, &proxy, &websocket(&anna)).await, ARRIVED);
    assert_as_himself(&reviewing.arrived(), &anna);
    assert_eq!(reviewing.arrived().header("sec-websocket-protocol"), Some("v5.channel.k8s.io"));
    assert_eq!(reviewing.api.counts(), (0, 0));
    proxy.assert_silent_about(&[&anna, &admin, OWN]);

    let proxy = world.proxy(&["--disable-impersonation", "--token-passthrough"]).await;
    for token in [&anna, ROBOT] {
        assert_status(&reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(token)).await, ARRIVED);
        assert_as_himself(&reviewing.arrived(), token);
    }
}

#[tokio::test]
async fn the_proxys_certificate_goes_along_with_nobody_who_acts_as_himself() {
    let reviewing = Reviewing::new().await;
    let (world, api) = (&reviewing.world, &reviewing.api);
    let own = world.authority.client("proxy", &[]);
    let kubeconfig = api.kubeconfig(world.folder.path(), Some(world.authority.pem()), Credential::Certificate(&own));
    assert_eq!(kubeconfig.display().to_string(), world.path("kubeconfig"));
    let certificate = Some(own.certificates()[0].to_vec());
    let anna = world.token(json!({}));
    let proxy = world.proxy(&["--token-passthrough"]).await;
    // On connections that are kept, and on those of tunnels, one after the other.
    for _ in 0..3 {
        for request in [Request::get("/").bearer(ROBOT), websocket(ROBOT)] {
            assert_status(&reviewing.send(Version::H1, &proxy, &request).await, ARRIVED);
            assert_as_himself(&reviewing.arrived(), ROBOT);
        }
        for request in [Request::get("/").bearer(&anna), websocket(&anna)] {
            assert_status(&reviewing.send(Version::H1, &proxy, &request).await, ARRIVED);
            let received = reviewing.arrived();
            assert_eq!((received.header("impersonate-user"), received.header("authorization")), (Some("anna"), None));
            assert_eq!(received.certificate, certificate);
        }
    }
    assert_eq!(api.reviews(Kind::TokenReview).pop().unwrap().request.certificate, certificate);
    let proxy = world.proxy(&["--disable-impersonation"]).await;
    for request in [Request::get("/").bearer(&anna), websocket(&anna)] {
        assert_status(&reviewing.send(Version::H1, &proxy, &request).await, ARRIVED);
        assert_as_himself(&reviewing.arrived(), &anna);
    }
}

#[tokio::test]
async fn who_acts_as_another_is_told_of_whoever_knows_him() {
    let reviewing = Reviewing::new().await;
    reviewing.api.rule(|spec| match spec["resourceAttributes"]["name"] == "otto" {
        true => testkit::api::Verdict::Allow,
        false => testkit::api::Verdict::NoOpinion,
    });
    let flags = ["--token-passthrough", "--inbound-impersonation=review", "--extra-user-headers=a=b"];
    let proxy = reviewing.world.proxy(&flags).await;
    let acting = |user: &str| Request::get("/").bearer(ROBOT).header("Impersonate-User", user);
    assert_status(&reviewing.send(Version::H1, &proxy, &acting("otto")).await, ARRIVED);
    let received = reviewing.api.server().last_request();
    assert_eq!(received.header("impersonate-user"), Some("otto"));
    assert_eq!(received.header("authorization"), Some(format!("Bearer {OWN}").as_str()));
    assert_eq!(received.header("impersonate-extra-originaluser.jetstack.io-user"), Some("system:serviceaccount:n:robot"));
    assert_eq!(received.header("impersonate-extra-a"), Some("b"));
    assert_status(&reviewing.send(Version::H1, &proxy, &acting("root")).await, 403);
    assert_status(&reviewing.send(Version::H1, &proxy, &Request::get("/").bearer(ROBOT)).await, ARRIVED);
    assert_as_himself(&reviewing.arrived(), ROBOT);

    // Who may not impersonate lets nobody act as another.
    let proxy = reviewing.world.proxy(&["--token-passthrough", "--inbound-impersonation=review", "--disable-impersonation"]).await;
    for token in [ROBOT, &reviewing.world.token(json!({}))] {
        let acting = Request::get("/").bearer(token).header("Impersonate-User", "otto");
        assert_status(&reviewing.send(Version::H1, &proxy, &acting).await, 403);
    }
}
