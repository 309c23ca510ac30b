use std::{
    cell::RefCell,
    sync::{Arc, Mutex},
    time::Duration,
};

use auth::{
    Algorithm, GateSettings, GroupsElsewhere, KeySet, Method, Mode, OidcSettings, RequestGate, TokenRules, Verified, VerifiedToken,
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, Request, header};
use kube_api::{Api, ApiSettings};
use observe::Metrics;
use outbound::Fetcher;
use request::{CanonicalRequest, Decision, Gate, NoForm, OddPaths, Peer, Reason};
use serde_json::{Map, Value, json};
use settings::{ConfigFile, Contents, PathLists, UpstreamRoots, Watched};
use testkit::{
    api::{Api as FakeApi, Credential, Kind, Verdict},
    certs::Authority,
    jwt::SigningKey,
    upstream::{Received, Reply, Upstream},
};
use tokio::time::{Instant, sleep};

use super::{block_on, headers, split_once};

/// The one token that is good.
pub const GOOD: &str = "a";
const NOW: i64 = 1_700_000_000;

/// Headers of a request: what the API server is asked about is what Go reads in them, and nobody passes without the good
/// token.
pub fn credentials(data: &[u8]) -> bool {
    thread_local!(static WORLD: World = block_on(World::new()));
    let headers = headers(data);
    let mut request = Request::get("/").header(header::HOST, "h").body(()).expect("a request");
    request.headers_mut().extend(headers.clone());
    let (head, ()) = request.into_parts();
    WORLD.with(|world| {
        let Ok(request) = CanonicalRequest::new(head, world.gate.reads()) else { return false };
        world.api.forget();
        let decision = block_on(world.gate.decide(&request, &nobody(), &mut NoForm));
        let asked = world.api.reviews(Kind::TokenReview);
        let said = [bearer(&headers), websocket(&headers)];
        for review in &asked {
            let token = review.spec["token"].as_str().map(str::to_owned);
            assert!(said.contains(&token), "{token:?} was asked about, and {said:?} said");
        }
        let is_good = |said: &Option<String>| said.as_deref() == Some(GOOD);
        let is_alice = matches!(&decision, Decision::Allow(grant) if grant.user.name == "alice");
        // A bearer token that is rejected is not the end: the other one may be good.
        assert!(is_alice == said.iter().any(is_good) && (is_alice || matches!(decision, Decision::Refuse(_))), "{said:?}: {decision:?}");
        is_alice
    })
}

