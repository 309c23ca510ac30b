//! What becomes of requests when the API server gives no answer.

use std::time::{Duration, Instant};

use testkit::{
    api::{Api, Credential, Fault, Kind},
    certs::Authority,
    client::{Client, Request, Response, Version},
    upstream::{Reply, Upstream},
    wait::{in_time, wait_for, wait_until},
};
use tokio::task::JoinSet;

use crate::scene::{ALICE, BOB, Scene, assert_status};

/// All calls of a request together, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_millis(5_000 + 1_500);

const KINDS: [(Kind, &str); 2] = [(Kind::TokenReview, BOB), (Kind::SubjectAccessReview, ALICE)];

#[track_caller]
fn assert_unavailable(response: &Response) {
    assert_status(response, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.text(), "Service Unavailable\n");
}

/// Go says 401, up to 4.6 s and five tries later, and follows the redirect.
#[tokio::test]
async fn an_api_server_that_fails_is_503_within_two_tries() {
    let elsewhere = Upstream::start(|_| Reply::ok("")).await;
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    let mut refusals = 0;
    for (fault, reason, tries) in [
        (Fault::Status(500, None), "api_error", 2),
        (Fault::Status(502, None), "api_error", 2),
        (Fault::Status(503, None), "api_error", 2),
        (Fault::Status(503, Some(1)), "api_error", 2),
        (Fault::Status(504, None), "api_error", 2),
        (Fault::Status(429, None), "api_error", 2),
        (Fault::Status(429, Some(3600)), "api_error", 1),
        (Fault::Status(400, None), "api_error", 1),
        (Fault::Status(404, None), "api_error", 1),
        (Fault::Status(409, None), "api_error", 1),
        (Fault::Status(401, None), "api_credentials_refused", 1),
        (Fault::Status(403, None), "api_credentials_refused", 1),
        (Fault::Reset, "api_unreachable", 2),
        (Fault::Garbage, "api_unreachable", 2),
        (Fault::Truncated, "api_unreachable", 2),
        (Fault::Html, "api_error", 1),
        (Fault::OtherKind, "api_error", 1),
        (Fault::Endless, "api_error", 1),
        (Fault::Redirect(elsewhere.url()), "api_error", 1),
    ] {
        for (kind, token) in KINDS {
            scene.api.forget();
            scene.api.fail(kind, fault.clone());
            let start = Instant::now();
            let response = scene.get(&proxy, "/new", token).await;
            assert_eq!(response.status, 503, "{fault:?} of {kind:?}");
            assert_unavailable(&response);
            assert!(start.elapsed() < DEADLINE, "{fault:?} of {kind:?}: {:?}", start.elapsed());
            assert_eq!(scene.api.reviews(kind).len(), tries, "tries after {fault:?} of {kind:?}");
            scene.api.heal();
            refusals += 1;
            let said = wait_for("the refusal's line", async || {
                let mut lines = proxy.lines().into_iter().filter(|line| line.contains("Request refused"));
                lines.nth(refusals - 1).ok_or("there is none")
            })
            .await;
            assert!(said.starts_with('W') && said.contains(reason), "{fault:?} of {kind:?}: {said}");
            // Whoever needs no new answer is not concerned.
            assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
        }
    }
    assert_eq!((scene.upstream.count(), elsewhere.count()), (39, 0), "nothing passes and no redirect is followed");
}

#[tokio::test]
async fn an_api_server_that_fails_once_is_asked_once_more() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for (kind, token) in KINDS {
        scene.api.forget();
        scene.api.fail(kind, Fault::Status(500, None));
        let healed = async {
            wait_until("the first try", || !scene.api.reviews(kind).is_empty()).await;
            scene.api.heal();
        };
        let (response, ()) = tokio::join!(scene.get(&proxy, "/", token), healed);
        assert_status(&response, 200);
        assert_eq!(scene.api.reviews(kind).len(), 2);
    }
}

/// Go waits 30 s for a TokenReview, and for a SubjectAccessReview without end.
#[tokio::test]
async fn an_api_server_that_hangs_is_waited_for_five_seconds() {
    let scene = Scene::new().await;
    let proxy = scene.proxy_with_endpoints(&[]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    let mut requests = JoinSet::new();
    for (fault, path) in [(Fault::HangBeforeHead, "/before"), (Fault::HangInBody, "/within")] {
        for (kind, _) in KINDS {
            scene.api.fail(kind, fault.clone());
        }
        for token in [ALICE, BOB, "another"] {
            let mut client = scene.connect(Version::H1, &proxy).await;
            let request = Request::get(path).bearer(&format!("{token}{}", if token == ALICE { "" } else { path }));
            requests.spawn(async move {
                let start = Instant::now();
                let response = client.send(&request).await;
                (response, start.elapsed())
            });
        }
        let asked = if path == "/before" { 3 } else { 6 };
        wait_until("the questions", || scene.api.counts().0 + scene.api.counts().1 >= 2 + asked).await;
    }
    // The proxy itself is well, and whoever needs no new answer is not concerned.
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    let mut probe = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_status(&probe.send(&Request::get(path)).await, 200);
    }
    for (response, took) in requests.join_all().await {
        assert_unavailable(&response);
        assert!((Duration::from_millis(4_500)..DEADLINE).contains(&took), "it took {took:?}");
    }
    scene.api.heal();
    assert_status(&scene.get(&proxy, "/before", BOB).await, 200);
}

