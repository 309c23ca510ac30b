//! Who a client is said to be: by nobody but this program, and in no words but those of whoever authenticated it.

use serde_json::json;
use testkit::{
    api::Verdict,
    certs::{Authority, Subject},
    client::{Client, Request, Version},
    process::Proxy,
    tls::Tls,
    upstream::{Reply, Upstream},
};

use crate::scene::{ALICE, BOTH, Scene, assert_status};

/// Names that only this program may write, whatever it is told to write.
pub(crate) const MANAGED: [&str; 13] = [
    "x-remote-user",
    "x-remote-groups",
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-scopes",
    "impersonate-extra-%2e%2e",
    "impersonate-",
    "impersonate-unheard-of",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-http-method_override",
];

pub(crate) const FORGED: &str = "system:masters";

/// A name as some upstream reads it too. HTTP/2 knows lower case only.
pub(crate) fn spellings(version: Version, name: &str) -> Vec<String> {
    let lower = [name.to_owned(), name.replace('-', "_"), name.replacen('-', "_", 1)];
    let mut all = lower.to_vec();
    if version == Version::H1 {
        all.extend([lower[1].to_uppercase(), name.replace("-u", "-U").replace("x-", "X-")]);
    }
    all
}

/// The ways of a header to the upstream: as it is, twice, named by `Connection`, in a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Twice,
    Connection,
    Trailer,
}

pub(crate) fn forged(way: Way, names: &[String]) -> Request {
    let request = if way == Way::Plain { Request::get("/in") } else { Request::post("/in", "body") };
    let request = match way {
        Way::Connection => request.header("Connection", &format!("close, {}", names.join(", "))),
        Way::Trailer => request.header("TE", "trailers"),
        _ => request,
    };
    names.iter().fold(request, |request, name| match way {
        Way::Plain | Way::Connection => request.header(name, FORGED),
        Way::Twice => request.header(name, "").header(name, FORGED),
        Way::Trailer => request.trailer(name, FORGED),
    })
}

/// Of the Go program a client may say who it is under ignored paths, with an underscore, and where the feature is off; and
/// `Connection: x-remote-user` takes away what the program wrote.
#[tokio::test]
async fn no_managed_header_of_a_client_arrives_by_any_way() {
    nothing_managed_arrives(&Scene::new().await, &[]).await;
    let http2 = Upstream::start_http2(None, |received| Reply::ok(received.target())).await;
    nothing_managed_arrives(&Scene::around(http2).await, &["--upstream-force-h2c"]).await;
}

async fn nothing_managed_arrives(scene: &Scene, more: &[&str]) {
    let authority = Authority::new("clients");
    let client_ca = format!("--client-ca-file={}", scene.write("client-ca.crt", authority.pem()));
    let config = format!("--config-file={}", scene.write("config.yaml", "authorization: {resourceAttributes: {resource: pods}}\n"));
    let carol = Tls::presenting(&authority.client("carol", &[]));
    let on = "--auth-header-fields-enabled";
    let (user, groups) = ("--auth-header-user-field-name=X-Who", "--auth-header-groups-field-name=X-Which");
    for (flags, own) in [
        (vec![on, &client_ca], "x-remote-user"),
        (vec![&client_ca], ""),
        (vec![on, user, groups, &client_ca], "x-who"),
        (vec![on, &client_ca, &config], "x-remote-user"),
        (vec![on, &client_ca, "--ignore-paths=/in"], ""),
        (vec!["--ignore-paths=/in"], ""),
    ] {
        let is_open = flags.contains(&"--ignore-paths=/in");
        let mut managed: Vec<&str> = MANAGED.to_vec();
        if own == "x-who" {
            // What is written is managed, and nothing else of the kind.
            managed.retain(|name| !name.starts_with("x-remote-"));
            managed.extend(["x-who", "x-which"]);
        }
        let proxy = scene.proxy(&[&flags, more].concat()).await;
        for version in BOTH {
            for way in [Way::Plain, Way::Twice, Way::Connection, Way::Trailer] {
                if version == Version::H2 && way == Way::Connection {
                    continue;
                }
                let names: Vec<String> = managed.iter().flat_map(|name| spellings(version, name)).collect();
                for (by, tls) in [("token", scene.authority.tls()), ("certificate", carol.clone())] {
                    if by == "certificate" && !flags.contains(&client_ca.as_str()) {
                        continue;
                    }
                    let mut request = forged(way, &names);
                    if by == "token" {
                        request = request.bearer(ALICE);
                    }
                    let what = format!("{flags:?} {version:?} {way:?} by {by}");
                    let response = Client::connect(version, proxy.secure(), &tls).await.send(&request).await;
                    assert_eq!(response.status, 200, "{what}");
                    let received = scene.upstream.last_request();
                    let all: Vec<_> = received.head.fields.iter().chain(&received.body.trailers).collect();
                    let arrived: Vec<_> = all.iter().filter(|(_, value)| value.contains(FORGED)).collect();
                    assert!(arrived.is_empty(), "{what}: {arrived:?}");
                    let ours: Vec<_> =
                        all.iter().filter(|(name, _)| managed.contains(&name.to_lowercase().replace('_', "-").as_str())).collect();
                    match own {
                        "" => assert!(ours.is_empty(), "{what}: {ours:?}"),
                        own => {
                            let expected = if by == "token" { "alice" } else { "carol" };
                            assert_eq!(received.head.all(own), [expected], "{what}");
                            assert_eq!(ours.len(), 2, "{what}: user and groups, once each: {ours:?}");
                        }
                    }
                    assert_eq!(received.header("authorization"), None, "{what}");
                    assert_eq!(scene.api.counts() == (0, 0), is_open, "{what}: an open door asks nobody");
                }
            }
        }
        scene.api.forget();
    }
}

