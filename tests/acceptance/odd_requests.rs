//! Thousands of odd requests: whatever arrives upstream is what was decided, however a server reads it.

mod generate;
mod http2;
mod readers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use futures_util::future::join_all;
use testkit::{
    certs::Authority,
    client::Client,
    policy::Random,
    process::Proxy,
    upstream::{Received, Reply, Upstream},
    wait::{in_time, wait_until},
};
use tokio::time::timeout;

use self::generate::{Odd, Read, mark};
use crate::scene::Scene;

/// Of each kind of upstream, of what is read, and of version.
const EACH: usize = 320;
const AT_A_TIME: usize = 16;
const SEED: u64 = 20_261_126;

/// What became of a request: its status, unless the connection ended instead.
type Outcomes = BTreeMap<usize, Option<u16>>;

#[tokio::test]
async fn what_arrives_upstream_is_what_was_decided_however_odd_it_is() {
    let authority = Authority::new("upstream");
    let pair = authority.server();
    let answer = |_: &Received| Reply::ok("answered");
    let (mut random, mut number, mut faults, mut passed) = (Random::new(SEED), 0, Vec::new(), 0);
    for (upstream, flag) in [
        (Upstream::start(answer).await, "--upstream-force-h2c=false"),
        (Upstream::start_http2(None, answer).await, "--upstream-force-h2c"),
        (Upstream::start_http2(Some(&pair), answer).await, "--upstream-ca-file"),
    ] {
        let scene = Scene::around(upstream).await;
        let flag = match flag {
            "--upstream-ca-file" => format!("{flag}={}", scene.write("upstream.crt", authority.pem())),
            flag => flag.to_owned(),
        };
        let (mut odd, mut outcomes) = (Vec::new(), Outcomes::new());
        for read in [Read::Path, Read::OddPath, Read::Query] {
            let proxy = start(&scene, read, flag.clone()).await;
            for is_http2 in [false, true] {
                let some: Vec<Odd> = (0..EACH).map(|_| (number += 1, Odd::new(&mut random, number, read, is_http2)).1).collect();
                outcomes.extend(send(&scene, &proxy, &some, is_http2).await);
                odd.extend(some);
            }
        }
        // What was abandoned may arrive late, and is recorded when it ends.
        wait_until("the end of all connections", || scene.upstream.open_connections() == 0).await;
        let sent = scene.upstream.take_requests();
        let asked = scene.api.access_specs().into_iter().map(|spec| {
            let asked = [&spec["resourceAttributes"]["namespace"], &spec["nonResourceAttributes"]["path"]];
            asked.into_iter().find_map(|asked| asked.as_str()).unwrap_or_default().to_owned()
        });
        let found = judge(&odd, &outcomes, &sent, &asked.collect());
        faults.extend(found.into_iter().map(|fault| format!("{flag}: {fault}")));
        passed += sent.iter().filter(|received| received.body.complete).count();
    }
    assert!(faults.is_empty(), "{} of {number}: {faults:#?}", faults.len());
    assert!(number >= 5_000 && passed > number / 10, "{passed} of {number} were let pass: too few to show anything");
}

async fn start(scene: &Scene, read: Read, flag: String) -> Proxy {
    let mut flags = vec!["--insecure-listen-address=127.0.0.1:0".to_owned(), flag];
    match read {
        Read::Path => {}
        Read::OddPath => flags.extend(["--allow-encoded-slashes", "--allow-path-parameters"].map(str::to_owned)),
        Read::Query => {
            let text = "authorization:\n  resourceAttributes: {resource: pods, namespace: '{{ .Value }}'}\n  rewrites: {byQueryParameter: \
                        {name: ns}}\n";
            flags.push(format!("--config-file={}", scene.write("config.yaml", text)));
        }
    }
    scene.proxy(&flags).await
}

