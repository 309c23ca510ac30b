use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use testkit::{
    client::{Client, Http2, Request, Response, Version},
    tls::Tls,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    ledger::Fate,
    world::{PIECES, World, may},
};

/// Whoever has no token of his own has one of these.
const USERS: [&str; 4] = ["alice", "bob", "mallory", "nobody"];
/// In each version, connections on which all of these take turns.
const SHARED: usize = 4;
/// Streams at a time on one connection of HTTP/2.
const STREAMS: usize = 3;
/// After so many requests a connection is closed and another made.
const LONG: usize = 40;
const PATIENCE: Duration = Duration::from_secs(15);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All who send requests until the end.
pub(crate) fn workers(world: &Arc<World>, end: Instant) -> Vec<Task> {
    let mut workers: Vec<Task> = Vec::new();
    for number in 0..SHARED {
        for version in [Version::H1, Version::H2] {
            let worker = Worker { world: Arc::clone(world), user: None, version, tls: world.serving.tls(), end };
            workers.push(Box::pin(worker.run(number as u64)));
        }
    }
    for (number, user) in ["carol", "dave"].into_iter().enumerate() {
        for version in [Version::H1, Version::H2] {
            let tls = Tls::presenting(&world.clients.client(user, &["ops"])).trusting(world.serving.pem());
            let worker = Worker { world: Arc::clone(world), user: Some(user), version, tls, end };
            workers.push(Box::pin(worker.run(100 + number as u64)));
        }
    }
    workers
}

/// Who sends requests on one connection after the other.
struct Worker {
    world: Arc<World>,
    /// Whose certificate it has.
    user: Option<&'static str>,
    version: Version,
    tls: Tls,
    end: Instant,
}

/// What is sent.
#[derive(Clone, Copy)]
enum Way {
    Get,
    Post(usize),
    Upload,
    Stream,
    Abandon,
}

impl Worker {
    async fn run(self, seed: u64) {
        let mut random = Random(seed);
        while Instant::now() < self.end {
            let start = Instant::now();
            let mut client = match timeout(PATIENCE, Client::try_connect(self.version, self.world.proxy.secure(), &self.tls)).await {
                Ok(Ok(client)) => client,
                failed => {
                    let is_excused = !self.world.faults.is_quiet_since(start);
                    assert!(is_excused, "no connection without a fault: {failed:?}");
                    continue;
                }
            };
            for _ in 0..LONG {
                sleep(Duration::from_millis(random.below(40))).await;
                let goes_on = match self.version {
                    Version::H1 => self.exchange(&mut client, &mut random).await,
                    Version::H2 => {
                        let http2 = client.http2().clone();
                        let mut randoms: Vec<Random> = (0..STREAMS).map(|_| Random(random.next())).collect();
                        let streams = randoms.iter_mut().map(|random| self.stream(&http2, random));
                        futures_util::future::join_all(streams).await.into_iter().all(|goes_on| goes_on)
                    }
                };
                if !goes_on || Instant::now() >= self.end {
                    break;
                }
            }
        }
    }

    /// One request in HTTP/1.1; whether the connection may go on.
    async fn exchange(&self, client: &mut Client, random: &mut Random) -> bool {
        let sent = self.next(random);
        let fate = match sent.way {
            Way::Get | Way::Post(_) | Way::Stream => {
                tried(client.try_send(&sent.request)).await.map(|response| sent.judge(self, &response))
            }
            Way::Upload | Way::Abandon => tried(async { sent.finish(self, client.open(&sent.request).await?).await }).await,
        };
        // Behind a refusal, a body that nobody has read ends the connection.
        let is_over = matches!((sent.way, &fate), (Way::Abandon, _) | (_, Ok(Fate::Refused { closes: true, .. })));
        self.note(&sent, fate) && !is_over
    }

    /// One request in HTTP/2; whether the connection may go on.
    async fn stream(&self, http2: &Http2, random: &mut Random) -> bool {
        let sent = self.next(random);
        let fate = match sent.way {
            Way::Get | Way::Post(_) | Way::Stream => tried(http2.send(&sent.request)).await.map(|response| sent.judge(self, &response)),
            Way::Upload | Way::Abandon => tried(async { sent.finish(self, http2.open(&sent.request).await?).await }).await,
        };
        self.note(&sent, fate)
    }