#[tokio::test]
async fn all_calls_of_a_request_have_one_deadline() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for (kind, _) in KINDS {
        scene.api.fail(kind, Fault::Delay(Duration::from_secs(3)));
    }
    let start = Instant::now();
    assert_unavailable(&scene.get(&proxy, "/", ALICE).await);
    assert!((Duration::from_millis(4_500)..DEADLINE).contains(&start.elapsed()), "it took {:?}", start.elapsed());
    assert_eq!(scene.api.counts(), (1, 1));
}

#[tokio::test]
async fn an_api_server_that_is_not_there_is_found_when_it_comes() {
    let scene = Scene::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = std::fs::read_to_string(scene.path("kubeconfig")).unwrap();
    let port = scene.api.server().address().port().to_string();
    let kubeconfig = scene.write("elsewhere", kubeconfig.replace(&port, &nobody.port().to_string()));
    let proxy = scene.proxy(&[format!("--kubeconfig={kubeconfig}")]).await;
    assert_unavailable(&scene.get(&proxy, "/", ALICE).await);
    proxy.line_with(&["W", "api_unreachable", "refused"]).await;
}

#[tokio::test]
async fn api_failures_can_have_gos_status() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--compat-api-errors"]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    for fault in [Fault::Status(500, None), Fault::Status(403, None), Fault::Reset, Fault::Html] {
        scene.api.fail(Kind::TokenReview, fault.clone());
        let unauthorized = scene.get(&proxy, "/", BOB).await;
        assert_status(&unauthorized, 401);
        assert_eq!((unauthorized.text().as_str(), unauthorized.header("retry-after")), ("Unauthorized\n", None));
        scene.api.heal();

        scene.api.fail(Kind::SubjectAccessReview, fault);
        let failed = scene.get(&proxy, "/", ALICE).await;
        assert_status(&failed, 500);
        assert_eq!(failed.text(), "Authorization error (user=alice, verb=get, resource=, subresource=)\n");
        scene.api.heal();
    }
    proxy.line_with(&["W", "api_failed_authentication"]).await;
    proxy.line_with(&["W", "api_failed_authorization"]).await;
}

#[tokio::test]
async fn a_permission_that_the_proxy_lacks_is_named_in_the_log() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for ((kind, token), permission) in
        KINDS.into_iter().zip(["create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io"])
    {
        scene.api.fail(kind, Fault::Status(403, None));
        let response = scene.get(&proxy, "/", token).await;
        assert_unavailable(&response);
        assert_eq!(response.header("www-authenticate"), None);
        proxy.line_with(&["W", "api_credentials_refused", "403", permission]).await;
        scene.api.heal();
    }
}

#[tokio::test]
async fn calls_to_the_api_can_be_limited() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--kube-api-qps=0.01", "--kube-api-burst=4"]).await;
    for path in ["/1", "/2", "/3"] {
        assert_status(&scene.get(&proxy, path, ALICE).await, 200);
    }
    assert_eq!(scene.api.counts(), (1, 3));
    let start = Instant::now();
    assert_unavailable(&scene.get(&proxy, "/4", ALICE).await);
    assert_unavailable(&scene.get(&proxy, "/1", BOB).await);
    assert!(start.elapsed() < Duration::from_secs(2), "nobody waits in vain: {:?}", start.elapsed());
    proxy.line_with(&["W", "api_busy"]).await;
    assert_eq!(scene.api.counts(), (1, 3));
    assert_status(&scene.get(&proxy, "/1", ALICE).await, 200);

    // Go's 5 a second for 10 do not hold.
    let unlimited = scene.proxy::<&str>(&[]).await;
    let start = Instant::now();
    for path in 0..40 {
        assert_status(&scene.get(&unlimited, &format!("/{path}"), ALICE).await, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn at_most_32_calls_are_in_flight() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    scene.api.fail(Kind::SubjectAccessReview, Fault::HangBeforeHead);
    let client = scene.connect(Version::H2, &proxy).await;
    let mut waiting = JoinSet::new();
    for index in 0..64 {
        let http2 = client.http2().clone();
        waiting.spawn(async move { http2.send(&Request::get(&format!("/new/{index}")).bearer(ALICE)).await.unwrap() });
    }
    wait_until("32 calls", || scene.api.counts().1 == 1 + 32).await;
    for _ in 0..20 {
        assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    }
    assert_eq!(scene.api.counts().1, 1 + 32);
    for response in waiting.join_all().await {
        assert_unavailable(&response);
    }
}

/// Tokens that anybody can make up do not take the calls of those who are known.
#[tokio::test]
async fn forged_tokens_starve_nobody() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    scene.api.fail(Kind::TokenReview, Fault::HangBeforeHead);
    let client = scene.connect(Version::H2, &proxy).await;
    let mut flood = JoinSet::new();
    for index in 0..64 {
        let http2 = client.http2().clone();
        flood.spawn(async move { http2.send(&Request::get("/").bearer(&format!("forged-{index}"))).await });
    }
    wait_until("eight calls", || scene.api.counts().0 == 1 + 8).await;
    for path in 0..8 {
        assert_status(&scene.get(&proxy, &format!("/new/{path}"), ALICE).await, 200);
    }
    assert_eq!(scene.api.counts().0, 1 + 8, "calls about tokens that nobody knows");
    drop(flood);
}