/// In Go such an option hides none of the others either.
#[tokio::test]
async fn an_option_of_connection_that_is_no_text_hides_no_other() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--auth-header-fields-enabled"]).await;
    let mut client = scene.connect(Version::H1, &proxy).await;
    let fields =
        b"Connection: \xff, x-mine\r\nConnection: x-other, \xe9\r\nX-Mine: 1\r\nX-Other: 1\r\nX-Remote-User: root\r\nX-Stays: 1\r\n";
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ALICE}\r\n");
    client.wire().send([head.as_bytes(), fields, b"\r\n"].concat()).await.unwrap();
    assert_eq!(client.wire().read_head().await.unwrap().unwrap().word(1), "200");
    let received = scene.upstream.only_request();
    let passed = ["x-mine", "x-other", "connection", "x-stays", "x-remote-user"].map(|name| received.header(name));
    assert_eq!(passed, [None, None, None, Some("1"), Some("alice")]);
}

/// Go sends other bytes for such a name, or splits one group in two.
#[tokio::test]
async fn an_identity_that_cannot_be_written_exactly_is_refused_with_a_reason() {
    identities_are_exact_or_refused(&Scene::new().await, &[]).await;
    let http2 = Upstream::start_http2(None, |received| Reply::ok(received.target())).await;
    identities_are_exact_or_refused(&Scene::around(http2).await, &["--upstream-force-h2c"]).await;
}

async fn identities_are_exact_or_refused(scene: &Scene, more: &[&str]) {
    let proxy = scene.proxy(&[&["--auth-header-fields-enabled", "-v=2"], more].concat()).await;
    let silent = scene.proxy(more).await;
    let long = "ü".repeat(2_000);
    let names = [
        ("a\0b", "control byte"),
        ("a\nX-Remote-User: root", "control byte"),
        ("a\r\n\r\nGET /secret HTTP/1.1\r\n\r\n", "control byte"),
        ("a\tb", "control byte"),
        ("\ta", "control byte"),
        ("a\u{7f}", "control byte"),
        ("a\u{85}", "control byte"),
        ("a\u{9b}2J", "control byte"),
        (" a", "begins or ends with a space"),
        ("a ", "begins or ends with a space"),
        ("\u{a0}a", "begins or ends with a space"),
        ("a\u{2003}", "begins or ends with a space"),
    ];
    let exact = ["jörg", "山田太郎", "a b", "a|b, c;d", "\u{202e}nimda", "e\u{301}", "a\u{a0}b", "x=\"1\"", long.as_str()];
    let mut cases: Vec<(String, &str, Vec<&str>, Option<String>)> = Vec::new();
    for (index, (name, why)) in names.into_iter().enumerate() {
        cases.push((format!("name-{index}"), name, vec![], Some(format!("the user's name {}", has(why)))));
        cases.push((format!("group-{index}"), "u", vec!["a", name], Some(format!("a group {}", has(why)))));
    }
    cases.push(("separator".into(), "u", vec!["a|system:masters"], Some("a group has the separator in it".into())));
    cases.push(("separator-alone".into(), "u", vec!["|"], Some("a group has the separator in it".into())));
    for (index, name) in exact.into_iter().enumerate() {
        cases.push((format!("exact-{index}"), name, vec!["größe", "a b", "x,y"], None));
    }
    for (token, name, groups, refused) in &cases {
        scene.api.user_info(token, json!({ "username": name, "groups": groups }), &[]);
        for version in BOTH {
            let request = Request::get("/").bearer(token);
            let response = scene.connect(version, &proxy).await.send(&request).await;
            match refused {
                Some(why) => {
                    assert_eq!((response.status, response.text().as_str()), (403, "Forbidden\n"), "{name:?} {groups:?}");
                    proxy.line_with(&["reason=\"identity_not_sendable\"", why]).await;
                }
                None => {
                    assert_eq!(response.status, 200, "{name:?}");
                    let received = scene.upstream.last_request();
                    assert_eq!(received.header("x-remote-user"), Some(*name));
                    assert_eq!(received.header("x-remote-groups"), Some("größe|a b|x,y|system:authenticated"));
                }
            }
            // Nobody is told: any name will do.
            assert_status(&scene.connect(version, &silent).await.send(&request).await, 200);
        }
    }
    let told = scene.upstream.requests().iter().filter(|received| received.header("x-remote-user").is_some()).count();
    assert_eq!(told, 2 * exact.len(), "whoever is refused is not forwarded");
}

