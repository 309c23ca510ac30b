use std::{future::pending, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::DrainTrigger;

/// SIGTERM and SIGINT, which do not end the program by themselves from here on.
#[derive(Debug)]
pub struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    /// To be called before anybody can see that the program is there.
    pub fn open() -> Self {
        Self { terminate: open(SignalKind::terminate()), interrupt: open(SignalKind::interrupt()) }
    }

    /// Begins the drain at the first signal, and returns what to say at the second.
    pub async fn obey(mut self, trigger: DrainTrigger, grace: Duration) -> String {
        let name = self.next().await;
        tracing::info!(signal = name, grace = ?grace, "Shutting down: requests in flight may finish");
        trigger.begin(grace);
        let name = self.next().await;
        format!("{name} came while shutting down: requests in flight were cut")
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            () = one(&mut self.terminate) => "SIGTERM",
            () = one(&mut self.interrupt) => "SIGINT",
        }
    }
}

fn open(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::warn!(%error, "A signal cannot be waited for, and will end the program at once")).ok()
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}
