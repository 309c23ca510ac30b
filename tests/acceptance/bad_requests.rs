//! Requests that have several meanings, or none.

use testkit::{
    client::{Request, Version},
    upstream::Upstream,
    wait::in_time,
};

use crate::scene::{ALICE, BOTH, Scene, assert_status, echo};

/// Go decides about the decoded path, and forwards the other.
#[tokio::test]
async fn a_path_with_more_than_one_meaning_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for path in [
            "/ok/%2e%2e/secret",
            "/ok/%2E./secret",
            "/ok%2f..%2fsecret",
            "/ok%2Fsecret",
            "/ok/..;/secret",
            "/ok;x=y",
            "/ok%3bx",
            "/ok%00",
            "/ok%0a",
            "/ok%5c..",
            "/ok/%252e%252e/secret",
            "/ok%252f",
            "/%",
            "/%zz",
            "/%ff",
        ] {
            let response = client.send(&Request::get(path).bearer(ALICE)).await;
            assert_eq!((response.status, response.text().as_str()), (400, "Bad Request\n"), "{version:?} {path}");
        }
    }
    assert_eq!((scene.upstream.count(), scene.api.counts()), (0, (0, 0)), "nobody is asked about what has no one meaning");
}

/// Go answers `OPTIONS *` with 200 to anybody, takes `get` for a method of its own and a backslash for a letter.
#[tokio::test]
async fn a_head_that_no_parser_may_accept_is_refused() {
    no_parser_may_accept(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn no_parser_may_accept(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    // What the decision reads makes no difference.
    let config = scene.write("config.yaml", "authorization: {resourceAttributes: {resource: pods}}");
    let unread = scene.proxy(&["--insecure-listen-address=127.0.0.1:0", &format!("--config-file={config}")]).await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    let alice = &scene.alice();
    let authorization = format!("Authorization: Bearer {alice}");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n\r\n").into_bytes();
    let with = |fields: &str| format!("GET / HTTP/1.1\r\n{authorization}\r\n{fields}\r\n\r\n").into_bytes();
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{authorization}\r\n{fields}\r\n\r\n{body}").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("a NUL in the target", get("/ok\0"), &[400]),
        ("a raw space in the target", get("/ok secret"), &[400]),
        ("a control byte in the target", get("/ok\x01"), &[400]),
        ("a DEL in the target", get("/ok\x7f"), &[400]),
        ("a DEL in the query", get("/ok?\x7f"), &[400]),
        ("a tab in the target", get("/ok\tsecret"), &[400]),
        ("a fragment", get("/ok#/secret"), &[400]),
        ("an empty fragment", get("/ok#"), &[400]),
        ("a fragment behind a query", get("/ok?a=b#c"), &[400]),
        ("a fragment of a URL", get("https://a/ok#c"), &[400]),
        ("lines that end with LF", get("/ok").into_iter().filter(|byte| *byte != b'\r').collect(), &[400]),
        ("a request line that ends with LF", format!("GET / HTTP/1.1\nHost: a\r\n{authorization}\r\n\r\n").into_bytes(), &[400]),
        ("a field that ends with LF", with("Host: a\r\nX-A: b\nX-C: d"), &[400]),
        ("a head that ends with LF", format!("GET / HTTP/1.1\r\nHost: a\r\n{authorization}\r\n\n").into_bytes(), &[400]),
        ("a line that is folded with a tab", with("Host: a\r\nX-A: b\r\n\tc"), &[400]),
        ("a control byte in a value", with("Host: a\r\nX-A: b\x01c"), &[400]),
        ("two tokens", with("Host: a\r\nAuthorization: Bearer token-of-bob"), &[400]),
        ("the same token twice", with(&format!("Host: a\r\n{authorization}")), &[400]),
        ("a target that is no path", get("ok"), &[400]),
        ("another scheme's target", get("ftp://a/ok"), &[400]),
        ("another host in the target", get("http://b/ok"), &[400]),
        ("an asterisk", format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n{authorization}\r\n\r\n").into_bytes(), &[400]),
        ("two hosts", with("Host: a\r\nHost: b"), &[400]),
        ("the same host twice", with("Host: a\r\nHost: a"), &[400]),
        ("no host", with("X-A: b"), &[400]),
        ("a host with a user", with("Host: user@a"), &[400]),
        ("a list of hosts", with("Host: a, b"), &[400]),
        ("a host with a path", with("Host: a/b"), &[400]),
        ("a space before the colon", with("Host: a\r\nX-A : b"), &[400]),
        ("a folded line", with("Host: a\r\nX-A: b\r\n c"), &[400]),
        ("a NUL in a value", with("Host: a\r\nX-A: b\0c"), &[400]),
        ("a bare CR in a value", with("Host: a\r\nX-A: b\rc"), &[400]),
        ("a field without a name", with("Host: a\r\n: b"), &[400]),
        ("a field without a colon", with("Host: a\r\nX-A"), &[400]),
        (
            "a method in lower case",
            get("/").to_ascii_lowercase()[..3].iter().copied().chain(get("/")[3..].iter().copied()).collect(),
            &[400],
        ),
        ("a tunnel", format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n{authorization}\r\n\r\n").into_bytes(), &[405]),
        ("HTTP/0.9", b"GET /\r\n".to_vec(), &[400]),
        ("HTTP/2.0 in text", format!("GET / HTTP/2.0\r\nHost: a\r\n{authorization}\r\n\r\n").into_bytes(), &[400]),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".to_vec(), &[400]),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2", "ab"), &[400]),
        ("a list of lengths", post("Content-Length: 1, 2", "ab"), &[400]),
        ("a length with a sign", post("Content-Length: +1", "a"), &[400]),
        ("a length beyond numbers", post("Content-Length: 99999999999999999999", ""), &[400]),
        ("a coding that is not chunked", post("Transfer-Encoding: gzip", ""), &[400, 501]),
        ("a coding behind chunked", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), &[400, 501]),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), &[400, 501]),
        ("a coding before chunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), &[400, 501]),
        ("identity and chunked", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), &[400, 501]),
        ("a coding that is nearly chunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), &[400, 501]),
        (
            "a coding in HTTP/1.0",
            format!("POST / HTTP/1.0\r\n{authorization}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes(),
            &[400, 501],
        ),
    ];
    let mut accepted = Vec::new();
    for (what, bytes, expected) in cases {
        let clients = [scene.connect(Version::H1, &proxy).await, scene.connect(Version::H1, &unread).await];
        for mut client in clients.into_iter().chain(scene.connect_plain(&proxy).await) {
            client.wire().send(&bytes).await.unwrap();
            let head = in_time(what, client.wire().read_head()).await;
            let status = head.ok().flatten().map(|head| head.word(1).to_owned()).unwrap_or_default();
            if !expected.iter().any(|expected| status == expected.to_string()) {
                accepted.push(format!("{what}: {status:?}"));
            }
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert_eq!(scene.upstream.count(), 0, "{:#?}", scene.upstream.requests());
}

/// HTTP/1.1 on a connection that is not new, pipelined, and HTTP/2, whose library drops it before anybody sees it: nobody decides
/// about it, and nobody gets it.
#[tokio::test]
async fn a_fragment_is_no_part_of_a_target() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for target in ["/ok#/secret", "/ok#"] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        for request in [Request::get("/ok"), Request::post("/ok", "#\n"), Request::get("/ok")] {
            assert_status(&client.send(&request.bearer(ALICE)).await, 200);
        }
        assert_status(&client.send(&Request::get(target).bearer(ALICE)).await, 400);

        let mut client = scene.connect(Version::H1, &proxy).await;
        let requests = [Request::get("/ok"), Request::post("/ok", "#\n"), Request::get(target)];
        client.wire().send(requests.map(|request| request.bearer(ALICE).http1()).concat()).await.unwrap();
        for status in ["200", "200", "400"] {
            let head = in_time("an answer", client.wire().read_head()).await.unwrap().unwrap();
            assert_eq!(head.word(1), status);
            client.wire().read_body(head.framing().unwrap()).await;
        }
    }
    assert!(scene.upstream.requests().iter().all(|received| received.target() == "/ok"));
    assert!(scene.api.access_specs().iter().all(|spec| spec["nonResourceAttributes"]["path"] == "/ok"));
}

