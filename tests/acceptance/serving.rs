//! The serving certificate, and its successors.

use std::{fs, os::unix::fs::symlink};

use rustls::pki_types::CertificateDer;
use testkit::{
    certs::{Authority, Pair, fixtures},
    client::{Client, Request, Version},
    process::Proxy,
    tls::Tls,
    wait::wait_for,
};

use crate::scene::{ALICE, Scene, assert_status};

#[tokio::test]
async fn serving_pairs_of_every_form_are_served() {
    let scene = Scene::new().await;
    let root = Authority::new("root");
    let chained = root.intermediate("upper").intermediate("lower").server();
    let ec = |key: &str| Pair::from_pem(fixtures::EC_CERT, key);
    let rsa = |key: &str| Pair::from_pem(fixtures::RSA_CERT, key);
    for (pair, trusted) in [
        (ec(fixtures::EC_SEC1), fixtures::EC_CERT),
        (ec(fixtures::EC_PKCS8), fixtures::EC_CERT),
        (rsa(fixtures::RSA_PKCS1), fixtures::RSA_CERT),
        (rsa(fixtures::RSA_PKCS8), fixtures::RSA_CERT),
        (chained, root.pem()),
    ] {
        let (certificate, key) = pair.write(scene.folder.path(), "form");
        let both = scene.write("form.pem", format!("{}{}", pair.chain, pair.key));
        let apart = (certificate.display().to_string(), key.display().to_string());
        for (certificate, key) in [apart, (both.clone(), both)] {
            let proxy = scene.proxy(&[format!("--tls-cert-file={certificate}"), format!("--tls-private-key-file={key}")]).await;
            for version in [Version::H1, Version::H2] {
                let mut client = Client::connect(version, proxy.secure(), &Tls::default().trusting(trusted)).await;
                assert_eq!(client.agreed().chain, pair.certificates());
                assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
            }
        }
    }
}

#[tokio::test]
async fn without_a_pair_a_self_signed_one_is_served() {
    let scene = Scene::new().await;
    let none: &[&str] = &[];
    let proxy = Proxy::start(&scene.flags_without(&["--tls-cert-file", "--tls-private-key-file"], none)).await;
    let mut client = Client::connect(Version::H2, proxy.secure(), &Tls::default()).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
    let chain = &client.agreed().chain;
    assert_eq!(chain.len(), 1);
    let holds = |bytes: &[u8]| chain[0].windows(bytes.len()).any(|window| window == bytes);
    // The object identifier of prime256v1.
    assert!(holds(&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]), "the key is no P-256 key");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(holds(host.trim().as_bytes()), "{host} is not in the certificate");
}

/// A folder as a kubelet fills it: files are links through `..data`, which is swapped at once.
struct Volume<'a> {
    scene: &'a Scene,
    revision: u32,
}

impl<'a> Volume<'a> {
    fn new(scene: &'a Scene, pair: &Pair) -> Self {
        fs::create_dir(scene.path("volume")).unwrap();
        let mut volume = Self { scene, revision: 0 };
        volume.publish(&pair.chain, &pair.key);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), scene.path("volume").join(name)).unwrap();
        }
        volume
    }

    fn publish(&mut self, chain: &str, key: &str) {
        let folder = self.scene.path("volume");
        let former = fs::read_link(folder.join("..data")).ok();
        self.revision += 1;
        let name = format!("..{}", self.revision);
        fs::create_dir(folder.join(&name)).unwrap();
        fs::write(folder.join(&name).join("tls.crt"), chain).unwrap();
        fs::write(folder.join(&name).join("tls.key"), key).unwrap();
        symlink(&name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if let Some(former) = former {
            fs::remove_dir_all(folder.join(former)).unwrap();
        }
    }
}

/// Go ends within a second when a file is half written.
#[tokio::test]
async fn a_new_serving_pair_is_served_and_a_broken_one_is_not() {
    let scene = Scene::new().await;
    let pairs = [scene.authority.server(), scene.authority.server(), scene.authority.server()];
    let mut volume = Volume::new(&scene, &pairs[0]);
    let file = |flag: &str, name: &str| format!("--{flag}={}", scene.path("volume").join(name).display());
    let flags = [file("tls-cert-file", "tls.crt"), file("tls-private-key-file", "tls.key"), "--tls-reload-interval=20ms".to_owned()];
    let proxy = scene.proxy_with_endpoints(&flags.each_ref().map(String::as_str)).await;
    let mut old = scene.connect(Version::H1, &proxy).await;
    assert_eq!(old.agreed().chain, pairs[0].certificates());

    volume.publish(&pairs[1].chain, &pairs[1].key);
    until_served(&scene, &proxy, &pairs[1]).await;

    let nothing = String::new();
    for (said, (chain, key)) in
        [(&pairs[2].chain, &pairs[1].key), (&pairs[2].chain[..200].to_owned(), &pairs[2].key), (&nothing, &nothing)].into_iter().enumerate()
    {
        volume.publish(chain, key);
        wait_for("a line about the broken pair", async || {
            let lines = proxy.lines();
            let errors = lines.iter().filter(|line| line.starts_with('E') && line.contains("--tls-cert-file")).count();
            if errors > said { Ok(()) } else { Err(proxy.output()) }
        })
        .await;
        assert_eq!(served(&scene, &proxy).await, pairs[1].certificates());
    }
    // Files that are gone, as between two steps of whoever replaces them.
    fs::rename(scene.path("volume/..data"), scene.path("volume/..gone")).unwrap();
    wait_for("a line about the missing files", async || {
        let said = proxy.lines().iter().any(|line| line.starts_with('E') && line.contains("cannot be read"));
        if said { Ok(()) } else { Err(proxy.output()) }
    })
    .await;
    assert_eq!(served(&scene, &proxy).await, pairs[1].certificates());
    fs::rename(scene.path("volume/..gone"), scene.path("volume/..data")).unwrap();
    let mut probe = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    assert_status(&probe.send(&Request::get("/readyz")).await, 200);

    volume.publish(&pairs[2].chain, &pairs[2].key);
    until_served(&scene, &proxy, &pairs[2]).await;
    assert_status(&old.send(&Request::get("/").bearer(ALICE)).await, 200);
    let metrics = probe.send(&Request::get("/metrics").bearer(ALICE)).await.text();
    for (result, least) in [("replaced", 2), ("kept", 4)] {
        let subject = "--tls-cert-file, --tls-private-key-file";
        let series = format!("kube_rbac_proxy_reloads_total{{subject=\"{subject}\",result=\"{result}\"}} ");
        let count: u32 = metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap();
        assert!(count >= least, "{series}{count}");
    }
}

async fn served(scene: &Scene, proxy: &Proxy) -> Vec<CertificateDer<'static>> {
    scene.connect(Version::H1, proxy).await.agreed().chain.clone()
}

async fn until_served(scene: &Scene, proxy: &Proxy, pair: &Pair) {
    wait_for(
        "the new certificate",
        async || {
            if served(scene, proxy).await == pair.certificates() { Ok(()) } else { Err("another one is served") }
        },
    )
    .await;
}
