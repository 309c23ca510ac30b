use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use testkit::{
    api::{Fault, Kind},
    certs::Authority,
    upstream::Reply,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};

use crate::world::World;

/// How long a fault lasts, and how long its consequences may; those of a call that hangs, for as long as it may be waited for.
const LASTS: Duration = Duration::from_secs(2);
const ECHO: Duration = Duration::from_millis(2500);
const LONG_ECHO: Duration = Duration::from_millis(5500);
/// Connections of a flood.
const FLOOD: usize = 300;

/// What is wrong with the world now.
#[derive(Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
    is_mute: AtomicBool,
}

#[derive(Default)]
struct State {
    upstream: Option<Spoil>,
    is_there: bool,
    /// When its consequences are over too.
    over: Option<Instant>,
}

/// What the upstream does to its answers.
#[derive(Clone, Copy)]
enum Spoil {
    /// It resets the connection instead.
    Down,
    /// It ends the connection in the middle of the body.
    Cut,
    /// It sends an answer to a question that nobody asked, right behind the right one.
    More,
}

#[derive(Clone, Copy, Debug)]
enum Kinds {
    UpstreamSaysMore,
    ApiFails,
    ClientAuthoritySwapped,
    UpstreamBreaksOff,
    ServingPairSwapped,
    ConnectionFlood,
    ApiDown,
    UpstreamDown,
    HalfWrittenFile,
    ApiSlow,
    ApiHangs,
}

/// In this order, again and again.
const ALL: [Kinds; 11] = [
    Kinds::UpstreamSaysMore,
    Kinds::ApiFails,
    Kinds::ClientAuthoritySwapped,
    Kinds::UpstreamBreaksOff,
    Kinds::ServingPairSwapped,
    Kinds::ConnectionFlood,
    Kinds::ApiDown,
    Kinds::UpstreamDown,
    Kinds::HalfWrittenFile,
    Kinds::ApiSlow,
    Kinds::ApiHangs,
];

impl Faults {
    /// Causes one fault after the other, until shortly before the end. Says which.
    pub(crate) async fn run(world: Arc<World>, every: Duration, end: Instant) -> Vec<String> {
        let mut happened = Vec::new();
        let mut next = Instant::now() + every / 2;
        for kind in ALL.iter().cycle() {
            if next + LASTS + kind.echo() > end {
                break;
            }
            sleep_until(next).await;
            next += every;
            world.faults.lock().is_there = true;
            kind.happen(&world).await;
            *world.faults.lock() = State { upstream: None, is_there: false, over: Some(Instant::now() + kind.echo()) };
            happened.push(format!("{kind:?}"));
        }
        happened
    }

    /// Whether nothing was wrong from that moment to this.
    pub(crate) fn is_quiet_since(&self, start: Instant) -> bool {
        let state = self.lock();
        !state.is_there && state.over.is_none_or(|over| over < start)
    }

    /// Whether the API server says nothing of what it thinks.
    pub(crate) fn api_is_mute(&self) -> bool {
        self.is_mute.load(Ordering::SeqCst)
    }

    /// The upstream's answer as it is today.
    pub(crate) fn spoil(&self, reply: Reply) -> Reply {
        match self.lock().upstream {
            None => reply,
            Some(Spoil::Down) => Reply::default().then_reset(),
            Some(Spoil::Cut) => Reply::head(200, &[("X-Tag", "cut"), ("Content-Length", "1000")]).send("not all").then_close(),
            // Nobody can tell the answer to a question from what comes after it was asked.
            Some(Spoil::More) => reply.with("HTTP/1.1 200 OK\r\nX-Tag: stolen\r\nX-User: nobody\r\nContent-Length: 6\r\n\r\nstolen"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

impl Kinds {
    fn echo(self) -> Duration {
        if matches!(self, Self::ApiHangs) { LONG_ECHO } else { ECHO }
    }

    async fn happen(self, world: &World) {
        let spoil = async |spoil| {
            world.faults.lock().upstream = Some(spoil);
            sleep(LASTS).await;
        };
        match self {
            Self::UpstreamSaysMore => spoil(Spoil::More).await,
            Self::UpstreamBreaksOff => spoil(Spoil::Cut).await,
            Self::UpstreamDown => {
                world.upstream.drop_connections();
                spoil(Spoil::Down).await;
            }
            Self::ApiFails => api(world, true, &Fault::Status(500, None)).await,
            Self::ApiDown => {
                world.api.server().drop_connections();
                api(world, true, &Fault::Reset).await;
            }
            Self::ApiSlow => api(world, false, &Fault::Delay(Duration::from_millis(700))).await,
            Self::ApiHangs => api(world, true, &Fault::HangBeforeHead).await,
            Self::ServingPairSwapped => {
                world.serving.server().write(world.path("").as_path(), "serving");
                sleep(LASTS).await;
            }
            Self::HalfWrittenFile => {
                let path = world.path("serving.crt");
                let whole = fs::read(&path).expect("it is there");
                fs::write(&path, &whole[..whole.len() / 2]).expect("the folder is writable");
                sleep(LASTS).await;
                fs::write(&path, whole).expect("the folder is writable");
            }
            Self::ClientAuthoritySwapped => {
                let path = world.path("clients.crt");
                fs::write(&path, Authority::new("others").pem()).expect("the folder is writable");
                sleep(LASTS).await;
                fs::write(&path, world.clients.pem()).expect("the folder is writable");
            }
            Self::ConnectionFlood => {
                let mut flood = Vec::new();
                for _ in 0..FLOOD {
                    flood.extend(TcpStream::connect(world.proxy.secure()).await);
                }
                sleep(LASTS).await;
            }
        }
    }
}

async fn api(world: &World, is_mute: bool, fault: &Fault) {
    world.faults.is_mute.store(is_mute, Ordering::SeqCst);
    for kind in [Kind::TokenReview, Kind::SubjectAccessReview] {
        world.api.fail(kind, fault.clone());
    }
    sleep(LASTS).await;
    world.api.heal();
    world.faults.is_mute.store(false, Ordering::SeqCst);
}
