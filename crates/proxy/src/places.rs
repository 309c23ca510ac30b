use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use crate::lock;

/// What all connections of strangers, and all others, may hold before it is decided about: heads, finished or not, in bytes.
const HELD_BY_STRANGERS: usize = 8 << 20;
const HELD_BY_KNOWN: usize = 32 << 20;

/// Bounds the connections that are open at a time, and what they hold before their requests are decided.
///
/// One that comes when all places are taken gets that of a connection without a request: of one that was never let
/// through to the upstream, if there is any, and among these of the one that has waited longest. So a flood of strangers
/// displaces itself, and whoever asks for something in the meantime is served. Strangers have a quarter of the places at
/// most: who they are is not known, and memory is. Where they hold too much together, the one that holds most loses its
/// place, whatever else it does.
#[derive(Clone, Debug)]
pub struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    most: usize,
    most_strangers: usize,
    /// Numbers seats, and moments.
    count: u64,
    seats: BTreeMap<u64, Seat>,
    /// The seats of those without a request, the first to go first.
    idle: BTreeMap<Rank, u64>,
    strangers: Group,
    known: Group,
}

#[derive(Debug, Default)]
struct Seat {
    is_known: bool,
    held: usize,
    /// Among those without a request, if it is one.
    rank: Option<Rank>,
    lost: Arc<Notify>,
}

/// Whether an answer of the upstream went there, and since when there is no request.
type Rank = (bool, u64);

#[derive(Debug, Default)]
struct Group {
    count: usize,
    held: usize,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    number: u64,
    lost: Arc<Notify>,
}

/// What a request holds of its connection's place until it is decided.
#[derive(Debug)]
pub(crate) struct Undecided {
    place: Arc<Place>,
    bytes: usize,
}

impl Places {
    /// Places for so many.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            most,
            most_strangers: most.div_ceil(4),
            count: 0,
            seats: BTreeMap::new(),
            idle: BTreeMap::new(),
            strangers: Group::default(),
            known: Group::default(),
        })))
    }

    /// A place for one more, and whether all are taken: then another loses it, or, where nobody can do without, there is none.
    pub(crate) fn take(&self) -> (Option<Place>, bool) {
        let mut state = lock(&self.0);
        let is_full = state.seats.len() >= state.most || state.strangers.count >= state.most_strangers;
        if is_full && !state.displace() {
            return (None, true);
        }
        state.count += 1;
        state.strangers.count += 1;
        let (number, seat) = (state.count, Seat::default());
        let lost = Arc::clone(&seat.lost);
        state.seats.insert(number, seat);
        state.is_idle(number);
        (Some(Place { places: self.clone(), number, lost }), is_full)
    }

    /// Ends a connection that has no request, if there is one.
    pub(crate) fn displace(&self) -> bool {
        lock(&self.0).displace()
    }
}

impl State {
    fn displace(&mut self) -> bool {
        let Some(first) = self.idle.first_entry() else { return false };
        let (is_known, _) = *first.key();
        // Where there are too many strangers, those who are known have nothing to give.
        if is_known && self.seats.len() < self.most {
            return false;
        }
        let number = first.remove();
        self.lose(number);
        true
    }

    /// What it holds counts no more: it is on its way out.
    fn lose(&mut self, number: u64) {
        let Some(seat) = self.seats.get(&number) else { return };
        seat.lost.notify_one();
        let held = seat.held;
        self.holds(number, 0, held);
    }

    /// A seat holds so many bytes more, and so many less.
    fn holds(&mut self, number: u64, more: usize, less: usize) {
        let Some(seat) = self.seats.get_mut(&number) else { return };
        let (is_known, less) = (seat.is_known, less.min(seat.held));
        seat.held = seat.held - less + more;
        let (group, most) = match is_known {
            true => (&mut self.known, HELD_BY_KNOWN),
            false => (&mut self.strangers, HELD_BY_STRANGERS),
        };
        group.held = group.held - less + more;
        if more > 0 && group.held > most {
            let group = self.seats.iter().filter(|(_, seat)| seat.is_known == is_known);
            let largest = group.max_by_key(|(_, seat)| seat.held).map(|(number, _)| *number);
            largest.into_iter().for_each(|number| self.lose(number));
        }
    }

