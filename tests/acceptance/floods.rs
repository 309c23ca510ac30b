//! Clients that mean harm: what each sends costs little, and nobody else anything.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use testkit::{
    certs::{Authority, Pair},
    client::{Client, Request, Response, Version},
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame},
    process::Proxy,
    tls::Tls,
    upstream::{Reply, Upstream},
    wait::{in_time, wait_until},
    wire::Wire,
};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    crowds::head,
    scene::{ALICE, Scene, assert_status},
};

/// The streams that a connection may have open, by default.
const STREAMS: usize = 100;
/// Repetitions: more than ends a connection, where anything does.
const MANY: u32 = 20_000;
/// What a flood may add to the memory in use.
const MOST_KIB: u64 = 16 * 1024;

/// What is sent, and what becomes of the connection.
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    settings: &'static [(u16, u32)],
    bytes: Vec<u8>,
    /// The server ends it. Otherwise it is bounded: answers that nobody reads are waited for, and nothing more is read.
    ends: bool,
}

/// Every flood of HTTP/2 frames. limit-1, limit-2, limit-3.
pub(crate) fn floods(alice: &str) -> Vec<Flood> {
    let streams = || (1..).step_by(2);
    let opened = |stream: u32, flags: u8, token: &str| frame(HEADERS, END_HEADERS | flags, stream, head("POST", "/", token));
    let repeated = |first: Vec<u8>, again: Vec<u8>| [first, again.repeat(MANY as usize)].concat();
    let each = |of: &dyn Fn(u32) -> Vec<u8>| streams().take(MANY as usize).flat_map(of).collect::<Vec<u8>>();
    let flood = |name, ends, bytes| Flood { name, settings: &[], bytes, ends };
    let reset = |stream| [opened(stream, END_STREAM, &format!("forged-{stream}")), frame(RST_STREAM, 0, stream, [0, 0, 0, 8])].concat();
    let made = |stream| [opened(stream, 0, &format!("forged-{stream}")), frame(WINDOW_UPDATE, 0, stream, [0; 4])].concat();
    let begun = || frame(HEADERS, 0, 1, head("GET", "/", alice));
    // One long field, and many times its number in the table.
    let long = [&[0x40, 1, b'a', 0x7f][..], &[0x81, 0x1e], &vec![b'x'; 127 + 0x81 - 0x80 + (0x1e << 7)]].concat();
    let bomb = [head("GET", "/", alice), long, vec![0xbe; 12_000]].concat();
    vec![
        flood("rapid reset", true, each(&reset)),
        flood("made you reset", true, each(&made)),
        flood("CONTINUATION", true, repeated(begun(), frame(CONTINUATION, 0, 1, [0, 1, b'a', 1, b'b']))),
        flood("empty CONTINUATION", true, repeated(begun(), frame(CONTINUATION, 0, 1, ""))),
        flood("empty DATA", true, repeated(opened(1, 0, alice), frame(DATA, 0, 1, ""))),
        flood("a head that grows in the table", true, frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb)),
        flood("PING", false, repeated(vec![], frame(PING, 0, 0, [0; 8]))),
        flood("SETTINGS", false, repeated(vec![], frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 1]))),
        flood("PRIORITY", false, each(&|stream| frame(PRIORITY, 0, stream, [0, 0, 0, 0, 1]))),
        flood("unknown frames", false, repeated(vec![], frame(0x42, 0, 0, [0; 100]))),
        flood("WINDOW_UPDATE", false, repeated(vec![], frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]))),
        Flood {
            name: "streams without a window",
            settings: &[(4, 1)],
            bytes: streams()
                .take(STREAMS)
                .flat_map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, head("GET", "/big", alice)))
                .collect(),
            ends: false,
        },
    ]
}

impl Flood {
    /// Sends it, without reading; whether the server ended the connection.
    pub(crate) async fn pour(&self, wire: Wire) -> bool {
        let mut frames = Frames::greet(wire, self.settings).await.unwrap();
        let sent = timeout(Duration::from_secs(3), frames.wire().send(&self.bytes)).await;
        let wait = if self.ends { Duration::from_secs(20) } else { Duration::from_millis(200) };
        matches!(sent, Ok(Err(_))) || timeout(wait, frames.wire().closed()).await.is_ok()
    }
}

/// Somebody who only wants to be served, on a connection that stays and on new ones; returns how often.
pub(crate) async fn be_honest(scene: &Scene, proxy: &Proxy, over: &AtomicBool) -> usize {
    let mut kept = scene.connect(Version::H2, proxy).await;
    let (mut served, alice) = (0, &scene.alice());
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        assert_status(&in_time("an answer", kept.send(&Request::get("/honest").bearer(alice))).await, 200);
        assert_status(&in_time("an answer", come_and_ask(scene, proxy, alice)).await, 200);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        served += 2;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served
}

/// Whoever is new may lose his place before he has asked, where a crowd comes at once; then he comes again, as clients do.
async fn come_and_ask(scene: &Scene, proxy: &Proxy, alice: &str) -> Response {
    for _ in 0..3 {
        if let Ok(mut client) = Client::try_connect(Version::H1, proxy.secure(), &scene.authority.tls()).await
            && let Ok(answer) = client.try_send(&Request::get("/honest").bearer(alice)).await
        {
            return answer;
        }
    }
    panic!("three times nobody answered")
}

/// limit-1, limit-2, limit-3. Each again and again for `FLOOD_SECONDS`, a part of a second if nothing is said.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]
async fn floods_of_frames_end_their_connection_or_cost_nothing() {
    floods_of_frames(&with_something_big(Scene::around).await, |figures| println!("{figures}")).await;
}

