//! The API server as this crate meets it on a bad day.
#![expect(clippy::expect_used, reason = "a test that cannot go on should stop and say so")]

use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};

use kube_api::{AccessVerdict, Api, ApiError, ApiSettings, ConnectError, Health, Lane, TokenVerdict};
use request::{Attributes, User};
use serde_json::json;
use testkit::{
    api::{Api as Server, Credential, Fault, Kind, Verdict},
    certs::{Authority, Pair, Subject},
    upstream::Upstream,
    wait::{in_time, wait_until},
};
use tokio::{task::JoinSet, time::Instant};

struct Fixture {
    server: Server,
    api: Arc<Api>,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(ApiSettings::default()).await
    }

    async fn with(settings: ApiSettings) -> Self {
        let (server, folder) = (Server::start().await, tempfile::tempdir().expect("a folder"));
        let kubeconfig = server.kubeconfig(folder.path(), None, Credential::Token("own-secret"));
        let api = connect(&kubeconfig, settings).await.expect("a good kubeconfig");
        server.user("good", "alice", &["devs"]);
        Self { server, api: Arc::new(api), folder }
    }

    async fn review(&self, token: &str) -> Result<TokenVerdict, ApiError> {
        self.review_within(token, Duration::from_secs(10)).await
    }

    async fn review_within(&self, token: &str, time: Duration) -> Result<TokenVerdict, ApiError> {
        in_time("the review", self.api.review_token(token, &[], Lane::Known, Instant::now() + time)).await
    }

    async fn access(&self) -> Result<AccessVerdict, ApiError> {
        let user = User { name: "alice".into(), ..User::default() };
        let attributes = Attributes::NonResource { verb: "get".into(), path: "/metrics".into() };
        in_time("the review", self.api.review_access(&user, &attributes, Instant::now() + Duration::from_secs(10))).await
    }

    fn tries(&self) -> usize {
        self.server.counts().0
    }
}

async fn connect(kubeconfig: &Path, settings: ApiSettings) -> Result<Api, ConnectError> {
    Api::connect(ApiSettings { kubeconfig: Some(kubeconfig.into()), user_agent: "kube-rbac-proxy/test".into(), ..settings }).await
}

fn alice() -> TokenVerdict {
    TokenVerdict::Authenticated(User { name: "alice".into(), groups: vec!["devs".into()], ..User::default() })
}