    fn is_idle(&mut self, number: u64) {
        self.count += 1;
        let Some(seat) = self.seats.get_mut(&number) else { return };
        let rank = (seat.is_known, self.count);
        seat.rank = Some(rank);
        self.idle.insert(rank, number);
    }

    fn is_busy(&mut self, number: u64) {
        let rank = self.seats.get_mut(&number).and_then(|seat| seat.rank.take());
        rank.map(|rank| self.idle.remove(&rank));
    }
}

impl Place {
    /// So much more has come that is not decided about. Beyond the bound for all whoever holds most loses its place.
    pub(crate) fn holds(&self, bytes: usize) {
        lock(&self.places.0).holds(self.number, bytes, 0);
    }

    /// So much of it is gone.
    pub(crate) fn releases(&self, bytes: usize) {
        lock(&self.places.0).holds(self.number, 0, bytes);
    }

    /// Who asks for something does not lose the place to one that comes.
    pub(crate) fn is_busy(&self) {
        lock(&self.places.0).is_busy(self.number);
    }

    /// The upstream answered.
    pub(crate) fn is_known(&self) {
        let State { seats, strangers, known, .. } = &mut *lock(&self.places.0);
        let Some(seat) = seats.get_mut(&self.number).filter(|seat| !seat.is_known) else { return };
        seat.is_known = true;
        (strangers.count, strangers.held) = (strangers.count - 1, strangers.held - seat.held);
        (known.count, known.held) = (known.count + 1, known.held + seat.held);
    }

    /// There is no request any more that the place is needed for.
    pub(crate) fn is_idle(&self) {
        lock(&self.places.0).is_idle(self.number);
    }

    /// Waits until another has the place. Cancel safe.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.places.0);
        state.is_busy(self.number);
        let Some(seat) = state.seats.remove(&self.number) else { return };
        let group = if seat.is_known { &mut state.known } else { &mut state.strangers };
        (group.count, group.held) = (group.count - 1, group.held - seat.held);
    }
}

impl Undecided {
    /// A request whose head has so many bytes.
    pub(crate) fn new(place: Arc<Place>, bytes: usize) -> Self {
        place.holds(bytes);
        Self { place, bytes }
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.place.releases(self.bytes);
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
    fn where_strangers_hold_too_much_the_one_that_holds_most_goes_whatever_it_does() {
        let places = Places::new(16);
        let known = take_known(&places);
        let [quiet, small, large] = [(); 3].map(|()| take(&places));
        known.holds(HELD_BY_STRANGERS);
        let undecided = Undecided::new(Arc::new(large), HELD_BY_STRANGERS - 5);
        let large = Arc::clone(&undecided.place);
        large.is_busy();
        small.holds(5);
        assert_eq!([&known, &quiet, &small, &large].map(is_lost), [false; 4]);
        quiet.holds(1);
        assert_eq!([&known, &quiet, &small, &large].map(is_lost), [false, false, false, true]);
        // It counts no more, before it is gone and then.
        quiet.holds(HELD_BY_STRANGERS - 6);
        drop(undecided);
        drop(large);
        assert_eq!([&known, &quiet, &small].map(is_lost), [false; 3]);
        small.releases(5);
        small.holds(6);
        assert_eq!([&known, &quiet, &small].map(is_lost), [false, true, false]);
    }

    #[test]
    fn what_those_hold_who_are_known_has_a_bound_of_its_own() {
        let places = Places::new(16);
        let (stranger, [first, second]) = (take(&places), [(); 2].map(|()| take_known(&places)));
        stranger.holds(HELD_BY_STRANGERS - 1);
        first.holds(HELD_BY_KNOWN - 1);
        second.holds(1);
        assert_eq!([&stranger, &first, &second].map(is_lost), [false; 3]);
        stranger.is_known();
        assert_eq!([&stranger, &first, &second].map(is_lost), [false; 3]);
        second.holds(1);
        assert_eq!([&stranger, &first, &second].map(is_lost), [false, true, false]);
        drop((stranger, first, second));
        let state = lock(&places.0);
        assert_eq!([state.known.held, state.known.count, state.strangers.held, state.strangers.count], [0; 4]);
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