/// Claims in JSON, then header and edits of the token that says so: what holds is signed byte for byte, and says what counts.
pub fn token(data: &[u8]) -> bool {
    thread_local!(static KEY: SigningKey = SigningKey::new("ES256"));
    let (claims, rest) = split_once(data, b"\n---\n");
    let (head, edits) = split_once(rest, b"\n---\n");
    let (Ok(claims), Ok(head)) = (std::str::from_utf8(claims), std::str::from_utf8(head)) else { return false };
    let head = if head.is_empty() { r#"{"alg":"ES256","kid":"k"}"# } else { head };
    KEY.with(|key| {
        let keys = KeySet::parse(json!({"keys": [key.jwk("k")]}).to_string().as_bytes()).expect("keys");
        let honest = key.sign(head, claims);
        let mut token = honest.clone().into_bytes();
        for edit in edits.chunks_exact(3) {
            let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % token.len();
            token[at] = edit[2];
        }
        let Ok(token) = String::from_utf8(token) else { return false };
        let Ok(verified) = rules().verify(&token, &keys, NOW) else { return false };
        let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
        assert_eq!(signed(&token), signed(&honest), "nobody signed this");
        let head: Map<String, Value> = serde_json::from_str(head).expect("the header is an object");
        assert!(head.get("alg") == Some(&json!("ES256")) && !head.contains_key("crit"), "{head:?}");
        let claims: Map<String, Value> = serde_json::from_str(claims).expect("the claims are an object");
        assert!(is_said(&verified, &claims), "{verified:?} of {claims:?}");
        true
    })
}

/// An issuer's keys, with `KEY` for an object that is ours, and `X` for a part of it: a token of ours holds only by a key that
/// has all of ours and may be used so.
pub fn key_set(data: &[u8]) -> bool {
    thread_local!(static KEY: (SigningKey, Value, String) = {
        let key = SigningKey::new("ES256");
        let (jwk, token) = (key.jwk("k"), key.token("k", &json!({"iss": "https://issuer.test", "aud": "client", "exp": NOW + 60, "sub": "anna"})));
        (key, jwk, token)
    });
    let Ok(text) = std::str::from_utf8(data) else { return false };
    KEY.with(|(_, jwk, token)| {
        let document =
            text.replace("\"KEY\"", &jwk.to_string()).replace("X_OF_KEY", text_of(jwk, "x")).replace("Y_OF_KEY", text_of(jwk, "y"));
        let Ok(keys) = KeySet::parse(document.as_bytes()) else { return false };
        let document: Value = serde_json::from_str(&document).expect("JSON");
        let listed = document["keys"].as_array().expect("a list");
        assert!(keys.skipped.len() <= listed.len() && listed.len() <= 64 && keys.is_empty() == (keys.skipped.len() == listed.len()));
        let holds = rules().verify(token, &keys, NOW).is_ok();
        if holds {
            let is_ours = |key: &Value| {
                let may = |name: &str, value: &str| key.get(name).is_none_or(|said| said == value);
                (key["kty"] == "EC" && key["crv"] == "P-256" && key["kid"] == "k" && key.get("d").is_none())
                    && may("use", "sig")
                    && may("alg", "ES256")
                    && ["x", "y"].iter().all(|name| text_of(key, name).trim_end_matches('=') == text_of(jwk, name))
            };
            assert!(listed.iter().any(is_ours), "none of {document} made the signature");
        }
        holds
    })
}

/// What an issuer says of itself, and behind it its keys, with `ISSUER` for its name and `KEY` for a key: a token holds only
/// if both are right, and nothing is asked but what the issuer names, of itself.
pub fn discovery(data: &[u8]) -> bool {
    thread_local!(static WORLD: RefCell<Issuer> = RefCell::new(block_on(Issuer::new())));
    let Ok(text) = std::str::from_utf8(data) else { return false };
    WORLD.with_borrow_mut(|world| {
        let text = text.replace("ISSUER", &world.server.url()).replace("\"KEY\"", &world.key.jwk("k").to_string());
        let (said, keys) = text.split_once("\n---\n").unwrap_or((&text, ""));
        let oracle: Map<String, Value> = serde_json::from_str(said).unwrap_or_default();
        let place = oracle.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        let path = place.strip_prefix(&world.server.url()).filter(|path| path.starts_with('/') || path.is_empty());
        if path.is_none() && place.to_lowercase().contains("https") {
            // Nobody else is bothered.
            return false;
        }
        block_on(world.settled());
        *world.documents.lock().expect("nobody panics with it") = (said.to_owned(), keys.to_owned());
        let decision = block_on(world.ask(path.is_some()));
        let targets: Vec<String> = world.server.take_requests().iter().map(|received| received.target().to_owned()).collect();
        assert!(targets.len() <= 2 && targets.first().is_none_or(|first| first == "/.well-known/openid-configuration"), "{targets:?}");
        if let Some(second) = targets.get(1) {
            assert_eq!(second.trim_start_matches('/'), path.expect("it is named").trim_start_matches('/'));
        }
        if matches!(decision, Decision::Allow(_)) {
            assert_eq!(oracle.get("issuer").and_then(Value::as_str), Some(world.server.url().as_str()));
            assert!(keys.contains(text_of(&world.key.jwk("k"), "x")), "{keys}");
        }
        matches!(decision, Decision::Allow(_))
    })
}

struct World {
    api: FakeApi,
    gate: RequestGate,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().expect("a folder"));
        api.user(GOOD, "alice", &[]);
        api.rule(|spec| if spec["user"] == "alice" { Verdict::Allow } else { Verdict::NoOpinion });
        let gate = gate(&api, folder.path()).await;
        Self { api, gate, _folder: folder }
    }
}

