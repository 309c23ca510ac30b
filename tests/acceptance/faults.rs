//! What fails around the program: each fault has one status, one line of the log and one count, and ends when its cause does.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use testkit::{
    api::{Fault, Kind},
    certs::Authority,
    client::{Client, Request, Version},
    process::{Process, Proxy, binary, free_port},
    tls::Tls,
    upstream::Reply,
    wait::{wait_for, wait_until},
};

use crate::{
    oidc::World,
    scene::{ALICE, BOB, BOTH, FORGED, MALLORY, Scene, assert_status},
};

/// A request, and what must become of it.
struct Row {
    what: &'static str,
    api: Option<(Kind, Fault)>,
    request: Request,
    status: u16,
    reason: &'static str,
}

fn row(what: &'static str, request: Request, status: u16, reason: &'static str) -> Row {
    Row { what, api: None, request, status, reason }
}

fn failing(what: &'static str, kind: Kind, fault: Fault, reason: &'static str) -> Row {
    let token = if kind == Kind::TokenReview { BOB } else { ALICE };
    Row { what, api: Some((kind, fault)), request: Request::get("/new").bearer(token), status: 503, reason }
}

/// What any client can cause at will, and what the API server and the upstream do. Go answers 401 for the API server's faults, and
/// counts nothing.
fn rows() -> Vec<Row> {
    let by_alice = |target: &str| Request::get(target).bearer(ALICE);
    let mut rows = vec![
        row("a path with two meanings", by_alice("/%2e%2e/x"), 400, "ambiguous_path"),
        row("two tokens", by_alice("/").bearer(BOB), 400, "ambiguous_credentials"),
        row("another expectation", by_alice("/").header("Expect", "x"), 400, "bad_request"),
        row("an unclean path", by_alice("/a/../b"), 307, "unclean_path"),
        row("nobody", Request::get("/"), 401, "no_credentials"),
        row("a forged token", Request::get("/").bearer(FORGED), 401, "token_rejected"),
        row("a user who may not", Request::get("/").bearer(MALLORY), 403, "not_allowed"),
        row("a user who cannot be named", Request::get("/").bearer("unsendable"), 403, "identity_not_sendable"),
        row("an upstream that resets", by_alice("/reset"), 502, "upstream_failed"),
        row("an upstream that closes", by_alice("/close"), 502, "upstream_failed"),
        row("an upstream that speaks no HTTP", by_alice("/garbage"), 502, "upstream_failed"),
    ];
    for kind in [Kind::TokenReview, Kind::SubjectAccessReview] {
        rows.extend([
            failing("500", kind, Fault::Status(500, None), "api_error"),
            failing("429 for an hour", kind, Fault::Status(429, Some(3600)), "api_error"),
            failing("503 for a second", kind, Fault::Status(503, Some(1)), "api_error"),
            failing("a reset", kind, Fault::Reset, "api_unreachable"),
            failing("no HTTP", kind, Fault::Garbage, "api_unreachable"),
            failing("half an answer", kind, Fault::Truncated, "api_unreachable"),
            failing("a page", kind, Fault::Html, "api_error"),
            failing("another kind", kind, Fault::OtherKind, "api_error"),
            failing("an endless answer", kind, Fault::Endless, "api_error"),
            failing("our credentials refused", kind, Fault::Status(401, None), "api_credentials_refused"),
        ]);
    }
    rows.push(failing("silence", Kind::TokenReview, Fault::HangBeforeHead, "api_timeout"));
    rows
}

#[tokio::test]
async fn each_fault_has_one_status_one_line_and_one_count() {
    let scene = Scene::answering(|received| match received.target() {
        "/reset" => Reply::default().then_reset(),
        "/close" => Reply::default().then_close(),
        "/garbage" => Reply::raw("no HTTP\r\n\r\n").then_close(),
        _ => Reply::ok(""),
    })
    .await;
    scene.api.user("unsendable", " name", &[]);
    let flags = ["-v=2", "--auth-header-fields-enabled", "--authorization-webhook-cache-unauthorized-ttl=0s"];
    let proxy = scene.proxy_with_endpoints(&flags).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    for Row { what, api, request, status, reason } in rows() {
        for version in BOTH {
            if let Some((kind, fault)) = &api {
                scene.api.fail(*kind, fault.clone());
            }
            let (refusals, counted) = (refusals(&proxy), count(&scene, &proxy, status, reason).await);
            let mut client = scene.connect(version, &proxy).await;
            let response = client.send(&request).await;
            scene.api.heal();
            assert_eq!(response.status, status, "{what} of {api:?}");
            assert_eq!(response.header("retry-after").is_some(), status == 503, "{what}");
            let lines = wait_for("the refusal's line", async || {
                let lines = refusal_lines(&proxy);
                if lines.len() > refusals { Ok(lines) } else { Err(proxy.output()) }
            })
            .await;
            assert_eq!(lines.len(), refusals + 1, "{what}: one line");
            let line = &lines[refusals];
            assert!(line.contains(&format!("reason=\"{reason}\"")) && line.contains(&format!("status={status}")), "{what}: {line}");
            // What is not the client's doing is shown at any verbosity.
            assert_eq!(line.starts_with('W'), status >= 500, "{what}: {line}");
            assert_eq!(count(&scene, &proxy, status, reason).await, counted + 1, "{what}: one count");
            // The fault is over, and so is what it cost.
            assert_status(&client.send(&Request::get("/known").bearer(ALICE)).await, 200);
        }
    }
    let sent = scene.upstream.requests();
    assert!(sent.iter().all(|received| ["/known", "/reset", "/close", "/garbage"].contains(&received.target())), "{sent:#?}");
}

