//! Servers and clients that are not ours: gRPC's own, a WebSocket library's, and curl.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use testkit::{
    client::{Client, Request, Version},
    parts::{Part, skip},
    process::{Exit, Process, Proxy},
    upstream::{Reply, Upstream},
    wait::{Latch, in_time},
    wire::{Wire, chunk},
};
use tokio::net::TcpStream;

use crate::scene::{ALICE, BOTH, FORGED, MALLORY, Scene};

/// The names in gRPC's own documents: the four kinds of calls, metadata and trailers, codes, and ends from either side.
const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
];

/// The program of tests/acceptance/peers, serving.
struct Peers {
    program: PathBuf,
    server: Process,
    ca: String,
}

impl Peers {
    async fn start(scene: &Scene, program: &Path) -> Self {
        let (certificate, key) = scene.authority.server().write(scene.folder.path(), "peer");
        let server = Process::spawn(Command::new(program).arg("serve").args([certificate, key]));
        Self { program: program.to_owned(), server, ca: scene.write("peer-ca.crt", scene.authority.pem()) }
    }

    /// Where it serves gRPC, gRPC over TLS, or HTTP.
    async fn address(&self, name: &str) -> String {
        let line = self.server.line_with(&[&format!("{name} 127")]).await;
        line.split(' ').nth(1).unwrap().to_owned()
    }

    fn client<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Process {
        Process::spawn(Command::new(&self.program).args(args))
    }

    async fn grpc(&self, target: &str, ca: &str, token: &str, cases: &[&str]) -> Exit {
        self.client([&["grpc", target, ca, token], cases].concat()).exit().await
    }
}

#[tokio::test]
async fn calls_of_grpc_of_every_kind_pass() {
    let program = match Part::Peers.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    let scene = Scene::new().await;
    let peers = Peers::start(&scene, &program).await;
    let ca = format!("--upstream-ca-file={}", peers.ca);
    for (upstream, flag) in [
        (format!("http://{}", peers.address("grpc").await), "--upstream-force-h2c"),
        (format!("https://{}", peers.address("grpc-tls").await), ca.as_str()),
    ] {
        let upstream = format!("--upstream={upstream}");
        let proxy = scene.proxy(&[&upstream, flag, "--insecure-listen-address=127.0.0.1:0"]).await;
        let (secure, insecure) = (proxy.secure().to_string(), proxy.insecure().to_string());
        for (target, ca) in [(&secure, peers.ca.as_str()), (&insecure, "")] {
            let exit = peers.grpc(target, ca, ALICE, CASES).await;
            assert_eq!(exit.code, Some(0), "{flag} {target}: {}", exit.output);
            assert_eq!(exit.output.matches("right:").count(), CASES.len(), "{}", exit.output);
            for (token, code) in [(MALLORY, "PermissionDenied"), (FORGED, "Unauthenticated")] {
                let exit = peers.grpc(target, ca, token, &["empty_unary"]).await;
                assert!(exit.code != Some(0) && exit.output.contains(code), "{}", exit.output);
            }
        }
    }
}

/// With every deadline at a second.
#[tokio::test]
async fn quiet_streams_live_on_and_slow_clients_do_not() {
    let program = match Part::Peers.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    const SILENCE: Duration = Duration::from_secs(5);
    const LIMITS: [&str; 6] = [
        "--tls-handshake-timeout=1s",
        "--read-header-timeout=1s",
        "--read-body-timeout=1s",
        "--write-timeout=1s",
        "--idle-timeout=1s",
        "--insecure-listen-address=127.0.0.1:0",
    ];
    let event = |text: &str| chunk(format!("data: {text}\n\n"));
    let events = Reply::head(200, &[("Transfer-Encoding", "chunked"), ("Content-Type", "text/event-stream")]);
    let events = events.send(event("first")).pause(SILENCE).send(event("last")).send("0\r\n\r\n");
    let scene = Scene::answering(move |_| events.clone()).await;
    let peers = Peers::start(&scene, &program).await;
    let before = |name: &str, address: String| [&[format!("--upstream={name}{address}")], &LIMITS.map(str::to_owned)[..]].concat();
    let grpc = [before("http://", peers.address("grpc").await), vec!["--upstream-force-h2c".to_owned()]].concat();
    let (grpc, http) = (scene.proxy(&grpc).await, scene.proxy(&before("http://", peers.address("http").await)).await);
    let events = scene.proxy(&LIMITS).await;

    let silence = format!("{}s", SILENCE.as_secs());
    let quiet = [
        peers.client(["quiet-grpc", &grpc.secure().to_string(), &peers.ca, ALICE, &silence]),
        peers.client(["quiet-grpc", &grpc.insecure().to_string(), "", ALICE, &silence]),
        peers.client(["quiet-websocket", &http.secure().to_string(), &peers.ca, ALICE, &silence]),
    ];
    let streams = BOTH.map(|version| all_events(&scene, &events, version));
    let [first, second] = streams;
    tokio::join!(first, second, slow_clients_are_closed(&scene, &events));
    for process in quiet {
        let exit = process.exit().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
    }
}