/// A gate that asks this API server about everything, and remembers nothing.
pub(crate) async fn gate(api: &FakeApi, folder: &std::path::Path) -> RequestGate {
    let kubeconfig = Some(api.kubeconfig(folder, None, Credential::Token("token-of-the-proxy")));
    let settings = ApiSettings { kubeconfig, user_agent: "fuzz".to_owned(), ..ApiSettings::default() };
    let api = Arc::new(Api::connect(settings).await.expect("a kubeconfig"));
    let method = Method::TokenReview { api: Arc::clone(&api), audiences: Vec::new(), ttl: Duration::ZERO };
    let mode = Mode::Webhook { api, allow_ttl: Duration::ZERO, deny_ttl: Duration::ZERO };
    let identity = auth::IdentityHeaders {
        user: HeaderName::from_static("x-remote-user"),
        groups: HeaderName::from_static("x-remote-groups"),
        separator: "|".to_owned(),
    };
    open(vec![method], vec![mode], Some(identity))
}

fn open(methods: Vec<Method>, modes: Vec<Mode>, identity: Option<auth::IdentityHeaders>) -> RequestGate {
    let config = Watched::fixed(ConfigFile::default());
    let paths = PathLists::parse(&[], &["/open".to_owned()]).expect("a pattern");
    let odd_paths = OddPaths::default();
    let settings =
        GateSettings { methods, modes, paths, odd_paths, config, identity, compat_api_errors: false, metrics: Metrics::new("fuzz", "0") };
    RequestGate::new(settings).expect("a gate")
}

struct Issuer {
    server: Upstream,
    documents: Arc<Mutex<(String, String)>>,
    key: SigningKey,
    token: String,
    fetcher: Fetcher,
    policy: Arc<Watched<auth::Policy>>,
}

