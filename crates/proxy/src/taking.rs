use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::{Instant, sleep, sleep_until};

use crate::lock;

tokio::task_local! {
    static STREAM: Taking;
}

/// Whether a client takes what it is sent. While the upstream sends nothing there is nothing to take: a quiet stream lives
/// as long as its two ends do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taking(Arc<Mutex<Option<Instant>>>);

/// Runs the streams of an HTTP/2 connection, each until its client has taken nothing for too long. Only that stream ends:
/// the others may be other users'.
#[derive(Clone, Debug)]
pub(crate) struct Streams<F> {
    pub(crate) patience: Duration,
    /// Is told of each that ended so.
    pub(crate) ended: F,
}

impl Taking {
    /// The one of the stream whose task this is.
    pub(crate) fn of_this_stream() -> Self {
        STREAM.try_with(Self::clone).unwrap_or_default()
    }

    /// The next piece is on its way to the client, or there is none: `false`.
    pub(crate) fn waits(&self, waits: bool) {
        *lock(&self.0) = waits.then(Instant::now);
    }

    /// Waits until the client has taken nothing for too long. Cancel safe.
    pub(crate) async fn ended(&self, patience: Duration) {
        loop {
            let since = *lock(&self.0);
            match since {
                // What begins to wait in the meantime has its time left when this is over.
                None => sleep(patience).await,
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => sleep_until(since + patience).await,
            }
        }
    }
}

impl<S, F> Executor<S> for Streams<F>
where
    S: Future<Output = ()> + Send + 'static,
    F: Fn() + Clone + Send + 'static,
{
    fn execute(&self, stream: S) {
        let Self { patience, ended } = self.clone();
        let taking = Taking::default();
        tokio::spawn(async move {
            tokio::select! {
                () = STREAM.scope(taking.clone(), stream) => {}
                () = taking.ended(patience) => ended(),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_waits_without_a_pause_is_too_slow() {
        let (taking, second) = (Taking::default(), Duration::from_secs(1));
        let watched = taking.clone();
        let watching = tokio::spawn(async move { watched.ended(10 * second).await });
        // Quiet.
        sleep(25 * second).await;
        for _ in 0..5 {
            // Slow.
            taking.waits(true);
            sleep(9 * second).await;
            taking.waits(false);
        }
        sleep(25 * second).await;
        assert!(!watching.is_finished());
        let begin = Instant::now();
        taking.waits(true);
        watching.await.expect("no panic");
        assert_eq!(begin.elapsed().as_secs(), 10);
    }
}
