use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync};
use tokio::sync::watch;

use crate::clock::Clock;

/// Lookups under way at a time: callers who leave do not end theirs, so a flood of callers who leave must be bounded.
const MAX_FLIGHTS: usize = 4096;

/// Remembers the results of lookups, and makes one lookup of many that are the same.
///
/// A lookup belongs to nobody: it goes on when the caller that began it leaves, and each caller waits for it no longer
/// than it wants. Good and bad results stand on shelves of their own, so that a flood of bad ones, which anybody can
/// cause, displaces no good one. Errors are passed on and forgotten.
pub(crate) struct Cached<K, V, E> {
    clock: Arc<dyn Clock>,
    positive: Shelf<K, V>,
    negative: Shelf<K, V>,
    flights: Mutex<HashMap<K, Flight<V, E>>>,
}

/// What a lookup found.
#[derive(Debug)]
pub(crate) struct Fresh<V> {
    pub(crate) value: V,
    pub(crate) keep: Keep,
}

/// How long a result counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// A good one: for this long, and not after this date (seconds since 1970). `weight` is its share of the shelf.
    Positive { ttl: Duration, not_after: Option<i64>, weight: u32 },
    /// A bad one.
    Negative { ttl: Duration },
    /// For those alone who wait for it now.
    No,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss<E> {
    /// The lookup's own error.
    Failed(E),
    /// The caller's deadline came first.
    Late,
    /// Too many lookups are under way.
    Crowded,
    /// The lookup panicked.
    Lost,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The shelf.
    Hit,
    /// A lookup of this caller.
    Miss,
    /// Another caller's lookup.
    Shared,
}

type Landed<V, E> = (Result<V, Miss<E>>, Source);

/// Ends empty when the lookup panicked.
type Flight<V, E> = watch::Receiver<Option<Result<V, E>>>;

type Shelf<K, V> = sync::Cache<K, Entry<V>, ByWeight>;

#[derive(Clone)]
struct Entry<V> {
    value: V,
    since: Instant,
    ttl: Duration,
    not_after: Option<i64>,
    weight: u32,
}

#[derive(Clone)]
struct ByWeight;

impl Source {
    /// The metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Shared => "shared",
        }
    }
}