fn has(why: &str) -> String {
    if why == "control byte" { "has a control byte in it".to_owned() } else { why.to_owned() }
}

#[tokio::test]
async fn the_names_of_a_certificate_are_written_exactly_or_not_at_all() {
    let scene = Scene::new().await;
    let authority = Authority::new("clients");
    let client_ca = format!("--client-ca-file={}", scene.write("client-ca.crt", authority.pem()));
    let proxy = scene.proxy(&["--auth-header-fields-enabled", "-v=2", &client_ca]).await;
    for (name, organization, status) in [
        ("ca\nrol", "a", 403),
        ("carol\0", "a", 403),
        (" carol", "a", 403),
        ("carol", "a|system:masters", 403),
        ("carol", "a\r\nX-Remote-User: root", 403),
        ("kärol", "größe", 200),
    ] {
        let tls = Tls::presenting(&authority.issue(&Subject::client(name, &[organization])));
        for version in BOTH {
            let sent = scene.upstream.count();
            let response = Client::connect(version, proxy.secure(), &tls).await.send(&Request::get("/")).await;
            assert_eq!(response.status, status, "{name:?} {organization:?}");
            match status {
                200 => {
                    let received = scene.upstream.last_request();
                    let told = (received.header("x-remote-user"), received.header("x-remote-groups"));
                    assert_eq!(told, (Some("kärol"), Some("größe|system:authenticated")));
                }
                _ => assert_eq!(scene.upstream.count(), sent, "{name:?} {organization:?}"),
            }
        }
    }
}

/// In Go a name that an issuer made up writes lines of its own.
#[tokio::test]
async fn no_name_path_or_host_forges_a_log_line() {
    const FORGERY: &str = "E1125 00:00:00.000000       1 main.rs:1] \"Forged\"";
    let scene = Scene::new().await;
    let name = format!("x\n{FORGERY}\r\n{FORGERY}\u{85}{FORGERY}\u{2028}{FORGERY}\u{1b}[2J\u{9b}2J");
    scene.api.user("token-of-x", &name, &[&name]);
    scene.api.rule(|_| Verdict::Deny);
    for format in ["text", "json"] {
        let proxy = scene.proxy(&["-v=10", &format!("--log-format={format}")]).await;
        for version in BOTH {
            let host = "x\u{85}y";
            let mut client = scene.connect(version, &proxy).await;
            for target in ["/", "/%0a%0d%1b%5b2J", "/%C2%85%E2%80%A8x", "/%C2%9B2J"] {
                let request = Request::get(target).bearer("token-of-x");
                assert!([400, 403].contains(&client.send(&request).await.status));
            }
            if version == Version::H1 {
                client.wire().send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
                assert_eq!(client.wire().read_head().await.unwrap().unwrap().word(1), "400");
            }
        }
        proxy.line_with(&["not_allowed"]).await;
        assert_no_forgery(&proxy, FORGERY);
    }
}

fn assert_no_forgery(proxy: &Proxy, forgery: &str) {
    let ends_or_commands = |character: char| character.is_control() || ['\u{2028}', '\u{2029}'].contains(&character);
    for line in proxy.lines() {
        assert!(!line.starts_with(forgery) && !line.contains(ends_or_commands), "{line:?}");
    }
}

/// Go's answer for a broken upstream, and its line, say nothing of who asked.
#[tokio::test]
async fn a_request_that_fails_upstream_is_logged_with_its_user_and_path() {
    let scene = Scene::answering(|_| Reply::default().then_close()).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for (version, path) in BOTH.into_iter().zip(["/first", "/second"]) {
        let request = Request::get(&format!("{path}?access_token=hush")).bearer(ALICE);
        assert_status(&scene.connect(version, &proxy).await.send(&request).await, 502);
        proxy.line_with(&["W", "reason=\"upstream_failed\"", "user=\"alice\"", "verb=\"GET\"", &format!("asked=\"{path}\"")]).await;
    }
    proxy.assert_silent_about(&["hush"]);
}
