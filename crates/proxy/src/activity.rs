use std::{
    mem,
    sync::{Arc, Mutex},
    task::Waker,
};

use futures_util::task::AtomicWaker;
use tokio::time::{Duration, Instant};

use crate::{
    Limits, lock,
    places::{Place, Undecided},
    unfinished::UnfinishedHead,
};

/// How long a connection may still send a request once the drain has begun: its first, or one that crossed the goodbye.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

/// What a connection is waiting for, and therefore until when. Nothing about a user.
#[derive(Debug)]
pub(crate) struct Activity {
    protocol: Protocol,
    place: Arc<Place>,
    state: Mutex<State>,
    /// The connection's task, to be told that a request ended on another task.
    connection: AtomicWaker,
}

/// One request in flight; while there is one the connection has no deadline.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    needs_place: bool,
}

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

#[derive(Debug)]
struct State {
    /// Since when the client owes the rest of a head, or a first one. In HTTP/2 there may be requests meanwhile.
    head: Option<Instant>,
    /// Bytes of heads that are not finished.
    unfinished_bytes: usize,
    /// Nothing was received.
    fresh: bool,
    /// Both ends have agreed on another protocol.
    is_switched: bool,
    requests: usize,
    /// Of these, those that are not answered, or by the upstream.
    need_place: usize,
    /// Since when there is no request.
    idle: Instant,
    unfinished: UnfinishedHead,
}

impl Activity {
    /// A connection that nothing was received on since this moment.
    pub(crate) fn new(protocol: Protocol, since: Instant, place: Arc<Place>) -> Arc<Self> {
        let unfinished = UnfinishedHead::new();
        let state = State {
            head: Some(since),
            unfinished_bytes: 0,
            fresh: true,
            is_switched: false,
            requests: 0,
            need_place: 0,
            idle: since,
            unfinished,
        };
        Arc::new(Self { protocol, place, state: Mutex::new(state), connection: AtomicWaker::new() })
    }

    /// Bytes came from the client; whether they are of requests, and not of another protocol.
    pub(crate) fn received(&self, bytes: &[u8]) -> bool {
        let mut state = lock(&self.state);
        state.fresh = false;
        let owes = match self.protocol {
            // Whatever comes during a request may be its body.
            Protocol::Http1 => state.requests == 0,
            // Between requests HTTP/2 has frames of its own; only a stream ends idleness.
            Protocol::Http2 => state.unfinished.follow(bytes),
        };
        if owes {
            // A slow head gains no time by its later bytes.
            state.head.get_or_insert_with(Instant::now);
            state.unfinished_bytes += bytes.len();
            self.place.holds(bytes.len());
        } else if state.head.take().is_some() {
            state.idle = Instant::now();
            self.place.releases(mem::take(&mut state.unfinished_bytes));
        }
        !state.is_switched
    }

    /// What comes from now on is of another protocol, for as long as this is there.
    pub(crate) fn switch(self: &Arc<Self>) -> InFlight {
        lock(&self.state).is_switched = true;
        self.begin()
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = lock(&self.state);
        if state.need_place == 0 {
            self.place.is_busy();
        }
        state.need_place += 1;
        state.requests += 1;
        if self.protocol == Protocol::Http1 {
            state.head = None;
            self.place.releases(mem::take(&mut state.unfinished_bytes));
        }
        InFlight { activity: Arc::clone(self), needs_place: true }
    }

    /// A request whose head has so many bytes waits to be decided.
    pub(crate) fn undecided(&self, bytes: usize) -> Undecided {
        Undecided::new(Arc::clone(&self.place), bytes)
    }

    /// The upstream answered a request.
    pub(crate) fn is_known(&self) {
        self.place.is_known();
    }

    /// Until when the client may stay as it is, and what it is too slow at then.
    pub(crate) fn deadline(&self, limits: &Limits, draining_since: Option<Instant>) -> Option<(Instant, TooLong)> {
        let state = lock(&self.state);
        match (state.head, draining_since) {
            (Some(since), Some(drain)) if state.fresh => Some(((since + limits.head).min(drain + LAST_CALL), TooLong::Head)),
            (Some(since), _) => Some((since + limits.head, TooLong::Head)),
            (None, _) if state.requests > 0 => None,
            // A client that does not answer the goodbye must not hold up the end.
            (None, Some(drain)) => Some(((state.idle + limits.idle).min(state.idle.max(drain) + LAST_CALL), TooLong::Idle)),
            (None, None) => Some((state.idle + limits.idle, TooLong::Idle)),
        }
    }

