//! Which headers pass, which do not, and which are written here.

use serde_json::json;
use testkit::{
    client::{Client, Request, Response, Version},
    upstream::{Received, Reply, Upstream},
    wire::Fields,
};

use crate::scene::{ALICE, BOB, BOTH, Scene, assert_status, echo};

/// Sends a request, which must pass, and returns what arrived upstream.
async fn through(scene: &Scene, client: &mut Client, request: &Request) -> Received {
    assert_status(&client.send(request).await, 200);
    scene.upstream.last_request()
}

#[tokio::test]
async fn identity_headers_say_who_asks() {
    let scene = Scene::new().await;
    let flags = [
        "--auth-header-fields-enabled",
        "--auth-header-user-field-name=X-Who",
        "--auth-header-groups-field-name=X-Which",
        "--auth-header-groups-field-separator=;",
    ];
    for (flags, user, groups, separator) in [(&flags[..1], "x-remote-user", "x-remote-groups", "|"), (&flags[..], "x-who", "x-which", ";")]
    {
        let proxy = scene.proxy(flags).await;
        for version in BOTH {
            let mut client = scene.connect(version, &proxy).await;
            let received = through(&scene, &mut client, &Request::get("/").bearer(ALICE)).await;
            assert_eq!(received.header(user), Some("alice"));
            assert_eq!(received.header(groups), Some(["devs", "ops", "system:authenticated"].join(separator).as_str()));
            let received = through(&scene, &mut client, &Request::get("/").bearer(BOB)).await;
            assert_eq!((received.header(user), received.header(groups)), (Some("bob"), Some("system:authenticated")));
        }
    }
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H2, &proxy).await;
    let received = through(&scene, &mut client, &Request::get("/").bearer(ALICE)).await;
    assert_eq!((received.header("x-remote-user"), received.header("x-remote-groups")), (None, None));
}

#[tokio::test]
async fn no_client_says_who_it_is() {
    let scene = Scene::new().await;
    let forged = [
        "X-Remote-User",
        "x_remote_user",
        "X-REMOTE_USER",
        "X-Remote-Groups",
        "x_remote_groups",
        "Impersonate-User",
        "impersonate_group",
        "Impersonate-Extra-scopes",
        "Impersonate-Uid",
    ];
    let none: &[&str] = &[];
    for flags in [none, &["--auth-header-fields-enabled"]] {
        let proxy = scene.proxy(flags).await;
        for version in BOTH {
            let mut client = scene.connect(version, &proxy).await;
            let mut request = Request::get("/").bearer(ALICE).header("X-Remote-Users", "passes");
            for name in forged {
                // HTTP/2 knows lower case only.
                let name = if version == Version::H2 { name.to_lowercase() } else { name.to_owned() };
                request = request.header(&name, "system:masters");
            }
            let received = through(&scene, &mut client, &request).await;
            let arrived: Vec<_> = received.head.fields.iter().filter(|(_, value)| value.contains("system:masters")).collect();
            assert!(arrived.is_empty(), "{arrived:?}");
            assert_eq!(received.header("x-remote-users"), Some("passes"));
            assert_eq!(received.header("x-remote-user"), (!flags.is_empty()).then_some("alice"));
        }
    }
}