fn refusal_lines(proxy: &Proxy) -> Vec<String> {
    proxy.lines().into_iter().filter(|line| line.contains("Request refused")).collect()
}

fn refusals(proxy: &Proxy) -> usize {
    refusal_lines(proxy).len()
}

async fn count(scene: &Scene, proxy: &Proxy, status: u16, reason: &str) -> u64 {
    metric(scene, proxy, &format!("requests_total{{code=\"{status}\",reason=\"{reason}\"}}")).await
}

/// The value of a series; 0 when there is none.
async fn metric(scene: &Scene, proxy: &Proxy, series: &str) -> u64 {
    let mut client = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    let response = client.send(&Request::get("/metrics").bearer(ALICE)).await;
    assert_status(&response, 200);
    let line =
        response.text().lines().find_map(|line| Some(line.strip_prefix("kube_rbac_proxy_")?.strip_prefix(series)?.trim().to_owned()));
    line.map_or(0, |value| value.parse().unwrap())
}

/// What a program that is up reads again: each change that is of no use is one line and one count, and the last good one serves.
#[tokio::test]
async fn each_broken_file_has_one_line_and_one_count() {
    let scene = Scene::new().await;
    let authority = Authority::new("clients");
    let files = [
        ("--client-ca-file", "ca.pem", authority.pem().to_owned()),
        ("--config-file", "config.yaml", "authorization: {}\n".to_owned()),
        ("--token-auth-file", "tokens.csv", "token-of-dora,dora,1\n".to_owned()),
    ];
    let mut flags: Vec<String> = files.iter().map(|(flag, name, text)| format!("{flag}={}", scene.write(name, text))).collect();
    flags.push("--authentication-methods=x509,token-file,token-review".to_owned());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let proxy = scene.proxy_with_endpoints(&flags).await;
    let carol = Tls::presenting(&authority.client("carol", &[]));
    for (flag, name, text) in &files {
        let counted =
            async |result: &str| metric(&scene, &proxy, &format!("reloads_total{{subject=\"{flag}\",result=\"{result}\"}}")).await;
        for (content, result) in [("- broken: [", "kept"), (&format!("{text}\n"), "replaced")] {
            scene.write(name, content);
            wait_for(&format!("{flag} {result}"), async || match counted(result).await {
                1 => Ok(()),
                other => Err(other),
            })
            .await;
            assert_status(&scene.get(&proxy, "/", "token-of-dora").await, 200);
            let by_certificate = Client::connect(Version::H2, proxy.secure(), &carol).await.send(&Request::get("/")).await;
            assert_status(&by_certificate, 200);
        }
        let said = |part: &str| proxy.lines().iter().filter(|line| line.contains(part) && line.contains(flag)).count();
        assert_eq!((said("stays in use"), said("are in use")), (1, 1), "{flag}: {}", proxy.output());
    }
}

