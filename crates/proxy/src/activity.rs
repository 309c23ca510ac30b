use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use futures_util::task::AtomicWaker;
use tokio::time::{Duration, Instant};

use crate::Limits;

/// How long a connection may still send a request once the drain has begun: its first, or one that crossed the goodbye.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

/// What a connection is waiting for, and therefore until when. Nothing about a user.
#[derive(Debug)]
pub(crate) struct Activity {
    protocol: Protocol,
    state: Mutex<State>,
    /// The connection's task, to be told that a request ended on another task.
    connection: AtomicWaker,
}

/// One request in flight; while there is one the connection has no deadline.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// The state a connection was closed in because it lasted too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooLong {
    /// No request's head was complete.
    Head,
    /// Kept alive without a request.
    Idle,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing was received.
    Fresh {
        since: Instant,
    },
    /// Part of a head was received.
    Head {
        since: Instant,
    },
    /// A request was served, the next has not begun.
    Idle {
        since: Instant,
    },
    Busy {
        requests: usize,
    },
}

impl Activity {
    /// A connection that nothing was received on since this moment.
    pub(crate) fn new(protocol: Protocol, since: Instant) -> Arc<Self> {
        Arc::new(Self { protocol, state: Mutex::new(State::Fresh { since }), connection: AtomicWaker::new() })
    }

    /// Bytes came from the client.
    pub(crate) fn received(&self) {
        let mut state = self.state();
        *state = match (*state, self.protocol) {
            // A slow head gains no time by a first byte.
            (State::Fresh { since }, Protocol::Http1) => State::Head { since },
            (State::Idle { .. }, Protocol::Http1) => State::Head { since: Instant::now() },
            // Between requests HTTP/2 has frames of its own; only a stream ends idleness.
            (State::Fresh { .. }, Protocol::Http2) => State::Idle { since: Instant::now() },
            (state, _) => state,
        };
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = self.state();
        *state = match *state {
            State::Busy { requests } => State::Busy { requests: requests + 1 },
            _ => State::Busy { requests: 1 },
        };
        InFlight(Arc::clone(self))
    }

    /// Until when the client may stay as it is, and what it is too slow at then.
    pub(crate) fn deadline(&self, limits: &Limits, draining_since: Option<Instant>) -> Option<(Instant, TooLong)> {
        match (*self.state(), draining_since) {
            (State::Fresh { since }, Some(drain)) => Some(((since + limits.head).min(drain + LAST_CALL), TooLong::Head)),
            (State::Fresh { since } | State::Head { since }, _) => Some((since + limits.head, TooLong::Head)),
            // A client that does not answer the goodbye must not hold up the end.
            (State::Idle { since }, Some(drain)) => Some(((since + limits.idle).min(since.max(drain) + LAST_CALL), TooLong::Idle)),
            (State::Idle { since }, None) => Some((since + limits.idle, TooLong::Idle)),
            (State::Busy { .. }, _) => None,
        }
    }

    /// Whether the connection can be told to end without a loss. HTTP/1 has no word for it but an answer's: a request on its way
    /// to a connection that is quiet would meet a closed one.
    pub(crate) fn may_be_finished(&self) -> bool {
        self.protocol == Protocol::Http2 || matches!(*self.state(), State::Busy { .. })
    }

    /// Wakes the connection's task when its deadline may have changed.
    pub(crate) fn wake(&self, connection: &Waker) {
        self.connection.register(connection);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = match *state {
            State::Busy { requests } if requests > 1 => State::Busy { requests: requests - 1 },
            _ => State::Idle { since: Instant::now() },
        };
        drop(state);
        self.0.connection.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { head_bytes: 65536, handshake: Duration::from_secs(10), head: Duration::from_secs(10), idle: Duration::from_secs(90) };

    fn remaining(activity: &Activity) -> Option<(Duration, TooLong)> {
        activity.deadline(&LIMITS, None).map(|(at, what)| (at - Instant::now(), what))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_must_be_complete_in_time_however_its_bytes_drip() {
        let activity = Activity::new(Protocol::Http1, Instant::now());
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.received();
        assert_eq!(remaining(&activity), Some((Duration::from_secs(6), TooLong::Head)));
        tokio::time::advance(Duration::from_secs(5)).await;
        activity.received();
        assert_eq!(remaining(&activity), Some((Duration::from_secs(1), TooLong::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_no_deadline_and_idleness_begins_after_the_last() {
        let activity = Activity::new(Protocol::Http2, Instant::now());
        activity.received();
        let (first, second) = (activity.begin(), activity.begin());
        drop(first);
        assert_eq!(remaining(&activity), None);
        tokio::time::advance(Duration::from_secs(1000)).await;
        drop(second);
        assert_eq!(remaining(&activity), Some((Duration::from_secs(90), TooLong::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_on_a_kept_connection_has_its_own_deadline() {
        let activity = Activity::new(Protocol::Http1, Instant::now());
        drop(activity.begin());
        tokio::time::advance(Duration::from_secs(89)).await;
        activity.received();
        assert_eq!(remaining(&activity), Some((Duration::from_secs(10), TooLong::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sent_nothing_does_not_hold_up_the_drain() {
        let activity = Activity::new(Protocol::Http1, Instant::now());
        let drain = Instant::now();
        assert_eq!(activity.deadline(&LIMITS, Some(drain)), Some((drain + LAST_CALL, TooLong::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_does_not_hold_up_the_drain() {
        let activity = Activity::new(Protocol::Http2, Instant::now());
        drop(activity.begin());
        let drain = Instant::now() + Duration::from_secs(7);
        assert_eq!(activity.deadline(&LIMITS, Some(drain)), Some((drain + LAST_CALL, TooLong::Idle)));
        let late = drain + Duration::from_secs(60);
        tokio::time::advance(Duration::from_secs(67)).await;
        drop(activity.begin());
        assert_eq!(activity.deadline(&LIMITS, Some(drain)), Some((late + LAST_CALL, TooLong::Idle)));
    }
}