/// In Go `Connection: x-remote-user` takes the identity away again.
#[tokio::test]
async fn connection_takes_no_header_away_that_is_written_here() {
    connection_takes_nothing(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn connection_takes_nothing(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = around(echo().await).await;
    let proxy = scene.proxy(&["--auth-header-fields-enabled"]).await;
    let (alice, (user, groups)) = (&scene.alice(), scene.identity_headers());
    let (upper, other) = (user.to_uppercase(), user.replace('-', "_"));
    for value in [
        upper,
        format!("close,{user}"),
        format!("{user}\t"),
        format!("\"{user}\""),
        format!(",, {user} ,"),
        other,
        "authorization".to_owned(),
    ] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        let received = through(&scene, &mut client, &Request::get("/").bearer(alice).header("Connection", &value)).await;
        assert_eq!(received.head.all(user), ["alice"], "{value:?}");
        assert_eq!(received.header("authorization"), scene.own_authorization(), "{value:?}");
    }
    let mut client = scene.connect(Version::H1, &proxy).await;
    let request = Request::get("/")
        .bearer(alice)
        .header("Connection", &format!("keep-alive, {user}, X-Mine"))
        .header("Connection", &format!("{groups}, x-forwarded-for, host"))
        .header("X-Mine", "for this connection");
    let received = through(&scene, &mut client, &request).await;
    assert_eq!((received.head.all(user), received.header("x-mine")), (vec!["alice"], None));
    assert_eq!(received.head.all(groups).join("|"), "devs|ops|system:authenticated");
    assert_eq!((received.header("host"), received.header("x-forwarded-for")), (Some("proxy.test"), Some("127.0.0.1")));
}

#[tokio::test]
async fn what_speaks_for_one_connection_does_not_pass() {
    let scene = Scene::answering(|_| {
        let own = [("Connection", "X-Mine, keep-alive"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"), ("X-Other", "passes")];
        Reply::new(200, &[&own[..], &[("Proxy-Authenticate", "Basic"), ("Proxy-Connection", "close")]].concat(), "")
    })
    .await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    let hop_by_hop = ["Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "TE", "Trailer", "HTTP2-Settings"];
    let request = hop_by_hop.iter().fold(Request::get("/").bearer(ALICE), |request, name| request.header(name, "gzip"));
    let response = client.send(&request).await;
    let received = scene.upstream.only_request();
    for name in hop_by_hop {
        assert_eq!(received.header(name), None, "{name}");
    }
    for name in ["x-mine", "keep-alive", "proxy-authenticate", "proxy-connection"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-other"), Some("passes"));
    // The one thing of TE that holds end to end.
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let received = through(&scene, &mut client, &Request::get("/").bearer(ALICE).header("TE", "trailers")).await;
        assert_eq!(received.header("te"), Some("trailers"));
    }
}

#[tokio::test]
async fn the_host_is_the_clients_and_the_client_is_named() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let request = Request::get("/").bearer(ALICE).host("grafana.example:8443");
        let received = through(&scene, &mut client, &request).await;
        assert_eq!((received.header("host"), received.header("x-forwarded-for")), (Some("grafana.example:8443"), Some("127.0.0.1")));
        let request = request.header("X-Forwarded-For", "1.1.1.1").header("X-Forwarded-For", "2.2.2.2, 3.3.3.3");
        let received = through(&scene, &mut client, &request).await;
        assert_eq!(received.header("x-forwarded-for"), Some("1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"));
    }
    // HTTP/1.0 may have none.
    let mut client = Client::connect_plain(proxy.insecure()).await;
    client.wire().send(format!("GET / HTTP/1.0\r\nAuthorization: Bearer {ALICE}\r\n\r\n")).await.unwrap();
    let answer = client.wire().read_to_end().await;
    assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let own = scene.upstream.url();
    assert_eq!(scene.upstream.last_request().header("host"), own.strip_prefix("http://"));
}

#[tokio::test]
async fn bearer_tokens_stay_here_and_other_credentials_pass() {
    let scene = Scene::new().await;
    let authority = testkit::certs::Authority::new("clients");
    let client_ca = scene.write("client-ca.crt", authority.pem());
    let proxy = scene.proxy(&[format!("--client-ca-file={client_ca}")]).await;
    let carol = testkit::tls::Tls::presenting(&authority.client("carol", &[]));
    for version in BOTH {
        let mut by_token = scene.connect(version, &proxy).await;
        let received = through(&scene, &mut by_token, &Request::get("/").bearer(ALICE)).await;
        assert_eq!(received.header("authorization"), None);
        // Whoever is known by his certificate may send the upstream what it asks for, but no token of the cluster.
        let mut by_certificate = Client::connect(version, proxy.secure(), &carol).await;
        let received = through(&scene, &mut by_certificate, &Request::get("/").bearer(ALICE)).await;
        assert_eq!(received.header("authorization"), None);
        let basic = Request::get("/").header("Authorization", "Basic YTpi");
        assert_eq!(through(&scene, &mut by_certificate, &basic).await.header("authorization"), Some("Basic YTpi"));
    }
}

#[tokio::test]
async fn everything_else_passes_and_nothing_is_made_up() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let own = [
        ("X-Forwarded-Host", "a"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=b"),
        ("X-Real-IP", "c"),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
        ("X-Empty", ""),
        ("Accept", "*/*"),
        ("Cookie", "a=b; c=d"),
    ];
    for version in BOTH {
        let request = own.iter().fold(Request::get("/").bearer(ALICE), |request, (name, value)| request.header(name, value));
        let received = through(&scene, &mut scene.connect(version, &proxy).await, &request).await;
        let mut expected: Fields = own.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
        expected.extend([("host".to_owned(), "proxy.test".to_owned()), ("x-forwarded-for".to_owned(), "127.0.0.1".to_owned())]);
        let mut arrived: Fields = received.head.fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        expected.sort();
        arrived.sort();
        // Among what is not made up: User-Agent, Accept-Encoding.
        assert_eq!(arrived, expected, "{version:?}");
    }
    // HTTP/2 may cut cookies, HTTP/1 may not.
    let request = Request::get("/").bearer(ALICE).header("cookie", "a=b").header("cookie", "c=d");
    let received = through(&scene, &mut scene.connect(Version::H2, &proxy).await, &request).await;
    assert_eq!(received.header("cookie"), Some("a=b; c=d"));
}

#[tokio::test]
async fn trailers_of_requests_do_not_pass_and_those_of_answers_do() {
    let scene = Scene::answering(|_| {
        let trailers = [("X-Checksum", "1"), ("Grpc-Status", "0")];
        Reply::chunked(&[("Trailer", "X-Checksum, Grpc-Status")], &["body"], &trailers)
    })
    .await;
    let proxy = scene.proxy(&["--auth-header-fields-enabled"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let request =
            Request::post("/", "content").bearer(ALICE).header("TE", "trailers").trailer("x-remote-user", "admin").trailer("x-late", "1");
        let response: Response = client.send(&request).await;
        assert_status(&response, 200);
        let received = scene.upstream.last_request();
        assert_eq!(received.body.content, b"content");
        assert_eq!((received.body.trailers.len(), received.header("trailer")), (0, None), "{received:?}");
        assert_eq!(received.header("x-remote-user"), Some("alice"));
        let mut trailers: Fields = response.trailers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        trailers.sort();
        assert_eq!(trailers, [("grpc-status".to_owned(), "0".to_owned()), ("x-checksum".to_owned(), "1".to_owned())], "{version:?}");
    }
    // HTTP/2 needs no announcement; HTTP/1 has no place for what was not announced.
    let unannounced = Scene::answering(|_| Reply::chunked(&[], &["body"], &[("Grpc-Status", "5")])).await;
    let proxy = unannounced.proxy::<&str>(&[]).await;
    let response = unannounced.connect(Version::H2, &proxy).await.send(&Request::get("/").bearer(ALICE)).await;
    assert_eq!(response.trailers, [("grpc-status".to_owned(), "5".to_owned())]);
    let spec = &scene.api.access_specs()[0];
    assert_eq!(spec["nonResourceAttributes"], json!({ "verb": "create", "path": "/" }));
}
