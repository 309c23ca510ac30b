//! Forms on routes whose decision reads a parameter: what is in the body is decided too, and arrives as it came.

use std::time::Duration;

use serde_json::Value;
use testkit::{
    api::Verdict,
    certs::Authority,
    client::{Client, Request, Version},
    process::Proxy,
    upstream::{Reply, Upstream},
    wait::{Latch, in_time, wait_until},
};
use tokio::task::JoinSet;

use crate::scene::{ALICE, BOTH, FORGED, MALLORY, Scene, assert_status};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const MIB: usize = 1024 * 1024;

/// A scene of namespaces of which `theirs` is forbidden, and what its upstream is spoken to with.
struct Upstreams(Scene, Vec<String>);

impl Upstreams {
    /// One that speaks HTTP/1.1, one that speaks HTTP/2, and one that agrees on it.
    async fn all() -> Vec<Self> {
        let authority = Authority::new("upstream");
        let pair = authority.server();
        let answer = |received: &testkit::upstream::Received| Reply::ok(received.target());
        let mut all = Vec::new();
        for (upstream, flag) in [
            (Upstream::start(answer).await, ""),
            (Upstream::start_http2(None, answer).await, "--upstream-force-h2c"),
            (Upstream::start_http2(Some(&pair), answer).await, "--upstream-ca-file="),
        ] {
            let scene = Scene::around(upstream).await;
            let flag = match flag {
                "--upstream-ca-file=" => format!("{flag}{}", scene.write("upstream.crt", authority.pem())),
                flag => flag.to_owned(),
            };
            all.push(Self(scene, if flag.is_empty() { vec![] } else { vec![flag] }));
        }
        all
    }
}

/// A proxy that asks about the namespaces that requests name.
async fn deciding(scene: &Scene, more: &[String]) -> Proxy {
    scene.api.rule(|spec| match (spec["user"].as_str(), spec["resourceAttributes"]["namespace"].as_str()) {
        (Some("mallory"), _) | (_, Some("theirs") | None) => Verdict::NoOpinion,
        _ => Verdict::Allow,
    });
    let text = "authorization:\n  resourceAttributes: {resource: pods, namespace: '{{ .Value }}'}\n  rewrites: {byQueryParameter: {name: \
                namespace}, byHttpHeader: {name: x-tenant}}\n";
    let config = format!("--config-file={}", scene.write("config.yaml", text));
    scene.proxy(&[&[config, "-v=2".to_owned()], more].concat()).await
}

/// What was asked about, and forgets it.
fn asked(scene: &Scene) -> Vec<Value> {
    let specs = scene.api.access_specs();
    scene.api.forget();
    specs.iter().map(|spec| spec["resourceAttributes"]["namespace"].clone()).collect()
}