    /// Whether the connection can be told to end without a loss. HTTP/1 has no word for it but an answer's: a request on its way
    /// to a connection that is quiet would meet a closed one.
    pub(crate) fn may_be_finished(&self) -> bool {
        self.protocol == Protocol::Http2 || lock(&self.state).requests > 0
    }

    /// Wakes the connection's task when its deadline may have changed.
    pub(crate) fn wake(&self, connection: &Waker) {
        self.connection.register(connection);
    }
}

impl InFlight {
    /// The answer is this program's own: a client that does not take it keeps its place from nobody.
    pub(crate) fn needs_no_place(&mut self) {
        if !mem::take(&mut self.needs_place) {
            return;
        }
        let mut state = lock(&self.activity.state);
        state.need_place -= 1;
        if state.need_place == 0 {
            self.activity.place.is_idle();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.needs_no_place();
        let mut state = lock(&self.activity.state);
        state.requests -= 1;
        if state.requests > 0 {
            return;
        }
        state.idle = Instant::now();
        drop(state);
        self.activity.connection.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Places, preface::PREFACE};

    const LIMITS: Limits = Limits {
        head_bytes: 65536,
        handshake: Duration::from_secs(10),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(90),
        write: Duration::from_secs(60),
    };

    fn open(protocol: Protocol) -> Arc<Activity> {
        let place = Places::new(1).take().0.expect("a place");
        let activity = Activity::new(protocol, Instant::now(), Arc::new(place));
        if protocol == Protocol::Http2 {
            activity.received(PREFACE);
            activity.received(b"\0\0\0\x04\0\0\0\0\0");
        }
        activity
    }

    fn remaining(activity: &Activity) -> Option<(Duration, TooLong)> {
        activity.deadline(&LIMITS, None).map(|(at, what)| (at - Instant::now(), what))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_must_be_complete_in_time_however_its_bytes_drip() {
        let activity = open(Protocol::Http1);
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.received(b"x");
        assert_eq!(remaining(&activity), Some((Duration::from_secs(6), TooLong::Head)));
        tokio::time::advance(Duration::from_secs(5)).await;
        activity.received(b"x");
        assert_eq!(remaining(&activity), Some((Duration::from_secs(1), TooLong::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_no_deadline_and_idleness_begins_after_the_last() {
        let activity = open(Protocol::Http2);
        let (first, second) = (activity.begin(), activity.begin());
        drop(first);
        assert_eq!(remaining(&activity), None);
        tokio::time::advance(Duration::from_secs(1000)).await;
        drop(second);
        assert_eq!(remaining(&activity), Some((Duration::from_secs(90), TooLong::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_on_a_kept_connection_has_its_own_deadline() {
        let activity = open(Protocol::Http1);
        drop(activity.begin());
        tokio::time::advance(Duration::from_secs(89)).await;
        activity.received(b"x");
        assert_eq!(remaining(&activity), Some((Duration::from_secs(10), TooLong::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sent_nothing_does_not_hold_up_the_drain() {
        let activity = open(Protocol::Http1);
        let drain = Instant::now();
        assert_eq!(activity.deadline(&LIMITS, Some(drain)), Some((drain + LAST_CALL, TooLong::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_does_not_hold_up_the_drain() {
        let activity = open(Protocol::Http2);
        drop(activity.begin());
        let drain = Instant::now() + Duration::from_secs(7);
        assert_eq!(activity.deadline(&LIMITS, Some(drain)), Some((drain + LAST_CALL, TooLong::Idle)));
        let late = drain + Duration::from_secs(60);
        tokio::time::advance(Duration::from_secs(67)).await;
        drop(activity.begin());
        assert_eq!(activity.deadline(&LIMITS, Some(drain)), Some((late + LAST_CALL, TooLong::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_has_its_deadline_beside_other_requests() {
        let activity = open(Protocol::Http2);
        let other = activity.begin();
        activity.received(b"\0\0\x05\x01\x04\0\0\0\x03ab");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(remaining(&activity), Some((Duration::from_secs(6), TooLong::Head)));
        activity.received(b"cde");
        assert_eq!(remaining(&activity), None);
        drop(other);
    }
}
