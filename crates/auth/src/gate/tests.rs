use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, Request};
use request::NoForm;
use serde_json::json;
use settings::Contents;
use testkit::{
    api::{Api as Server, Fault, Kind, Verdict},
    certs::{Authority, Pair},
    wait::in_time,
};

use super::*;
use crate::{clock::manual::ManualClock, test_api};

const TOKEN_TTL: i64 = 120;

struct Fixture {
    server: Server,
    authority: Authority,
    clock: Arc<ManualClock>,
    gate: RequestGate,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Asks for a client certificate, then for a token; knows alice, and allows everything.
    async fn with(change: impl FnOnce(&mut GateSettings)) -> Self {
        let ((server, api), folder) = (test_api::api().await, tempfile::tempdir().expect("a folder"));
        let authority = Authority::new("clients");
        std::fs::write(folder.path().join("ca.crt"), authority.pem()).expect("written");
        let authorities = ClientCa::open("--client-ca-file", folder.path().join("ca.crt")).expect("authorities");
        server.user("good", "alice", &["devs"]);
        server.allow_all();
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let mut settings = GateSettings {
            methods: vec![
                Method::X509(authorities),
                Method::TokenReview { api: Arc::clone(&api), audiences: Vec::new(), ttl: seconds(TOKEN_TTL) },
            ],
            modes: vec![Mode::Webhook { api, allow_ttl: seconds(300), deny_ttl: seconds(30) }],
            paths: PathLists::default(),
            odd_paths: OddPaths::default(),
            config: Watched::fixed(ConfigFile::default()),
            identity: None,
            compat_api_errors: false,
            metrics: Metrics::new("test", "0"),
        };
        change(&mut settings);
        let clock = ManualClock::at(now());
        let gate = RequestGate::with_clock(settings, clock.clone()).expect("random bytes");
        Self { server, authority, clock, gate }
    }

    async fn decide(&self, target: &str, token: Option<&str>, certificate: Option<&Pair>) -> Decision {
        decide(&self.gate, target, token, certificate).await
    }

    async fn token(&self, token: &str) -> Result<Grant, Reason> {
        granted(self.decide("/x", Some(token), None).await)
    }
}

async fn decide(gate: &RequestGate, target: &str, token: Option<&str>, certificate: Option<&Pair>) -> Decision {
    let mut request = Request::get(target).header("host", "h");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (head, ()) = request.body(()).expect("a request").into_parts();
    let request = CanonicalRequest::new(head, gate.reads()).expect("one meaning");
    let chain = certificate.map(Pair::certificates).unwrap_or_default().into();
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), chain, secure: true };
    in_time("the decision", gate.decide(&request, &peer, &mut NoForm)).await
}

/// What is below `authorization`.
fn config(text: &str) -> ConfigFile {
    ConfigFile::parse(&[Contents::new("c", format!("authorization: {text}"))], &[]).expect("a configuration")
}

fn granted(decision: Decision) -> Result<Grant, Reason> {
    match decision {
        Decision::Allow(grant) => Ok(grant),
        Decision::Open(door) => panic!("an open door: {door:?}"),
        Decision::Refuse(refusal) => Err(refusal.reason()),
    }
}

fn name(decision: Decision) -> Result<String, Reason> {
    granted(decision).map(|grant| grant.user.name)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("not that late")
}

#[tokio::test]
async fn a_certificate_comes_before_a_token() {
    let fixture = Fixture::new().await;
    let bob = fixture.authority.client("bob", &["ops"]);
    let grant = granted(fixture.decide("/x", Some("good"), Some(&bob)).await).expect("allowed");
    assert_eq!((grant.user.name.as_str(), grant.user.groups), ("bob", vec!["ops".to_owned(), "system:authenticated".to_owned()]));
    assert_eq!(fixture.server.counts(), (0, 1), "nobody is asked about the token");
}

#[tokio::test]
async fn a_certificate_that_fails_stops_no_token() {
    let fixture = Fixture::new().await;
    let stranger = Authority::new("others").client("bob", &[]);
    assert_eq!(name(fixture.decide("/x", Some("good"), Some(&stranger)).await), Ok("alice".to_owned()));
    assert_eq!(name(fixture.decide("/x", None, Some(&stranger)).await), Err(Reason::CertificateRejected));
    assert_eq!(name(fixture.decide("/x", Some("bad"), None).await), Err(Reason::TokenRejected));
    assert_eq!(name(fixture.decide("/x", None, None).await), Err(Reason::NoCredentials));
}