    fn next(&self, random: &mut Random) -> Sent {
        let user = self.user.unwrap_or_else(|| USERS[random.below(USERS.len() as u64) as usize]);
        let way = match random.below(10) {
            0..4 => Way::Get,
            4..6 => Way::Post(random.below(32 * 1024) as usize),
            6 => Way::Upload,
            7..9 => Way::Stream,
            _ => Way::Abandon,
        };
        let kind = if matches!(way, Way::Stream | Way::Abandon) { "stream" } else { "plain" };
        let path = match random.below(10) {
            0..6 => format!("/u/{user}/{kind}/"),
            6..8 => format!("/shared/{kind}/"),
            8 => format!("/u/alice-not/{kind}/"),
            _ => format!("/u/bob/{kind}/"),
        };
        let method = if matches!(way, Way::Post(_) | Way::Upload) { "POST" } else { "GET" };
        let is_known = user != "nobody";
        let may = is_known && may(user, &path);
        let (tag, path) = self.world.ledger.ask(user, method, &path, random.below(2) == 0, may);
        let request = match way {
            Way::Post(size) => Request::post(&path, vec![b'x'; size.max(1)]),
            Way::Upload => Request::new(method, &path).streaming(),
            _ => Request::get(&path),
        };
        let request = request.header("X-Tag", &tag.to_string());
        let request = if self.user.is_some() { request } else { request.bearer(&format!("token-of-{user}")) };
        Sent { tag, user, way, request, start: Instant::now() }
    }

    /// Whether the connection may go on.
    fn note(&self, sent: &Sent, fate: Result<Fate, String>) -> bool {
        let (goes_on, is_excused) = (fate.is_ok(), !self.world.faults.is_quiet_since(sent.start));
        match fate {
            Ok(fate) => self.world.ledger.end(sent.tag, &fate, is_excused, ""),
            Err(why) => self.world.ledger.end(sent.tag, &Fate::Broken, is_excused, &why),
        }
        goes_on
    }
}

/// A request under way.
struct Sent {
    tag: u64,
    user: &'static str,
    way: Way,
    request: Request,
    start: Instant,
}

impl Sent {
    /// Sends a body piece by piece and reads the answer, or reads the beginning of the answer and leaves.
    async fn finish(&self, worker: &Worker, mut exchange: testkit::client::Exchange<'_>) -> Result<Fate, String> {
        if let Way::Upload = self.way {
            for piece in ["one;", "two;", "three"] {
                sleep(Duration::from_millis(5)).await;
                exchange.send(piece).await;
            }
            exchange.finish().await;
            return Ok(self.judge(worker, &exchange.rest().await?));
        }
        let (status, fields) = exchange.head().await?;
        if status != 200 {
            return Ok(self.judge(worker, &exchange.rest_of(status, fields).await?));
        }
        let piece = exchange.next().await?.unwrap_or_default();
        if !piece.starts_with(format!("{};", self.tag).as_bytes()) && piece != b"not all" {
            worker.world.ledger.disagree(format!("{} got {:?}", self.tag, String::from_utf8_lossy(&piece)));
        }
        Ok(Fate::Abandoned)
    }

    fn judge(&self, worker: &Worker, response: &Response) -> Fate {
        match response.status {
            200 => {}
            502 | 504 => return Fate::Failed(response.status),
            status => return Fate::Refused { status, closes: response.header("connection") == Some("close") },
        }
        let expected = match self.way {
            Way::Get => format!("answer to {}", self.tag).into_bytes(),
            Way::Post(size) => vec![b'x'; size.max(1)],
            Way::Upload => b"one;two;three".to_vec(),
            Way::Stream | Way::Abandon => format!("{};", self.tag).repeat(PIECES).into_bytes(),
        };
        let tag = self.tag.to_string();
        let is_mine = response.header("x-tag") == Some(tag.as_str()) && response.header("x-user") == Some(self.user);
        if !is_mine || response.body != expected {
            worker.world.ledger.disagree(format!("{tag} of {} got {:?} {:?}", self.user, response.fields, response.text()));
        }
        Fate::Answered
    }
}

/// An answer that does not come in any time is none.
async fn tried<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// The same numbers in each run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
