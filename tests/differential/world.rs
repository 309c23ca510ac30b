use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    api::{Api, Credential, Kind, Verdict},
    certs::{Authority, Pair, Subject, Usage},
    client::{Client, Request, Response, Version},
    issuer::Issuer,
    jwt::SigningKey,
    process::{Proxy, free_port},
    tls::Tls,
    upstream::{Received, Upstream},
    wait::{in_time, wait_for},
    wire::Framing,
};

use crate::{
    case::{Case, Group, Listener, Message},
    oidc, replies,
    seen::Seen,
};

/// The client certificate that a case presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    None,
    Good,
    OneGroup,
    NoGroup,
    Intermediate,
    AnyUsage,
    NoUsage,
    ServerUsage,
    WrongAuthority,
    Expired,
    NotYetValid,
    Nameless,
    Uid,
    TwoUids,
    EmptyUid,
    May,
}

/// One API server, one upstream and the files that both programs are given.
pub(crate) struct World {
    pub(crate) api: Api,
    upstream: Upstream,
    tls_upstream: Upstream,
    /// A proxy that leads to it.
    tunnels: Upstream,
    h2c_upstream: Upstream,
    h2_upstream: Upstream,
    issuer: Issuer,
    issued: Vec<(&'static str, String)>,
    clients: Authority,
    strangers: Authority,
    folder: TempDir,
    exchanges: AtomicUsize,
}

/// Both programs with the same flags.
pub(crate) struct Pairing {
    go: Proxy,
    ours: Proxy,
}

/// Users by the names of their tokens, and what a TokenReview says of each.
pub(crate) fn users() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        ("alice", json!({ "username": "alice", "groups": ["devs", "ops"], "extra": { "scopes": ["a", "b"], "note": ["ü %"] } }), &[]),
        ("bob", json!({ "username": "bob" }), &[]),
        ("mallory", json!({ "username": "mallory", "groups": ["devs"] }), &[]),
        ("lister", json!({ "username": "lister" }), &[]),
        ("trent", json!({ "username": "trent" }), &[]),
        ("tenant", json!({ "username": "tenant" }), &[]),
        ("both", json!({ "username": "both" }), &[]),
        ("member", json!({ "username": "member", "groups": ["system:authenticated", "devs"] }), &[]),
        ("outsider", json!({ "username": "outsider", "groups": ["system:unauthenticated"] }), &[]),
        ("anonymous", json!({ "username": "system:anonymous", "groups": ["devs"] }), &[]),
        ("unnamed", json!({ "username": "", "groups": ["devs"] }), &[]),
        ("unicode", json!({ "username": "älice 例", "groups": ["gröup"] }), &[]),
        ("piped", json!({ "username": "piped", "groups": ["a|system:masters"] }), &[]),
        ("spaced", json!({ "username": " spaced ", "groups": ["a b"] }), &[]),
        ("broken", json!({ "username": "bro\nken" }), &[]),
        ("for-a", json!({ "username": "for-a" }), &["a"]),
        ("for-b-and-c", json!({ "username": "for-b-and-c" }), &["b", "c"]),
        ("for-other", json!({ "username": "for-other" }), &["other"]),
    ]
}

/// Whether a review is about what is the tenant's.
fn is_tenants(spec: &Value) -> bool {
    let of = |attribute: &str| spec["resourceAttributes"][attribute].as_str().unwrap_or_default().to_owned();
    of("namespace").starts_with("mine") || of("name").starts_with("mine")
}