#[tokio::test]
async fn an_api_server_that_fails_is_said_and_lets_nobody_in() {
    for (compat, about_tokens, about_access) in
        [(false, Reason::ApiUnreachable, Reason::ApiUnreachable), (true, Reason::ApiFailedAuthentication, Reason::ApiFailedAuthorization)]
    {
        let fixture = Fixture::with(|settings| settings.compat_api_errors = compat).await;
        let stranger = Authority::new("others").client("bob", &[]);
        fixture.server.fail(Kind::TokenReview, Fault::Reset);
        assert_eq!(name(fixture.decide("/x", Some("good"), Some(&stranger)).await), Err(about_tokens), "{compat}");
        fixture.server.heal();
        fixture.server.fail(Kind::SubjectAccessReview, Fault::Reset);
        assert_eq!(name(fixture.decide("/x", Some("good"), None).await), Err(about_access), "{compat}");
        fixture.server.heal();
        assert_eq!(name(fixture.decide("/x", Some("good"), None).await), Ok("alice".to_owned()), "nothing is left of it");
    }
}

#[tokio::test]
async fn an_unclean_path_is_shown_to_users_alone() {
    let paths = PathLists::parse(&[], &["/a/b".to_owned()]).expect("patterns");
    let fixture = Fixture::with(|settings| settings.paths = paths).await;
    assert!(matches!(fixture.decide("/a/b", None, None).await, Decision::Open(OpenDoor::IgnoredPath)));
    assert_eq!(name(fixture.decide("/a//b?x=y", None, None).await), Err(Reason::NoCredentials));
    let Decision::Refuse(refusal) = fixture.decide("/a//b?x=y", Some("good"), None).await else { panic!("let in") };
    assert_eq!((refusal.reason(), refusal.location()), (Reason::UncleanPath, Some("/a/b?x=y")));
    assert_eq!(fixture.server.counts().1, 0);
}

#[tokio::test]
async fn a_path_outside_the_list_does_not_exist_for_anybody() {
    let paths = PathLists::parse(&["/a".to_owned()], &[]).expect("patterns");
    let fixture = Fixture::with(|settings| settings.paths = paths).await;
    assert_eq!(name(fixture.decide("/b", Some("good"), None).await), Err(Reason::NotFound));
    assert_eq!(fixture.server.counts(), (0, 0));
    assert_eq!(name(fixture.decide("/a", Some("good"), None).await), Ok("alice".to_owned()));
}

#[tokio::test]
async fn the_program_s_own_gate_reads_paths_and_remembers_the_same_users() {
    let identity = IdentityHeaders {
        user: HeaderName::from_static("x-remote-user"),
        groups: HeaderName::from_static("x-remote-groups"),
        separator: "|".into(),
    };
    let fixture = Fixture::with(|settings| {
        settings.config = Watched::fixed(config("{resourceAttributes: {resource: services}}"));
        settings.identity = Some(identity);
    })
    .await;
    let grant = fixture.token("good").await.expect("allowed");
    let headers: Vec<_> = grant.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
    assert_eq!(headers, [("x-remote-user", "alice"), ("x-remote-groups", "devs|system:authenticated")]);

    let own = fixture.gate.for_paths();
    assert_eq!((fixture.gate.reads().path, own.reads().path), (false, true));
    let grant = granted(decide(&own, "/metrics", Some("good"), None).await).expect("allowed");
    assert!(grant.headers.is_empty());
    assert_eq!(fixture.server.counts(), (1, 2), "the token is known already, the path is another question");
    assert_eq!(fixture.server.access_specs()[1]["nonResourceAttributes"], json!({ "path": "/metrics", "verb": "get" }));
}

#[tokio::test]
async fn a_token_for_others_is_none() {
    let fixture = Fixture::with(|settings| {
        for method in &mut settings.methods {
            if let Method::TokenReview { audiences, .. } = method {
                *audiences = vec!["us".to_owned()];
            }
        }
    })
    .await;
    fixture.server.user_info("ours", json!({ "username": "bob" }), &["us"]);
    fixture.server.user_info("theirs", json!({ "username": "eve" }), &["them"]);
    assert_eq!(fixture.token("ours").await.map(|grant| grant.user.name), Ok("bob".to_owned()));
    assert_eq!(fixture.token("theirs").await.map(|grant| grant.user.name), Err(Reason::TokenRejected));
    assert_eq!(fixture.server.reviews(Kind::TokenReview)[0].spec["audiences"], json!(["us"]));
}

