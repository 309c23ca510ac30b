use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

use crate::ApiError;

/// Calls in flight, of any kind.
const CALLS: usize = 32;
/// Calls in flight about tokens that were never seen valid: a flood of made-up tokens must not starve the rest.
const UNKNOWN_TOKEN_CALLS: usize = 8;
/// client-go's.
const DEFAULT_BURST: u32 = 10;

/// Whose call it is, when calls must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// About a token that was seen valid before, or about an authenticated user.
    Known,
    /// About a token that was never seen valid: anybody can cause these.
    UnknownToken,
}

/// How many calls there may be at a time, and per second.
#[derive(Debug)]
pub(crate) struct Limits {
    calls: Semaphore,
    unknown_token_calls: Semaphore,
    rate: Option<Bucket>,
}

/// A place in the lane, where that has a bound, and among the calls in flight.
type Slot<'a> = (Option<SemaphorePermit<'a>>, SemaphorePermit<'a>);

impl Limits {
    /// Without a `qps` above zero there is no bucket; `burst` alone has no meaning.
    pub(crate) fn new(qps: Option<f32>, burst: Option<u32>) -> Self {
        let burst = burst.filter(|burst| *burst > 0).unwrap_or(DEFAULT_BURST);
        let rate = qps.filter(|qps| *qps > 0.0).map(|qps| Bucket::new(qps, burst, Instant::now()));
        Self { calls: Semaphore::new(CALLS), unknown_token_calls: Semaphore::new(UNKNOWN_TOKEN_CALLS), rate }
    }

    /// Waits for a place, in the order of arrival.
    pub(crate) async fn enter(&self, lane: Lane, deadline: Instant) -> Result<Slot<'_>, ApiError> {
        let slot = async {
            // The lane first: those who wait for it must not hold a place that others could use.
            let lane = match lane {
                Lane::Known => None,
                Lane::UnknownToken => Some(self.unknown_token_calls.acquire().await.map_err(|_| ApiError::Busy)?),
            };
            Ok((lane, self.calls.acquire().await.map_err(|_| ApiError::Busy)?))
        };
        match timeout_at(deadline, slot).await {
            // A place that becomes free at the deadline comes too late.
            Ok(slot) if Instant::now() < deadline => slot,
            _ => Err(ApiError::Busy),
        }
    }

    /// Waits until the rate allows one more call; at once an error when that is after the deadline.
    pub(crate) async fn throttle(&self, deadline: Instant) -> Result<(), ApiError> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let due = rate.reserve(Instant::now(), deadline).ok_or(ApiError::Busy)?;
        if let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            sleep(wait).await;
        }
        Ok(())
    }
}

/// The token bucket of client-go (golang.org/x/time/rate): full at start, a reservation may go below zero and waits
/// until the debt is paid.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    burst: f64,
    state: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_second: f32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, state: Mutex::new(Level { tokens: burst, at: now }) }
    }

    /// Takes a token and says when it is good; takes none when that is after the deadline.
    fn reserve(&self, now: Instant, deadline: Instant) -> Option<Instant> {
        let mut level = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(level.at).as_secs_f64();
        let tokens = (level.tokens + elapsed * self.per_second).min(self.burst) - 1.0;
        let wait = Duration::try_from_secs_f64((-tokens / self.per_second).max(0.0)).ok()?;
        let due = now.checked_add(wait).filter(|due| *due <= deadline)?;
        *level = Level { tokens, at: now };
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_is_client_gos() {
        let start = Instant::now();
        let bucket = Bucket::new(2.0, 3, start);
        let far = after(60.0);
        let due: Vec<_> = (0..5).filter_map(|_| bucket.reserve(start, far)).map(|due| due - start).collect();
        assert_eq!(due, [0, 0, 0, 500, 1000].map(Duration::from_millis));
        assert_eq!(bucket.reserve(start, after(1.4)), None, "a token that comes too late is not taken");
        assert_eq!(bucket.reserve(start, far).map(|due| due - start), Some(Duration::from_millis(1500)));
        let later = start + Duration::from_secs(100);
        assert_eq!((0..4).filter(|_| bucket.reserve(later, later).is_some()).count(), 3, "no more than the burst is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_so_low_that_it_overflows_is_busy() {
        let limits = Limits::new(Some(f32::MIN_POSITIVE), Some(1));
        limits.throttle(after(5.0)).await.expect("the burst");
        assert!(matches!(limits.throttle(after(5.0)).await, Err(ApiError::Busy)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_tokens_leaves_room_for_the_rest() {
        let limits = Limits::new(None, None);
        let mut held = Vec::new();
        for _ in 0..UNKNOWN_TOKEN_CALLS {
            held.push(limits.enter(Lane::UnknownToken, after(1.0)).await.expect("a place"));
        }
        assert!(matches!(limits.enter(Lane::UnknownToken, after(1.0)).await, Err(ApiError::Busy)));
        for _ in UNKNOWN_TOKEN_CALLS..CALLS {
            held.push(limits.enter(Lane::Known, after(1.0)).await.expect("a place"));
        }
        assert!(matches!(limits.enter(Lane::Known, after(1.0)).await, Err(ApiError::Busy)));
        held.pop();
        let _ = limits.enter(Lane::Known, after(1.0)).await.expect("the place that became free");
    }
}
