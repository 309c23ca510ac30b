use std::{cell::RefCell, collections::VecDeque, sync::Arc, time::Duration};

use observe::Metrics;
use proxy::{
    DrainTrigger, ErrorForm, Http2, Limits, Listener, ManagedHeaders, Places, Road, Server, server_config,
    upstream::{Address, Speech, Upstream},
};
use rustls::crypto::aws_lc_rs;
use serde_json::Value;
use settings::{Contents, ServingPair, Watched};
use testkit::{
    api::{Api, Verdict},
    certs::Authority,
    tls::Tls,
    upstream::{Received, Reply, Upstream as Recorder},
    wire::Wire,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    block_on,
    credentials::{GOOD, gate},
    readings,
};

/// Nothing more is to be expected after so long a silence.
const SILENCE: Duration = Duration::from_millis(3);
const LONGEST: Duration = Duration::from_millis(60);
/// How many requests may arrive late.
const LATE: usize = 64;

/// What a client says in HTTP/1: [`World::assert_decided`].
pub fn http1(data: &[u8]) -> bool {
    WORLD.with_borrow_mut(|world| {
        world.talk(data, false);
        world.assert_decided()
    })
}

/// What a client says in HTTP/2 after the connection's preface and its settings: [`World::assert_decided`].
pub fn http2(data: &[u8]) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    WORLD.with_borrow_mut(|world| {
        world.talk(&[PREFACE, data].concat(), true);
        world.assert_decided()
    })
}

thread_local!(static WORLD: RefCell<World> = RefCell::new(block_on(World::new())));

/// The whole proxy, between an API server that knows one token and a recording upstream.
struct World {
    api: Api,
    upstream: Recorder,
    plain: std::net::SocketAddr,
    secure: std::net::SocketAddr,
    tls: Tls,
    /// What was allowed a short while ago: a request whose client has gone is recorded when its connection ends.
    allowed: VecDeque<Value>,
    _trigger: DrainTrigger,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (api, folder) = (Api::start().await, tempfile::tempdir().expect("a folder"));
        api.user(GOOD, "alice", &["devs", "ops"]);
        api.rule(|spec| match spec["nonResourceAttributes"]["path"].as_str() {
            Some(path) if !path.starts_with("/secret") => Verdict::Allow,
            _ => Verdict::NoOpinion,
        });
        let upstream = Recorder::start(|received| Reply::ok(if received.method() == "HEAD" { "" } else { "answer" })).await;
        let metrics = Metrics::new("fuzz", "0");
        let (trigger, drain) = DrainTrigger::new();
        let server = Server {
            limits: Limits { head_bytes: 65_536, handshake: LONGEST * 9, head: LONGEST * 9, idle: LONGEST * 9, write: LONGEST * 9 },
            http2: Some(Http2 { max_concurrent_streams: 100, max_size: 262_144 }),
            metrics: Arc::clone(&metrics),
            drain,
            places: Places::new(1000),
        };
        let address = Address {
            host: upstream.address().ip().to_string(),
            port: upstream.address().port(),
            authority: upstream.address().to_string(),
            base_path: String::new(),
            base_query: String::new(),
        };
        let managed = ManagedHeaders::new(
            &[http::HeaderName::from_static("x-remote-user"), http::HeaderName::from_static("x-remote-groups")],
            &["impersonate-"],
        );
        let upstream_of_road = Upstream::new(address, Speech::default(), managed);
        let road = Arc::new(Road {
            gate: gate(&api, folder.path()).await,
            upstream: upstream_of_road,
            livez: None,
            errors: ErrorForm::Text,
            metrics,
        });
        let authority = Authority::new("serving");
        let (certificate, key) = authority.server().write(folder.path(), "serving");
        let pair = [certificate, key].map(|path| Contents::new(&path, std::fs::read(&path).expect("it was written")));
        let pair = ServingPair::parse(&pair).expect("a pair");
        let (suites, groups) = (aws_lc_rs::ALL_CIPHER_SUITES.to_vec(), aws_lc_rs::DEFAULT_KX_GROUPS.to_vec());
        let config = server_config(Watched::fixed(pair), suites, rustls::ALL_VERSIONS, groups, true).expect("a configuration");
        let listen = async |tls| {
            let socket = proxy::listen_on(&"127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
            let address = socket.local_addr().expect("a bound socket has an address");
            tokio::spawn(server.clone().serve(Listener { name: "fuzz", socket, tls }, Arc::clone(&road)));
            address
        };
        let (plain, secure) = (listen(None).await, listen(Some(config)).await);
        let tls = authority.tls().alpn(&["h2"]);
        Self { api, upstream, plain, secure, tls, allowed: VecDeque::new(), _trigger: trigger, _folder: folder }
    }