#[tokio::test]
async fn a_token_counts_for_its_time_and_no_longer_than_it_says() {
    let fixture = Fixture::new().await;
    let token = |exp: i64| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(json!({ "exp": exp }).to_string()));
    let (short, long) = (token(now() + 60), token(now() + 1000));
    for token in [&short, &long] {
        fixture.server.user(token, "bob", &[]);
        fixture.token(token).await.expect("allowed");
    }
    for token in [&short, &long] {
        fixture.server.revoke(token);
    }
    fixture.clock.pass(50);
    assert!(fixture.token(&short).await.is_ok() && fixture.token(&long).await.is_ok());
    fixture.clock.pass(20);
    assert!(fixture.token(&short).await.is_err() && fixture.token(&long).await.is_ok());
    fixture.clock.pass(TOKEN_TTL - 70);
    assert!(fixture.token(&long).await.is_err());
}

#[tokio::test]
async fn a_rejected_token_is_asked_about_again_soon_and_a_failed_question_at_once() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        assert!(fixture.token("new").await.is_err());
    }
    assert_eq!(fixture.server.counts().0, 1);
    fixture.server.user("new", "bob", &[]);
    fixture.clock.pass(9);
    assert!(fixture.token("new").await.is_err());
    fixture.clock.pass(1);
    assert!(fixture.token("new").await.is_ok());

    fixture.server.user("other", "eve", &[]);
    fixture.server.fail(Kind::TokenReview, Fault::Status(400, None));
    assert!(fixture.token("other").await.is_err());
    fixture.server.heal();
    assert!(fixture.token("other").await.is_ok());
}

#[tokio::test]
async fn a_new_token_at_one_time_is_one_review_of_each_kind() {
    let fixture = Fixture::new().await;
    let (one, two, three) = tokio::join!(fixture.token("good"), fixture.token("good"), fixture.token("good"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(fixture.server.counts(), (1, 1));
}

const BY_NAMESPACE: &str = "{resourceAttributes: {resource: pods, namespace: '{{ .Value }}'}, rewrites: {byQueryParameter: {name: ns}}}";

#[tokio::test]
async fn all_values_must_be_allowed_and_the_first_that_is_not_ends_it() {
    let fixture = Fixture::with(|settings| settings.config = Watched::fixed(config(BY_NAMESPACE))).await;
    fixture.server.rule(|spec| if spec["resourceAttributes"]["namespace"] == "theirs" { Verdict::NoOpinion } else { Verdict::Allow });
    let decide = async |target| fixture.decide(target, Some("good"), None).await;
    assert_eq!(name(decide("/?ns=mine&ns=ours").await), Ok("alice".to_owned()));
    let Decision::Refuse(refusal) = decide("/?ns=mine&ns=theirs&ns=never").await else { panic!("let in") };
    let Some((_, Attributes::Resource(asked))) = refusal.asked() else { panic!("{refusal:?}") };
    assert_eq!((refusal.reason(), asked.namespace.as_str()), (Reason::NotAllowed, "theirs"));
    let asked: Vec<_> = fixture.server.access_specs().iter().map(|spec| spec["resourceAttributes"]["namespace"].clone()).collect();
    assert_eq!(asked, ["mine", "ours", "theirs"]);
    // Who asks comes before what for.
    assert_eq!(name(decide("/?x=y").await), Err(Reason::NoValue));
    assert_eq!(name(fixture.decide("/?x=y", None, None).await), Err(Reason::NoCredentials));
    assert_eq!(fixture.gate.for_paths().reads(), &Reads { path: true, ..Reads::default() }, "the program's own endpoints have no values");
}

#[tokio::test]
async fn a_request_is_read_and_decided_by_one_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.yaml");
    let write = |text: &str| std::fs::write(&path, format!("authorization: {text}")).expect("written");
    write(BY_NAMESPACE);
    let file = ConfigFile::open("--config-file", path.clone(), Vec::new()).expect("a configuration");
    let fixture = Fixture::with(|settings| settings.config = Arc::clone(&file)).await;
    let before = fixture.gate.today();
    write("{static: [{user: {name: alice}, path: /}]}");
    assert!(matches!(settings::Reloadable::reload(&*file), settings::Reload::Replaced));
    let after = fixture.gate.today();
    assert_eq!((before.reads().path, after.reads()), (false, &Reads { path: true, ..Reads::default() }));
    assert_eq!(name(decide(&before, "/?ns=a", Some("good"), None).await), Ok("alice".to_owned()));
    assert_eq!(fixture.server.access_specs()[0]["resourceAttributes"]["namespace"], "a");
    assert_eq!(name(decide(&after, "/?ns=a", Some("good"), None).await), Ok("alice".to_owned()));
    assert_eq!(fixture.server.access_specs().len(), 1, "a static rule allows it");
}
