//! Whom the upstream may believe, and what it is trusted with.

use testkit::{
    client::{Client, Request, Version},
    process::assert_absent,
    tls::Tls,
    upstream::Received,
};

use crate::scene::{ALICE, BOTH, FORGED, Scene, assert_status};

const CLAIMED: [(&str, &str); 6] = [
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Forwarded-Host", "claimed.test"),
    ("X-Forwarded-Proto", "ftp"),
    ("X_Forwarded_Host", "claimed.test"),
    ("Forwarded", "for=1.2.3.4"),
    ("X-Real-IP", "1.2.3.4"),
];

async fn through(scene: &Scene, client: &mut Client, request: Request) -> Received {
    assert_status(&client.send(&request.bearer(ALICE)).await, 200);
    scene.upstream.last_request()
}

#[tokio::test]
async fn forwarded_headers_are_those_of_trusted_proxies() {
    let scene = Scene::new().await;
    for (flags, is_trusted) in [
        (&[][..], true),
        (&["--trusted-proxies=10.0.0.0/8,127.0.0.0/8"], true),
        (&["--trusted-proxies=127.0.0.1"], true),
        (&["--trusted-proxies=10.0.0.0/8", "--trusted-proxies=::1/128"], false),
    ] {
        let proxy = scene.proxy(&[flags, &["--insecure-listen-address=127.0.0.1:0"]].concat()).await;
        for (mut client, scheme) in [
            (scene.connect(Version::H1, &proxy).await, "https"),
            (scene.connect(Version::H2, &proxy).await, "https"),
            (Client::connect_plain(proxy.insecure()).await, "http"),
        ] {
            let request = CLAIMED.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
            let received = through(&scene, &mut client, request).await;
            let expected = match is_trusted {
                true => CLAIMED.map(|(name, value)| (name, Some(if name == "X-Forwarded-For" { "1.2.3.4, 127.0.0.1" } else { value }))),
                false => [
                    ("X-Forwarded-For", Some("127.0.0.1")),
                    ("X-Forwarded-Host", Some("proxy.test")),
                    ("X-Forwarded-Proto", Some(scheme)),
                    ("X_Forwarded_Host", None),
                    ("Forwarded", None),
                    ("X-Real-IP", None),
                ],
            };
            for (name, value) in expected {
                assert_eq!(received.header(name), value, "{flags:?} {name}");
            }
        }
    }
    for bad in ["10.0.0.0/33", "proxy.test", "10.0.0.0/8,"] {
        let exit = scene.run(&[format!("--trusted-proxies={bad}")]).await;
        assert!(exit.code == Some(1) && exit.output.contains("--trusted-proxies"), "{bad}: {}", exit.output);
    }
}

#[tokio::test]
async fn a_token_is_forwarded_only_when_asked_for_and_only_of_a_user() {
    let scene = Scene::new().await;
    let authority = testkit::certs::Authority::new("clients");
    let client_ca = scene.write("client-ca.crt", authority.pem());
    let carol = Tls::presenting(&authority.client("carol", &[]));
    for (flag, forwards) in [("--forward-authorization=false", false), ("--forward-authorization", true)] {
        let proxy = scene.proxy(&["-v=5", flag, "--ignore-paths=/open", &format!("--client-ca-file={client_ca}")]).await;
        let bearer = format!("Bearer {ALICE}");
        for version in BOTH {
            for tls in [scene.authority.tls(), carol.clone()] {
                let mut client = Client::connect(version, proxy.secure(), &tls).await;
                let received = through(&scene, &mut client, Request::get("/")).await;
                assert_eq!(received.header("authorization"), forwards.then_some(bearer.as_str()), "{flag}");
                // Nobody was asked whose this is.
                let received = through(&scene, &mut client, Request::get("/open")).await;
                assert_eq!(received.header("authorization"), None, "{flag}");
            }
            let mut client = scene.connect(version, &proxy).await;
            let arrived = scene.upstream.count();
            assert_status(&client.send(&Request::get("/").bearer(FORGED)).await, 401);
            assert_eq!(scene.upstream.count(), arrived);
        }
        if forwards {
            proxy.line_with(&["W", "--forward-authorization"]).await;
        }
        assert_absent(&proxy.output(), &[ALICE, FORGED]);
    }
}
