//! What ends the Go program, or holds it up: neither ends nor holds up this one. These are faults in time, which no table shows.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use testkit::{
    api::{Fault, Kind},
    client::{Client, Request, Version},
    parts::{Part, skip},
    tls::Tls,
    upstream::{Reply, Upstream},
    wait::{Latch, wait_until},
};
use tokio::{net::TcpStream, time::timeout};

use crate::stage::{Program, Stage};

/// Longer than anything takes here, shorter than anything takes in Go.
const HELD_UP: Duration = Duration::from_secs(8);

/// Does the same with both programs.
async fn both(act: impl AsyncFn(Program, &Path)) {
    let go = match Part::KubeRbacProxyGo.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    join_all([Program::Go, Program::Ours].map(|program| act(program, &go))).await;
}

/// Go ends within a second when a file of its pair is half written.
#[tokio::test]
async fn a_pair_that_is_half_written_ends_the_go_program_alone() {
    both(async |program, go| {
        let stage = Stage::serving(program, go, &["--tls-reload-interval=1s"], &[]).await;
        let folder = stage.world.fill("{folder}");
        let whole = std::fs::read_to_string(format!("{folder}/serving.crt")).unwrap();
        stage.world.write("serving.crt", &whole[..200]);
        match program {
            Program::Go => assert_ne!(stage.proxy.exit().await.code, Some(0)),
            Program::Ours => {
                stage.proxy.line_with(&["--tls-cert-file", "stays in use"]).await;
                assert_eq!(stage.get("/").await, Ok(200));
            }
        }
    })
    .await;
}

/// Go is ended by its first line when nobody can read it any more.
#[tokio::test]
async fn a_standard_error_that_is_closed_ends_the_go_program_alone() {
    both(async |program, go| {
        let stage = Stage::new(program, go, &["--v=10"], &[], "2>&1 | true; echo ended").await;
        match program {
            Program::Go => drop(stage.proxy.line_with(&["ended"]).await),
            Program::Ours => {
                stage.wait().await;
                assert_eq!(stage.get("/").await, Ok(200));
                assert!(!stage.proxy.output().contains("ended"));
            }
        }
    })
    .await;
}

/// Go waits 30 s for the API server, and for clients without end.
#[tokio::test]
async fn silence_holds_up_the_go_program_alone() {
    both(async |program, go| {
        let stage = Stage::serving(program, go, &[], &["--tls-handshake-timeout=2s"]).await;
        let mut silent = testkit::wire::Wire::new(TcpStream::connect(stage.address).await.unwrap());
        stage.world.api.fail(Kind::TokenReview, Fault::HangBeforeHead);
        let (answered, closed) = tokio::join!(timeout(HELD_UP, stage.get("/")), timeout(HELD_UP, silent.closed()));
        match program {
            Program::Go => assert!(answered.is_err() && closed.is_err(), "{answered:?} {closed:?}"),
            Program::Ours => assert!(matches!(answered, Ok(Ok(503))) && closed.is_ok(), "{answered:?} {closed:?}"),
        }
    })
    .await;
}

/// Go drains without end, and a second signal changes nothing.
#[tokio::test]
async fn an_answer_without_end_holds_up_the_end_of_the_go_program_alone() {
    both(async |program, go| {
        let latch = Latch::default();
        let held = Reply::head(200, &[("Transfer-Encoding", "chunked")]).send("1\r\na\r\n").wait(&latch);
        let upstream = Upstream::start(move |_| held.clone()).await;
        let flag = format!("--upstream={}", upstream.url());
        let stage = Stage::serving(program, go, &[&flag], &["--shutdown-grace=2s"]).await;
        let mut client = Client::connect(Version::H1, stage.address, &Tls::default()).await;
        let mut exchange = client.open(&Request::get("/").bearer("token-of-alice")).await.unwrap();
        assert_eq!(exchange.head().await.unwrap().0, 200);
        stage.proxy.signal("TERM");
        stage.proxy.signal("TERM");
        match program {
            Program::Go => {
                let ended = timeout(HELD_UP, async { wait_until("its end", || !stage.proxy.is_running()).await });
                assert!(ended.await.is_err(), "{}", stage.proxy.output());
            }
            Program::Ours => drop(stage.proxy.exit().await),
        }
    })
    .await;
}
