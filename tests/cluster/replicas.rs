//! Two kube-oidc-proxies behind Debian's HAProxy, and what is left when one of them dies.

use std::{
    io::{PipeWriter, Write},
    path::{Path, PathBuf},
    process::Command,
};

use testkit::{
    client::{Client, Request, Version},
    cluster,
    parts::{Absent, Part, skip},
    process::{Process, Proxy, free_port},
    wait::wait_for,
};

use crate::{
    kubelet::node,
    oidc_world::{Kubectl, Watch, World},
    scene::{Scene, assert_status},
};

/// HAProxy as an operator would have it: connections pass as they are, to those who say that they are ready.
struct Balancer {
    process: Process,
    port: u16,
    stats: u16,
}

impl Balancer {
    async fn start(program: &Path, scene: &Scene<'_>, replicas: [&Proxy; 2]) -> Self {
        let (port, stats) = (free_port(), free_port());
        let servers = replicas.iter().enumerate().map(|(index, replica)| {
            format!("    server {index} 127.0.0.1:{} check port {}\n", replica.secure().port(), replica.endpoints().port())
        });
        let servers: String = servers.collect();
        let backend = |name| format!("backend {name}\n    balance roundrobin\n    option httpchk GET /ready\n{servers}");
        // One behind HTTP/2 and one behind HTTP/1.1, so that kubectl's exec is told from what it asks before.
        let config = format!(
            "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1h\n    timeout server 1h\n    option redispatch 1\n    \
             default-server inter 200ms fall 2 rise 1\n\
             frontend api\n    bind 127.0.0.1:{port}\n    tcp-request inspect-delay 5s\n    \
             tcp-request content accept if {{ req.ssl_hello_type 1 }}\n    \
             use_backend requests if {{ req.ssl_alpn -m sub h2 }}\n    default_backend tunnels\n{}{}\
             listen stats\n    mode http\n    bind 127.0.0.1:{stats}\n    stats enable\n    stats uri /\n",
            backend("requests"),
            backend("tunnels")
        );
        let process = Process::spawn(Command::new(program).arg("-f").arg(scene.write("haproxy.cfg", &config)));
        let balancer = Self { process, port, stats };
        wait_for("balancer that listens", async || {
            Client::try_connect(Version::H2, ([127, 0, 0, 1], port).into(), &scene.authority.tls()).await
        })
        .await;
        balancer
    }

    /// How many connections each replica has behind a backend, once there are so many in all: some end by and by.
    async fn settled(&self, backend: &str, all: usize) -> [usize; 2] {
        wait_for(&format!("{all} connections of {backend}"), async || {
            let now = self.column(backend, 4).await.map(|number| number.parse().unwrap());
            if now[0] + now[1] == all { Ok(now) } else { Err(format!("{now:?}")) }
        })
        .await
    }

    /// Waits until this knows of a replica what there is to know.
    async fn until(&self, replica: usize, status: &str) {
        wait_for(&format!("{status} of {replica}"), async || {
            let seen = self.column("requests", 17).await;
            if seen[replica].starts_with(status) { Ok(()) } else { Err(seen[replica].clone()) }
        })
        .await;
    }

    /// What is said of each replica in a column of the statistics.
    async fn column(&self, backend: &str, index: usize) -> [String; 2] {
        let table = Client::connect_plain(([127, 0, 0, 1], self.stats).into()).await.send(&Request::get("/;csv")).await.text();
        ["0", "1"].map(|server| {
            let row = format!("{backend},{server},");
            let row = table.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{table}: {}", self.process.output()));
            row.split(',').nth(index).unwrap().to_owned()
        })
    }
}

/// `cat` in a pod, under kubectl's exec.
struct Exec {
    process: Process,
    input: PipeWriter,
}

impl Exec {
    async fn start(kubectl: &Kubectl<'_>) -> Self {
        let (reader, input) = std::io::pipe().unwrap();
        let mut exec = Self { process: kubectl.start_reading(reader, &["exec", "-i", "pod", "--", "cat"]), input };
        assert!(exec.tells("first").await, "{}", exec.process.output());
        exec
    }