#[tokio::test]
async fn an_issuer_that_fails_is_said_once_and_counted_each_time() {
    let world = World::new().await;
    world.issuer.fault(Some(Reply::new(503, &[], "")));
    let port = format!("--proxy-endpoints-port={}", free_port());
    let proxy = world.proxy(&[&port, "--authentication-methods=oidc,token-review"]).await;
    let askings = async |result: &str| metric(&world.scene, &proxy, &format!("issuer_askings_total{{result=\"{result}\"}}")).await;
    wait_for("two askings that fail", async || match askings("failed").await {
        2.. => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(askings("answered").await, 0);
    let said = proxy.lines().iter().filter(|line| line.starts_with('W') && line.contains("The issuer's keys cannot be read")).count();
    assert_eq!(said, 1, "{}", proxy.output());
    assert_eq!(world.status(&proxy, &world.token(serde_json::json!({}))).await, 401);
    world.issuer.fault(None);
    proxy.line_with(&["The issuer's keys are in use"]).await;
    assert_eq!(askings("answered").await, 1);
    assert_eq!(world.status(&proxy, &world.token(serde_json::json!({}))).await, 200);
}

/// Go reads 12 GiB of such an answer, and asks 31 times in 30 s when it is told to come back in a second.
#[tokio::test]
async fn an_api_server_without_end_costs_a_bounded_time_and_no_memory() {
    const ALLOWED_KIB: u64 = 16 * 1024;
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    assert_status(&scene.get(&proxy, "/known", ALICE).await, 200);
    let before = proxy.peak_kib();
    for (kind, token) in [(Kind::TokenReview, BOB), (Kind::SubjectAccessReview, ALICE)] {
        for (fault, most) in [(Fault::Endless, 1), (Fault::Status(429, Some(1)), 5), (Fault::Status(503, Some(1)), 5)] {
            scene.api.forget();
            scene.api.fail(kind, fault.clone());
            let start = Instant::now();
            for version in BOTH {
                assert_status(&scene.connect(version, &proxy).await.send(&Request::get("/new").bearer(token)).await, 503);
            }
            assert!(start.elapsed() < Duration::from_secs(13), "{fault:?} of {kind:?}: two requests took {:?}", start.elapsed());
            let asked = scene.api.reviews(kind).len();
            assert!(asked <= 2 * most.min(2), "{fault:?} of {kind:?}: asked {asked} times for two requests");
            scene.api.heal();
        }
    }
    let grown = proxy.peak_kib().saturating_sub(before);
    assert!(grown < ALLOWED_KIB, "{grown} KiB more at the peak");
    assert_status(&scene.get(&proxy, "/new", BOB).await, 200);
}

/// Go ends with a closed standard error, and its requests wait for one that nobody reads.
#[tokio::test]
async fn a_standard_error_that_is_closed_or_full_ends_nothing() {
    let scene = Scene::new().await;
    for (how, has_a_reader) in [("2>&-", false), ("2>/dev/full", false), ("2>&1 | sleep 1000", true)] {
        let (secure, endpoints) = (SocketAddr::from(([127, 0, 0, 1], free_port())), free_port());
        let flags = scene.flags(&[
            format!("--secure-listen-address={secure}"),
            format!("--proxy-endpoints-port={endpoints}"),
            "-v=10".to_owned(),
            // Standard error's number is nobody else's: files are opened all the time.
            "--tls-reload-interval=10ms".to_owned(),
        ]);
        let script = format!("\"$0\" \"$@\" {how}");
        let script = if has_a_reader { script } else { format!("exec {script}") };
        let process = Process::spawn(Command::new("setsid").args(["sh", "-c", &script]).arg(binary()).args(&flags));
        let tls = scene.authority.tls();
        let mut client = wait_for("the listener", async || Client::try_connect(Version::H1, secure, &tls).await).await;
        let path = format!("/{}", "x".repeat(2_000));
        for _ in 0..300 {
            assert_status(&client.send(&Request::get(&path).bearer(MALLORY)).await, 403);
        }
        assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        let mut own = Client::connect(Version::H1, SocketAddr::from(([127, 0, 0, 1], endpoints)), &tls).await;
        let metrics = own.send(&Request::get("/metrics").bearer(ALICE)).await.text();
        let dropped = metrics.lines().find_map(|line| line.strip_prefix("kube_rbac_proxy_log_lines_dropped_total "));
        assert!(dropped.is_some(), "{how}: what is given up is counted: {metrics}");
        assert!(process.is_running(), "{how}");
        // The whole group: the reader that does not read, too.
        Command::new("kill").args(["-KILL", "--", &format!("-{}", process.id())]).status().unwrap();
    }
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_found_without_a_restart() {
    let scene = Scene::new().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let proxy = scene.proxy_with_endpoints(&[&format!("--upstream=http://{address}")]).await;
    for version in BOTH {
        let start = Instant::now();
        let response = scene.connect(version, &proxy).await.send(&Request::get("/away").bearer(ALICE)).await;
        assert_eq!((response.status, response.text().as_str()), (502, ""));
        assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    }
    proxy.line_with(&["W", "reason=\"upstream_unreachable\"", "user=\"alice\"", "asked=\"/away\""]).await;
    assert_eq!(count(&scene, &proxy, 502, "upstream_unreachable").await, 2);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let answering = tokio::spawn(async move {
        let mut wire = testkit::wire::Wire::new(listener.accept().await.unwrap().0);
        wire.read_head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback").await.unwrap();
        wire.closed().await;
    });
    assert_eq!(scene.get(&proxy, "/", ALICE).await.text(), "back");
    drop(proxy);
    answering.await.unwrap();
}

/// Nothing is kept that a start needs.
#[tokio::test]
async fn a_killed_program_starts_again_from_nothing() {
    let scene = Scene::new().await;
    let flags = scene.flags(&[format!("--secure-listen-address=127.0.0.1:{}", free_port())]);
    let first = Proxy::start(&flags).await;
    let mut client = scene.connect(Version::H2, &first).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    first.signal("KILL");
    assert_eq!(first.exit().await.signal, Some(9));
    let start = Instant::now();
    let second = Proxy::start(&flags).await;
    assert_status(&scene.get(&second, "/", ALICE).await, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "the first answer took {:?}", start.elapsed());
}

/// Whoever leaves early, at any moment, costs nothing that stays.
#[tokio::test]
async fn clients_that_leave_early_leave_nothing_behind() {
    let scene = Scene::answering(|received| match received.target() {
        "/hang" => Reply::hang(),
        _ => Reply::ok(""),
    })
    .await;
    let proxy = scene.proxy_with_endpoints(&["-v=2"]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    scene.upstream.drop_connections();
    wait_until("the upstream's connections to end", || scene.upstream.open_connections() == 0).await;
    let before = proxy.open_files();
    for fault in [None, Some(Kind::TokenReview), Some(Kind::SubjectAccessReview)] {
        for version in BOTH {
            for round in 0..4 {
                if let Some(kind) = fault {
                    scene.api.fail(kind, Fault::HangBeforeHead);
                }
                let token = if fault == Some(Kind::TokenReview) { format!("{version:?}-{round}") } else { ALICE.to_owned() };
                let (reviews, sent) = (scene.api.counts().0 + scene.api.counts().1, scene.upstream.count());
                let mut client = scene.connect(version, &proxy).await;
                let path = if fault.is_some() { format!("/{version:?}/{round}") } else { "/hang".to_owned() };
                let exchange = client.open(&Request::get(&path).bearer(&token)).await.unwrap();
                wait_until("the request on its way", || {
                    let asked = scene.api.counts().0 + scene.api.counts().1;
                    if fault.is_some() { asked > reviews } else { scene.upstream.count() > sent }
                })
                .await;
                drop(exchange);
                drop(client);
            }
        }
        scene.api.heal();
    }
    wait_for("a count and a line for each", async || {
        let lines = proxy.lines().iter().filter(|line| line.contains("reason=\"client_left\"")).count() as u64;
        match (count(&scene, &proxy, 499, "client_left").await, lines) {
            (24, 24) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    wait_until("the end of all that they began", || scene.upstream.open_connections() == 0 && proxy.open_files() <= before + 1).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
}

/// A certificate counts whatever name is asked for, and however the greeting is cut.
#[tokio::test]
async fn neither_name_nor_pieces_of_a_greeting_change_who_counts() {
    let scene = Scene::new().await;
    let authority = Authority::new("clients");
    let client_ca = scene.write("client-ca.crt", authority.pem());
    let proxy = scene.proxy(&[format!("--client-ca-file={client_ca}")]).await;
    let (carol, stranger) = (authority.client("carol", &[]), Authority::new("clients").client("carol", &[]));
    for name in ["localhost", "LOCALHOST", "other.test", "a.b.c.d.e.f", "127.0.0.1", "::1"] {
        for version in BOTH {
            for (pair, status) in [(&carol, 200), (&stranger, 401)] {
                let tls = Tls::presenting(pair).named(name);
                let mut client = Client::connect(version, proxy.secure(), &tls).await;
                assert_eq!(client.send(&Request::get("/")).await.status, status, "{name} {version:?}");
            }
            let mut client = Client::connect(version, proxy.secure(), &Tls::default().named(name)).await;
            assert_status(&client.send(&Request::get("/")).await, 401);
        }
    }
    // A byte at a time, through a relay that cuts what the client sends.
    let relay = testkit::wait::in_time("the relay", tokio::net::TcpListener::bind("127.0.0.1:0")).await.unwrap();
    let (here, there) = (relay.local_addr().unwrap(), proxy.secure());
    tokio::spawn(async move {
        while let Ok((client, _)) = relay.accept().await {
            let server = tokio::net::TcpStream::connect(there).await.unwrap();
            tokio::spawn(cut(client, server));
        }
    });
    for version in BOTH {
        for (pair, status) in [(&carol, 200), (&stranger, 401)] {
            let mut client = Client::connect(version, here, &Tls::presenting(pair)).await;
            assert_eq!(client.send(&Request::get("/")).await.status, status, "in pieces, {version:?}");
        }
    }
}

async fn cut(mut client: tokio::net::TcpStream, mut server: tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    server.set_nodelay(true).unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let forth = async {
        let mut byte = [0; 1];
        while from_client.read(&mut byte).await.is_ok_and(|count| count > 0) {
            if to_server.write_all(&byte).await.is_err() || to_server.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