#[tokio::test]
async fn the_values_of_a_form_are_questions_too() {
    for (place, Upstreams(scene, flags)) in Upstreams::all().await.into_iter().enumerate() {
        let proxy = deciding(&scene, &flags).await;
        for (index, version) in BOTH.into_iter().enumerate() {
            scene.api.forget();
            let mut client = scene.connect(version, &proxy).await;
            let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| format!("{name}{place}{index}"));
            let post = |target: &str, body: &str| Request::post(target, body).header(FORM.0, FORM.1).bearer(ALICE);

            // Those of the query and the header first; what arrives is what was sent.
            let body = format!("query=up%7Bx%3D~%22.%2B%22%7D&n%61mespace={c}&namespace={a}&&x=%ff&namespace={d}");
            let target = format!("/api/v1/query?namespace={b}");
            assert_status(&client.send(&post(&target, &body).header("X-Tenant", &a)).await, 200);
            assert_eq!(asked(&scene), [&b, &a, &c, &d].map(|name| Value::from(name.as_str())), "{version:?} {flags:?}");
            let received = scene.upstream.last_request();
            assert_eq!((received.target(), received.body.content.as_slice()), (target.as_str(), body.as_bytes()));
            assert_eq!(received.header("content-type"), Some(FORM.1));

            // In pieces, without a length.
            let request = Request::new("PUT", &target).header(FORM.0, "Application/X-WWW-Form-Urlencoded; charset=UTF-8").bearer(ALICE);
            let mut exchange = client.open(&request.streaming()).await.unwrap();
            for piece in ["x=y&names", "pace=%6", &format!("1{place}{index}&z")] {
                assert!(exchange.send(piece).await);
            }
            exchange.finish().await;
            assert_status(&in_time("the answer", exchange.rest()).await.unwrap(), 200);
            assert_eq!(scene.upstream.last_request().body.content, format!("x=y&namespace=%61{place}{index}&z").as_bytes());
            asked(&scene);

            // Whatever the method, and without a type.
            let sent = scene.upstream.count();
            for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
                for kind in [FORM.1, "", "none"] {
                    let request = Request::new(method, &target).body("x=y&namespace=theirs").bearer(ALICE);
                    let request = if kind == "none" { request } else { request.header(FORM.0, kind) };
                    // The client leaves it to the test to say where the body of these ends.
                    let request = if matches!(method, "DELETE" | "GET") { request.header("Content-Length", "20") } else { request };
                    assert_status(&client.send(&request).await, 403);
                }
            }
            assert_status(&client.send(&post(&target, "namespace=")).await, 403);

            // In the form alone it is none, as in Go, and nobody waits for the form.
            let alone = client.send(&post("/api/v1/query", &format!("namespace={a}"))).await;
            assert_eq!((alone.status, alone.text().as_str()), (400, "Bad Request. The request or configuration is malformed.\n"));
            // For a header's value it is one more.
            assert_status(&client.send(&post("/", "namespace=theirs").header("X-Tenant", &a)).await, 403);
            assert_eq!(scene.upstream.count(), sent);

            // What is no form is nobody's.
            for kind in ["application/json", "text/plain; charset=utf-16", "application/grpc"] {
                let request = Request::post(&target, "namespace=theirs;%").header(FORM.0, kind).bearer(ALICE);
                assert_status(&client.send(&request).await, 200);
                assert_eq!(scene.upstream.last_request().body.content, b"namespace=theirs;%");
            }
        }
    }
}

