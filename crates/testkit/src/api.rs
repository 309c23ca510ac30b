use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    certs::Pair,
    upstream::{Received, Reply, Upstream},
};

/// A fake kube-apiserver: answers TokenReviews and SubjectAccessReviews from tables, records them, and fails when told.
#[derive(Debug)]
pub struct Api {
    server: Upstream,
    state: Arc<Mutex<State>>,
}

/// The two reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `authentication.k8s.io/v1`.
    TokenReview,
    /// `authorization.k8s.io/v1`.
    SubjectAccessReview,
}

/// A review that was asked for.
#[derive(Clone, Debug)]
pub struct Review {
    /// Which.
    pub kind: Kind,
    /// The `spec`, whole.
    pub spec: Value,
    /// The request that carried it.
    pub request: Received,
}

/// What a review answers instead of the truth.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not a byte.
    HangBeforeHead,
    /// A head and half a body.
    HangInBody,
    /// A status with a Kubernetes `Status` body, and perhaps `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// The connection is reset once the request was read.
    Reset,
    /// What is no HTTP.
    Garbage,
    /// 200 with a page of HTML.
    Html,
    /// 200, JSON, cut in the middle, and the connection closed.
    Truncated,
    /// 200, JSON of another kind.
    OtherKind,
    /// 200 and a body that never ends.
    Endless,
    /// 307 to this URL.
    Redirect(String),
    /// The truth, later.
    Delay(Duration),
    /// Anything else.
    Reply(Reply),
}

/// What the API server thinks of a SubjectAccessReview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `allowed`.
    Allow,
    /// Neither `allowed` nor `denied`: nobody allows it.
    NoOpinion,
    /// `denied`.
    Deny,
    /// Both, which no sane server says.
    Both,
}

