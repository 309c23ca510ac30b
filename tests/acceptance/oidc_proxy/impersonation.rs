//! Clients that act as others: `--inbound-impersonation=review`.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::{
    certs::Authority,
    client::{Request, Response, Version},
    process::Proxy,
    upstream::{Received, Reply, Upstream},
    wait::{Latch, in_time, wait_until},
};

use super::{OWN, World};
use crate::scene::{BOTH, assert_status};

const REVIEW: &str = "--inbound-impersonation=review";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const ORIGINAL: &str = "impersonate-extra-originaluser.jetstack.io-";

/// What the API server does with reviews.
type Judge = Arc<Mutex<Box<dyn Fn(&Value) -> Reply + Send>>>;

/// A world whose API server answers SubjectAccessReviews by their spec, and everything else as always.
async fn world(judge: impl Fn(&Value) -> Reply + Send + 'static) -> (World, Judge) {
    let (authority, judge) = (Authority::new("all"), Arc::new(Mutex::new(Box::new(judge) as Box<dyn Fn(&Value) -> Reply + Send>)));
    let judges = Arc::clone(&judge);
    let answer = move |received: &Received| match received.target() {
        REVIEWS => judges.lock().unwrap()(&serde_json::from_slice::<Value>(&received.body.content).unwrap()["spec"]),
        target => Reply::ok(target),
    };
    let api = Upstream::start_tls(&authority.server(), answer).await;
    (World::around(authority, api).await, judge)
}

fn verdict(is_allowed: bool) -> Reply {
    let status = json!({"allowed": is_allowed, "reason": "the test says so"});
    let review = json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": status});
    Reply::new(201, &[("Content-Type", "application/json")], review.to_string())
}

/// Allows what begins with `ok`.
fn ok_alone(spec: &Value) -> Reply {
    verdict(spec["resourceAttributes"]["name"].as_str().unwrap().starts_with("ok"))
}

fn request(fields: &[(&str, &str)]) -> Request {
    fields.iter().fold(Request::get("/x"), |request, (name, value)| request.header(name, value))
}

impl World {
    async fn act(&self, proxy: &Proxy, fields: &[(&str, &str)]) -> Response {
        self.send(proxy, json!({}), request(fields)).await
    }

    /// The reviews so far, and the other requests; both forgotten.
    fn taken(&self) -> (Vec<Received>, Vec<Received>) {
        self.api.take_requests().into_iter().partition(|received| received.target() == REVIEWS)
    }

    fn reviews(&self) -> usize {
        self.api.requests().iter().filter(|received| received.target() == REVIEWS).count()
    }
}

/// All that a request says of impersonation, and nothing else of its kind.
fn told(received: &Received) -> Vec<(String, String)> {
    let fields = received.head.fields.iter().map(|(name, value)| (name.to_ascii_lowercase().replace('_', "-"), value.clone()));
    let fields = fields.filter(|(name, _)| name.starts_with("impersonate-") || name.starts_with("x-remote-"));
    fields.map(|(name, value)| (name, String::from_utf8_lossy(value.as_ref()).into_owned())).collect()
}