#[tokio::test]
async fn a_form_with_more_than_one_meaning_is_refused() {
    let scene = Scene::new().await;
    let proxy = deciding(&scene, &[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let post = |body: &str| Request::post("/?namespace=mine", body).bearer(ALICE);
        for body in [
            "x;namespace=theirs",
            "x=%zz",
            "namespace=theirs%",
            "namespace=%ff",
            "namespace=mine%0a",
            "namespace=mine\n",
            "Namespace=mine",
            "namespace[]=mine",
            "+namespace=mine",
            "namespace%00=mine",
            &format!("x{}", "&x=y".repeat(1000)),
            &"&namespace=mine".repeat(100),
        ] {
            assert_status(&client.send(&post(body).header(FORM.0, FORM.1)).await, 400);
        }
        for fields in [
            &[("Content-Type", "multipart/form-data; boundary=x")][..],
            &[("Content-Type", "application/x-www-form-urlencoded; charset=ibm037")],
            &[("Content-Type", "text/plain, application/x-www-form-urlencoded")],
            &[("Content-Type", "text/plain"), FORM],
            &[("Content-Type", "text/plain"), ("Content_Type", FORM.1)],
            &[FORM, ("Content-Encoding", "gzip")],
        ] {
            let request = fields.iter().fold(post("x=y"), |request, (name, value)| request.header(name, value));
            assert_status(&client.send(&request).await, 400);
        }
    }
    let request = Request::post("/?namespace=mine", "x=y").header(FORM.0, "text/plain").header("Connection", "content-type").bearer(ALICE);
    assert_status(&scene.send(&proxy, &request).await, 400);
    assert_eq!(scene.upstream.count(), 0, "{:#?}", scene.upstream.requests());
}

#[tokio::test]
async fn a_form_over_a_mebibyte_is_refused_and_one_of_that_size_arrives() {
    let scene = Scene::new().await;
    let proxy = deciding(&scene, &[]).await;
    let form = |size: usize| [b"namespace=other&x=".to_vec(), vec![b'y'; size - 18]].concat();
    for version in BOTH {
        for (size, status) in [(MIB, 200), (MIB + 1, 413), (20 * MIB, 413)] {
            let sent = scene.upstream.take_requests().len();
            let request = Request::post("/?namespace=mine", form(size)).header(FORM.0, FORM.1).bearer(ALICE);
            let response = scene.connect(version, &proxy).await.try_send(&request).await;
            assert_eq!(response.map(|response| response.status), Ok(status), "{version:?} {size} {sent}");
            let whole: Vec<_> = scene.upstream.requests().into_iter().map(|received| received.body.content == form(size)).collect();
            assert_eq!(whole, if status == 200 { vec![true] } else { vec![] });
        }
        // Nor does it count what it does not say.
        scene.upstream.take_requests();
        let mut client = scene.connect(version, &proxy).await;
        let request = Request::new("POST", "/?namespace=mine").header(FORM.0, FORM.1).bearer(ALICE).streaming();
        let mut exchange = client.open(&request).await.unwrap();
        for _ in 0..40 {
            if !exchange.send(vec![b'x'; MIB / 32]).await {
                break;
            }
        }
        assert_eq!(in_time("the answer", exchange.head()).await.map(|(status, _)| status), Ok(413), "{version:?}");
        assert_eq!(scene.upstream.count(), 0);
    }
    proxy.line_with(&["form_too_large", "413"]).await;
}

/// Nothing is kept for those whom nobody knows, or who may not do what the head says.
#[tokio::test]
async fn a_form_is_read_for_those_alone_who_are_allowed_so_far() {
    let scene = Scene::new().await;
    let proxy = deciding(&scene, &["--read-body-timeout=1s".to_owned()]).await;
    let head = |token: &str| {
        format!(
            "POST /?namespace=mine HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Type: {}\r\nContent-Length: \
             11\r\nExpect: 100-continue\r\n\r\n",
            FORM.1
        )
    };
    for (token, expected) in [(FORGED, "401"), (MALLORY, "403"), (ALICE, "100")] {
        let mut client = scene.connect(Version::H1, &proxy).await;
        client.wire().send(head(token)).await.unwrap();
        assert_eq!(in_time("an answer", client.wire().read_head()).await.unwrap().unwrap().word(1), expected);
    }
    assert_eq!(asked(&scene), ["mine", "mine"]);

    // Whoever dawdles is not waited for, however often he says a little.
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let request = Request::new("POST", "/?namespace=mine").header(FORM.0, FORM.1).bearer(ALICE).streaming();
        let mut exchange = client.open(&request).await.unwrap();
        let dripping = async {
            loop {
                let mut ticks = tokio::time::interval(Duration::from_millis(100));
                ticks.tick().await;
                ticks.tick().await;
                if !exchange.send("x").await {
                    return;
                }
                if let Ok(head) = tokio::time::timeout(Duration::from_millis(1), proxy.line_with(&["body_too_slow", "408"])).await {
                    return drop(head);
                }
            }
        };
        in_time("the end of patience", dripping).await;
        assert_eq!(in_time("the answer", exchange.head()).await.map(|(status, _)| status), Ok(408), "{version:?}");
    }
    assert_eq!(scene.upstream.count(), 0);
}

#[tokio::test]
async fn forms_have_a_bounded_memory_together() {
    let latch = Latch::default();
    let held = Reply::default().wait(&latch).then(Reply::ok("held"));
    let scene = Scene::answering(move |_| held.clone()).await;
    let proxy = deciding(&scene, &[]).await;
    let client: Client = scene.connect(Version::H2, &proxy).await;
    let post = |size: usize| Request::post("/?namespace=mine", vec![b'x'; size]).header(FORM.0, FORM.1).bearer(ALICE);
    let mut streams = JoinSet::new();
    for number in 1..=16 {
        let (http2, request) = (client.http2().clone(), post(MIB));
        streams.spawn(async move { http2.send(&request).await.map(|response| response.status) });
        wait_until("the form upstream", || scene.upstream.count() == number).await;
    }
    let one_more = scene.send(&proxy, &post(1)).await;
    assert_eq!((one_more.status, one_more.header("retry-after")), (503, Some("1")));
    proxy.line_with(&["W", "forms_full"]).await;
    latch.open();
    assert!(streams.join_all().await.into_iter().all(|status| status == Ok(200)));
    assert_status(&scene.send(&proxy, &post(MIB)).await, 200);
}