impl Issuer {
    async fn new() -> Self {
        let authority = Authority::new("issuers");
        let documents = Arc::<Mutex<(String, String)>>::default();
        let said = Arc::clone(&documents);
        let answer = move |received: &Received| {
            let said = said.lock().expect("nobody panics with it");
            Reply::ok(if received.target() == "/.well-known/openid-configuration" { &said.0 } else { &said.1 })
        };
        let server = Upstream::start_tls(&authority.server(), answer).await;
        let roots = UpstreamRoots::parse(&[Contents::new("ca.pem", authority.pem())]).expect("an authority");
        let key = SigningKey::new("ES256");
        let ends = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + 3600;
        let token = key.token("k", &json!({"iss": server.url(), "aud": "client", "exp": ends, "sub": "anna"}));
        let policy = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, rules: [{nonResourceURLs: ['*'], verbs: [get]}]}\n\
                      ---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: b},\n\
                      roleRef: {kind: ClusterRole, name: r}, subjects: [{kind: User, name: 'oidc:anna'}]}\n";
        let policy = Watched::fixed(auth::Policy::parse(&[Contents::new("policy.yaml", policy)]).expect("a policy"));
        Self { server, documents, key, token, fetcher: Fetcher::new(Some(Watched::fixed(roots))).expect("a fetcher"), policy }
    }

    /// What the gate before still asked.
    async fn settled(&self) {
        let end = Instant::now() + Duration::from_millis(200);
        while self.server.open_connections() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(1)).await;
        self.server.take_requests();
    }

    /// Has a new gate ask the issuer, and asks the gate once that is over.
    async fn ask(&self, has_keys: bool) -> Decision {
        let rules = TokenRules { issuer: self.server.url(), ..rules() };
        let method =
            Method::Oidc(Box::new(OidcSettings { rules, fetcher: self.fetcher.clone(), ttl: Duration::ZERO, system_authenticated: false }));
        let gate = open(vec![method], vec![Mode::Rbac(Arc::clone(&self.policy))], None);
        let end = Instant::now() + Duration::from_millis(if has_keys { 100 } else { 20 });
        loop {
            let request = Request::get("/").header(header::HOST, "h").header(header::AUTHORIZATION, format!("Bearer {}", self.token));
            let (head, ()) = request.body(()).expect("a request").into_parts();
            let request = CanonicalRequest::new(head, gate.reads()).expect("a plain request");
            let decision = gate.decide(&request, &nobody(), &mut NoForm).await;
            let is_new = matches!(&decision, Decision::Refuse(refusal) if refusal.reason() == Reason::IssuerNotReady);
            let is_asked = self.server.count() > usize::from(has_keys) && self.server.open_connections() == 0;
            if !is_new || is_asked || Instant::now() > end {
                return decision;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: "https://issuer.test".to_owned(),
        client_id: "client".to_owned(),
        algorithms: Algorithm::ALL.to_vec(),
        username_claim: "sub".to_owned(),
        username_prefix: "oidc:".to_owned(),
        groups_claim: "groups".to_owned(),
        groups_prefix: String::new(),
        required_claims: Vec::new(),
        allow_reserved: false,
    }
}

/// Whether the claims say all that counts, and nothing against it.
fn is_said(verified: &Verified, claims: &Map<String, Value>) -> bool {
    let texts = |name: &str| match claims.get(name) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = NOW as f64;
    let holds = claims.get("iss").and_then(Value::as_str) == Some("https://issuer.test")
        && texts("aud").contains(&"client".to_owned())
        && number("exp").is_some_and(|exp| exp > now)
        && number("nbf").is_none_or(|nbf| nbf <= now + 61.0);
    holds
        && match verified {
            Verified::Whole(VerifiedToken { user, expires }) => {
                let name = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
                (user.name == format!("oidc:{name}") && !name.is_empty() && user.groups == texts("groups"))
                    && number("exp").is_some_and(|exp| *expires as f64 <= exp)
                    && !user.groups.iter().any(|group| group.starts_with("system:"))
            }
            Verified::GroupsElsewhere(GroupsElsewhere { .. }) => claims.contains_key("_claim_names"),
        }
}

/// The token that Go's `bearertoken` reads.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = String::from_utf8(headers.get(header::AUTHORIZATION)?.as_bytes().to_vec()).ok()?;
    let words: Vec<&str> = value.trim().splitn(3, ' ').collect();
    match words[..] {
        [scheme, token, ..] if scheme.to_lowercase() == "bearer" && !token.is_empty() => Some(token.to_owned()),
        _ => None,
    }
}

/// The token that Go's `websocket` reads.
fn websocket(headers: &HeaderMap) -> Option<String> {
    const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";
    let lenient =
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::RequireNone);
    // Go reads what is no text too: who has it there is refused here.
    let first = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_lowercase();
    if first(header::UPGRADE) != "websocket" || !first(header::CONNECTION).split(',').any(|option| option.trim() == "upgrade") {
        return None;
    }
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    let protocols: Vec<String> =
        lines.flat_map(|line| line.split(',').map(|protocol| protocol.trim().to_owned()).collect::<Vec<_>>()).collect();
    let tokens: Vec<&str> = protocols.iter().filter_map(|protocol| protocol.strip_prefix(PREFIX)).collect();
    match tokens[..] {
        [token] if protocols.len() > 1 => {
            String::from_utf8(GeneralPurpose::new(&alphabet::URL_SAFE, lenient).decode(token).ok()?).ok().filter(|token| !token.is_empty())
        }
        _ => None,
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn nobody() -> Peer {
    Peer { address: ([127, 0, 0, 1], 1).into(), chain: Arc::default(), secure: true }
}
