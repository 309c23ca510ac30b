use std::{fmt::Display, future::Future, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long a test waits for a state before it fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until the probe succeeds, and returns what it found; fails the test after [`DEADLINE`] with what the probe
/// saw last.
pub async fn wait_for<T, E: Display>(what: &str, probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    wait_for_within(what, DEADLINE, probe).await
}

/// [`wait_for`] with a deadline of its own.
pub async fn wait_for_within<T, E: Display>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + deadline;
    let mut seen = String::from("nothing yet");
    loop {
        match timeout(end - Instant::now(), probe()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(other)) => seen = other.to_string(),
            Err(_) => panic!("no {what} within {deadline:?}: the last probe did not end; the one before saw: {seen}"),
        }
        assert!(Instant::now() < end, "no {what} within {deadline:?}: last seen: {seen}");
        sleep(INTERVAL).await;
    }
}

/// Waits until the condition holds; the condition's text is what is reported otherwise.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, async || if condition() { Ok(()) } else { Err("the condition is false") }).await;
}

/// Fails the test when the future does not end within [`DEADLINE`].
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not end within {DEADLINE:?}"),
    }
}

/// A door that starts shut and is opened once, for a server that must not go on before the test says so.
#[derive(Clone, Debug)]
pub struct Latch(watch::Sender<bool>);

impl Default for Latch {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Latch {
    /// Lets everyone pass who waits or will wait.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        let mut receiver = self.0.subscribe();
        receiver.wait_for(|open| *open).await.expect("the sender lives in self");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_is_repeated_until_it_succeeds() {
        let mut left = 3;
        let found = wait_for("zero", async || {
            left -= 1;
            if left == 0 { Ok("found") } else { Err(left) }
        })
        .await;
        assert_eq!((found, left), ("found", 0));
    }

    #[tokio::test]
    #[should_panic(expected = "last seen: 7 of 8")]
    async fn the_failure_says_what_was_seen_last() {
        wait_for_within("eight", Duration::from_millis(20), async || Err::<(), _>("7 of 8")).await;
    }

    #[tokio::test]
    async fn a_latch_lets_pass_before_and_after() {
        let latch = Latch::default();
        let waiter = tokio::spawn({
            let latch = latch.clone();
            async move { latch.passed().await }
        });
        assert!(!latch.is_open());
        latch.open();
        waiter.await.expect("no panic");
        latch.passed().await;
    }
}