async fn send(scene: &Scene, proxy: &Proxy, odd: &[Odd], is_http2: bool) -> Outcomes {
    let each = odd.len().div_ceil(AT_A_TIME);
    let outcomes: Vec<Outcomes> = if is_http2 {
        join_all(odd.chunks(each).map(|odd| http2::send(scene, proxy, odd))).await
    } else {
        join_all(odd.chunks(each).map(|odd| send_http1(proxy.insecure(), odd))).await
    };
    outcomes.into_iter().flatten().collect()
}

/// As many on a connection as the proxy lets.
async fn send_http1(address: SocketAddr, odd: &[Odd]) -> Outcomes {
    let (mut outcomes, mut kept) = (Outcomes::new(), None);
    for request in odd {
        let mut client: Client = match kept.take() {
            Some(client) => client,
            None => Client::connect_plain(address).await,
        };
        let wire = client.wire();
        // It may be answered before it was sent.
        let _ = wire.send(request.http1()).await;
        let answer = async {
            let head = wire.read_head().await.ok()??;
            let framing = head.framing()?;
            Some((head, wire.read_body(framing).await))
        };
        let answer = match request.may_hang {
            true => timeout(Duration::from_millis(300), answer).await.unwrap_or_default(),
            false => in_time("an answer", answer).await,
        };
        let status = answer.as_ref().and_then(|(head, _)| head.word(1).parse().ok());
        outcomes.insert(request.number, status);
        // Behind a body that is none there may be anything.
        let goes_on = status.is_some_and(|status| status < 400) && !request.may_hang;
        kept = goes_on.then_some(client);
    }
    outcomes
}

/// What is wrong with what arrived.
fn judge(odd: &[Odd], outcomes: &Outcomes, sent: &[Received], asked: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for received in sent {
        let mut wrong = |what: &str| faults.push(format!("{what}: {:?}", String::from_utf8_lossy(&received.head.raw)));
        let Some(request) = odd.iter().find(|odd| received.target().contains(&mark(odd.number))) else {
            wrong("nobody sent it");
            continue;
        };
        if !seen.insert(request.number) {
            wrong("it arrived twice");
        }
        let head = &received.head;
        if head.start_line.split(' ').count() != 3 || head.all("host").len() != 1 {
            wrong("it is no request");
        }
        if head.all("content-length").len() + head.all("transfer-encoding").len() > 1 {
            wrong("it has two ends");
        }
        if head.fields.iter().any(|(name, value)| name.to_lowercase().replace('_', "-") == "x-remote-user" || value.contains("token-of")) {
            wrong("it says who asks, or with what");
        }
        let status = outcomes.get(&request.number).copied().flatten();
        if received.body.complete && status.is_some_and(|status| status != 200) {
            wrong(&format!("it was answered with {status:?}"));
        }
        let (path, query) = received.target().split_once('?').unwrap_or((received.target(), ""));
        match request.read {
            Read::Path | Read::OddPath => {
                let asked: Vec<String> = asked.iter().filter(|path| path.contains(&mark(request.number))).cloned().collect();
                if let Some(decoder) = readers::disagreement(path.as_bytes(), &asked) {
                    wrong(&format!("{decoder}, it is none of {asked:?}"));
                }
            }
            Read::Query => {
                let is_form = received.header("content-type").is_some_and(|kind| kind.to_lowercase().contains("urlencoded"));
                let form = if is_form { received.body.content.as_slice() } else { b"" };
                for value in [readers::values(query.as_bytes(), b"ns"), readers::values(form, b"ns")].concat() {
                    if !std::str::from_utf8(&value).is_ok_and(|value| asked.contains(value)) {
                        wrong(&format!(
                            "{:?} was not asked about, in {:?}",
                            String::from_utf8_lossy(&value),
                            String::from_utf8_lossy(form)
                        ));
                    }
                }
            }
        }
    }
    let strange = outcomes.iter().filter(|(_, status)| status.is_some_and(|status| !matches!(status, 200 | 307 | 400..=499 | 501)));
    faults.extend(strange.map(|(number, status)| format!("{number} was answered with {status:?}")));
    faults
}
