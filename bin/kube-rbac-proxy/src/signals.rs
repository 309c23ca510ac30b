use std::{future::pending, time::Duration};

use proxy::DrainTrigger;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Begins the drain at the first SIGTERM or SIGINT, and returns what to say at the second.
pub(crate) async fn obey(trigger: DrainTrigger, grace: Duration) -> String {
    let (mut terminate, mut interrupt) = (open(SignalKind::terminate()), open(SignalKind::interrupt()));
    let name = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, grace = ?grace, "Shutting down: requests in flight may finish");
    trigger.begin(grace);
    let name = next(&mut terminate, &mut interrupt).await;
    format!("{name} came while shutting down: requests in flight were cut")
}

fn open(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::warn!(%error, "A signal cannot be waited for, and will end the program at once")).ok()
}

async fn next(terminate: &mut Option<Signal>, interrupt: &mut Option<Signal>) -> &'static str {
    tokio::select! {
        () = one(terminate) => "SIGTERM",
        () = one(interrupt) => "SIGINT",
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}
