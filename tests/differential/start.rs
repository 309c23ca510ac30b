mod table;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Command};

use rustls::{CipherSuite, SupportedProtocolVersion};
use testkit::{
    parts::{Part, skip},
    process::{Process, binary, free_port},
    tls::{Agreed, Tls},
    wait::wait_for,
};
use tokio::net::TcpStream;

use crate::{case::Declared, rows::Rows, run::judge_facets, world::World};

pub(crate) use table::starts;

/// A command line. `{port}` in it is a free port.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) name: &'static str,
    flags: Vec<&'static str>,
    config: Option<&'static str>,
    /// Whether it gets no flags but these.
    bare: bool,
    probes: Vec<Probe>,
    pub(crate) declared: Vec<Declared>,
}

/// What is looked at once a program serves.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// Whether an address accepts.
    Accepts(&'static str),
    /// What a client of these versions and suites, all without one, agrees on.
    Handshake { name: &'static str, versions: &'static [&'static SupportedProtocolVersion], suites: &'static [CipherSuite] },
    /// What a client that offers these protocols agrees on.
    Alpn(&'static [&'static str]),
    /// How it ends at this signal.
    End(&'static str),
}

/// What came of it, by name: `start` and each probe.
type Outcome = BTreeMap<String, String>;

impl Start {
    fn new(name: &'static str, flags: &[&'static str]) -> Self {
        Self { name, flags: flags.to_vec(), config: None, bare: false, probes: Vec::new(), declared: Vec::new() }
    }

    /// Exactly these flags.
    fn bare(name: &'static str, flags: &[&'static str]) -> Self {
        Self { bare: true, ..Self::new(name, flags) }
    }

    pub(crate) fn flags(&self) -> &[&'static str] {
        &self.flags
    }

    fn config(self, text: &'static str) -> Self {
        Self { config: Some(text), ..self }
    }

    fn probes(self, probes: &[Probe]) -> Self {
        Self { probes: probes.to_vec(), ..self }
    }

    /// Declares that one starts and the other does not.
    fn differs_at_all(self, row: &'static str) -> Self {
        self.differs(row, &["start"])
    }

    fn differs(mut self, row: &'static str, facets: &[&'static str]) -> Self {
        self.declared.extend(facets.iter().map(|&facet| Declared { row, facet, version: None }));
        self
    }
}

/// Starts both programs with every command line of a table and fails with all that is wrong.
pub(crate) async fn run(starts: &[Start]) {
    let go = match Part::KubeRbacProxyGo.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    let (world, rows) = (World::new().await, Rows::read());
    let mut faults = Vec::new();
    for start in starts {
        let (mut by_go, mut go_output) = outcome(&world, &go, start).await;
        // A signal that comes before the Go program waits for it kills it.
        while by_go.iter().any(|(name, value)| name.starts_with("end") && value == "exit None") {
            (by_go, go_output) = outcome(&world, &go, start).await;
        }
        let (by_ours, our_output) = outcome(&world, binary(), start).await;
        let names = by_go.keys().chain(by_ours.keys()).filter(|&name| by_go.get(name) != by_ours.get(name));
        let value = |outcome: &Outcome, name: &str| outcome.get(name).cloned().unwrap_or_else(|| "nothing".to_owned());
        let differences = names.map(|name| (name.clone(), (value(&by_go, name), value(&by_ours, name)))).collect();
        let declared: Vec<&Declared> = start.declared.iter().collect();
        let found = judge_facets(&rows, &declared, differences);
        if !found.is_empty() {
            faults.push(format!("{}: {}\nGo said:\n{go_output}\nours said:\n{our_output}", start.name, found.join("\n")));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

async fn outcome(world: &World, program: &Path, start: &Start) -> (Outcome, String) {
    let port = free_port().to_string();
    let mut flags: Vec<String> = if start.bare {
        start.flags.iter().map(|flag| world.fill(flag)).collect()
    } else {
        let mut flags = world.flags(&start.flags);
        if !start.flags.iter().any(|flag| flag.contains("listen")) {
            flags.push("--secure-listen-address=127.0.0.1:{port}".to_owned());
        }
        flags
    };
    if let Some(text) = start.config {
        flags.push(format!("--config-file={}", world.write("start.yaml", text).display()));
    }
    for flag in &mut flags {
        *flag = flag.replace("{port}", &port);
    }
    let mut outcome = Outcome::new();
    let process = Process::spawn(Command::new(program).args(&flags));
    let probes: &[Probe] = if serves(&process, &port).await { &start.probes } else { &[] };
    if process.is_running() {
        outcome.insert("start".to_owned(), "serves".to_owned());
        for probe in probes {
            let (name, result) = look(*probe, &process, &port).await;
            outcome.insert(name, result);
        }
    } else {
        outcome.insert("start".to_owned(), format!("exit {:?}", process.exit().await.code));
    }
    (outcome, process.output())
}

/// Waits until the program accepts connections or has ended.
async fn serves(process: &Process, port: &str) -> bool {
    wait_for("listener or end", async || {
        if !process.is_running() {
            return Ok(false);
        }
        for host in ["127.0.0.1", "[::1]"] {
            if TcpStream::connect(format!("{host}:{port}")).await.is_ok() {
                return Ok(true);
            }
        }
        Err(process.output())
    })
    .await
}

async fn look(probe: Probe, process: &Process, port: &str) -> (String, String) {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    match probe {
        Probe::Accepts(host) => {
            let accepts = TcpStream::connect(format!("{host}:{port}")).await.is_ok();
            (format!("accepts on {host}"), accepts.to_string())
        }
        Probe::Handshake { name, versions, suites } => {
            let all = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
            let chosen: Vec<_> = all.iter().copied().filter(|suite| suites.is_empty() || suites.contains(&suite.suite())).collect();
            let result = Tls::new(versions, Some(&chosen), None).connect(address).await.map(|wire| Agreed::on(wire.stream()).tls13);
            (format!("handshake {name}"), result.map_or_else(|_| "refused".to_owned(), |tls13| format!("agreed, 1.3: {tls13}")))
        }
        Probe::End(signal) => {
            process.signal(signal);
            (format!("end at SIG{signal}"), format!("exit {:?}", process.exit().await.code))
        }
        Probe::Alpn(protocols) => {
            let agreed = Tls::default().alpn(protocols).connect(address).await.map(|wire| Agreed::on(wire.stream()).alpn);
            (format!("alpn {}", protocols.join(",")), agreed.map_or_else(|_| "refused".to_owned(), |alpn| format!("{alpn:?}")))
        }
    }
}
