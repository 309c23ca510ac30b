use std::{convert::Infallible, sync::Arc, thread, time::Duration};

use futures_util::future::join_all;
use tokio::{
    sync::{Mutex, oneshot},
    time,
};

use crate::{Reload, Reloadable};

/// Polls each entry at its interval, logs what came of it, and reports its flags as `replaced` or `kept`. An interval of
/// zero means never.
///
/// Never returns; dropping the future ends the polling, with at most one reload per entry running to its end.
pub async fn watch(entries: Vec<(Duration, Arc<dyn Reloadable>)>, report: impl Fn(&'static str, &'static str)) -> Infallible {
    let turn = Mutex::new(());
    let entries = entries.into_iter().filter(|(interval, _)| !interval.is_zero());
    join_all(entries.map(|(interval, entry)| poll(interval, entry, &turn, &report))).await;
    std::future::pending().await
}

async fn poll(interval: Duration, entry: Arc<dyn Reloadable>, turn: &Mutex<()>, report: impl Fn(&'static str, &'static str)) {
    /// A file system that hangs holds up its own entry for good and the others for this long.
    const PATIENCE: Duration = Duration::from_secs(5);
    loop {
        time::sleep(interval).await;
        // One at a time: each thread that lives at the same moment costs memory that the allocator does not give back.
        let _turn = time::timeout(PATIENCE, turn.lock()).await;
        match on_a_thread(&entry).await {
            None | Some(Reload::Unchanged) => {}
            Some(Reload::Replaced) => {
                tracing::info!(flags = entry.subject(), "Files have changed and are in use");
                report(entry.subject(), "replaced");
            }
            Some(Reload::Kept(why)) => {
                tracing::error!(error = %why, "Files have changed and are of no use: what they held before stays in use");
                report(entry.subject(), "kept");
            }
        }
    }
}

/// Reads on a thread of its own: a volume that hangs must cost no request. `spawn_blocking` would panic where no thread
/// can be started, and would keep the process from ending until the read returns.
async fn on_a_thread(entry: &Arc<dyn Reloadable>) -> Option<Reload> {
    let (done, outcome) = oneshot::channel();
    let reloaded = Arc::clone(entry);
    // Nobody listens any more when the watch was dropped: there is nothing to tell then.
    let thread = thread::Builder::new().name("reload".to_owned()).spawn(move || drop(done.send(reloaded.reload())));
    if let Err(error) = thread {
        tracing::warn!(subject = entry.subject(), %error, "Cannot start a thread to look at files, and will try again");
        return None;
    }
    outcome.await.ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, future::Future};

    use tokio::sync::Notify;

    use super::*;
    use crate::{Contents, Status, Watched};

    const DEADLINE: Duration = Duration::from_secs(20);

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
    }

    /// A file system that does not answer.
    struct Hanging;

    impl Reloadable for Hanging {
        fn subject(&self) -> &'static str {
            "--hanging"
        }

        fn reload(&self) -> Reload {
            loop {
                thread::park();
            }
        }

        fn status(&self) -> Status {
            Status { age: Duration::ZERO, last_error: None }
        }
    }

    #[test]
    fn a_change_is_seen_and_reported_though_another_file_system_hangs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "old").expect("written");
        let watched = Watched::open("--flag", vec![path.clone()], |files: &[Contents]| Ok(files[0].bytes().to_vec())).expect("opened");
        fs::write(&path, "new").expect("written");
        let entries: Vec<(Duration, Arc<dyn Reloadable>)> =
            vec![(Duration::from_millis(1), Arc::new(Hanging)), (Duration::from_millis(5), watched.clone())];
        let replaced = Notify::new();
        let report = |flags, outcome| {
            if (flags, outcome) == ("--flag", "replaced") {
                replaced.notify_one();
            }
        };
        let outcome = run(async {
            tokio::select! {
                never = watch(entries, report) => match never {},
                () = time::sleep(DEADLINE) => Err("not reported in time"),
                () = replaced.notified() => Ok(()),
            }
        });
        assert_eq!(outcome, Ok(()));
        assert_eq!(*watched.current(), b"new");
    }

    #[test]
    fn an_interval_of_zero_polls_nothing() {
        let entries: Vec<(Duration, Arc<dyn Reloadable>)> = vec![(Duration::ZERO, Arc::new(Hanging))];
        let outcome = run(async {
            tokio::select! {
                biased;
                never = watch(entries, |_, _| panic!("polled")) => match never {},
                () = tokio::task::yield_now() => "waits",
            }
        });
        assert_eq!(outcome, "waits");
    }
}