    /// Says this and listens until nothing more comes.
    fn talk(&mut self, data: &[u8], secure: bool) {
        self.api.forget();
        block_on(async {
            let mut wire = match secure {
                true => self.tls.connect(self.secure).await.expect("the handshake succeeds"),
                false => Wire::new(TcpStream::connect(self.plain).await.expect("the listener accepts")),
            };
            let end = Instant::now() + LONGEST;
            // Whoever closes early has heard enough.
            if timeout(LONGEST, wire.send(data)).await.is_ok_and(|sent| sent.is_ok()) {
                while Instant::now() < end && matches!(timeout(SILENCE, wire.fill()).await, Ok(Ok(1..))) {}
            }
        });
        self.allowed.extend(self.api.access_specs());
        self.allowed.drain(..self.allowed.len().saturating_sub(LATE));
    }

    /// Whether some request reached the upstream. Fails unless each that did is one that the API server allowed, leads every server where that
    /// one leads, and says of the client what is said here and of his connection and credentials nothing.
    fn assert_decided(&mut self) -> bool {
        let requests = self.upstream.take_requests();
        for received in &requests {
            assert_clean(received);
            let path = received.target().split('?').next().unwrap_or_default();
            let user = received.header("x-remote-user");
            if user.is_none() {
                assert_eq!((path, received.header("x-remote-groups")), ("/open", None), "{received:?}");
                continue;
            }
            assert_eq!((user, received.header("x-remote-groups")), (Some("alice"), Some("devs|ops|system:authenticated")));
            let decoded = readings::decoded(path.as_bytes());
            let verb = verb(received.method());
            let is_it = |spec: &Value| {
                let asked = &spec["nonResourceAttributes"];
                spec["user"] == "alice" && asked["verb"] == verb && asked["path"].as_str().is_some_and(|path| path.as_bytes() == decoded)
            };
            // Two who ask the same at the same time are one question.
            let spec = self.allowed.iter().find(|spec| is_it(spec)).unwrap_or_else(|| panic!("nobody allowed {received:?}"));
            let asked = spec["nonResourceAttributes"]["path"].as_str().expect("a path");
            readings::assert_one_meaning(path.as_bytes(), asked.as_bytes());
            assert!(!asked.starts_with("/secret"));
        }
        !requests.is_empty()
    }
}

/// One host, one framing, and nothing that is not for an upstream.
fn assert_clean(received: &Received) {
    let folded = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let names: Vec<String> = received.head.fields.iter().map(|(name, _)| folded(name)).collect();
    let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
    assert_eq!(count("host"), 1, "{received:?}");
    assert!(count("content-length") + count("transfer-encoding") <= 1, "{received:?}");
    assert!(count("x-remote-user") <= 1 && count("x-remote-groups") <= 1, "{received:?}");
    let unwanted = ["trailer", "keep-alive", "proxy-connection", "proxy-authorization", "http2-settings"];
    assert!(!names.iter().any(|name| unwanted.contains(&name.as_str()) || name.starts_with("impersonate-")), "{received:?}");
    assert_eq!(received.body.trailers, [], "{received:?}");
    let is_token = |value: &str| value.trim().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    assert!(!received.head.all("authorization").iter().any(|value| is_token(value)), "{received:?}");
    let protocols = received.head.all("sec-websocket-protocol");
    let is_upgrade = received.header("upgrade").is_some();
    assert!(!is_upgrade || !protocols.iter().any(|value| value.to_lowercase().contains("base64url.bearer.")), "{received:?}");
    if let Some(protocol) = received.header("upgrade") {
        assert!(["websocket", "spdy/3.1"].contains(&protocol.to_lowercase().as_str()), "{received:?}");
    }
    assert!(received.header("connection").is_none_or(|option| is_upgrade && option == "Upgrade"), "{received:?}");
    assert!(received.header("te").is_none_or(|coding| coding == "trailers"), "{received:?}");
}

fn verb(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "*",
    }
}
