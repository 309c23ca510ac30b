use http::HeaderName;
use serde_json::{Value, json};
use testkit::api::{Api as Server, Fault, Kind, Verdict};

use super::*;
use crate::{clock::manual::ManualClock, test_api};

struct Fixture {
    server: Server,
    clock: Arc<ManualClock>,
    review: InboundReview,
}

impl Fixture {
    async fn new(rule: impl Fn(&Value) -> Verdict + Send + Sync + 'static) -> Self {
        let (server, api) = test_api::api().await;
        server.rule(rule);
        let clock = ManualClock::at(1000);
        let keys = Arc::new(Keys::new().expect("random bytes"));
        Self { server, clock: clock.clone(), review: InboundReview::new(api, keys, clock, Metrics::new("test", "0")) }
    }

    async fn ask(&self, user: &User, fields: &[(&str, &str)]) -> Result<User, Refusal> {
        self.review.target(user, &map(fields), Instant::now() + Duration::from_secs(10)).await
    }
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |&(name, value): &(&str, &str)| {
        let name = HeaderName::try_from(name).expect("a name");
        (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    };
    fields.iter().map(field).collect()
}

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|&group| group.to_owned()).collect(), ..User::default() }
}

/// `impersonateAuthorizer` of kube-apiserver's own tests.
fn authorizer(spec: &Value) -> Verdict {
    let of = |name: &str| spec["resourceAttributes"][name].as_str().unwrap_or_default().to_owned();
    let group = |index: usize| spec["groups"][index].as_str().unwrap_or_default();
    let (resource, api, subresource, name) = (of("resource"), of("group"), of("subresource"), of("name"));
    let is_allowed = of("verb") == "impersonate"
        && match (group(0), group(1), resource.as_str()) {
            _ if spec["user"] == "system:admin" => true,
            _ if spec["user"] == "tester" => false,
            ("wheel" | "regular-impersonater", _, "users") | ("sa-impersonater", _, "serviceaccounts") => true,
            (_, "group-impersonater", "groups") => true,
            (_, "extra-setter-scopes", "userextras") => subresource == "scopes",
            (_, "escaped-scopes" | "almost-escaped-scopes", _) => true,
            (_, "extra-setter-particular-scopes", "userextras") => (&*subresource, &*name, &*api) == ("scopes", "scope-a", AUTHENTICATION),
            (_, "extra-setter-project", "userextras") => (&*subresource, &*api) == ("project", AUTHENTICATION),
            ("everything-impersonater", _, "users" | "groups") => api.is_empty(),
            ("everything-impersonater", _, "uids") => (&*name, &*api) == ("some-uid", AUTHENTICATION),
            ("everything-impersonater", _, "userextras") => (&*subresource, &*api) == ("scopes", AUTHENTICATION),
            _ => false,
        };
    if is_allowed { Verdict::Allow } else { Verdict::NoOpinion }
}