/// The same of either program.
pub(crate) async fn floods_of_frames(scene: &Scene, tell: impl Fn(String)) {
    let lasting = Duration::from_millis(std::env::var("FLOOD_SECONDS").map_or(300, |seconds| seconds.parse::<u64>().unwrap() * 1000));
    let proxy = scene.proxy(&["--write-timeout=1s"]).await;
    let alice = &scene.alice();
    assert_status(&scene.get(&proxy, "/big", alice).await, 200);
    for flood in floods(alice) {
        let (before, _) = proxy.resident_kib();
        let tokens = scene.api.counts().0;
        let over = AtomicBool::new(false);
        let pouring = async {
            let (begin, mut ends) = (Instant::now(), Vec::new());
            while begin.elapsed() < lasting {
                ends.push(flood.pour(scene.authority.tls().alpn(&["h2"]).connect(proxy.secure()).await.unwrap()).await);
            }
            over.store(true, Ordering::Relaxed);
            ends
        };
        let (ends, served) = tokio::join!(pouring, be_honest(scene, &proxy, &over));
        let (after, _) = proxy.resident_kib();
        let asked = scene.api.counts().0 - tokens;
        let (times, grown) = (ends.len(), after.saturating_sub(before));
        tell(format!("{} {times} times: +{grown} KiB, {asked} reviews, {served} honest answers", flood.name));
        assert!(ends.iter().all(|ended| *ended || !flood.ends), "{} went on", flood.name);
        assert!(after < before + MOST_KIB, "{}: {before} KiB became {after}", flood.name);
        assert!(asked <= STREAMS * times, "{}: {asked} reviews", flood.name);
        assert!(served > 0);
    }
    assert!(proxy.is_running());
    assert!(!proxy.output().contains("defect"), "{}", proxy.output());
}

/// limit-5.
#[tokio::test]
async fn keys_that_are_updated_without_end_and_chains_without_end_cost_nothing() {
    let scene = Scene::new().await;
    let ca = scene.write("ca.crt", Authority::new("clients").pem());
    let proxy = scene.proxy(&[format!("--client-ca-file={ca}")]).await;
    let (before, _) = proxy.resident_kib();
    let mut wire = scene.authority.tls().connect(proxy.secure()).await.unwrap();
    for _ in 0..MANY {
        wire.stream_mut().update_keys();
        if timeout(Duration::from_secs(1), wire.send("")).await.is_err() {
            break;
        }
    }
    let mut client = scene.connect(Version::H1, &proxy).await;
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);

    // A megabyte of certificates, which no handshake may have.
    let pair = Authority::new("unknown").client("alice", &[]);
    let (chain, key) = pair.write(scene.folder.path(), "long");
    let (chain, key) = (std::fs::read_to_string(chain).unwrap(), std::fs::read_to_string(key).unwrap());
    let long = Tls::presenting(&Pair::from_pem(&chain.repeat((1 << 20) / pair.certificates()[0].len()), &key));
    let long = long.trusting(scene.authority.pem());
    let begin = Instant::now();
    let answered = match long.alpn(&["http/1.1"]).connect(proxy.secure()).await {
        Ok(mut wire) => wire.send(Request::get("/").bearer(ALICE).http1()).await.is_ok() && matches!(wire.read_head().await, Ok(Some(_))),
        Err(_) => false,
    };
    assert!(!answered && begin.elapsed() < Duration::from_secs(5), "{answered} {:?}", begin.elapsed());
    let (after, _) = proxy.resident_kib();
    assert!(after < before + MOST_KIB, "{before} KiB became {after}");
    assert_status(&client.send(&Request::get("/").bearer(ALICE)).await, 200);
}

/// limit-9.
#[tokio::test]
async fn nothing_that_comes_to_a_listener_ends_it() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--insecure-listen-address=127.0.0.1:0"]).await;
    let before = proxy.open_files();
    // Gone before they are accepted.
    proxy.signal("STOP");
    for address in [proxy.secure(), proxy.insecure()].repeat(200) {
        TcpStream::connect(address).await.unwrap().set_zero_linger().unwrap();
    }
    proxy.signal("CONT");
    // What is neither TLS nor HTTP.
    let garbage: [&[u8]; 6] =
        [b"\0", &[0xff; 5000], b"\x16\x03\x01\xff\xff", b"\x15\x03\x03\0\x02\x02\x28", b"GET / HTTP/1.1\r\n\r\n", &[0x16; 70_000]];
    for bytes in garbage.repeat(10) {
        for address in [proxy.secure(), proxy.insecure()] {
            let mut wire = Wire::new(TcpStream::connect(address).await.unwrap());
            let _ = wire.send(bytes).await;
            wire.stream().reset_on_close();
        }
    }
    assert_status(&scene.get(&proxy, "/", ALICE).await, 200);
    let plain = &mut Client::connect_plain(proxy.insecure()).await;
    assert_status(&plain.send(&Request::get("/").bearer(ALICE)).await, 200);
    wait_until("the end of them all", || proxy.open_files() <= before + 3).await;
}

/// A scene whose upstream has a mebibyte at `/big`.
pub(crate) async fn with_something_big(around: impl AsyncFn(Upstream) -> Scene) -> Scene {
    let big = Reply::ok("x".repeat(1 << 20));
    around(Upstream::start(move |received| if received.target() == "/big" { big.clone() } else { Reply::ok("small") }).await).await
}
