//! TLS and what is agreed on in it.

use rustls::{
    CipherSuite, SupportedCipherSuite,
    crypto::aws_lc_rs::{
        cipher_suite::{
            TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as AES128, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as AES256,
            TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 as CHACHA,
        },
        kx_group::{SECP256R1, SECP256R1MLKEM768, SECP384R1, X25519, X25519MLKEM768},
    },
    version::{TLS12, TLS13},
};
use testkit::{
    client::{Client, Request, Version},
    process::Proxy,
    tls::{Agreed, Tls},
};

use crate::scene::{ALICE, BOTH, Scene, assert_status};

#[tokio::test]
async fn tls_versions_and_suites_are_as_asked() {
    let scene = Scene::new().await;
    let all = [AES128, AES256, CHACHA];
    for (flags, tls12, warnings) in [
        (&[][..], &all[..], &[][..]),
        (&["--tls-min-version=VersionTLS12"], &all, &[]),
        (&["--tls-min-version=VersionTLS10"], &all, &["VersionTLS10"]),
        (&["--tls-min-version=VersionTLS11"], &all, &["VersionTLS11"]),
        (&["--tls-min-version=VersionTLS13"], &[], &[]),
        (&["--tls-min-version=TLS1.2"], &all, &[]),
        (&["--tls-min-version=TLS1.3"], &[], &[]),
        (&["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"], &[AES256], &[]),
        (
            &["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"],
            &[AES128, CHACHA],
            &[],
        ),
        (
            &["--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256"],
            &[AES128],
            &["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_AES_128_GCM_SHA256"],
        ),
        (
            &["--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA,TLS_RSA_WITH_3DES_EDE_CBC_SHA"],
            &[],
            &["TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS 1.2 is off"],
        ),
    ] {
        let proxy = scene.proxy(flags).await;
        let said: Vec<_> = proxy.lines().into_iter().filter(|line| line.starts_with('W')).collect();
        assert_eq!(said.len(), warnings.len(), "{flags:?}: {said:#?}");
        for warning in warnings {
            assert!(said.iter().any(|line| line.contains(warning) && line.contains("--tls-")), "{flags:?}: {said:#?}");
        }
        for suite in all {
            let offered = tls12.iter().any(|offered| offered.suite() == suite.suite());
            assert_eq!(agreed(&proxy, &Tls::new(&[&TLS12], Some(&[suite]), None)).await, offered.then(|| suite.suite()), "{flags:?}");
        }
        let mut client = Client::connect(Version::H1, proxy.secure(), &Tls::new(&[&TLS13], None, None)).await;
        assert!(client.agreed().tls13);
        assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    }
}

#[tokio::test]
async fn key_exchanges_are_as_asked() {
    let scene = Scene::new().await;
    let all = [SECP256R1, SECP384R1, X25519, X25519MLKEM768, SECP256R1MLKEM768];
    for (flags, offered) in [
        (&[][..], &[SECP256R1, SECP384R1, X25519, X25519MLKEM768][..]),
        (&["--tls-curve-preferences=23,CurveP521", "--tls-curve-preferences=X25519MLKEM768"], &[SECP256R1, X25519MLKEM768]),
        (&["--tls-curve-preferences=4587"], &[SECP256R1MLKEM768]),
    ] {
        let proxy = scene.proxy(flags).await;
        for group in all {
            let agreed = Tls::exchanging(group).connect(proxy.secure()).await.is_ok();
            assert_eq!(agreed, offered.iter().any(|offered| offered.name() == group.name()), "{flags:?} {group:?}");
        }
    }
    let proxy = scene.proxy(&["--tls-curve-preferences=29,25"]).await;
    proxy.line_with(&["W", "--tls-curve-preferences", "CurveP521"]).await;
    assert_status(
        &Client::connect(Version::H2, proxy.secure(), &Tls::exchanging(X25519)).await.send(&Request::get("/").bearer(ALICE)).await,
        200,
    );
}

async fn agreed(proxy: &Proxy, tls: &Tls) -> Option<CipherSuite> {
    let wire = tls.connect(proxy.secure()).await.ok()?;
    Some(Agreed::on(wire.stream()).suite)
}

#[tokio::test]
async fn requests_pass_over_both_tls_versions() {
    let scene = Scene::new().await;
    let proxy = scene.proxy::<&str>(&[]).await;
    let suites: Option<&[SupportedCipherSuite]> = None;
    for version in BOTH {
        for (tls, is_13) in [(&TLS12, false), (&TLS13, true)] {
            let mut client = Client::connect(version, proxy.secure(), &Tls::new(&[tls], suites, None)).await;
            assert_eq!(client.agreed().tls13, is_13);
            assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
    }
}

#[tokio::test]
async fn http2_can_be_disabled() {
    let scene = Scene::new().await;
    let offering = scene.authority.tls().alpn(&["h2", "http/1.1"]);
    let none: &[&str] = &[];
    for (flags, expected) in [(none, "h2"), (&["--http2-disable=false"], "h2"), (&["--http2-disable"], "http/1.1")] {
        let proxy = scene.proxy_with_endpoints(flags).await;
        for address in [proxy.secure(), proxy.endpoints()] {
            let wire = offering.connect(address).await.unwrap();
            assert_eq!(Agreed::on(wire.stream()).alpn.as_deref(), Some(expected), "{flags:?}");
        }
        // Whoever offers nothing speaks HTTP/1.1.
        let mut plain = testkit::client::Client::connect(Version::H1, proxy.secure(), &scene.authority.tls()).await;
        assert_status(&plain.send(&Request::get("/").bearer(ALICE)).await, 200);
    }
    let disabled = scene.proxy(&["--http2-disable"]).await;
    Client::try_connect(Version::H2, disabled.secure(), &scene.authority.tls()).await.expect_err("no protocol in common");
}

#[tokio::test]
async fn http2_settings_are_announced() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    const MAX_FRAME_SIZE: u16 = 5;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let scene = Scene::new().await;
    for (flags, streams, window, frame) in [
        (&[][..], 100, 262_144, 262_144),
        (&["--http2-max-concurrent-streams=7", "--http2-max-size=32768"], 7, 32_768, 32_768),
        (&["--http2-max-concurrent-streams=0", "--http2-max-size=0"], 250, 1 << 20, 1 << 20),
    ] {
        let proxy = scene.proxy(flags).await;
        let mut wire = scene.authority.tls().alpn(&["h2"]).connect(proxy.secure()).await.unwrap();
        wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        while wire.buffered().len() < 9 || wire.buffered().len() < 9 + usize::from(wire.buffered()[2]) {
            assert_ne!(wire.fill().await.unwrap(), 0, "the connection ended");
        }
        let frame_bytes = wire.buffered();
        assert_eq!(frame_bytes[3], 4, "the first frame is SETTINGS");
        let settings = frame_bytes[9..9 + usize::from(frame_bytes[2])].chunks(6);
        let settings: Vec<(u16, u32)> = settings
            .map(|pair| (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]])))
            .collect();
        for expected in
            [(MAX_CONCURRENT_STREAMS, streams), (INITIAL_WINDOW_SIZE, window), (MAX_FRAME_SIZE, frame), (MAX_HEADER_LIST_SIZE, 65_536)]
        {
            assert!(settings.contains(&expected), "{flags:?}: {expected:?} is not in {settings:?}");
        }
    }
}