fn lines(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn clients_act_as_others_only_as_far_as_the_api_server_says() {
    let (world, _) = world(ok_alone).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let (user, groups) = (format!("{ORIGINAL}user"), format!("{ORIGINAL}groups"));
    let anna = [(user.as_str(), "anna"), (groups.as_str(), "devs")];
    let authenticated = ("impersonate-group", "system:authenticated");
    for version in BOTH {
        let mut client = world.connect(version, &proxy).await;
        for (asked, expected) in [
            (vec![("impersonate-user", "ok-b")], vec![("impersonate-user", "ok-b"), authenticated]),
            (
                vec![("impersonate-group", "ok, ß"), ("impersonate-user", "ok-b"), ("x-remote-user", "root"), ("x-remote-group", "root")],
                vec![("impersonate-user", "ok-b"), ("impersonate-group", "ok, ß"), authenticated],
            ),
            (
                vec![
                    ("impersonate-user", "ok-b"),
                    ("impersonate-uid", "ok-1"),
                    ("impersonate-extra-foo", "ok1"),
                    ("impersonate-extra-example.com%2ffoo%42ar", "ok3"),
                    ("impersonate-extra-foo", "ok2"),
                ],
                vec![
                    ("impersonate-user", "ok-b"),
                    ("impersonate-uid", "ok-1"),
                    authenticated,
                    ("impersonate-extra-example.com%2ffoo%42ar", "ok3"),
                    ("impersonate-extra-foo", "ok1"),
                    ("impersonate-extra-foo", "ok2"),
                ],
            ),
        ] {
            world.taken();
            let sent = client.send(&request(&asked).bearer(&world.token(json!({})))).await;
            assert_eq!((sent.status, sent.text().as_str()), (200, "/x"), "{asked:?}");
            let passed = world.taken().1;
            let mut all = told(&passed[0]);
            all.iter_mut().for_each(|(name, _)| *name = name.replace("%2F", "%2f"));
            let mut expected = lines(&[&expected[..], &anna[..]].concat());
            all.sort();
            expected.sort();
            assert_eq!((passed.len(), all), (1, expected), "{asked:?}");
            assert_eq!(passed[0].header("authorization"), Some(format!("Bearer {OWN}").as_str()));
        }
        for (asked, whom) in [
            (vec![("impersonate-user", "c")], "user 'c'"),
            (vec![("impersonate-user", "system:serviceaccount:ok:c")], "user 'system:serviceaccount:ok:c'"),
            (
                vec![("impersonate-user", "ok"), ("impersonate-group", "ok"), ("impersonate-group", "system:masters")],
                "group 'system:masters'",
            ),
            (vec![("impersonate-user", "ok"), ("impersonate-uid", "1")], "uid '1'"),
            (vec![("impersonate-user", "ok"), ("impersonate-extra-foo", "k1"), ("impersonate-extra-foo", "k2")], "extra info 'foo'='k1'"),
        ] {
            let text = format!("anna is not allowed to impersonate {whom}");
            let asked = request(&asked).bearer(&world.token(json!({})));
            let refused = client.send(&asked).await;
            assert_eq!((refused.status, refused.text()), (403, format!("{text}\n")));
            let refused = client.send(&asked.header("Accept", "application/json")).await;
            assert_eq!(serde_json::from_str::<Value>(&refused.text()).unwrap()["message"], text);
        }
        assert_eq!(world.taken().1.len(), 0);
    }
    // Who is asked about: the user of the token, whole.
    world.send(&proxy, json!({"sub": "otto", "jti": "7"}), request(&[("impersonate-user", "ok")])).await;
    let (reviews, passed) = world.taken();
    let spec = serde_json::from_slice::<Value>(&reviews[0].body.content).unwrap()["spec"].clone();
    let attributes = json!({"verb": "impersonate", "version": "v1", "resource": "users", "name": "ok"});
    let id = json!({"authentication.kubernetes.io/credential-id": ["JTI=7"]});
    assert_eq!(spec, json!({"user": "otto", "groups": ["devs", "system:authenticated"], "extra": id, "resourceAttributes": attributes}));
    assert_eq!(passed[0].header(&format!("{ORIGINAL}extra")), Some(id.to_string().as_str()));
    assert_eq!(passed[0].header("impersonate-extra-authentication.kubernetes.io%2Fcredential-id"), None);
    // Who is nobody is not asked about, nor who may be nobody.
    assert_status(&world.connect(Version::H1, &proxy).await.send(&request(&[("impersonate-user", "ok")]).bearer("forged")).await, 401);
    assert_status(&world.send(&proxy, json!({"sub": "system:admin"}), request(&[("impersonate-user", "ok")])).await, 403);
    assert_eq!(world.api.count(), 0);
}

#[tokio::test]
async fn what_a_client_smuggles_is_reviewed_or_stays_here() {
    let (world, _) = world(|_| verdict(true)).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let (b, original) = (("Impersonate-User", "b"), format!("{ORIGINAL}user"));
    for version in BOTH {
        let mut client = world.connect(version, &proxy).await;
        for (fields, status) in [
            (vec![("Impersonate-User", "")], 400),
            (vec![("Impersonate-Group", "system:masters")], 400),
            (vec![("Impersonate-Uid", "1")], 400),
            (vec![("Impersonate-Extra-Scopes", "a")], 400),
            (vec![("Impersonate-User", ""), ("Impersonate-Group", "g")], 400),
            (vec![b, ("impersonate-user", "b")], 400),
            (vec![b, ("Impersonate-Uid", "1"), ("Impersonate-Uid", "2")], 400),
            (vec![b, ("Impersonate-Group", "")], 400),
            (vec![b, ("IMPERSONATE-NOT-REAL", "a")], 403),
            (vec![b, ("Impersonate-Groups", "a")], 403),
            (vec![b, ("Impersonate-User_", "a")], 403),
            (vec![b, (original.as_str(), "root")], 403),
            (vec![b, ("Impersonate-Extra-%4friginaluser.jetstack.io%2duser", "root")], 403),
            (vec![b, ("Impersonate-Extra-a%0d%0ab", "root")], 403),
            (vec![b, ("Impersonate-Group", "a\tb")], 403),
            (vec![("Impersonate-User", "\u{a0}b")], 403),
        ] {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let response = client.send(&request(&fields).bearer(&world.token(json!({})))).await;
            assert_status(&response, status);
            assert_eq!(world.api.count(), 0, "{fields:?}");
        }
    }
    // In HTTP/1 spaces around a value are no part of it; here they are.
    let spaced = request(&[("impersonate-user", " b")]).bearer(&world.token(json!({})));
    let answer = world.connect(Version::H2, &proxy).await.try_send(&spaced).await;
    assert!(answer.map_or(true, |response| [400, 403].contains(&response.status)));
    assert_eq!(world.api.count(), 0);
    // What others may read as the name stays here, and what is reviewed is not taken away.
    let told_of = async |request: Request| {
        assert_status(&world.send(&proxy, json!({}), request).await, 200);
        world
            .taken()
            .1
            .iter()
            .map(|received| {
                assert!(received.body.trailers.is_empty(), "{:?}", received.body.trailers);
                let told = told(received);
                told.into_iter().filter(|(name, _)| ["impersonate-user", "impersonate-group"].contains(&name.as_str())).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    let (anna, devs) = (("impersonate-user", "anna"), ("impersonate-group", "devs"));
    let everybody = ("impersonate-group", "system:authenticated");
    let trailing = Request::post("/x", "body").trailer("Impersonate-User", "root").trailer("Impersonate-Group", "system:masters");
    for request in
        [request(&[("Impersonate_User", "root"), ("IMPERSONATE_GROUP", "system:masters"), ("Impersonate", "x")]), trailing.clone()]
    {
        assert_eq!(told_of(request).await, [lines(&[anna, devs, everybody])]);
    }
    let acting = [("impersonate-user", "b"), everybody];
    for hidden in ["Impersonate-User", "impersonate-user, impersonate-group", "keep-alive, \"impersonate-user\""] {
        assert_eq!(told_of(request(&[b, ("Connection", hidden)])).await, [lines(&acting)], "{hidden}");
    }
    assert_eq!(told_of(trailing.header("Impersonate-User", "b").header("Impersonate_Group", "x")).await, [lines(&acting)]);
}

#[tokio::test]
async fn reviews_are_parallel_remembered_and_at_most_64() {
    let latch = Latch::default();
    let held = latch.clone();
    let (world, _) = world(move |_| Reply::default().wait(&held).then(verdict(true))).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let token = world.token(json!({}));
    let groups: Vec<String> = (0..63).map(|number| format!("g{number}")).collect();
    let fields = |count: usize| {
        [("impersonate-user", "b")].into_iter().chain(groups[..count].iter().map(|group| ("impersonate-group", group.as_str())))
    };
    let ask = |count: usize| request(&fields(count).collect::<Vec<_>>()).bearer(&token);
    let mut client = world.connect(Version::H2, &proxy).await;
    let (question, mut exchange) = (ask(19), world.connect(Version::H2, &proxy).await);
    let mut exchange = exchange.open(&question).await.unwrap();
    wait_until("20 reviews at a time", || world.reviews() == 20).await;
    latch.open();
    assert_eq!(in_time("an answer", exchange.head()).await.unwrap().0, 200);
    assert_status(&client.send(&ask(63)).await, 200);
    assert_eq!(world.reviews(), 64, "what was asked is remembered");
    assert_status(&client.send(&ask(63)).await, 200);
    let refused = client.send(&ask(63).header("impersonate-uid", "1")).await;
    assert_eq!((refused.status, refused.text().contains("at most 64 values")), (400, true));
    assert_eq!(world.reviews(), 64);
    // Another user is another question.
    assert_status(&world.send(&proxy, json!({"sub": "otto"}), request(&[("impersonate-user", "b")])).await, 200);
    assert_eq!(world.reviews(), 65);
}

#[tokio::test]
async fn an_api_server_that_cannot_say_lets_nobody_act_as_another() {
    let (world, judge) = world(ok_alone).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let status = |code: u16| Reply::new(code, &[("Content-Type", "application/json")], json!({"kind": "Status", "code": code}).to_string());
    let acting = [("impersonate-user", "ok"), ("impersonate-group", "ok")];
    for (reply, reason) in [
        (status(500), "api_error"),
        (status(403), "api_credentials_refused"),
        (Reply::ok("{}"), "api_error"),
        (Reply::hang(), "api_timeout"),
    ] {
        *judge.lock().unwrap() = Box::new(move |_| reply.clone());
        assert_status(&world.act(&proxy, &acting).await, 503);
        proxy.line_with(&["Request refused", reason]).await;
        assert_status(&world.act(&proxy, &[]).await, 200);
        assert_eq!(world.taken().1.len(), 1);
    }
    *judge.lock().unwrap() = Box::new(ok_alone);
    assert_status(&world.act(&proxy, &acting).await, 200);
    let (token, World { api, authority, issuer: _issuer, .. }) = (world.token(json!({})), world);
    drop(api);
    let mut client = testkit::client::Client::connect(Version::H1, proxy.secure(), &authority.tls()).await;
    assert_status(&client.send(&request(&[("impersonate-user", "ok2")]).bearer(&token)).await, 503);
    proxy.line_with(&["Request refused", "api_unreachable"]).await;
    proxy.assert_silent_about(&[&token, OWN]);
}

#[tokio::test]
async fn whoever_acts_as_another_has_both_in_his_line() {
    let (world, _) = world(ok_alone).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let fields =
        [("Impersonate-User", "ok one"), ("Impersonate-Group", "ok|g"), ("Impersonate-Uid", "ok-1"), ("Impersonate-Extra-A", "ok b")];
    assert_status(&world.act(&proxy, &fields).await, 200);
    let line = proxy.line_with(&["AuSuccess"]).await;
    let (_, told) = line.split_once("URI:/x ").unwrap();
    assert_eq!(
        told,
        "inbound:[anna / devs|system:authenticated / ] outbound:[ok one / \"ok|g\"|system:authenticated / ok-1 / a=\"ok b\" \
         originaluser.jetstack.io-groups=devs originaluser.jetstack.io-user=anna ]"
    );
    assert_status(&world.act(&proxy, &[("Impersonate-User", "no")]).await, 403);
    assert!(proxy.line_with(&["AuFail"]).await.ends_with("] AuFail src:[127.0.0.1 / ] URI:/x"));
}