/// What the kubeconfig presents to the API server.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// A token in the kubeconfig.
    Token(&'a str),
    /// A file with a token.
    TokenFile(&'a Path),
    /// A client certificate.
    Certificate(&'a Pair),
}

type Rule = Arc<dyn Fn(&Value) -> Verdict + Send + Sync>;

#[derive(Default)]
struct State {
    /// By token: `status.user` and the audiences that the answer names.
    users: HashMap<String, (Value, Vec<String>)>,
    rule: Option<Rule>,
    faults: HashMap<Kind, Fault>,
    reviews: Vec<Review>,
}

impl Api {
    /// Over plain HTTP. Knows no token and allows nothing.
    pub async fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        Self { server: Upstream::start(answer_from(&state)).await, state }
    }

    /// Over TLS, for `localhost`.
    pub async fn start_tls(pair: &Pair) -> Self {
        let state = Arc::<Mutex<State>>::default();
        Self { server: Upstream::start_tls(pair, answer_from(&state)).await, state }
    }

    /// The server: its address, connections and all requests, reviews or not.
    pub fn server(&self) -> &Upstream {
        &self.server
    }

    /// Makes a token good for a user in these groups.
    pub fn user(&self, token: &str, name: &str, groups: &[&str]) {
        self.user_info(token, json!({ "username": name, "groups": groups }), &[]);
    }

    /// Makes a token good for a whole `status.user`, with the `status.audiences` to answer.
    pub fn user_info(&self, token: &str, info: Value, audiences: &[&str]) {
        let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
        self.lock().users.insert(token.to_owned(), (info, audiences));
    }

    /// Makes a token bad.
    pub fn revoke(&self, token: &str) {
        self.lock().users.remove(token);
    }

    /// Decides about SubjectAccessReviews by their spec.
    pub fn rule(&self, rule: impl Fn(&Value) -> Verdict + Send + Sync + 'static) {
        self.lock().rule = Some(Arc::new(rule));
    }

    /// Allows everything.
    pub fn allow_all(&self) {
        self.rule(|_| Verdict::Allow);
    }

    /// Fails reviews of one kind from now on.
    pub fn fail(&self, kind: Kind, fault: Fault) {
        self.lock().faults.insert(kind, fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// The reviews of a kind so far, failed ones included.
    pub fn reviews(&self, kind: Kind) -> Vec<Review> {
        self.lock().reviews.iter().filter(|review| review.kind == kind).cloned().collect()
    }

    /// The specs of the SubjectAccessReviews so far.
    pub fn access_specs(&self) -> Vec<Value> {
        self.reviews(Kind::SubjectAccessReview).into_iter().map(|review| review.spec).collect()
    }

    /// How many TokenReviews and SubjectAccessReviews were asked for so far.
    pub fn counts(&self) -> (usize, usize) {
        (self.reviews(Kind::TokenReview).len(), self.reviews(Kind::SubjectAccessReview).len())
    }

    /// Forgets the reviews so far.
    pub fn forget(&self) {
        self.lock().reviews.clear();
    }

    /// Writes a kubeconfig for this server into a folder. `authority` (PEM) is what its certificate is verified with.
    pub fn kubeconfig(&self, folder: &Path, authority: Option<&str>, credential: Credential<'_>) -> PathBuf {
        let authority = authority.map_or(String::new(), |pem| {
            let path = folder.join("api-ca.crt");
            fs::write(&path, pem).expect("the folder is writable");
            format!(", certificate-authority: {}", path.display())
        });
        let user = match credential {
            Credential::Token(token) => format!("token: {token}"),
            Credential::TokenFile(path) => format!("tokenFile: {}", path.display()),
            Credential::Certificate(pair) => {
                let (certificate, key) = pair.write(folder, "api-client");
                format!("client-certificate: {}, client-key: {}", certificate.display(), key.display())
            }
        };
        let path = folder.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             clusters: [{{name: test, cluster: {{server: \"{}\"{authority}}}}}]\n\
             users: [{{name: test, user: {{{user}}}}}]\n",
            self.server.url(),
        );
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("faults", &self.faults).field("reviews", &self.reviews.len()).finish_non_exhaustive()
    }
}

fn answer_from(state: &Arc<Mutex<State>>) -> impl Fn(&Received) -> Reply + Send + Sync + 'static {
    let state = Arc::clone(state);
    move |received| {
        let kind = match (received.method(), received.target().split('?').next().unwrap_or_default()) {
            ("POST", "/apis/authentication.k8s.io/v1/tokenreviews") => Kind::TokenReview,
            ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews") => Kind::SubjectAccessReview,
            _ => return status(404),
        };
        let Ok(review) = serde_json::from_slice::<Value>(&received.body.content) else { return status(400) };
        let spec = review["spec"].clone();
        let (fault, truth) = {
            let mut state = lock(&state);
            state.reviews.push(Review { kind, spec: spec.clone(), request: received.clone() });
            (state.faults.get(&kind).cloned(), truth(&state, kind, &spec))
        };
        match fault {
            None => truth,
            Some(fault) => failed(fault, truth),
        }
    }
}

fn truth(state: &State, kind: Kind, spec: &Value) -> Reply {
    let (version, status) = match kind {
        Kind::TokenReview => ("authentication.k8s.io/v1", token_status(state, spec)),
        Kind::SubjectAccessReview => ("authorization.k8s.io/v1", access_status(state, spec)),
    };
    let body = json!({ "apiVersion": version, "kind": format!("{kind:?}"), "metadata": {}, "spec": spec, "status": status });
    json_reply(201, &[], &body)
}

fn token_status(state: &State, spec: &Value) -> Value {
    match state.users.get(spec["token"].as_str().unwrap_or_default()) {
        // kube-apiserver says why, which is what keeps the Go program from caching it.
        None => json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" }),
        Some((user, audiences)) if audiences.is_empty() => json!({ "authenticated": true, "user": user }),
        Some((user, audiences)) => json!({ "authenticated": true, "user": user, "audiences": audiences }),
    }
}

fn access_status(state: &State, spec: &Value) -> Value {
    match state.rule.as_ref().map_or(Verdict::NoOpinion, |rule| rule(spec)) {
        Verdict::Allow => json!({ "allowed": true, "reason": "RBAC: allowed by the test" }),
        Verdict::NoOpinion => json!({ "allowed": false }),
        Verdict::Deny => json!({ "allowed": false, "denied": true, "reason": "denied by the test" }),
        Verdict::Both => json!({ "allowed": true, "denied": true }),
    }
}

fn failed(fault: Fault, truth: Reply) -> Reply {
    const JSON: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Content-Length", "1000")];
    match fault {
        Fault::HangBeforeHead => Reply::hang(),
        Fault::HangInBody => Reply::head(201, JSON).send("{\"apiVersion\":").then_hang(),
        Fault::Status(code, None) => status(code),
        Fault::Status(code, Some(seconds)) => json_reply(code, &[("Retry-After", &seconds.to_string())], &status_body(code)),
        Fault::Reset => Reply::default().then_reset(),
        Fault::Garbage => Reply::raw("\x16\x03\x01 this is no HTTP\r\n\r\n").then_close(),
        Fault::Html => Reply::new(200, &[("Content-Type", "text/html")], "<html><body>Sign in</body></html>"),
        Fault::Truncated => {
            Reply::head(201, JSON).send("{\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"authenticated\":true").then_close()
        }
        Fault::OtherKind => json_reply(200, &[], &json!({ "apiVersion": "v1", "kind": "ConfigMap", "status": { "allowed": true } })),
        Fault::Endless => {
            let head = Reply::head(201, &[("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]);
            head.send(crate::wire::chunk("{\"status\":\"")).endless(crate::wire::chunk([b'a'; 16 * 1024]))
        }
        Fault::Redirect(location) => Reply::new(307, &[("Location", &location)], ""),
        Fault::Delay(time) => Reply::default().pause(time).then(truth),
        Fault::Reply(reply) => reply,
    }
}

fn status(code: u16) -> Reply {
    json_reply(code, &[], &status_body(code))
}

fn status_body(code: u16) -> Value {
    json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": "the test says so", "reason": "Test", "code": code })
}

fn json_reply(code: u16, fields: &[(&str, &str)], body: &Value) -> Reply {
    Reply::new(code, &[&[("Content-Type", "application/json")], fields].concat(), body.to_string())
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Client, Request},
        wait::in_time,
    };

    const TOKENS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
    const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

    async fn ask(api: &Api, path: &str, spec: Value) -> Value {
        let request = Request::post(path, json!({ "spec": spec }).to_string());
        let response = Client::connect_plain(api.server().address()).await.send(&request).await;
        assert_eq!(response.status, 201, "{}", response.text());
        serde_json::from_slice(&response.body).expect("JSON")
    }

    #[tokio::test]
    async fn reviews_follow_the_tables_and_are_recorded() {
        let api = Api::start().await;
        api.user("good", "alice", &["devs"]);
        api.rule(|spec| if spec["user"] == "alice" { Verdict::Allow } else { Verdict::NoOpinion });
        assert_eq!(ask(&api, TOKENS, json!({ "token": "good" })).await["status"]["user"]["username"], "alice");
        assert_eq!(ask(&api, TOKENS, json!({ "token": "bad" })).await["status"]["authenticated"], Value::Null);
        assert_eq!(ask(&api, ACCESS, json!({ "user": "alice" })).await["status"]["allowed"], true);
        assert_eq!(ask(&api, ACCESS, json!({ "user": "bob" })).await["status"]["allowed"], false);
        assert_eq!((api.counts(), api.access_specs()), ((2, 2), vec![json!({ "user": "alice" }), json!({ "user": "bob" })]));
    }

    #[tokio::test]
    async fn faults_hold_until_healed() {
        let api = Api::start().await;
        api.user("good", "alice", &[]);
        let spec = json!({ "spec": { "token": "good" } }).to_string();
        for fault in [
            Fault::Status(500, None),
            Fault::Status(429, Some(1)),
            Fault::Html,
            Fault::OtherKind,
            Fault::Garbage,
            Fault::Truncated,
            Fault::Reset,
            Fault::Redirect("http://127.0.0.1:1/".to_owned()),
        ] {
            api.fail(Kind::TokenReview, fault.clone());
            let answer = Client::connect_plain(api.server().address()).await.try_send(&Request::post(TOKENS, &spec)).await;
            let truth = answer.is_ok_and(|response| response.status == 201);
            assert!(!truth, "{fault:?}");
        }
        api.heal();
        assert_eq!(ask(&api, TOKENS, json!({ "token": "good" })).await["status"]["authenticated"], true);
    }

    #[tokio::test]
    async fn an_endless_answer_is_read_for_as_long_as_one_likes() {
        let api = Api::start().await;
        api.fail(Kind::TokenReview, Fault::Endless);
        let mut client = Client::connect_plain(api.server().address()).await;
        let mut exchange = client.open(&Request::post(TOKENS, "{}")).await.expect("sent");
        exchange.head().await.expect("a head");
        let mut read = 0;
        while read < 4 << 20 {
            read += in_time("a chunk", exchange.next()).await.expect("no error").expect("no end").len();
        }
    }
}