#[tokio::test]
async fn a_token_is_reviewed_with_its_audiences_and_this_programs_credentials() {
    let fixture = Fixture::new().await;
    fixture.server.user_info("for-us", json!({ "username": "bob" }), &["b"]);
    let audiences = ["a".to_owned(), "b".to_owned()];
    let deadline = Instant::now() + Duration::from_secs(10);
    let verdict = fixture.api.review_token("for-us", &audiences, Lane::UnknownToken, deadline).await.expect("a verdict");
    assert_eq!(verdict, TokenVerdict::Authenticated(User { name: "bob".into(), ..User::default() }));
    let review = &fixture.server.reviews(Kind::TokenReview)[0];
    assert_eq!(review.spec, json!({ "token": "for-us", "audiences": ["a", "b"] }));
    assert_eq!(review.request.header("authorization"), Some("Bearer own-secret"));
    assert_eq!(review.request.header("user-agent"), Some("kube-rbac-proxy/test"));

    assert_eq!(fixture.review("good").await.expect("a verdict"), alice());
    assert_eq!(fixture.server.reviews(Kind::TokenReview)[1].spec, json!({ "token": "good" }));
    assert!(matches!(fixture.review("bad").await, Ok(TokenVerdict::Rejected { why }) if why.contains("invalid bearer token")));
    assert_eq!(fixture.server.server().connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn verdicts_about_access_are_the_api_servers() {
    let fixture = Fixture::new().await;
    for (said, verdict) in [
        (Verdict::Allow, AccessVerdict::Allowed),
        (Verdict::NoOpinion, AccessVerdict::NoOpinion { reason: String::new() }),
        (Verdict::Deny, AccessVerdict::Denied { reason: "denied by the test".into() }),
    ] {
        fixture.server.rule(move |_| said);
        assert_eq!(fixture.access().await.expect("a verdict"), verdict);
    }
    fixture.server.rule(|_| Verdict::Both);
    assert!(matches!(fixture.access().await, Err(ApiError::Answer(_))));
}

#[tokio::test]
async fn a_passing_fault_is_tried_twice_and_no_more() {
    let fixture = Fixture::new().await;
    for fault in [
        Fault::Status(429, None),
        Fault::Status(500, None),
        Fault::Status(502, None),
        Fault::Status(503, None),
        Fault::Status(504, None),
        Fault::Reset,
        Fault::Garbage,
        Fault::Truncated,
    ] {
        fixture.server.forget();
        fixture.server.fail(Kind::TokenReview, fault.clone());
        let error = fixture.review("good").await.expect_err("no verdict");
        match fault {
            Fault::Status(code, _) => assert!(matches!(error, ApiError::Status(status) if status == code), "{error:?}"),
            _ => assert!(matches!(error, ApiError::Unreachable(_)), "{fault:?}: {error:?}"),
        }
        assert_eq!(fixture.tries(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn what_will_not_pass_is_tried_once() {
    let fixture = Fixture::new().await;
    let elsewhere = Server::start().await;
    elsewhere.user("good", "mallory", &[]);
    let redirect = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", elsewhere.server().url());
    for fault in [
        Fault::Status(400, None),
        Fault::Status(404, None),
        Fault::Status(401, None),
        Fault::Status(403, None),
        Fault::Html,
        Fault::OtherKind,
        Fault::Endless,
        Fault::Redirect(redirect),
    ] {
        fixture.server.forget();
        fixture.server.fail(Kind::TokenReview, fault.clone());
        let error = fixture.review("good").await.expect_err("no verdict");
        match fault {
            Fault::Status(401 | 403, _) => {
                assert!(error.to_string().contains("create tokenreviews.authentication.k8s.io"), "{error}");
            }
            Fault::Status(..) | Fault::Redirect(_) => assert!(matches!(error, ApiError::Status(_)), "{fault:?}: {error:?}"),
            _ => assert!(matches!(error, ApiError::Answer(_)), "{fault:?}: {error:?}"),
        }
        assert_eq!(fixture.tries(), 1, "{fault:?}");
    }
    assert_eq!(elsewhere.server().count(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_second_try_may_succeed() {
    let fixture = Fixture::new().await;
    fixture.server.fail(Kind::TokenReview, Fault::Status(503, Some(2)));
    let (verdict, ()) = tokio::join!(fixture.review("good"), async {
        wait_until("first try", || fixture.tries() == 1).await;
        fixture.server.heal();
    });
    assert_eq!(verdict.expect("a verdict"), alice());
    assert_eq!(fixture.tries(), 2);
}

#[tokio::test]
async fn a_wish_to_wait_beyond_the_deadline_ends_the_call_at_once() {
    let fixture = Fixture::new().await;
    fixture.server.fail(Kind::TokenReview, Fault::Status(503, Some(3600)));
    let start = Instant::now();
    assert!(matches!(fixture.review("good").await, Err(ApiError::Status(status)) if status == 503));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(fixture.tries(), 1);
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_deadline_and_no_more() {
    let fixture = Fixture::new().await;
    for fault in [Fault::HangBeforeHead, Fault::HangInBody] {
        fixture.server.fail(Kind::TokenReview, fault);
        assert!(matches!(fixture.review_within("good", Duration::from_millis(300)).await, Err(ApiError::Timeout)));
    }
    assert!(matches!(fixture.api.health(), Health::Failing { .. }));
    fixture.server.heal();
    assert_eq!(fixture.review("good").await.expect("a verdict"), alice());
    assert!(matches!(fixture.api.health(), Health::Reachable { .. }));
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable() {
    let fixture = Fixture::new().await;
    let Fixture { server, api, .. } = fixture;
    let address = server.server().address();
    drop(server);
    in_time("the port to close", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let error = api.review_token("good", &[], Lane::Known, Instant::now() + Duration::from_secs(10)).await.expect_err("no verdict");
    assert!(matches!(error, ApiError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn no_more_than_32_calls_are_in_flight() {
    let fixture = Fixture::new().await;
    fixture.server.fail(Kind::TokenReview, Fault::HangBeforeHead);
    let call = |number: usize, time| {
        let (api, lane) = (Arc::clone(&fixture.api), if number < 8 { Lane::UnknownToken } else { Lane::Known });
        async move { api.review_token("good", &[], lane, Instant::now() + time).await }
    };
    // Those that hold the places outlast the others: none becomes free while these wait.
    let mut held: JoinSet<_> = (0..32).map(|number| call(number, Duration::from_secs(600))).collect();
    wait_until("32 calls", || fixture.tries() == 32).await;
    let late: JoinSet<_> = (0..16).map(|number| call(number, Duration::from_millis(100))).collect();
    for verdict in in_time("the others", late.join_all()).await {
        assert!(matches!(verdict, Err(ApiError::Busy)), "{verdict:?}");
    }
    assert_eq!(fixture.tries(), 32);
    assert!(held.try_join_next().is_none(), "a call ended");
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_place_back() {
    let fixture = Fixture::new().await;
    fixture.server.fail(Kind::TokenReview, Fault::HangBeforeHead);
    for _ in 0..9 {
        let deadline = Instant::now() + Duration::from_secs(60);
        let before = fixture.tries();
        tokio::select! {
            _ = fixture.api.review_token("good", &[], Lane::UnknownToken, deadline) => panic!("it hangs"),
            () = wait_until("the call", || fixture.tries() > before) => {}
        }
    }
}

#[tokio::test]
async fn a_rate_that_is_used_up_is_busy() {
    let fixture = Fixture::with(ApiSettings { qps: Some(0.001), burst: Some(2), ..ApiSettings::default() }).await;
    fixture.server.allow_all();
    fixture.review("good").await.expect("a verdict");
    fixture.access().await.expect("a verdict");
    assert!(matches!(fixture.review("good").await, Err(ApiError::Busy)));
    assert_eq!(fixture.server.counts(), (1, 1));
}

#[tokio::test]
async fn a_token_file_is_trimmed_and_read_again_when_its_token_is_refused() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().expect("a folder"));
    server.user("good", "alice", &["devs"]);
    let own = folder.path().join("token");
    fs::write(&own, "old\n").expect("written");
    let kubeconfig = server.kubeconfig(folder.path(), None, Credential::TokenFile(&own));
    let api = connect(&kubeconfig, ApiSettings::default()).await.expect("a good kubeconfig");
    let authorization = |review: usize| server.reviews(Kind::TokenReview)[review].request.header("authorization").map(str::to_owned);
    let deadline = Instant::now() + Duration::from_secs(20);
    api.review_token("good", &[], Lane::Known, deadline).await.expect("a verdict");
    assert_eq!(authorization(0).as_deref(), Some("Bearer old"));

    fs::write(&own, "new\n").expect("written");
    server.fail(Kind::TokenReview, Fault::Status(401, None));
    api.review_token("good", &[], Lane::Known, deadline).await.expect_err("refused");
    assert_eq!((authorization(1).as_deref(), authorization(2).as_deref()), (Some("Bearer old"), Some("Bearer new")));
    api.review_token("good", &[], Lane::Known, deadline).await.expect_err("refused");
    assert_eq!(server.counts().0, 4, "the same token is not sent twice to who refuses it");
}

#[tokio::test]
async fn tls_is_verified_with_the_kubeconfigs_authority_and_shows_its_certificate() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start_tls(&ours.server()).await;
    server.user("good", "alice", &["devs"]);
    let folder = tempfile::tempdir().expect("a folder");
    let own: Pair = ours.client("the-proxy", &[]);
    let deadline = Instant::now() + Duration::from_secs(20);

    let kubeconfig = server.kubeconfig(folder.path(), Some(ours.pem()), Credential::Certificate(&own));
    let api = connect(&kubeconfig, ApiSettings::default()).await.expect("a good kubeconfig");
    assert_eq!(api.review_token("good", &[], Lane::Known, deadline).await.expect("a verdict"), alice());
    let shown = server.reviews(Kind::TokenReview)[0].request.certificate.clone();
    assert_eq!(shown.as_deref(), Some(own.certificates()[0].as_ref()));

    let kubeconfig = server.kubeconfig(folder.path(), Some(theirs.pem()), Credential::Token("own-secret"));
    let api = connect(&kubeconfig, ApiSettings::default()).await.expect("a good kubeconfig");
    let error = api.review_token("good", &[], Lane::Known, deadline).await.expect_err("no verdict");
    assert!(matches!(error, ApiError::Unreachable(_)), "{error:?}");
    assert_eq!(server.counts().0, 1);
}

#[tokio::test]
async fn the_certificate_may_have_the_name_that_the_kubeconfig_says() {
    let authority = Authority::new("ca");
    let server = Server::start_tls(&authority.issue(&Subject::server(&["kubernetes.test"]))).await;
    server.user("good", "alice", &["devs"]);
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = server.kubeconfig(folder.path(), Some(authority.pem()), Credential::Token("own-secret"));
    let text = fs::read_to_string(&kubeconfig).expect("a kubeconfig");
    for (name, is_right) in [("kubernetes.test", true), ("localhost", false)] {
        let named = format!("cluster: {{tls-server-name: {name}, server:");
        fs::write(&kubeconfig, text.replace("cluster: {server:", &named)).expect("written");
        let api = connect(&kubeconfig, ApiSettings::default()).await.expect("a good kubeconfig");
        let verdict = api.review_token("good", &[], Lane::Known, Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(verdict.is_ok(), is_right, "{name}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_bad_kubeconfig_is_named_and_never_quoted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    let rest = "clusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {token: s3cr3t}}]\n";
    let context = "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n";
    for (text, says) in [
        (String::new(), "has no current-context"),
        (rest.to_owned(), "has no current-context"),
        (format!("{rest}current-context: y\n"), "names no context"),
        (context.to_owned(), "cluster \"c\" does not exist"),
        (format!("{context}clusters: [{{name: c, cluster: {{}}}}]\n"), "has no server"),
        (format!("{context}clusters: [{{name: c, cluster: {{server: nonsense}}}}]\n"), "is no URL"),
        (format!("{context}{rest}").replace("https://h", "ftp://h"), "is no URL"),
        (format!("{context}{rest}").replace("user: u", "user: v"), "user \"v\" does not exist"),
        (format!("{context}users: [{{name: u, user: {{token: {{s3cr3t: 1}}}}}}]\n"), "is no kubeconfig at line 3"),
        ("token: [s3cr3t\n".to_owned(), "is no kubeconfig at line"),
        (format!("{context}{rest}").replace("token: s3cr3t", "tokenFile: /nonexistent"), "tokenFile"),
        (format!("{context}{rest}").replace("token: s3cr3t", "client-certificate: /nonexistent"), "/nonexistent"),
        (format!("{context}{rest}").replace("token: s3cr3t", "client-certificate-data: cw==, client-key-data: s3cr3t=="), "base64"),
        (
            format!("{context}{rest}")
                .replace("token: s3cr3t", "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'echo s3cr3t; exit 3']}"),
            "exec plugin failed with exit status: 3",
        ),
        (
            format!("{context}{rest}")
                .replace("token: s3cr3t", "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'echo \"[s3cr3t\"']}"),
            "printed no ExecCredential",
        ),
        (format!("{context}{rest}").replace("'https://h'", "'https://h', proxy-url: 'ftp://u:s3cr3t@p'"), "scheme \"ftp\""),
    ] {
        fs::write(&path, &text).expect("written");
        let error = connect(&path, ApiSettings::default()).await.map(|_| ()).expect_err(&text);
        let mut words = format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            words += &format!(" {error} {error:?}");
            source = error.source();
        }
        assert!(words.contains("--kubeconfig") && words.contains(&path.display().to_string()), "{words}");
        assert!(words.contains(says), "{says}: {words}");
        assert!(!words.contains("s3cr3t"), "{words}");
    }
    let error = connect(Path::new("/nonexistent"), ApiSettings::default()).await.map(|_| ()).expect_err("no file");
    assert!(error.to_string().contains("--kubeconfig /nonexistent"), "{error}");
}

#[tokio::test]
async fn an_exec_plugins_token_is_sent() {
    let fixture = Fixture::new().await;
    let credential = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-exec"}}"#;
    let script = fixture.folder.path().join("plugin.sh");
    fs::write(&script, format!("echo '{credential}'\n")).expect("written");
    let kubeconfig = fixture.folder.path().join("kubeconfig");
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: ['{}']}}",
        script.display()
    );
    let text = fs::read_to_string(&kubeconfig).expect("a kubeconfig").replace("token: own-secret", &exec);
    fs::write(&kubeconfig, text).expect("written");
    let api = connect(&kubeconfig, ApiSettings::default()).await.expect("a good kubeconfig");
    api.review_token("good", &[], Lane::Known, Instant::now() + Duration::from_secs(10)).await.expect("a verdict");
    assert_eq!(fixture.server.reviews(Kind::TokenReview)[0].request.header("authorization"), Some("Bearer from-exec"));
}

#[tokio::test]
async fn the_kubeconfigs_proxy_is_asked_for_a_tunnel() {
    let proxy = Upstream::start(|_| testkit::upstream::Reply::new(403, &[], "")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    let text = format!(
        "current-context: x\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://api.example', proxy-url: '{}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
        proxy.url()
    );
    fs::write(&path, text).expect("written");
    let api = connect(&path, ApiSettings::default()).await.expect("a good kubeconfig");
    api.review_token("good", &[], Lane::Known, Instant::now() + Duration::from_secs(10)).await.expect_err("the proxy refuses");
    let asked = proxy.requests();
    assert_eq!((asked[0].method(), asked[0].target()), ("CONNECT", "api.example:443"));
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_secret() {
    let fixture = Fixture::new().await;
    assert!(!format!("{:?}", fixture.api).contains("own-secret"));
    fixture.server.fail(Kind::TokenReview, Fault::Html);
    let error = fixture.review("good-secret").await.expect_err("no verdict");
    assert!(!format!("{error} {error:?} {:?}", fixture.api.health()).contains("secret"));
}
