//! Paths that servers read in different ways, where a flag lets them pass: each reading is decided.

use testkit::{api::Verdict, client::Request};

use crate::scene::{ALICE, BOTH, MALLORY, Scene, assert_status};

const SLASHES: &str = "--allow-encoded-slashes";
const PARAMETERS: &str = "--allow-path-parameters";

#[tokio::test]
async fn an_odd_path_passes_when_each_reading_of_it_is_allowed() {
    let scene = Scene::new().await;
    // Of both readings of `/one...` one is allowed.
    scene.api.rule(|spec| match spec["nonResourceAttributes"]["path"].as_str() {
        Some("/one/a" | "/one;v") => Verdict::Allow,
        Some(path) if path.starts_with("/one") => Verdict::NoOpinion,
        _ => Verdict::Allow,
    });
    let asked = || {
        let specs = scene.api.access_specs();
        scene.api.forget();
        specs.iter().map(|spec| spec["nonResourceAttributes"]["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (flags, target, readings) in [
        (&[SLASHES][..], "/group%2fproject%2Fx/raw%20y", &["/group/project/x/raw y", "/group%2Fproject%2Fx/raw y"][..]),
        (&[PARAMETERS], "/app;v=1/b;jsessionid=2?q;r", &["/app;v=1/b;jsessionid=2", "/app/b"]),
        (&[SLASHES, PARAMETERS], "/g%2fp;v", &["/g/p;v", "/g%2Fp;v", "/g/p", "/g%2Fp"]),
        (&[SLASHES, PARAMETERS], "/usual%20path", &["/usual path"]),
    ] {
        for version in BOTH {
            let proxy = scene.proxy(flags).await;
            let mut client = scene.connect(version, &proxy).await;
            assert_status(&client.send(&Request::get(target).bearer(ALICE)).await, 200);
            assert_eq!(asked(), readings, "{flags:?}");
            assert_eq!(scene.upstream.last_request().target(), target, "what was decided is what is sent");
        }
    }
    scene.upstream.take_requests();
    for (flags, targets) in [
        (&[][..], &["/g%2fp", "/a;v"][..]),
        (&[SLASHES], &["/a;v", "/g%2fp;v", "/g%252fp", "/g%2f..%2fp", "/g%2f%2e%2e", "/%2fp", "/g%2f", "/g%5cp"]),
        (&[PARAMETERS], &["/g%2fp", "/a%3bv", "/g/..;/p", "/g/.;v", "/g/;v/p", "/g/%2e%2e;v"]),
        (&[SLASHES, PARAMETERS], &["/a;v=%2f", "/g%2f..;v"]),
    ] {
        let proxy = scene.proxy(flags).await;
        for version in BOTH {
            let mut client = scene.connect(version, &proxy).await;
            for target in targets {
                assert_status(&client.send(&Request::get(target).bearer(ALICE)).await, 400);
            }
        }
        assert_eq!(asked(), [""; 0], "{flags:?}");
    }
    let proxy = scene.proxy(&[SLASHES, PARAMETERS]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for target in ["/one%2fa", "/one;v"] {
            let response = client.send(&Request::get(target).bearer(ALICE)).await;
            assert_status(&response, 403);
        }
        // A detour is one all the same.
        let response = client.send(&Request::get("/x/../g%2fp;v").bearer(ALICE)).await;
        assert_eq!((response.status, response.header("location")), (307, Some("/g%2fp;v")));
    }
    assert_eq!(scene.upstream.count(), 0, "{:#?}", scene.upstream.requests());
}

/// A door is open when each reading of the path leads to it, and a path exists when each does.
#[tokio::test]
async fn each_reading_of_an_odd_path_must_be_on_the_list() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&[SLASHES, PARAMETERS, "--ignore-paths=/open/*,/o/*/x", "--allow-paths=/there/*,/there/*/*"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for (target, token, status) in [
            ("/open/a", MALLORY, 200),
            ("/open/a;v", MALLORY, 200),
            // One directory below is not named.
            ("/open/a%2fb", ALICE, 404),
            ("/o/a;v/x", MALLORY, 200),
            ("/o/a%2fx", ALICE, 404),
            ("/there/a%2fb", ALICE, 200),
            ("/there/a%2fb", MALLORY, 403),
            ("/there/a%2fb%2fc", ALICE, 404),
            ("/there;v/a", ALICE, 404),
        ] {
            assert_status(&client.send(&Request::get(target).bearer(token)).await, status);
        }
    }
}