/// A lookup goes on when its caller leaves, and holds the token: what anybody can make up is bounded in bytes too.
#[tokio::test]
async fn long_forged_tokens_fill_no_memory() {
    // Of 48 KiB each: 42 of them have room in 2 MiB.
    const SENT: usize = 60;
    const TOO_MANY: usize = SENT - 42;
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    scene.api.fail(Kind::TokenReview, Fault::HangBeforeHead);
    let client = scene.connect(Version::H2, &proxy).await;
    let mut flood = JoinSet::new();
    for index in 0..SENT {
        let (http2, token) = (client.http2().clone(), format!("{index:048}").repeat(1024));
        flood.spawn(async move { http2.send(&Request::get("/").bearer(&token)).await.unwrap() });
    }
    for _ in 0..TOO_MANY {
        assert_unavailable(&in_time("an answer", flood.join_next()).await.unwrap().unwrap());
    }
    assert_status(&scene.get(&proxy, "/new", ALICE).await, 200);
    assert!(flood.try_join_next().is_none(), "the others wait for the API server");
}

#[tokio::test]
async fn the_api_server_must_be_the_one_that_the_kubeconfig_trusts() {
    let (right, wrong) = (Authority::new("api"), Authority::new("api"));
    let scene = Scene::new().await;
    let api = Api::start_tls(&right.server()).await;
    api.user(ALICE, "alice", &[]);
    api.allow_all();
    let folder = tempfile::tempdir().unwrap();
    let pair = right.client("proxy", &[]);
    let good = api.kubeconfig(folder.path(), Some(right.pem()), Credential::Certificate(&pair));
    let proxy = scene.proxy(&[format!("--kubeconfig={}", good.display())]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    assert_eq!(api.reviews(Kind::TokenReview)[0].request.certificate.as_deref(), Some(pair.certificates()[0].as_ref()));

    let folder = tempfile::tempdir().unwrap();
    let bad = api.kubeconfig(folder.path(), Some(wrong.pem()), Credential::Token("token-for-the-right-one"));
    let proxy = scene.proxy(&[format!("--kubeconfig={}", bad.display())]).await;
    api.forget();
    assert_unavailable(&scene.get(&proxy, "/", ALICE).await);
    proxy.line_with(&["W", "api_unreachable", "certificate"]).await;
    assert_eq!(api.counts(), (0, 0));
    assert!(!api.server().requests().iter().any(|request| request.header("authorization").is_some()));
}

/// A kubelet replaces the token of a ServiceAccount about once an hour.
#[tokio::test]
async fn a_replaced_token_file_is_used_at_once_when_the_old_token_is_refused() {
    let scene = Scene::new().await;
    let token = scene.write("proxy.token", "old-token\n");
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = scene.api.kubeconfig(folder.path(), None, Credential::TokenFile(token.as_ref()));
    let proxy = scene.proxy(&[format!("--kubeconfig={}", kubeconfig.display())]).await;
    assert_status(&scene.get(&proxy, "/1", ALICE).await, 200);
    let bearer = |scene: &Scene| {
        let review = scene.api.reviews(Kind::SubjectAccessReview).pop().unwrap();
        review.request.header("authorization").unwrap().to_owned()
    };
    assert_eq!(bearer(&scene), "Bearer old-token");
    scene.write("proxy.token", "new-token\n");
    // 401 for the old one: the answer to the second try, with the new one, counts.
    scene.api.fail(Kind::SubjectAccessReview, Fault::Status(401, None));
    let healed = async {
        wait_until("the first try", || scene.api.counts().1 == 2).await;
        scene.api.heal();
    };
    let (response, ()) = tokio::join!(scene.get(&proxy, "/2", ALICE), healed);
    assert_status(&response, 200);
    assert_eq!(bearer(&scene), "Bearer new-token");
}