async fn all_events(scene: &Scene, proxy: &Proxy, version: Version) {
    let mut client = scene.connect(version, proxy).await;
    let mut exchange = client.open(&Request::get("/events").bearer(ALICE)).await.unwrap();
    assert_eq!(in_time("the head", exchange.head()).await.unwrap().0, 200);
    assert_eq!(in_time("the first", exchange.next()).await.unwrap().as_deref(), Some(&b"data: first\n\n"[..]));
    let begin = Instant::now();
    assert_eq!(in_time("the last", exchange.next()).await.unwrap().as_deref(), Some(&b"data: last\n\n"[..]));
    assert!(begin.elapsed() > Duration::from_secs(4), "it was not silent");
    assert_eq!(in_time("the end", exchange.next()).await.unwrap(), None);
}

/// Each of them after a second, and well before those who are only quiet have ended.
async fn slow_clients_are_closed(scene: &Scene, proxy: &Proxy) {
    let begin = Instant::now();
    let mut handshake = Wire::new(TcpStream::connect(proxy.secure()).await.unwrap());
    let mut heads = [scene.connect(Version::H1, proxy).await, Client::connect_plain(proxy.insecure()).await];
    for head in &mut heads {
        head.wire().send("GET / HTTP/1.1\r\nHost: h\r\nX-Half:").await.unwrap();
    }
    let mut idle = scene.connect(Version::H2, proxy).await;
    let mut bodies = [scene.connect(Version::H1, proxy).await, Client::connect_plain(proxy.insecure()).await];
    for body in &mut bodies {
        let fields = format!("Host: h\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 10\r\n\r\n");
        body.wire().send(format!("POST /upload HTTP/1.1\r\n{fields}half")).await.unwrap();
    }
    in_time("the end of the handshake", handshake.closed()).await;
    for client in heads.iter_mut().chain(&mut bodies) {
        in_time("the end of a slow client", client.closed()).await;
    }
    in_time("the end of an idle client", idle.closed()).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn curl_gets_each_event_when_it_is_sent() {
    let curl = match Part::Curl.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    for upstream_in_http2 in [false, true] {
        for version in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
            let latch = Latch::default();
            let events = Reply::head(200, &[("Transfer-Encoding", "chunked"), ("Content-Type", "text/event-stream")]);
            let events = events.send(chunk("data: first\n\n")).wait(&latch).send(chunk("data: last\n\n")).send("0\r\n\r\n");
            let upstream = match upstream_in_http2 {
                true => Upstream::start_http2(None, move |_| events.clone()).await,
                false => Upstream::start(move |_| events.clone()).await,
            };
            let scene = Scene::around(upstream).await;
            let forced = format!("--upstream-force-h2c={upstream_in_http2}");
            let proxy = scene.proxy(&[&forced, "--insecure-listen-address=127.0.0.1:0"]).await;
            let ca = scene.write("ca.crt", scene.authority.pem());
            let url = match version {
                "--http2-prior-knowledge" => format!("http://{}/events", proxy.insecure()),
                _ => format!("https://{}/events", proxy.secure()),
            };
            let authorization = format!("Authorization: Bearer {ALICE}");
            let shown = "version %{http_version}";
            let args = ["-sSN", "--cacert", &ca, "-H", &authorization, "-w", shown, version, &url];
            let curl = Process::spawn(Command::new(&curl).args(args));
            curl.line_with(&["data: first"]).await;
            assert!(!curl.output().contains("last") && curl.is_running(), "{}", curl.output());
            latch.open();
            let exit = curl.exit().await;
            let spoken = if version == "--http1.1" { "version 1.1" } else { "version 2" };
            assert!(exit.code == Some(0) && exit.output.contains("data: last") && exit.output.contains(spoken), "{exit:?}");
        }
    }
}

/// A refusal comes before its body is over, and the stream is cut then: not in one piece with the answer, which `curl` would
/// not see.
#[tokio::test]
async fn curl_sees_why_its_upload_is_refused() {
    let curl = match Part::Curl.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let (ca, large) = (scene.write("ca.crt", scene.authority.pem()), scene.write("large", "x".repeat(10_000_000)));
    let url = format!("https://{}/", proxy.secure());
    for (version, attempts) in [("--http1.1", 5), ("--http2", 20)] {
        for upload in [["-d", "small"], ["-T", &large]].repeat(attempts) {
            let args = [&["-sS", "--cacert", &ca, "-w", "status %{http_code}", version, &url][..], &upload].concat();
            let exit = Process::spawn(Command::new(&curl).args(args)).exit().await;
            assert!(exit.output.contains("status 401"), "{version} {upload:?}: {exit:?}");
        }
    }
}
