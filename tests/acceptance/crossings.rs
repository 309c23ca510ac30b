//! Whatever an upstream does, nobody gets the answer of another.

use std::time::Duration;

use testkit::{
    client::{Client, Http2, Request, Version},
    policy::Random,
    upstream::{Reply, Session, Upstream},
    wait::wait_until,
    wire::Framing,
};
use tokio::task::JoinSet;

use crate::scene::{ALICE, BOB, BOTH, Scene};

const USERS: usize = 20;
/// At a time, in either version.
const CLIENTS: usize = 10;
const EACH: usize = 500;
const SEED: u64 = 7;

/// What the upstream does wrong when it is asked to.
const WRONGS: [&str; 16] = [
    "more",
    "none",
    "unchanged",
    "head",
    "two-lengths",
    "both-ends",
    "early",
    "hints",
    "switch",
    "no-continue",
    "half",
    "reset",
    "chunks-cut",
    "two-at-once",
    "line-first",
    "garbage-behind",
];

fn token(user: usize) -> String {
    format!("token-of-user-{user}")
}

/// An answer to a question that nobody asked.
const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";

async fn serve(mut session: Session) {
    while let Some(head) = session.read_head().await {
        let (target, user) =
            (head.word(1).to_owned(), head.get("x-remote-user").or(head.get("impersonate-user")).unwrap_or("nobody").to_owned());
        let wrong = target.strip_prefix("/wrong/").and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        if wrong == "early" {
            // What was to be the body is taken for requests.
            if !session.answer(Reply::new(413, &[], format!("{user} {target}"))).await {
                return;
            }
            continue;
        }
        if !session.wire.read_body(head.framing().unwrap_or(Framing::Empty)).await.complete {
            return;
        }
        let honest = Reply::ok(format!("{user} {target}"));
        let reply = match wrong.as_str() {
            "more" | "two-at-once" => honest.with(FORGED),
            "later" => honest.pause(Duration::from_millis(200)).send(FORGED),
            "none" => Reply::head(204, &[]).with(FORGED),
            "unchanged" => Reply::head(304, &[("Content-Length", "6")]).with("forged").with(FORGED),
            "head" => Reply::head(200, &[("Content-Length", "6")]).with("forged").with(FORGED),
            "two-lengths" => Reply::head(200, &[("Content-Length", "1"), ("Content-Length", "7")]).with("forged!").with(FORGED),
            "both-ends" => {
                let fields = [("Content-Length", "3"), ("Transfer-Encoding", "chunked")];
                Reply::head(200, &fields).with("1\r\nx\r\n0\r\n\r\n").with(FORGED)
            }
            "hints" => Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100)).then(honest),
            "switch" => Reply::head(101, &[("Connection", "Upgrade"), ("Upgrade", "websocket")]).with(FORGED),
            "half" => Reply::head(200, &[("Content-Length", "10")]).send("half").then_close(),
            "reset" => Reply::head(200, &[("Content-Length", "10")]).send("half").then_reset(),
            "chunks-cut" => Reply::head(200, &[("Transfer-Encoding", "chunked")]).with("4\r\nhalf\r\nz").with(FORGED),
            "line-first" => Reply::raw("\r\n\r\n").then(honest).with("\r\n"),
            "garbage-behind" => honest.with("\0\0\0"),
            _ => honest,
        };
        if !session.answer(reply).await {
            return;
        }
    }
}

/// The request that is answered wrongly.
fn wrong(kind: &str, token: &str, turn: usize) -> Request {
    let target = format!("/wrong/{kind}/{turn}");
    let stolen = "GET /stolen HTTP/1.1\r\nHost: h\r\nX-Remote-User: thief\r\n\r\n";
    match kind {
        "head" => Request::new("HEAD", &target),
        "early" => Request::post(&target, stolen.repeat(300)),
        "no-continue" => Request::post(&target, "body").header("Expect", "100-continue"),
        _ => Request::get(&target),
    }
    .bearer(token)
}

/// An answer to a user says nothing that is another's.
fn is_his(text: &str, user: usize, target: &str) -> bool {
    text == format!("user-{user} {target}")
}