/// `TestImpersonationFilter`, in its order; a status for those who are refused.
#[tokio::test]
async fn the_cases_of_kube_apiserver_end_as_there() {
    const SCOPES: [(&str, &str); 2] = [("impersonate-extra-scopes", "scope-a"), ("impersonate-extra-scopes", "scope-b")];
    const ESCAPED: &str = "impersonate-extra-example.com%2fescaped%e1%9b%84scopes";
    const ALMOST: &str = "impersonate-extra-almost%zzpercent%xxencoded";
    let as_user = |name: &'static str| ("impersonate-user", name);
    let group = |name: &'static str| ("impersonate-group", name);
    let uid = |uid: &'static str| ("impersonate-uid", uid);
    let scopes = json!({"scopes": ["scope-a", "scope-b"]});
    let fixture = Fixture::new(authorizer).await;
    for (name, groups, fields, expected) in [
        ("tester", &[][..], vec![as_user("anyone")], Err(403)),
        ("tester", &[], vec![group("some-group")], Err(400)),
        ("tester", &[], vec![SCOPES[0]], Err(400)),
        ("tester", &[], vec![uid("some-uid")], Err(400)),
        ("dev", &["wheel"], vec![as_user("system:admin"), group("some-group")], Err(403)),
        (
            "dev",
            &["wheel", "group-impersonater"],
            vec![as_user("system:admin"), group("some-group")],
            Ok(("system:admin", "", "some-group,system:authenticated", json!({}))),
        ),
        ("dev", &["wheel"], vec![as_user("system:admin"), group("some-group"), SCOPES[0]], Err(403)),
        ("dev", &["wheel", "extra-setter-project"], vec![as_user("system:admin"), group("some-group"), SCOPES[0]], Err(403)),
        ("dev", &["wheel", "extra-setter-particular-scopes"], vec![as_user("system:admin"), SCOPES[0], SCOPES[1]], Err(403)),
        (
            "dev",
            &["wheel", "extra-setter-scopes"],
            vec![as_user("system:admin"), SCOPES[0], SCOPES[1]],
            Ok(("system:admin", "", "system:authenticated", scopes.clone())),
        ),
        (
            "dev",
            &["wheel", "escaped-scopes"],
            vec![as_user("system:admin"), (ESCAPED, "scope-a"), (ESCAPED, "scope-b")],
            Ok(("system:admin", "", "system:authenticated", json!({"example.com/escapedᛄscopes": ["scope-a", "scope-b"]}))),
        ),
        (
            "dev",
            &["wheel", "almost-escaped-scopes"],
            vec![as_user("system:admin"), (ALMOST, "scope-a"), (ALMOST, "scope-b")],
            Ok(("system:admin", "", "system:authenticated", json!({"almost%zzpercent%xxencoded": ["scope-a", "scope-b"]}))),
        ),
        ("dev", &["regular-impersonater"], vec![as_user("tester")], Ok(("tester", "", "system:authenticated", json!({})))),
        ("dev", &["sa-impersonater"], vec![as_user("tester")], Err(403)),
        (
            "dev",
            &["sa-impersonater"],
            vec![as_user("system:serviceaccount:foo:default")],
            Ok((
                "system:serviceaccount:foo:default",
                "",
                "system:serviceaccounts,system:serviceaccounts:foo,system:authenticated",
                json!({}),
            )),
        ),
        ("system:admin", &[], vec![as_user("system:anonymous")], Ok(("system:anonymous", "", "system:unauthenticated", json!({})))),
        (
            "system:admin",
            &[],
            vec![as_user("unknown"), group("system:unauthenticated")],
            Ok(("unknown", "", "system:unauthenticated", json!({}))),
        ),
        (
            "system:admin",
            &[],
            vec![as_user("unknown"), group("system:authenticated")],
            Ok(("unknown", "", "system:authenticated", json!({}))),
        ),
        (
            "dev",
            &["wheel", "group-impersonater"],
            vec![as_user("system:admin"), group("some-group"), group("system:authenticated")],
            Ok(("system:admin", "", "some-group,system:authenticated", json!({}))),
        ),
        (
            "system:admin",
            &[],
            vec![as_user("system:anonymous"), group("system:unauthenticated")],
            Ok(("system:anonymous", "", "system:unauthenticated", json!({}))),
        ),
        (
            "dev",
            &["everything-impersonater"],
            vec![as_user("tester"), uid("some-uid")],
            Ok(("tester", "some-uid", "system:authenticated", json!({}))),
        ),
        ("dev", &["everything-impersonater"], vec![as_user("tester"), uid("disallowed-uid")], Err(403)),
        (
            "dev",
            &["everything-impersonater"],
            vec![as_user("tester"), uid("some-uid"), group("system:authenticated"), SCOPES[0], SCOPES[1]],
            Ok(("tester", "some-uid", "system:authenticated", scopes)),
        ),
    ] {
        let found = fixture.ask(&user(name, groups), &fields).await.map(|user| {
            let User { name, uid, groups, extra } = user;
            (name, uid, groups.join(","), json!(extra))
        });
        let found = found.map_err(|refusal| refusal.reason().row().status.as_u16());
        let expected = expected.map(|(name, uid, groups, extra)| (name.to_owned(), uid.to_owned(), groups.to_owned(), extra));
        assert_eq!(found, expected, "{name} {groups:?} {fields:?}");
    }
}

