//! Mixed traffic of several users through the program, in both HTTP versions, with a fault at a time: no request passes that
//! the API server did not allow, nobody gets another's answer, and nothing grows. `SOAK_DURATION=1h` says for how long.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a test that cannot go on should stop and say so")]

mod faults;
mod figures;
mod ledger;
mod traffic;
mod world;

use std::{env, sync::Arc, time::Duration};

use go_compat::GoDuration;
use testkit::wait::wait_for;
use tokio::time::{Instant, sleep};

use faults::Faults;
use figures::Figures;
use traffic::workers;
use world::World;

#[tokio::test]
async fn nothing_passes_that_was_not_decided_and_nothing_grows() {
    let duration = env::var("SOAK_DURATION").ok().filter(|text| !text.is_empty()).map_or(Duration::from_secs(20), |text| {
        text.parse::<GoDuration>().ok().and_then(GoDuration::to_std).expect("SOAK_DURATION is a duration such as 5m")
    });
    let world = Arc::new(World::start().await);
    let mut figures = Figures::new(&world.proxy);
    let end = Instant::now() + duration;
    let workers: Vec<_> = workers(&world, end).into_iter().map(tokio::spawn).collect();
    // In a short run there is no time for more than some of the faults, and in those that matter most.
    let every = if duration < Duration::from_mins(1) { Duration::from_secs(5) } else { Duration::from_secs(10) };
    let faults = tokio::spawn(Faults::run(Arc::clone(&world), every, end));
    while Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        world.settle();
        figures.sample(&world.proxy, world.faults.is_quiet_since(Instant::now()));
    }
    for worker in workers {
        worker.await.expect("a worker does not panic");
    }
    let happened = faults.await.expect("the faults do not panic");
    world.settle();
    // Kept for requests to come.
    world.upstream.drop_connections();
    world.api.server().drop_connections();
    let rest = wait_for("end of what was opened", async || {
        let now = world.proxy.open_files();
        if now <= figures.files_at_start() + 4 { Ok(now) } else { Err(format!("{now}, and {} before", figures.files_at_start())) }
    });
    let files = rest.await;

    let (ledger, counted) = (world.ledger.report(), world.counted().await);
    eprintln!("{duration:?}, faults: {}", happened.join(", "));
    eprintln!("{ledger}\n{figures}files at the end: {files}\nanswers that the proxy counted as the upstream's: {counted}");
    world.ledger.assert_agreement(counted);
    figures.assert_flat();
    assert!(world.proxy.is_running() && !world.proxy.output().contains("panicked"), "{}", world.proxy.output());
}