/// Sends requests by many users on one connection, each behind one that is answered wrongly, and counts those that are
/// answered with something else.
async fn ask(scene: &Scene, tokens: &[String], address: std::net::SocketAddr, shared: Option<Http2>, client: usize) -> Vec<String> {
    let (mut random, mut crossings, mut kept) = (Random::new(SEED + client as u64), Vec::new(), None);
    for turn in 0..EACH {
        if random.chance(30) {
            let (kind, user) = (*random.pick(&WRONGS), random.below(USERS));
            let request = wrong(kind, &tokens[user], turn);
            let answer = match (&shared, kept.take()) {
                (Some(shared), _) => shared.send(&request).await,
                (None, connection) => {
                    let mut connection = match connection {
                        Some(connection) => connection,
                        None => Client::connect(Version::H1, address, &scene.authority.tls()).await,
                    };
                    let answer = connection.try_send(&request).await;
                    // Whatever is wrong with it may show in the next answer on this connection.
                    kept = answer.is_ok().then_some(connection);
                    answer
                }
            };
            if let Ok(answer) = answer {
                let text = answer.text();
                let others = text.contains("user-") && !text.contains(&format!("user-{user} /wrong/{kind}/{turn}"));
                if others || text.contains("thief") {
                    crossings.push(format!("{kind} by {user}: {text}"));
                }
            }
        }
        let (user, target) = (random.below(USERS), format!("/honest/{client}/{turn}"));
        let request = Request::get(&target).bearer(&tokens[user]);
        let answer = match &shared {
            Some(shared) => shared.send(&request).await,
            None => {
                let mut connection = match kept.take() {
                    Some(connection) => connection,
                    None => Client::connect(Version::H1, address, &scene.authority.tls()).await,
                };
                let mut answer = connection.try_send(&request).await;
                if answer.is_err() {
                    // The connection ended with the answer before.
                    connection = Client::connect(Version::H1, address, &scene.authority.tls()).await;
                    answer = connection.try_send(&request).await;
                }
                kept = Some(connection);
                answer
            }
        };
        match answer {
            Ok(answer) if answer.status == 200 && is_his(&answer.text(), user, &target) => {}
            Ok(answer) => crossings.push(format!("{target} by {user}: {} {}", answer.status, answer.text())),
            Err(error) => crossings.push(format!("{target} by {user}: {error}")),
        }
    }
    crossings
}

/// What comes when nobody waits for anything ends the connection. (What comes once another waits cannot be told from his answer.)
#[tokio::test]
async fn a_byte_on_an_idle_connection_ends_it() {
    let scene = Scene::around(Upstream::start_raw(serve).await).await;
    let proxy = scene.proxy::<&str>(&[]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for target in ["/wrong/later", "/wrong/later/2"] {
            assert_eq!(client.send(&Request::get(target).bearer(ALICE)).await.text(), format!("nobody {target}"));
            wait_until("the end of the connection", || scene.upstream.open_connections() == 0).await;
        }
        assert_eq!(client.send(&Request::get("/honest").bearer(BOB)).await.text(), "nobody /honest");
        scene.upstream.drop_connections();
        wait_until("the end of the connection", || scene.upstream.open_connections() == 0).await;
    }
}

/// The Go program 0.22.1 gives up to 18 of 1,400 honest requests the answer of another when an upstream sends bytes behind an
/// answer, or a body where there is none.
#[tokio::test]
async fn nobody_gets_the_answer_of_another_whatever_the_upstream_does() {
    nobody_gets_the_answer(Scene::around).await;
}

/// The same of either program.
pub(crate) async fn nobody_gets_the_answer(around: impl AsyncFn(Upstream) -> Scene) {
    let scene = std::sync::Arc::new(around(Upstream::start_raw(serve).await).await);
    let tokens = (0..USERS).map(|user| scene.token_of(&format!("user-{user}"), &[]).unwrap_or_else(|| token(user)));
    let tokens: std::sync::Arc<[String]> = tokens.collect();
    (0..USERS).for_each(|user| scene.api.user(&token(user), &format!("user-{user}"), &[]));
    scene.api.allow_all();
    // One question for each user: it is the upstream that is to be busy.
    let config = format!("--config-file={}", scene.write("config.yaml", "authorization: {resourceAttributes: {resource: pods}}"));
    let proxy = scene.proxy(&[&config, "--auth-header-fields-enabled"]).await;
    let address = proxy.secure();
    let shared = scene.connect(Version::H2, &proxy).await;
    let mut clients = JoinSet::new();
    for client in 0..2 * CLIENTS {
        let shared = (client % 2 == 0).then(|| shared.http2().clone());
        let (scene, tokens) = (std::sync::Arc::clone(&scene), std::sync::Arc::clone(&tokens));
        clients.spawn(async move { ask(&scene, &tokens, address, shared, client).await });
    }
    let crossings = clients.join_all().await.concat();
    assert!(crossings.is_empty(), "{} of {}: {crossings:#?}", crossings.len(), 2 * CLIENTS * EACH);
    assert!(scene.upstream.connections() > 500, "wrong answers end their connections: {}", scene.upstream.connections());
}
