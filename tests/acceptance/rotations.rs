//! Serving certificates that change while requests come, in each way in which a change goes wrong on its way.
//!
//! `ROTATIONS` is the number of changes; there are a hundred requests for each.

use std::{
    env, fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use testkit::{
    certs::Pair,
    client::{Client, Request, Version},
    process::Proxy,
    tls::Tls,
    wait::{wait_for, wait_until},
};
use tokio::task::JoinSet;

use crate::scene::{ALICE, Scene};

/// Enough for each way of failing, several times.
const ROTATIONS: usize = 20;
const REQUESTS_PER_ROTATION: usize = 100;
const CLIENTS: usize = 8;

/// What is in the files for a while, before the new pair is whole.
#[derive(Clone, Copy, Debug)]
enum Halfway {
    HalfWritten,
    Mismatched,
    Missing,
    Empty,
}

/// What the clients have got so far.
#[derive(Debug, Default)]
struct Tally {
    served: AtomicUsize,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

#[tokio::test]
async fn rotations_under_load_cost_no_request() {
    let rotations = env::var("ROTATIONS").map_or(ROTATIONS, |number| number.parse().unwrap());
    let scene = Scene::new().await;
    let first = scene.authority.server();
    let (certificate, key) = (scene.write("live.crt", &first.chain), scene.write("live.key", &first.key));
    let flags =
        [format!("--tls-cert-file={certificate}"), format!("--tls-private-key-file={key}"), "--tls-reload-interval=20ms".to_owned()];
    let proxy = scene.proxy(&flags).await;
    let (tally, mut clients, start) = (Arc::new(Tally::default()), JoinSet::new(), Instant::now());
    for number in 0..CLIENTS {
        clients.spawn(ask(number, proxy.secure(), scene.authority.tls(), Arc::clone(&tally)));
    }
    let ways = [Halfway::HalfWritten, Halfway::Mismatched, Halfway::Missing, Halfway::Empty];
    for (number, halfway) in ways.into_iter().cycle().take(rotations).enumerate() {
        rotate(&scene, &proxy, halfway).await;
        // Those before are no rotations under load otherwise.
        wait_until("a hundred requests", || tally.count() >= (number + 1) * REQUESTS_PER_ROTATION).await;
        scene.upstream.take_requests();
    }
    tally.is_over.store(true, Ordering::Relaxed);
    while clients.join_next().await.transpose().unwrap().is_some() {}
    let (served, failures) = (tally.served.load(Ordering::Relaxed), tally.failures.lock().unwrap().clone());
    eprintln!("{rotations} rotations: {} failed of {} requests in {:?}", failures.len(), served + failures.len(), start.elapsed());
    assert!(failures.is_empty(), "{failures:#?}");
}

impl Tally {
    fn count(&self) -> usize {
        self.served.load(Ordering::Relaxed) + self.failures.lock().unwrap().len()
    }
}

/// Asks on new connections and on kept ones, in both versions, by names that the certificates must have.
async fn ask(number: usize, address: SocketAddr, tls: Tls, tally: Arc<Tally>) {
    let version = if number.is_multiple_of(2) { Version::H1 } else { Version::H2 };
    let tls = if number % 4 < 2 { tls.without_resumption() } else { tls };
    while !tally.is_over.load(Ordering::Relaxed) {
        let result = match Client::try_connect(version, address, &tls).await {
            Ok(mut client) => three(&mut client, &tally).await,
            Err(why) => Err(format!("connecting: {why}")),
        };
        if let Err(why) = result {
            tally.failures.lock().unwrap().push(format!("{version:?}: {why}"));
        }
    }
}

async fn three(client: &mut Client, tally: &Tally) -> Result<(), String> {
    for _ in 0..3 {
        let response = client.try_send(&Request::get("/metrics").bearer(ALICE)).await?;
        if response.status != 200 {
            return Err(format!("{} {}", response.status, response.text()));
        }
        tally.served.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Replaces the pair, with a stop halfway until the program has seen that.
async fn rotate(scene: &Scene, proxy: &Proxy, halfway: Halfway) {
    let pair = scene.authority.server();
    let (chain, key) = (scene.path("live.crt"), scene.path("live.key"));
    let complaints = || proxy.lines().iter().filter(|line| line.starts_with('E') && line.contains("--tls-cert-file")).count();
    let before = complaints();
    match halfway {
        Halfway::HalfWritten => fs::write(&chain, &pair.chain[..pair.chain.len() / 2]).unwrap(),
        Halfway::Mismatched => drop(scene.write("live.crt", &pair.chain)),
        Halfway::Missing => {
            fs::remove_file(&chain).unwrap();
            fs::remove_file(&key).unwrap();
        }
        Halfway::Empty => fs::write(&key, "").unwrap(),
    }
    wait_until("a line about what is halfway", || complaints() > before).await;
    fs::write(&chain, &pair.chain).unwrap();
    fs::write(&key, &pair.key).unwrap();
    until_served(scene, proxy, &pair).await;
}

async fn until_served(scene: &Scene, proxy: &Proxy, pair: &Pair) {
    let expected = pair.certificates();
    wait_for("the new certificate", async || {
        let agreed = Client::try_connect(Version::H1, proxy.secure(), &scene.authority.tls().without_resumption()).await?;
        if agreed.agreed().chain == expected { Ok(()) } else { Err("another one is served".to_owned()) }
    })
    .await;
}
