use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::lock;

/// In a rank: an answer of the upstream went to this connection.
const KNOWN: u64 = 1 << 63;

/// What all unfinished heads together may have, in bytes.
const HEADS: usize = 8 << 20;

/// Bounds the connections that are open at a time, and what they hold before they have asked for anything.
///
/// One that comes when all places are taken gets that of a connection without a request: of one that was never let
/// through to the upstream, if there is any, and among these of the one that has waited longest. So a flood of strangers
/// displaces itself, and whoever asks for something in the meantime is served. Strangers have a quarter of the places at
/// most: who they are is not known, and memory is.
#[derive(Clone, Debug)]
pub struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    most: usize,
    taken: usize,
    most_strangers: usize,
    strangers: usize,
    ranks: u64,
    /// Bytes of unfinished heads.
    heads: usize,
    /// Those without a request, the first to go first.
    idle: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    rank: AtomicU64,
    head: AtomicUsize,
    lost: Arc<Notify>,
}

impl Places {
    /// Places for so many.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            most,
            taken: 0,
            most_strangers: most.div_ceil(4),
            strangers: 0,
            ranks: 0,
            heads: 0,
            idle: BTreeMap::new(),
        })))
    }

    /// A place for one more, and whether all are taken: then another loses it, or, where nobody can do without, there is none.
    pub(crate) fn take(&self) -> (Option<Place>, bool) {
        let mut state = lock(&self.0);
        let is_full = state.taken >= state.most || state.strangers >= state.most_strangers;
        if is_full && !state.displace() {
            return (None, true);
        }
        state.taken += 1;
        state.strangers += 1;
        drop(state);
        let place = Place { places: self.clone(), rank: AtomicU64::new(0), head: AtomicUsize::new(0), lost: Arc::default() };
        place.is_idle();
        (Some(place), is_full)
    }

    /// Ends a connection that has no request, if there is one.
    pub(crate) fn displace(&self) -> bool {
        lock(&self.0).displace()
    }
}

impl State {
    fn displace(&mut self) -> bool {
        let Some(first) = self.idle.first_entry() else { return false };
        // Where there are too many strangers, those who are known have nothing to give.
        if self.taken < self.most && *first.key() >= KNOWN {
            return false;
        }
        first.remove().notify_one();
        true
    }
}

impl Place {
    /// So much more of an unfinished head has come. Beyond the bound for all of them a stranger loses its place.
    pub(crate) fn head_grows(&self, bytes: usize) {
        self.head.fetch_add(bytes, Ordering::Relaxed);
        let mut state = lock(&self.places.0);
        state.heads += bytes;
        if state.heads > HEADS {
            state.displace();
        }
    }

    /// No head is unfinished.
    pub(crate) fn head_ends(&self) {
        let bytes = self.head.swap(0, Ordering::Relaxed);
        lock(&self.places.0).heads -= bytes;
    }

    /// A request has begun: the place cannot be lost.
    pub(crate) fn is_busy(&self) {
        lock(&self.places.0).idle.remove(&self.rank.load(Ordering::Relaxed));
    }

    /// The upstream answered.
    pub(crate) fn is_known(&self) {
        if self.rank.fetch_or(KNOWN, Ordering::Relaxed) < KNOWN {
            lock(&self.places.0).strangers -= 1;
        }
    }

    /// There is no request any more.
    pub(crate) fn is_idle(&self) {
        let mut state = lock(&self.places.0);
        state.ranks += 1;
        let rank = self.rank.load(Ordering::Relaxed) & KNOWN | state.ranks;
        self.rank.store(rank, Ordering::Relaxed);
        state.idle.insert(rank, Arc::clone(&self.lost));
    }

    /// Waits until another has the place. Cancel safe.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_busy();
        self.is_known();
        self.head_ends();
        lock(&self.places.0).taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_lost(place: &Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    fn take(places: &Places) -> Place {
        places.take().0.expect("a place")
    }

    fn take_known(places: &Places) -> Place {
        let place = take(places);
        place.is_busy();
        place.is_known();
        place.is_idle();
        place
    }

    #[test]
    fn the_stranger_who_waited_longest_goes_first_and_nobody_who_asks() {
        let places = Places::new(16);
        let known = take_known(&places);
        let [asks, first, second, third] = [(); 4].map(|()| take(&places));
        asks.is_busy();
        let fourth = take(&places);
        assert_eq!([&known, &asks, &first, &second, &third, &fourth].map(is_lost), [false, false, true, false, false, false]);
        drop(first);
        // `third` has waited longer than `second` now.
        second.is_busy();
        second.is_idle();
        let fifth = take(&places);
        assert_eq!([&known, &second, &third, &fourth].map(is_lost), [false, false, true, false]);
        drop(third);
        for place in [&second, &fourth, &fifth] {
            place.is_busy();
        }
        assert!(places.take().0.is_none(), "strangers have a quarter");
        assert!(!is_lost(&known));
        drop(asks);
        assert!(matches!(places.take(), (Some(_), false)));
    }

    #[test]
    fn heads_that_are_not_finished_have_a_bound_together() {
        let places = Places::new(16);
        let [first, second, third] = [(); 3].map(|()| take(&places));
        for place in [&first, &second] {
            place.head_grows(HEADS / 2);
        }
        second.head_ends();
        third.head_grows(HEADS / 2);
        assert_eq!([&first, &second, &third].map(is_lost), [false; 3]);
        second.head_grows(1);
        assert_eq!([&first, &second, &third].map(is_lost), [true, false, false]);
        drop(first);
        second.head_grows(HEADS / 2 - 1);
        assert_eq!([&second, &third].map(is_lost), [false; 2]);
    }

    #[test]
    fn where_all_places_are_taken_the_known_go_too_but_for_those_who_ask() {
        let places = Places::new(2);
        let [first, second] = [(); 2].map(|()| take_known(&places));
        first.is_busy();
        let stranger = take(&places);
        assert_eq!([&first, &second, &stranger].map(is_lost), [false, true, false]);
        drop(second);
        stranger.is_busy();
        assert!(places.take().0.is_none());
        assert!(!is_lost(&first));
    }
}