#[tokio::test]
async fn each_value_is_asked_about_once_and_for_ten_seconds() {
    let fixture = Fixture::new(|_| Verdict::Allow).await;
    let anna = User { uid: "7".into(), extra: [("k".to_owned(), vec!["v".to_owned()])].into(), ..user("anna", &["devs"]) };
    let fields = [
        ("impersonate-user", "system:serviceaccount:a:b.c"),
        ("impersonate-group", "x, y"),
        ("impersonate-group", "ß"),
        ("impersonate-group", "ß"),
        ("impersonate-uid", "1"),
        ("impersonate-extra-a%2fb%4f", "1"),
    ];
    fixture.ask(&anna, &fields).await.expect("allowed");
    let mut specs = fixture.server.access_specs();
    specs.sort_by_key(Value::to_string);
    let spec = |mut attributes: Value| {
        attributes["verb"] = json!("impersonate");
        attributes["version"] = json!("v1");
        json!({"user": "anna", "uid": "7", "groups": ["devs"], "extra": {"k": ["v"]}, "resourceAttributes": attributes})
    };
    let mut expected = [
        spec(json!({"resource": "serviceaccounts", "namespace": "a", "name": "b.c"})),
        spec(json!({"resource": "groups", "name": "x, y"})),
        spec(json!({"resource": "groups", "name": "ß"})),
        spec(json!({"group": AUTHENTICATION, "resource": "uids", "name": "1"})),
        spec(json!({"group": AUTHENTICATION, "resource": "userextras", "subresource": "a/bO", "name": "1"})),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(specs, expected);
    fixture.clock.pass(9);
    fixture.ask(&anna, &fields).await.expect("allowed");
    assert_eq!(fixture.server.counts().1, 5);
    fixture.clock.pass(1);
    fixture.ask(&anna, &fields).await.expect("allowed");
    assert_eq!(fixture.server.counts().1, 10);
}

#[tokio::test]
async fn what_is_not_clear_is_refused_without_a_question() {
    use Reason::{BadImpersonation, IdentityNotSendable, ImpersonationNotAllowed};
    let fixture = Fixture::new(|_| Verdict::Allow).await;
    let many: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(|value| ("impersonate-group", value.as_str())).collect();
    let original = |name: &'static str| vec![("impersonate-user", "b"), (name, "x")];
    for (fields, reason) in [
        (vec![("impersonate-user", "")], BadImpersonation),
        (vec![("impersonate-user", "b"), ("impersonate-user", "b")], BadImpersonation),
        (vec![("impersonate-user", "b"), ("impersonate-uid", "1"), ("impersonate-uid", "1")], BadImpersonation),
        (vec![("impersonate-user", "b"), ("impersonate-group", "")], BadImpersonation),
        (vec![("impersonate-user", "b"), ("impersonate-extra-a", "")], BadImpersonation),
        ([&[("impersonate-user", "b")][..], &many].concat(), BadImpersonation),
        (vec![("impersonate-user", " b")], IdentityNotSendable),
        (vec![("impersonate-user", "b\u{a0}")], IdentityNotSendable),
        (vec![("impersonate-user", "b\tc")], IdentityNotSendable),
        (vec![("impersonate-user", "b\u{85}c")], IdentityNotSendable),
        (original("impersonate-extra-"), IdentityNotSendable),
        (original("impersonate-extra-a%0ab"), IdentityNotSendable),
        (original("impersonate-extra-a%ff"), IdentityNotSendable),
        (original("impersonate-not-real"), ImpersonationNotAllowed),
        (original("impersonate-"), ImpersonationNotAllowed),
        (original("impersonate-groups"), ImpersonationNotAllowed),
        (original("impersonate-extra"), ImpersonationNotAllowed),
        (original("impersonate-extra-originaluser.jetstack.io-user"), ImpersonationNotAllowed),
        (original("impersonate-extra-%4friginaluser.jetstack.io%2duser"), ImpersonationNotAllowed),
        (original("impersonate-extra-originaluser.jetstack.io-user%zz"), ImpersonationNotAllowed),
    ] {
        let refusal = fixture.ask(&user("anna", &[]), &fields).await.expect_err("a refusal");
        assert_eq!(refusal.reason(), reason, "{fields:?}");
    }
    let latin = [(HeaderName::from_static("impersonate-user"), HeaderValue::from_bytes(b"b\xff").expect("a value"))];
    assert!(wanted(&latin.into_iter().collect()).is_err());
    assert_eq!(fixture.server.counts().1, 0);
    fixture.ask(&user("anna", &[]), &[&[("impersonate-user", "b")][..], &many[1..]].concat()).await.expect("64 values");
}

#[tokio::test]
async fn a_refusal_says_in_the_old_words_what_is_not_allowed() {
    let fixture = Fixture::new(|spec| match spec["resourceAttributes"]["name"].as_str() {
        Some("b" | "a-b") => Verdict::Allow,
        Some("denied") => Verdict::Deny,
        _ => Verdict::NoOpinion,
    })
    .await;
    let b = ("impersonate-user", "b");
    for (fields, whom) in [
        (vec![("impersonate-user", "c")], "user 'c'"),
        (vec![("impersonate-user", "denied")], "user 'denied'"),
        (vec![("impersonate-user", "system:serviceaccount:a:b.c")], "user 'system:serviceaccount:a:b.c'"),
        (vec![("impersonate-user", "system:serviceaccount:a:b:c")], "user 'system:serviceaccount:a:b:c'"),
        (vec![b, ("impersonate-group", "a-b"), ("impersonate-group", "g"), ("impersonate-group", "h")], "group 'g'"),
        (vec![b, ("impersonate-uid", "1")], "uid '1'"),
        (vec![b, ("impersonate-extra-foo", "k1"), ("impersonate-extra-foo", "k2")], "extra info 'foo'='k1'"),
    ] {
        let refusal = fixture.ask(&user("anna", &[]), &fields).await.expect_err("a refusal");
        assert_eq!(refusal.text(), Some(format!("anna is not allowed to impersonate {whom}")), "{fields:?}");
    }
    fixture.server.fail(Kind::SubjectAccessReview, Fault::Status(500, None));
    let refusal = fixture.ask(&user("anna", &[]), &[("impersonate-user", "d")]).await.expect_err("a refusal");
    assert_eq!(refusal.reason(), Reason::ApiError);
}

#[test]
fn the_original_user_is_told_as_tremolos_program_does() {
    let anna = User {
        uid: "7".into(),
        extra: [("b", "x"), ("a", "ü\n")].map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).into(),
        ..user("anna", &["devs", "ops", AUTHENTICATED])
    };
    let told = |user: &User| {
        let mut target = User::default();
        tell_original(&mut target, user);
        target.extra.retain(|_, values| !values.is_empty());
        json!(target.extra)
    };
    assert_eq!(
        told(&anna),
        json!({
            "originaluser.jetstack.io-user": ["anna"], "originaluser.jetstack.io-groups": ["devs", "ops"],
            "originaluser.jetstack.io-uid": ["7"], "originaluser.jetstack.io-extra": [r#"{"a":["ü\n"],"b":["x"]}"#],
        })
    );
    assert_eq!(told(&user("anna", &[AUTHENTICATED])), json!({"originaluser.jetstack.io-user": ["anna"]}));
}
