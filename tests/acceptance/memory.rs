//! What the program does in the memory that a sidecar has.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use testkit::{
    client::{Client, Request, Version},
    process::{Proxy, binary, free_port},
    upstream::{Reply, Upstream},
    wait::{in_time, wait_for_within},
    wire::Wire,
};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    floods::{be_honest, floods, with_something_big},
    scene::{ALICE, BOTH, FORGED, Scene, assert_status},
};

const LIMIT: u64 = 64 << 20;

/// A memory cgroup of this test, if the system lets it have one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Option<Self> {
        let name = format!("kube-rbac-proxy-test-{}", std::process::id());
        // The first version's controller has a mount of its own.
        let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        roots.into_iter().find_map(|(root, limit)| {
            let cgroup = Self(PathBuf::from(root).join(&name));
            fs::create_dir(&cgroup.0).ok()?;
            fs::write(cgroup.0.join(limit), LIMIT.to_string()).ok()?;
            Some(cgroup)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// fault-17: everything that the other tests do to it, again and again, in 64 MiB: of a cgroup, or where none can be had,
/// by its own peak. What it took is the system's again a minute later, while there are requests, as there always are.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]
async fn all_attacks_together_fit_in_64_mib() {
    let cgroup = Cgroup::new();
    let scene = with_something_big(Scene::around).await;
    let [secure, insecure] = [(); 2].map(|()| ([127, 0, 0, 1], free_port()).into());
    let mut flags = vec![
        format!("--secure-listen-address={secure}"),
        format!("--insecure-listen-address={insecure}"),
        "--write-timeout=1s".to_owned(),
        "--tls-handshake-timeout=2s".to_owned(),
        "--read-header-timeout=2s".to_owned(),
        "--idle-timeout=2s".to_owned(),
    ];
    // What nobody optimized needs twice as much at rest.
    if cfg!(debug_assertions) {
        flags.push("--max-connections=800".to_owned());
    }
    let enter = cgroup.as_ref().map_or("true".to_owned(), |cgroup| format!("echo $$ > {}/cgroup.procs", cgroup.0.display()));
    let mut command = vec!["-c".to_owned(), format!("{enter} && exec \"$0\" \"$@\""), binary().display().to_string()];
    command.extend(scene.flags(&flags));
    let proxy = Proxy::start_other("sh".as_ref(), &command, Some(secure), Some(insecure), None).await;
    assert_status(&scene.get(&proxy, "/big", ALICE).await, 200);
    // At rest is what has been at work: a few clients of each kind at a time, as any upstream has them.
    for _ in 0..10 {
        let clients = join_all(BOTH.repeat(10).into_iter().map(|version| scene.connect(version, &proxy))).await;
        for mut client in clients {
            assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
        }
    }
    let (baseline, _) = proxy.resident_kib();

    let mut after = Vec::new();
    for _ in 0..4 {
        let over = AtomicBool::new(false);
        let attacking = async {
            attack(&scene, &proxy).await;
            over.store(true, Ordering::Relaxed);
        };
        let ((), served) = tokio::join!(attacking, be_honest(&scene, &proxy, &over));
        assert!(served > 10, "{served}");
        assert!(proxy.is_running() && !proxy.output().contains("defect"), "{}", proxy.output());
        after.push(proxy.resident_kib().0);
    }
    let peak = proxy.peak_kib();
    println!("cgroup {}: {baseline} KiB, then {after:?} KiB, peak {peak} KiB", cgroup.is_some());
    assert!(peak * 1024 < LIMIT, "{peak} KiB");
    // On other machines the allocator is one that keeps it, but not more of it from time to time.
    if !cfg!(target_arch = "x86_64") {
        let [first, later @ ..] = &after[..] else { panic!("{after:?}") };
        assert!(later.iter().any(|kept| *kept < first + first / 5), "{after:?}");
        return;
    }
    wait_for_within("memory to be free again", Duration::from_secs(60), async || {
        assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
        let (kept, _) = proxy.resident_kib();
        if kept <= baseline + baseline / 10 { Ok(()) } else { Err(format!("{kept} KiB, of {baseline} at rest")) }
    })
    .await;
}

/// The library would read 400 KiB at a time for each, and keep a buffer of that size while a connection waits for more to do.
#[tokio::test]
async fn many_large_answers_at_once_take_little_memory() {
    const AT_ONCE: usize = 60;
    const LENGTH: usize = 3 << 20;
    let big = Reply::ok("x".repeat(LENGTH));
    let scene = Scene::around(Upstream::start(move |_| big.clone()).await).await;
    let proxy = scene.proxy(&[] as &[&str]).await;
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    let (baseline, _) = proxy.resident_kib();

    let (tls, request) = (scene.authority.tls(), Request::get("/").bearer(ALICE));
    let mut clients = join_all((0..AT_ONCE).map(|_| Client::connect(Version::H2, proxy.secure(), &tls))).await;
    let mut answers = Vec::new();
    for client in &mut clients {
        let mut exchange = client.open(&request).await.unwrap();
        let (status, fields) = exchange.head().await.unwrap();
        answers.push(exchange.rest_of(status, fields));
    }
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().body.len(), LENGTH);
    }
    let peak = proxy.peak_kib();
    assert!(peak < baseline + 20 * 1024, "{baseline} KiB, then {peak} KiB");
}

async fn attack(scene: &Scene, proxy: &Proxy) {
    for flood in floods(ALICE) {
        flood.pour(scene.authority.tls().alpn(&["h2"]).connect(proxy.secure()).await.unwrap()).await;
    }
    // Connections of every kind, more than there are places: some say nothing, some half of something.
    let mut crowd = Vec::new();
    for index in 0..800 {
        let mut plain = Wire::new(TcpStream::connect(proxy.insecure()).await.unwrap());
        let _ = plain.send("GET / HTTP/1.1\r\nHost: a\r\nX-Half: ").await;
        crowd.push(plain);
        crowd.push(Wire::new(TcpStream::connect(proxy.secure()).await.unwrap()));
        if index % 4 == 0
            && let Ok(Ok(tls)) = timeout(Duration::from_secs(5), scene.authority.tls().connect(proxy.secure())).await
        {
            crowd.push(tls);
        }
    }
    // Long heads, large bodies and answers that nobody reads, of whoever may have them and of whoever may not.
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Half: {}", "x".repeat(60_000));
    for _ in 0..400 {
        let mut plain = Wire::new(TcpStream::connect(proxy.insecure()).await.unwrap());
        let _ = plain.send(&long).await;
        crowd.push(plain);
    }
    for token in [ALICE, FORGED].repeat(20) {
        let mut client = Client::connect_plain(proxy.insecure()).await;
        let _ = client.wire().send(Request::get("/big").bearer(token).http1()).await;
        crowd.push(std::mem::replace(client.wire(), Wire::new(TcpStream::connect(proxy.secure()).await.unwrap())));
        if let Ok(mut client) = Client::try_connect(Version::H1, proxy.secure(), &scene.authority.tls()).await {
            let _ = in_time("an answer", client.try_send(&Request::post("/", "x".repeat(1 << 20)).bearer(token))).await;
        }
    }
}