impl World {
    pub(crate) async fn new() -> Self {
        let (serving, clients) = (Authority::new("serving"), Authority::new("clients"));
        let folder = tempfile::tempdir().unwrap();
        let h2_upstream = Upstream::start_http2(Some(&serving.server()), replies::reply).await;
        let tls_upstream =
            Upstream::start_tls(&serving.issue(&Subject::server(&["localhost", "127.0.0.1", "upstream.invalid"])), replies::reply).await;
        let api = Api::start().await;
        api.rule(|spec| match spec["user"].as_str().unwrap_or_default() {
            "mallory" => Verdict::NoOpinion,
            "lister" if spec["resourceAttributes"]["verb"] != "list" => Verdict::NoOpinion,
            "trent" => Verdict::Deny,
            "tenant" if !is_tenants(spec) => Verdict::NoOpinion,
            "both" => Verdict::Both,
            _ => Verdict::Allow,
        });
        let kubeconfig = api.kubeconfig(folder.path(), None, Credential::Token("token-of-the-proxy"));
        let text = fs::read_to_string(kubeconfig).unwrap();
        let issuer = Issuer::start(&serving.server()).await;
        let key = SigningKey::new("RS256");
        issuer.keys(&[key.jwk("k")]);
        let world = Self {
            issued: oidc::tokens(&issuer.url(), &key),
            issuer,
            upstream: Upstream::start(replies::reply).await,
            tunnels: Upstream::start_tunnels(tls_upstream.address()).await,
            tls_upstream,
            h2c_upstream: Upstream::start_http2(None, replies::reply).await,
            h2_upstream,
            strangers: Authority::new("strangers"),
            folder,
            exchanges: AtomicUsize::new(0),
            clients,
            api,
        };
        serving.server().write(world.folder.path(), "serving");
        world.write("dead-kubeconfig", &text.replace(&world.api.server().url(), &format!("http://127.0.0.1:{}", free_port())));
        world.write("serving-ca.crt", serving.pem());
        world.write("clients-ca.crt", world.clients.pem());
        world.write("strangers-ca.crt", world.strangers.pem());
        world
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A flag of a table as a program gets it: `{upstream}`, `{dead}` and the like are URLs, `{folder}` has the files.
    pub(crate) fn fill(&self, flag: &str) -> String {
        flag.replace("{upstream}", &self.upstream.url())
            .replace("{upstream-address}", &self.upstream.address().to_string())
            .replace("{tunnels}", &self.tunnels.url())
            .replace("{tls-upstream}", &self.tls_upstream.url())
            .replace("{h2c-upstream}", &self.h2c_upstream.url())
            .replace("{h2-upstream}", &self.h2_upstream.url())
            .replace("{plain-tls-upstream}", &self.tls_upstream.url().replace("https://", "http://"))
            .replace("{dead}", &format!("http://127.0.0.1:{}", free_port()))
            .replace("{issuer}", &self.issuer.url())
            .replace("{folder}", &self.folder.path().display().to_string())
    }

    /// The flags that every start has unless the table gives or leaves them out (`--name=-`).
    pub(crate) fn flags(&self, given: &[&str]) -> Vec<String> {
        const USUAL: &[&str] = &[
            "--tls-cert-file={folder}/serving.crt",
            "--tls-private-key-file={folder}/serving.key",
            "--kubeconfig={folder}/kubeconfig",
            "--upstream={upstream}",
            // The Go program otherwise makes ten calls at once and five a second.
            "--kube-api-qps=10000",
            "--kube-api-burst=10000",
        ];
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().replace('_', "-");
        let usual = USUAL.iter().filter(|flag| !given.iter().any(|given| name(given) == name(flag)));
        usual.chain(given.iter().filter(|flag| !flag.ends_with("=-"))).map(|flag| self.fill(flag)).collect()
    }

    /// Starts both programs with a group's flags.
    pub(crate) async fn start(&self, go: &Path, group: &Group) -> Pairing {
        let mut flags = self.flags(&group.flags);
        if let Some(text) = group.config {
            flags.push(format!("--config-file={}", self.write("config.yaml", text).display()));
        }
        let port = |listener| group.listeners.contains(&listener).then(free_port);
        let address = |port: Option<u16>| port.map(|port| ([127, 0, 0, 1], port).into());
        let (secure, insecure, endpoints) = (port(Listener::Secure), port(Listener::Insecure), port(Listener::Endpoints));
        let with_listeners = |secure: Option<u16>, insecure: Option<u16>, endpoints: Option<u16>| {
            let mut flags = flags.clone();
            flags.extend(secure.map(|port| format!("--secure-listen-address=127.0.0.1:{port}")));
            flags.extend(insecure.map(|port| format!("--insecure-listen-address=127.0.0.1:{port}")));
            flags.extend(endpoints.map(|port| format!("--proxy-endpoints-port={port}")));
            flags
        };
        let go_flags = with_listeners(secure, insecure, endpoints);
        let mut our_flags = with_listeners(secure.map(|_| 0), insecure.map(|_| 0), endpoints.map(|_| free_port()));
        our_flags.extend(group.own_flags.iter().map(|&flag| flag.to_owned()));
        let variables: Vec<(&str, String)> = group.variables.iter().map(|(name, value)| (*name, self.fill(value))).collect();
        let mut command: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        command.push(go.display().to_string());
        command.extend(go_flags);
        let pairing = Pairing {
            go: Proxy::start_other("env".as_ref(), &command, address(secure), address(insecure), address(endpoints)).await,
            ours: Proxy::start_with(&our_flags, &variables).await,
        };
        if group.flags.iter().any(|flag| flag.starts_with("--oidc-issuer=")) {
            for proxy in [&pairing.go, &pairing.ours] {
                self.know_the_issuer(proxy).await;
            }
        }
        pairing
    }

    /// What the Go program and ours make of a case, with one new token and one new certificate.
    pub(crate) async fn exchange(&self, pairing: &Pairing, case: &Case, version: Version) -> (Seen, Seen) {
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
        for (name, mut user, audiences) in users() {
            user["uid"] = json!(format!("uid-{number}"));
            self.api.user_info(&token(name, number), user, audiences);
        }
        let tls = self.certificate(case.identity, number).map_or_else(Tls::default, |pair| Tls::presenting(&pair));
        if let Some((kind, fault)) = &case.fault {
            self.api.fail(*kind, fault.clone());
        }
        let go = self.ask(&pairing.go, case, version, &tls, number).await;
        let ours = self.ask(&pairing.ours, case, version, &tls, number).await;
        self.api.heal();
        (go, ours)
    }

    async fn ask(&self, proxy: &Proxy, case: &Case, version: Version, tls: &Tls, number: usize) -> Seen {
        self.api.forget();
        self.take_forwarded();
        let client = match case.listener {
            Listener::Insecure if version == Version::H2 => Ok(Client::connect_h2c(proxy.insecure()).await),
            Listener::Insecure => Ok(Client::connect_plain(proxy.insecure()).await),
            Listener::Secure => Client::try_connect(version, proxy.secure(), tls).await,
            Listener::Endpoints => Client::try_connect(version, proxy.endpoints(), tls).await,
        };
        let mut answers = Vec::new();
        match client {
            Err(error) => answers.push(Err(error)),
            Ok(mut client) => {
                for _ in 0..case.times {
                    answers.push(send(&mut client, &case.message, number, &self.issued).await);
                }
            }
        }
        let specs = |kind| self.api.reviews(kind).into_iter().map(|review| review.spec).collect();
        Seen {
            answers,
            forwarded: self.take_forwarded(),
            token_reviews: specs(Kind::TokenReview),
            access_reviews: specs(Kind::SubjectAccessReview),
        }
    }

    /// Both ask the issuer in the background.
    async fn know_the_issuer(&self, proxy: &Proxy) {
        let token = &self.issued[0].1;
        wait_for("the issuer's keys", async || {
            let mut client = Client::connect(Version::H1, proxy.secure(), &Tls::default()).await;
            match client.send(&Request::get("/").header("Authorization", &format!("Bearer {token}"))).await.status {
                200 => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    fn take_forwarded(&self) -> Vec<Received> {
        [&self.upstream, &self.tls_upstream, &self.h2c_upstream, &self.h2_upstream].map(Upstream::take_requests).concat()
    }

    /// A client's pair of this kind, by a name of its own.
    fn certificate(&self, identity: Identity, number: usize) -> Option<Pair> {
        use Usage::{Any, ServerAuth};
        let name = format!("carol-{number}");
        let subject = Subject::client(&name, &["devs", "ops"]);
        let subject = match identity {
            Identity::None => return None,
            Identity::WrongAuthority => return Some(self.strangers.issue(&subject)),
            Identity::Intermediate => return Some(self.clients.intermediate("between").issue(&subject)),
            Identity::Good => subject,
            Identity::OneGroup => Subject::client(&name, &["system:masters"]),
            Identity::NoGroup => Subject::client(&name, &[]),
            Identity::May => Subject::client("mallory", &[]),
            Identity::AnyUsage => subject.usages(&[Any]),
            Identity::NoUsage => subject.usages(&[]),
            Identity::ServerUsage => subject.usages(&[ServerAuth]),
            Identity::Expired => subject.expired(),
            Identity::NotYetValid => subject.not_yet_valid(),
            Identity::Nameless => subject.nameless(),
            Identity::Uid => subject.uid("uid-of-carol"),
            Identity::TwoUids => subject.uid("one").uid("two"),
            Identity::EmptyUid => subject.uid(""),
        };
        Some(self.clients.issue(&subject))
    }
}

impl Pairing {
    /// What both said, for a failure's report.
    pub(crate) fn output(&self) -> String {
        format!("Go said:\n{}\nours said:\n{}", self.go.output(), self.ours.output())
    }
}

fn token(name: &str, number: usize) -> String {
    format!("{name}-{number}")
}

async fn send(client: &mut Client, message: &Message, number: usize, issued: &[(&str, String)]) -> Result<Response, String> {
    let fill = |text: &str| {
        let names = users().into_iter().map(|(name, ..)| name).chain(["nobody"]);
        let text = issued.iter().fold(text.to_owned(), |text, (name, token)| text.replace(&format!("{{oidc:{name}}}"), token));
        names.fold(text, |text, name| {
            let token = token(name, number);
            text.replace(&format!("{{{name}}}"), &token).replace(&format!("{{base64url:{name}}}"), &URL_SAFE_NO_PAD.encode(token))
        })
    };
    let request = message.request(fill);
    match (request, message) {
        (Some(request), _) => client.try_send(&request).await,
        (None, Message::Raw(bytes)) => in_time("the answer", send_raw(client, &fill(bytes))).await,
        (None, Message::Shaped { .. }) => unreachable!("a shaped message is a request"),
    }
}

async fn send_raw(client: &mut Client, bytes: &str) -> Result<Response, String> {
    let wire = client.wire();
    // A server may answer and close before it has read everything: its answer counts.
    let _ = wire.send(bytes).await;
    let head = wire.read_head().await.map_err(|error| error.to_string())?.ok_or("the connection ended without an answer")?;
    let status = head.word(1).parse().map_err(|_| format!("{:?} is no status line", head.start_line))?;
    let body = wire.read_body(head.framing().unwrap_or(Framing::ToEnd)).await;
    Ok(Response { status, fields: head.fields, body: body.content, trailers: body.trailers, interim: Vec::new() })
}