    /// Whether it says what it is told; otherwise it has ended.
    async fn tells(&mut self, line: &str) -> bool {
        let _ = self.input.write_all(format!("{line}\n").as_bytes());
        wait_for("line or the end", async || match self.process.is_running() {
            _ if self.process.lines().iter().any(|said| said == line) => Ok(true),
            true => Err(self.process.output()),
            false => Ok(false),
        })
        .await
    }
}

#[tokio::test]
async fn a_replica_that_dies_costs_nobody_of_the_other() {
    let Some((haproxy, kubectl)) = parts() else { return };
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    let _kubelet = match node(&mut world, &["pod"]).await {
        Ok(kubelet) => kubelet,
        Err(absent) => return skip(absent),
    };
    world.let_impersonate().await;
    world.let_group_work("devs").await;
    let replicas = [world.proxy(&[]).await, world.proxy(&[]).await];
    let balancer = Balancer::start(&haproxy, &world.scene, [&replicas[0], &replicas[1]]).await;
    let (server, token) = (format!("https://localhost:{}", balancer.port), world.token("anna", &["devs"]));
    let anna = Kubectl { program: kubectl, world: &world, server, name: "anna", token: token.clone(), without: &[] };

    let (mut watches, mut execs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    while watches.iter().any(Vec::is_empty) {
        let before = balancer.settled("requests", count(&watches)).await;
        let client = connect(&world, &balancer).await;
        let watch = (Watch::start(&world, client.http2(), &token).await, client);
        watches[grown(before, balancer.settled("requests", count(&watches) + 1).await)].push(watch);
    }
    while execs.iter().any(Vec::is_empty) {
        let before = balancer.settled("tunnels", count(&execs)).await;
        let exec = Exec::start(&anna).await;
        execs[grown(before, balancer.settled("tunnels", count(&execs) + 1).await)].push(exec);
    }

    let [dies, lives] = replicas;
    dies.signal("KILL");
    assert_eq!(dies.exit().await.signal, Some(9));
    // Before HAProxy knows of it, and after.
    for _ in 0..10 {
        assert_status(&get(&world, &balancer, &token).await, 200);
    }
    balancer.until(0, "DOWN").await;
    assert_status(&get(&world, &balancer, &token).await, 200);
    world.config_map("made-later").await;
    for (replica, watches) in watches.iter_mut().enumerate() {
        for (watch, _) in watches {
            assert_eq!(watch.tells("made-later").await, replica == 1, "a watch by way of replica {replica}");
        }
    }
    for (replica, execs) in execs.iter_mut().enumerate() {
        for exec in execs {
            assert_eq!(exec.tells("later").await, replica == 1, "an exec by way of replica {replica}");
        }
    }
    // Whoever was cut off finds the other at once.
    assert!(Exec::start(&anna).await.tells("again").await);
    assert!(lives.is_running());
}

fn parts() -> Option<(PathBuf, PathBuf)> {
    let found: Result<_, Absent> = Part::Haproxy.path().and_then(|haproxy| Ok((haproxy, Part::Kubectl.path()?)));
    found.map_err(skip).ok()
}

fn count<T>(of: &[Vec<T>; 2]) -> usize {
    of[0].len() + of[1].len()
}

/// Which replica has one more.
fn grown(before: [usize; 2], now: [usize; 2]) -> usize {
    usize::from(now[1] > before[1])
}

async fn connect(world: &World<'_>, balancer: &Balancer) -> Client {
    Client::connect(Version::H2, ([127, 0, 0, 1], balancer.port).into(), &world.scene.authority.tls()).await
}

async fn get(world: &World<'_>, balancer: &Balancer, token: &str) -> testkit::client::Response {
    let path = format!("/api/v1/namespaces/{}/pods", world.scene.namespace);
    connect(world, balancer).await.send(&Request::get(&path).bearer(token)).await
}
