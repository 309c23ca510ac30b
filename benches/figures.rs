//! What a sidecar costs, beside the Go program in the same run: memory when idle and after load, and CPU per request.
//!
//! `cargo bench -p benches` prints a table. Both programs have the same flags, the same API server and the same
//! upstream, and take turns, so that whatever else the machine does falls on both; each figure is the median.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for people at a terminal")]

use std::{fs, net::SocketAddr, path::Path};

use benches::{cpu_micros, head, median, memory, row};
use tempfile::TempDir;
use testkit::{
    api::{Api, Credential},
    certs::Authority,
    client::{Client, Request, Version},
    parts::Part,
    process::{Proxy, binary, free_port},
    tls::Tls,
    upstream::{Session, Upstream},
};

const ROUNDS: usize = 5;

/// One thing that is measured.
struct Case {
    name: &'static str,
    path: &'static str,
    version: Version,
    requests: usize,
    /// A connection, and a TLS handshake, for each request.
    anew: bool,
}

const CASES: [Case; 5] = [
    Case { name: "3 B, HTTP/1.1", path: "/small", version: Version::H1, requests: 4000, anew: false },
    Case { name: "64 KiB, HTTP/1.1", path: "/large", version: Version::H1, requests: 2000, anew: false },
    Case { name: "3 B, HTTP/2", path: "/small", version: Version::H2, requests: 4000, anew: false },
    Case { name: "64 KiB, HTTP/2", path: "/large", version: Version::H2, requests: 2000, anew: false },
    Case { name: "3 B, a handshake for each", path: "/small", version: Version::H1, requests: 300, anew: true },
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let go = match Part::KubeRbacProxyGo.path() {
        Ok(path) => path,
        Err(absent) => return println!("nothing to compare with: {absent}"),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::new("serving");
    let upstream = Upstream::start_raw(answer).await;
    let api = Api::start().await;
    api.user("token", "system:serviceaccount:monitoring:prometheus", &["system:serviceaccounts"]);
    api.allow_all();

    let theirs_at: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().expect("an address");
    let theirs = Proxy::start_other(&go, &flags(&folder, &authority, &api, &upstream, theirs_at), Some(theirs_at), None, None).await;
    let ours = Proxy::start(&flags(&folder, &authority, &api, &upstream, "127.0.0.1:0".parse().expect("an address"))).await;
    let tls = authority.tls();
    for proxy in [&ours, &theirs] {
        load(proxy, &tls, &CASES[0], 1).await;
    }

    head("Go");
    let bytes = |path: &Path| fs::metadata(path).expect("the program is there").len() as f64;
    row("binary, MB", bytes(binary()) / 1e6, bytes(&go) / 1e6);
    memory("idle", &ours, &theirs);
    for case in &CASES {
        let (mut this, mut that) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            this.push(load(&ours, &tls, case, case.requests).await);
            that.push(load(&theirs, &tls, case, case.requests).await);
        }
        row(&format!("CPU µs/request, {}", case.name), median(this), median(that));
    }
    memory("after load", &ours, &theirs);
}

fn flags(folder: &TempDir, authority: &Authority, api: &Api, upstream: &Upstream, at: SocketAddr) -> Vec<String> {
    let (certificate, key) = authority.server().write(folder.path(), "serving");
    let kubeconfig = api.kubeconfig(folder.path(), None, Credential::Token("proxy"));
    vec![
        format!("--secure-listen-address={at}"),
        format!("--upstream={}", upstream.url()),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-private-key-file={}", key.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
    ]
}

/// Sends requests one after the other, and says how many microseconds of CPU each cost the proxy.
async fn load(proxy: &Proxy, tls: &Tls, case: &Case, requests: usize) -> f64 {
    let request = Request::get(case.path).bearer("token");
    let tls = tls.clone().without_resumption();
    let mut client = Client::connect(case.version, proxy.secure(), &tls).await;
    let before = cpu_micros(proxy.id());
    for _ in 0..requests {
        if case.anew {
            client = Client::connect(case.version, proxy.secure(), &tls).await;
        }
        assert!(client.send(&request).await.status == 200, "every request is to be admitted");
    }
    (cpu_micros(proxy.id()) - before) / requests as f64
}

/// Answers in a moment and remembers nothing.
async fn answer(mut session: Session) {
    let small = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n".to_vec();
    let large = [b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n".to_vec(), vec![b'x'; 65536]].concat();
    while let Some(head) = session.read_head().await {
        let reply = if head.word(1) == "/large" { &large } else { &small };
        if session.wire.send(reply).await.is_err() {
            return;
        }
    }
}