/// A length beside a coding is how requests are smuggled.
#[tokio::test]
async fn what_stands_behind_an_ambiguous_end_is_no_request() {
    an_ambiguous_end(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn an_ambiguous_end(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-of-alice\r\n\r\n";
    for fields in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {alice}\r\n{fields}\r\n\r\n0\r\n\r\n{smuggled}");
        client.wire().send(request).await.unwrap();
        in_time("the end of the connection", client.wire().closed()).await;
    }
    for received in scene.upstream.requests() {
        assert_eq!((received.target(), received.body.content.len()), ("/", 0));
        assert_eq!(received.head.all("content-length").len() + received.head.all("transfer-encoding").len(), 1, "{received:?}");
    }
}

/// What was refused unread is still a body.
#[tokio::test]
async fn a_body_that_is_refused_is_no_request() {
    a_refused_body(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn a_refused_body(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {alice}\r\n\r\n");
    let next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    // Behind a body that is small enough to be read on the way to nowhere there may be another request.
    for (times, answered) in [(1, 2), (10_000, 1)] {
        for framing in ["length", "chunks"] {
            let mut client = scene.connect(Version::H1, &proxy).await;
            let smuggled = smuggled.repeat(times);
            let body = match framing {
                "length" => format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
                _ => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()),
            };
            let _ = client.wire().send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}{next}")).await;
            let answers = String::from_utf8_lossy(&in_time("the end", client.wire().read_to_end()).await).into_owned();
            assert!(answers.starts_with("HTTP/1.1 401"), "{framing}: {answers}");
            assert_eq!(answers.matches("HTTP/1.1 401").count(), answered, "{framing}: {answers}");
            assert_eq!(answers.matches("HTTP/1.1").count(), answered, "{framing}: {answers}");
        }
    }
    assert_eq!((scene.upstream.count(), scene.api.counts()), (0, (0, 0)));
}

/// Whatever was asked before on the connection: a body in chunks, or another protocol that there is not.
#[tokio::test]
async fn what_is_no_request_is_refused_behind_any_other() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let fields = format!("Host: a\r\nAuthorization: Bearer {ALICE}\r\n");
    for (first, answer) in [
        (format!("POST / HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n3;a=\"#\"\r\n#\n#\r\n0\r\n\r\n"), "200"),
        (format!("GET / HTTP/1.1\r\n{fields}Upgrade: h2c\r\n\r\n"), "200"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(), "401"),
    ] {
        for (second, status) in [
            (format!("GET /b HTTP/1.1\r\n{fields}\r\n"), "200"),
            (format!("GET /b#c HTTP/1.1\r\n{fields}\r\n"), "400"),
            (format!("GET /b HTTP/1.1\n{fields}\r\n"), "400"),
            (format!("GET /b HTTP/1.1\r\n{fields}\n"), "400"),
        ] {
            let mut client = scene.connect(Version::H1, &proxy).await;
            for (request, status) in [(&first, answer), (&second, status)] {
                client.wire().send(request).await.unwrap();
                let head = in_time("an answer", client.wire().read_head()).await.unwrap().unwrap();
                assert_eq!(head.word(1), status, "{request:?} behind {first:?}");
                client.wire().read_body(head.framing().unwrap()).await;
            }
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_each_decided() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    let requests = [
        (Request::get("/1").bearer(ALICE), "200"),
        (Request::get("/2"), "401"),
        (Request::get("/3").bearer(crate::scene::MALLORY), "403"),
        (Request::get("/4").bearer(ALICE), "200"),
    ];
    client.wire().send(requests.iter().flat_map(|(request, _)| request.http1()).collect::<Vec<u8>>()).await.unwrap();
    for (_, status) in requests {
        let head = in_time("an answer", client.wire().read_head()).await.unwrap().unwrap();
        assert_eq!(head.word(1), status);
        client.wire().read_body(head.framing().unwrap()).await;
    }
    assert_eq!(scene.upstream.requests().iter().map(|received| received.target().to_owned()).collect::<Vec<_>>(), ["/1", "/4"]);
}

#[tokio::test]
async fn hosts_that_contradict_in_http2_are_refused() {
    hosts_that_contradict(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn hosts_that_contradict(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    let mut client = scene.connect(Version::H2, &proxy).await;
    let get = || Request::get("/").bearer(alice).host("a");
    for request in
        [get().header("host", "b"), get().header("host", "a").header("host", "a"), Request::get("/").bearer(alice).host("user@a")]
    {
        assert_status(&client.send(&request).await, 400);
    }
    assert_status(&client.send(&get().header("host", "a")).await, 200);
    assert_eq!(scene.upstream.only_request().header("host"), Some("a"));
}

#[tokio::test]
async fn a_broken_body_is_the_clients_fault_and_does_not_look_whole() {
    a_broken_body(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn a_broken_body(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let alice = &scene.alice();
    for body in ["x\r\n", "4\r\nab\r\n0\r\n\r\n", "ffffffffffffffff1\r\na", "-1\r\n\r\n"] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {alice}\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.wire().send(head + body).await.unwrap();
        let answer = in_time("an end", client.wire().read_to_end()).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{body:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert!(scene.upstream.requests().iter().all(|received| !received.body.complete), "{:#?}", scene.upstream.requests());
}