impl<K, V, E> Cached<K, V, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// `positive` and `negative` are what the shelves hold, in weights; a negative result weighs 1.
    pub(crate) fn new(positive: u32, negative: u32, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, positive: shelf(positive), negative: shelf(negative), flights: Mutex::default() })
    }

    /// The result for a key: from a shelf, from a lookup under way, or from a new one.
    ///
    /// Needs a tokio runtime. Dropping the future leaves the lookup to the others.
    pub(crate) async fn get<F>(self: &Arc<Self>, key: &K, deadline: tokio::time::Instant, lookup: impl FnOnce() -> F) -> Landed<V, E>
    where
        F: Future<Output = Result<Fresh<V>, E>> + Send + 'static,
    {
        if let Some(value) = self.look(key) {
            return (Ok(value), Source::Hit);
        }
        let (mut flight, source) = match self.board(key, lookup) {
            Ok(boarded) => boarded,
            Err(landed) => return landed,
        };
        let landed = match tokio::time::timeout_at(deadline, flight.wait_for(Option::is_some)).await {
            Ok(Ok(result)) => match &*result {
                Some(Ok(value)) => Ok(value.clone()),
                Some(Err(error)) => Err(Miss::Failed(error.clone())),
                None => Err(Miss::Lost),
            },
            Ok(Err(_)) => Err(Miss::Lost),
            Err(_) => Err(Miss::Late),
        };
        (landed, source)
    }

    /// Whether a good result for the key was seen not too long ago, even if it counts no more.
    pub(crate) fn remembers(&self, key: &K) -> bool {
        self.positive.contains_key(key)
    }

    /// Results on both shelves, those that count no more included.
    pub(crate) fn entries(&self) -> u64 {
        (self.positive.len() + self.negative.len()) as u64
    }

    /// A flight that is under way now, or why none is needed or had.
    fn board<F>(self: &Arc<Self>, key: &K, lookup: impl FnOnce() -> F) -> Result<(Flight<V, E>, Source), Landed<V, E>>
    where
        F: Future<Output = Result<Fresh<V>, E>> + Send + 'static,
    {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return Ok((flight.clone(), Source::Shared));
        }
        // A flight that landed since the last look has put its result on a shelf before it left the list.
        if let Some(value) = self.look(key) {
            return Err((Ok(value), Source::Hit));
        }
        if flights.len() >= MAX_FLIGHTS {
            return Err((Err(Miss::Crowded), Source::Miss));
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.clone(), receiver.clone());
        let landing = Landing { cached: Arc::clone(self), key: key.clone() };
        let started = self.clock.monotonic();
        let lookup = lookup();
        tokio::spawn(async move {
            let result = lookup.await;
            if let Ok(fresh) = &result {
                landing.cached.store(&landing.key, fresh, started);
            }
            drop(landing);
            sender.send_replace(Some(result.map(|fresh| fresh.value)));
        });
        Ok((receiver, Source::Miss))
    }

    fn look(&self, key: &K) -> Option<V> {
        let entry = self.positive.get(key).filter(|entry| self.counts(entry));
        let entry = entry.or_else(|| self.negative.get(key).filter(|entry| self.counts(entry)));
        entry.map(|entry| entry.value)
    }

    /// Either clock may end an entry; neither, turned back, extends it.
    fn counts(&self, entry: &Entry<V>) -> bool {
        let age = self.clock.monotonic().checked_duration_since(entry.since);
        age.is_some_and(|age| age < entry.ttl) && entry.not_after.is_none_or(|end| self.clock.unix() < end)
    }

    /// A result counts from when it was asked for: it may have been true no longer.
    fn store(&self, key: &K, fresh: &Fresh<V>, since: Instant) {
        let value = fresh.value.clone();
        match fresh.keep {
            Keep::Positive { ttl, not_after, weight } => {
                self.negative.remove(key);
                self.positive.insert(key.clone(), Entry { value, since, ttl, not_after, weight });
            }
            Keep::Negative { ttl } => {
                self.positive.remove(key);
                self.negative.insert(key.clone(), Entry { value, since, ttl, not_after: None, weight: 1 });
            }
            Keep::No => {}
        }
    }
}

/// Takes a flight off the list, however it ended.
struct Landing<K: Eq + Hash, V, E> {
    cached: Arc<Cached<K, V, E>>,
    key: K,
}

