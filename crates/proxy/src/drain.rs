use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Whether the program is ending. Cheap to clone, one for each who must know.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Option<Draining>>);

/// Begins the drain. The drain also begins when it is dropped.
#[derive(Debug)]
pub struct DrainTrigger(watch::Sender<Option<Draining>>);

#[derive(Clone, Copy, Debug)]
struct Draining {
    since: Instant,
    until: Instant,
}

impl DrainTrigger {
    /// A trigger and what it triggers.
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Drain(receiver))
    }

    /// Begins: requests in flight have `grace` to finish.
    pub fn begin(&self, grace: Duration) {
        let since = Instant::now();
        self.0.send_replace(Some(Draining { since, until: since + grace }));
    }
}

impl Drain {
    /// Since when the program is ending, if it is.
    pub fn since(&self) -> Option<Instant> {
        self.0.borrow().map(|draining| draining.since)
    }

    /// Waits for the drain to begin. Cancel safe.
    pub async fn begun(&mut self) {
        // An error means that the trigger is gone: the program is ending.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Waits for the end of the grace time. Cancel safe.
    pub async fn over(&mut self) {
        self.begun().await;
        let until = self.0.borrow().map(|draining| draining.until);
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }
}
