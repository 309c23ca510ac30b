//! 2,000 open watches of the real API server through kube-oidc-proxy, and what happens around them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::{
    client::{Client, Request, Version},
    cluster,
    process::Proxy,
    wait::wait_for,
};

use crate::{
    oidc_world::{Watch, World},
    scene::assert_status,
};

const CLIENTS: usize = 20;
/// As many as the proxy lets a connection have.
const STREAMS: usize = 100;
/// Of a sample: odd, so that it has a median.
const GETS: usize = 101;

/// A proxy with somebody who GETs by way of it, on one connection for as long as it lives.
struct Getter {
    proxy: Proxy,
    client: Client,
    request: Request,
}

impl Getter {
    async fn new(world: &World<'_>, token: &str) -> Self {
        let proxy = world.proxy(&[]).await;
        let client = world.scene.connect(Version::H2, &proxy).await;
        let path = format!("/api/v1/namespaces/{}/configmaps/first", world.scene.namespace);
        Self { proxy, client, request: Request::get(&path).bearer(token) }
    }

    async fn time(&mut self) -> Duration {
        let start = Instant::now();
        assert_status(&self.client.send(&self.request).await, 200);
        start.elapsed()
    }
}

/// The medians of two proxies' GETs, which take turns, so that whatever else the machine does falls on both.
async fn medians(getters: [&mut Getter; 2]) -> [Duration; 2] {
    let [first, second] = getters;
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    for _ in 0..GETS {
        of_first.push(first.time().await);
        of_second.push(second.time().await);
    }
    [of_first, of_second].map(|mut times| {
        times.sort();
        times[GETS / 2]
    })
}

async fn watch(world: &World<'_>, clients: &[Client], token: &str) -> Vec<Watch> {
    // Not all at once: that is 429, as the API server itself has it.
    let all = clients.iter().map(async |client| {
        let mut watches = Vec::new();
        for _ in 0..STREAMS {
            watches.push(Watch::start(world, client.http2(), token).await);
        }
        watches
    });
    join_all(all).await.into_iter().flatten().collect()
}

/// How many of them tell of a config map that is made now.
async fn telling(world: &World<'_>, watches: &mut [Watch], name: &str) -> usize {
    world.config_map(name).await;
    join_all(watches.iter_mut().map(|watch| watch.tells(name))).await.into_iter().filter(|&tells| tells).count()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]
async fn two_thousand_watches_cost_others_nothing_and_are_lost_only_with_the_api_server() {
    let Some(cluster) = cluster::master().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    world.let_group_work("devs").await;
    world.config_map("first").await;
    let token = world.token("anna", &["devs"]);
    let (mut quiet, mut loaded) = (Getter::new(&world, &token).await, Getter::new(&world, &token).await);
    let [of_quiet, before] = medians([&mut quiet, &mut loaded]).await;
    println!("GETs without watches: {of_quiet:?} and {before:?}");

    let clients = join_all((0..CLIENTS).map(|_| world.scene.connect(Version::H2, &loaded.proxy))).await;
    let mut watches = watch(&world, &clients, &token).await;
    assert_eq!(watches.len(), 2000);
    assert_eq!(telling(&world, &mut watches, "second").await, watches.len());
    let [of_quiet, of_loaded] = medians([&mut quiet, &mut loaded]).await;
    println!("GETs without watches: {of_quiet:?}, and beside 2,000: {of_loaded:?}");
    assert!(of_loaded < 2 * of_quiet, "{of_loaded:?} instead of {of_quiet:?}");

    // A new certificate is for new connections: those that are there go on, with all that is on them.
    let pair = world.scene.authority.server();
    pair.write(world.scene.folder.path(), "serving");
    loaded.proxy.line_with(&["Files have changed and are in use", "--tls-cert-file"]).await;
    let served = world.scene.connect(Version::H2, &loaded.proxy).await.agreed().chain[0].clone();
    assert_eq!(served, pair.certificates()[0]);
    assert_eq!(telling(&world, &mut watches, "third").await, watches.len());
    loaded.time().await;

    // Without the API server there is no watch; each is told so, and the connections of clients go on.
    cluster.kill_apiserver();
    let ends = join_all(watches.iter_mut().map(|watch| watch.tells("nothing"))).await;
    assert!(ends.iter().all(|tells| !tells));
    assert_status(&loaded.client.send(&loaded.request).await, 502);
    cluster.start_apiserver().await;
    let again = wait_for("GET that is answered", async || match loaded.client.send(&loaded.request).await.status {
        200 => Ok(Instant::now()),
        other => Err(other),
    });
    again.await;
    let mut watches = watch(&world, &clients, &token).await;
    assert_eq!(telling(&world, &mut watches, "fourth").await, 2000);
    loaded.time().await;
}