impl<K: Eq + Hash, V, E> Drop for Landing<K, V, E> {
    fn drop(&mut self) {
        self.cached.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<K, V> Weighter<K, Entry<V>> for ByWeight {
    fn weight(&self, _: &K, entry: &Entry<V>) -> u64 {
        u64::from(entry.weight.max(1))
    }
}

fn shelf<K: Clone + Eq + Hash, V: Clone>(weight: u32) -> Shelf<K, V> {
    // Few shards: one must have room for a heavy entry.
    const SHARDS: usize = 4;
    let options = OptionsBuilder::new().shards(SHARDS).estimated_items_capacity(weight as usize).weight_capacity(u64::from(weight)).build();
    match options {
        Ok(options) => sync::Cache::with_options(options, ByWeight, DefaultHashBuilder::default(), sync::DefaultLifecycle::default()),
        // Only a missing capacity is an error.
        Err(_) => sync::Cache::with_weighter(weight as usize, u64::from(weight), ByWeight),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use testkit::wait::{Latch, in_time, wait_until};
    use tokio::time;

    use super::*;
    use crate::clock::manual::ManualClock;

    type Cache = Cached<u32, u32, &'static str>;

    const TTL: Duration = Duration::from_secs(120);
    const GOOD: Keep = Keep::Positive { ttl: TTL, not_after: None, weight: 1 };
    const BAD: Keep = Keep::Negative { ttl: Duration::from_secs(10) };

    struct Fixture {
        cache: Arc<Cache>,
        clock: Arc<ManualClock>,
        lookups: Arc<AtomicUsize>,
    }

    impl Fixture {
        fn new() -> Self {
            let clock = ManualClock::at(1000);
            Self { cache: Cached::new(64, 32, clock.clone()), clock, lookups: Arc::default() }
        }

        /// Looks up with a result at hand; the value counts the lookups.
        async fn get(&self, key: u32, keep: Keep) -> (Result<u32, Miss<&'static str>>, Source) {
            let lookups = Arc::clone(&self.lookups);
            let lookup = || async move { Ok(Fresh { value: lookups.fetch_add(1, Ordering::SeqCst) as u32, keep }) };
            in_time("the lookup", self.cache.get(&key, soon(), lookup)).await
        }

        async fn source(&self, key: u32, keep: Keep) -> Source {
            self.get(key, keep).await.1
        }
    }

    fn soon() -> time::Instant {
        time::Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn a_result_counts_for_its_time() {
        let fixture = Fixture::new();
        assert_eq!(fixture.get(1, GOOD).await, (Ok(0), Source::Miss));
        assert_eq!(fixture.get(2, BAD).await, (Ok(1), Source::Miss));
        fixture.clock.pass(9);
        assert_eq!(fixture.get(1, GOOD).await, (Ok(0), Source::Hit));
        assert_eq!(fixture.get(2, BAD).await, (Ok(1), Source::Hit));
        fixture.clock.pass(1);
        assert_eq!(fixture.get(2, Keep::No).await, (Ok(2), Source::Miss));
        assert_eq!(fixture.get(2, Keep::No).await, (Ok(3), Source::Miss));
        fixture.clock.pass(109);
        assert_eq!(fixture.get(1, GOOD).await, (Ok(0), Source::Hit));
        fixture.clock.pass(1);
        assert_eq!(fixture.get(1, GOOD).await, (Ok(4), Source::Miss));
    }

    #[tokio::test]
    async fn either_clock_ends_a_result_and_neither_extends_it() {
        let fixture = Fixture::new();
        let dated = Keep::Positive { ttl: TTL, not_after: Some(1060), weight: 1 };
        assert_eq!(fixture.source(1, dated).await, Source::Miss);
        fixture.clock.pass(59);
        assert_eq!(fixture.source(1, dated).await, Source::Hit);
        fixture.clock.pass(1);
        assert_eq!(fixture.source(1, Keep::No).await, Source::Miss, "its date has come");

        let far = Keep::Positive { ttl: TTL, not_after: Some(10_000), weight: 1 };
        assert_eq!(fixture.source(2, far).await, Source::Miss);
        fixture.clock.turn(-5000);
        fixture.clock.pass(119);
        assert_eq!(fixture.source(2, far).await, Source::Hit);
        fixture.clock.pass(1);
        assert_eq!(fixture.source(2, far).await, Source::Miss, "a wall clock turned back extends nothing");
        fixture.clock.pass(-1);
        assert_eq!(fixture.source(2, Keep::No).await, Source::Miss, "an entry from the future counts for nothing");
    }

    #[tokio::test]
    async fn an_expired_good_result_is_remembered_until_a_bad_one() {
        let fixture = Fixture::new();
        assert!(!fixture.cache.remembers(&1));
        fixture.source(1, GOOD).await;
        fixture.clock.pass(1000);
        assert!(fixture.cache.remembers(&1));
        fixture.source(1, BAD).await;
        assert!(!fixture.cache.remembers(&1));
        assert_eq!(fixture.source(1, BAD).await, Source::Hit);
    }

    #[tokio::test]
    async fn a_flood_of_bad_results_is_bounded_and_displaces_no_good_one() {
        let fixture = Fixture::new();
        for key in 0..32 {
            fixture.source(key, GOOD).await;
        }
        let good = fixture.cache.entries();
        for key in 100..5000 {
            fixture.source(key, BAD).await;
        }
        assert!(fixture.cache.entries() <= good + 32, "{} entries", fixture.cache.entries());
        let mut kept = 0;
        for key in 0..32 {
            kept += u64::from(fixture.source(key, Keep::No).await == Source::Hit);
        }
        assert_eq!(kept, good);
    }

    #[tokio::test]
    async fn an_error_reaches_all_who_wait_and_nobody_later() {
        let fixture = Fixture::new();
        let latch = Latch::default();
        let failing = || {
            let latch = latch.clone();
            async move {
                latch.passed().await;
                Err("down")
            }
        };
        let (first, second, ()) =
            tokio::join!(fixture.cache.get(&1, soon(), failing), fixture.cache.get(&1, soon(), || async { Err("asked twice") }), async {
                latch.open()
            });
        assert_eq!(first, (Err(Miss::Failed("down")), Source::Miss));
        assert_eq!(second, (Err(Miss::Failed("down")), Source::Shared));
        assert_eq!(fixture.get(1, GOOD).await, (Ok(0), Source::Miss));
    }

    #[tokio::test]
    async fn a_lookup_outlives_the_caller_who_began_it() {
        let fixture = Fixture::new();
        let latch = Latch::default();
        let (cache, behind) = (Arc::clone(&fixture.cache), latch.clone());
        let leader = tokio::spawn(async move {
            let lookup = || async move {
                behind.passed().await;
                Ok(Fresh { value: 7, keep: GOOD })
            };
            cache.get(&1, soon(), lookup).await
        });
        let flying = || !fixture.cache.flights.lock().expect("no panic").is_empty();
        wait_until("the lookup", flying).await;
        leader.abort();
        assert!(leader.await.is_err(), "it was to be cancelled");

        let late = fixture.cache.get(&1, time::Instant::now(), || async { Err("asked twice") }).await;
        assert_eq!(late, (Err(Miss::Late), Source::Shared), "a follower waits no longer than it wants");
        let (result, ()) = tokio::join!(fixture.cache.get(&1, soon(), || async { Err("asked twice") }), async { latch.open() });
        assert_eq!(result, (Ok(7), Source::Shared));
        assert_eq!(fixture.get(1, GOOD).await, (Ok(7), Source::Hit));
        assert!(!flying());
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_lookup() {
        for round in 0..50 {
            let fixture = Arc::new(Fixture::new());
            let callers: Vec<_> = (0..64)
                .map(|_| {
                    let fixture = Arc::clone(&fixture);
                    tokio::spawn(async move { fixture.get(round, GOOD).await.0 })
                })
                .collect();
            for caller in callers {
                assert_eq!(in_time("a caller", caller).await.expect("no panic"), Ok(0));
            }
        }
    }

    #[tokio::test]
    async fn a_lookup_that_panics_fails_its_callers_and_no_others() {
        let fixture = Fixture::new();
        let (result, _) = fixture.cache.get(&1, soon(), || async { panic!("as the test wants") }).await;
        assert_eq!(result, Err(Miss::Lost));
        assert_eq!(fixture.get(1, GOOD).await, (Ok(0), Source::Miss));
    }

    #[tokio::test]
    async fn lookups_under_way_are_bounded() {
        let fixture = Fixture::new();
        for key in 0..u32::try_from(MAX_FLIGHTS).expect("small") {
            let late = fixture.cache.get(&key, time::Instant::now(), std::future::pending).await.0;
            assert_eq!(late, Err(Miss::Late));
        }
        assert_eq!(fixture.get(u32::MAX, GOOD).await.0, Err(Miss::Crowded));
    }
}
