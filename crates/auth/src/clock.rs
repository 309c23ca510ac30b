use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Time, as a parameter.
pub(crate) trait Clock: Send + Sync + 'static {
    /// For how long something holds.
    fn monotonic(&self) -> Instant;

    /// Seconds since 1970, for what others wrote a date on.
    fn unix(&self) -> i64;
}

/// The machine's.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn unix(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// A clock that tests turn by hand.
#[cfg(test)]
pub(crate) mod manual {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicI64, Ordering},
        },
        time::Duration,
    };

    use super::*;

    pub(crate) struct ManualClock {
        start: Instant,
        /// Since an hour after the start, so that it can be turned back.
        monotonic: AtomicI64,
        unix: AtomicI64,
    }

    impl ManualClock {
        pub(crate) fn at(unix: i64) -> Arc<Self> {
            Arc::new(Self { start: Instant::now(), monotonic: AtomicI64::new(3600), unix: AtomicI64::new(unix) })
        }

        pub(crate) fn pass(&self, seconds: i64) {
            self.monotonic.fetch_add(seconds, Ordering::SeqCst);
            self.turn(seconds);
        }

        /// Turns the wall clock alone.
        pub(crate) fn turn(&self, seconds: i64) {
            self.unix.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn monotonic(&self) -> Instant {
            self.start + Duration::from_secs(self.monotonic.load(Ordering::SeqCst).unsigned_abs())
        }

        fn unix(&self) -> i64 {
            self.unix.load(Ordering::SeqCst)
        }
    }
}
