//! The contract on the memory store, and what only the memory store promises.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use token_limiter::contract::Subject;
use token_limiter::{
    Calendar, Charge, Clock, Correction, Cost, CounterRecord, Decision, Identity, Key, Limit,
    MemoryStore, Meter, Population, Settlement, Store, TimeZone, Timestamp, Window,
};

/// A clock that stands still until it is told.
#[derive(Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct Memory {
    clock: std::sync::Arc<TestClock>,
    store: MemoryStore<SharedClock>,
}

struct SharedClock(std::sync::Arc<TestClock>);

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Memory {
    fn new() -> Self {
        let clock = std::sync::Arc::new(TestClock::default());
        let store = MemoryStore::with_clock(SharedClock(clock.clone()));
        Self { clock, store }
    }

    /// At noon of the day before summer time begins in Europe, 2024.
    fn in_spring() -> Self {
        let memory = Self::new();
        memory.set(1_711_800_000_000);
        memory
    }

    fn set(&self, milliseconds: u64) {
        self.clock.0.store(milliseconds, Ordering::SeqCst);
    }

    fn reserve(&self, limit: &Limit, key: Key, cost: u64, lease: Duration) -> Decision {
        let charge = Charge::new(limit, key, Cost::new(cost));
        self.block_on(self.store.reserve(&[charge], lease)).unwrap()
    }
}

impl Subject for Memory {
    type Store = MemoryStore<SharedClock>;

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, by: Duration) {
        self.clock.0.fetch_add(
            u64::try_from(by.as_millis()).expect("a test waits less than for ever"),
            Ordering::SeqCst,
        );
    }

    fn apart(&self) -> Self {
        Self::in_spring()
    }

    fn block_on<F: Future>(&self, call: F) -> F::Output {
        match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the memory store never waits"),
        }
    }
}

token_limiter::contract_suite!(Memory::in_spring());

fn limit(most: u64) -> Limit {
    Limit {
        name: "tokens".to_owned(),
        limit: Cost::new(most),
        window: Window::sliding(Duration::from_secs(30)).expect("half a minute is a window"),
    }
}

fn key(limit: &Limit, number: u64) -> Key {
    Key::new(limit, "tokens", &Identity::new([&number.to_le_bytes()[..]]))
}

const LEASE: Duration = Duration::from_secs(10);

#[test]
fn idle_counters_are_collected() {
    let memory = Memory::new();
    let limit = limit(100);
    let mut number = 0;
    let mut most = 0;
    for _ in 0..20 {
        for _ in 0..2_000 {
            number += 1;
            memory.reserve(&limit, key(&limit, number), 1, LEASE);
        }
        most = most.max(memory.store.population().counters);
        memory.advance(Duration::from_secs(31));
    }
    assert!(
        most <= 4_500,
        "40,000 keys, 2,000 of them alive at a time, were kept in {most} counters"
    );
}

#[test]
fn expired_reservations_are_collected() {
    let memory = Memory::new();
    let limit = limit(u64::MAX);
    for number in 0..40_000 {
        memory.reserve(&limit, key(&limit, number % 500), 1, LEASE);
        memory.advance(Duration::from_millis(5));
    }
    let open = memory.store.population().reservations;
    assert!(
        open <= 4_500,
        "2,000 leases alive at a time were kept in {open} reservations"
    );
}

#[test]
fn a_settled_reservation_leaves_nothing_behind() {
    let memory = Memory::new();
    let limit = limit(100);
    for _ in 0..100 {
        let Decision::Granted(grant) = memory.reserve(&limit, key(&limit, 1), 1, LEASE) else {
            panic!("a hundred requests fit");
        };
        let settled = memory
            .block_on(memory.store.settle(&grant.reservation, &[Cost::ONE]))
            .unwrap();
        assert_eq!(settled, Settlement::Settled);
    }
    assert_eq!(
        memory.store.population(),
        Population {
            counters: 1,
            reservations: 0
        }
    );
}

#[test]
fn a_clock_that_steps_back_stops_time_and_admits_nothing_more() {
    let memory = Memory::new();
    let limit = limit(100);
    let key = key(&limit, 1);
    memory.set(100_000);
    assert!(matches!(
        memory.reserve(&limit, key, 100, LEASE),
        Decision::Granted(_)
    ));
    memory.set(0);
    let Decision::Denied(denial) = memory.reserve(&limit, key, 1, LEASE) else {
        panic!("the limit is spent");
    };
    assert_eq!(denial.retry_after, Duration::from_secs(31));
    memory.set(130_999);
    assert!(matches!(
        memory.reserve(&limit, key, 1, LEASE),
        Decision::Denied(_)
    ));
    memory.set(131_000);
    assert!(matches!(
        memory.reserve(&limit, key, 1, LEASE),
        Decision::Granted(_)
    ));
}

#[test]
fn costs_that_do_not_fit_saturate() {
    let memory = Memory::new();
    let limit = limit(u64::MAX);
    let key = key(&limit, 1);
    assert!(matches!(
        memory.reserve(&limit, key, u64::MAX, LEASE),
        Decision::Granted(_)
    ));
    assert!(matches!(
        memory.reserve(&limit, key, 0, LEASE),
        Decision::Granted(_)
    ));
    let Decision::Denied(denial) = memory.reserve(&limit, key, u64::MAX, LEASE) else {
        panic!("the largest limit is spent too");
    };
    assert_eq!(denial.balances[0].used, Cost::MAX);
    assert_eq!(denial.balances[0].remaining, Cost::ZERO);
}

/// The store after a restart: what is left of another one's records on a fresh clock.
fn restarted(now: u64, records: impl IntoIterator<Item = CounterRecord>) -> Memory {
    let mut file = Vec::new();
    for record in records {
        record.encode(&mut file);
    }
    let mut bytes = &file[..];
    let read = std::iter::from_fn(|| CounterRecord::decode(&mut bytes).expect("the file is whole"));
    let memory = Memory::new();
    memory.set(now);
    memory.store.restore(read);
    memory
}

fn limits_of_every_window() -> [Limit; 4] {
    let half_a_minute = Duration::from_secs(30);
    [
        Window::sliding(half_a_minute),
        Window::fixed(half_a_minute),
        Window::token_bucket(half_a_minute, Cost::new(100)),
        Ok(Window::calendar(Calendar::Day, TimeZone::UTC)),
    ]
    .map(|window| Limit {
        window: window.expect("these are windows"),
        ..limit(100)
    })
}

fn used(memory: &Memory, limit: &Limit, key: Key) -> u64 {
    let balances = memory
        .block_on(memory.store.inspect(&[Meter { limit, key }]))
        .unwrap();
    balances[0].used.units()
}

#[test]
fn counters_survive_a_restart_by_their_snapshot_and_changes() {
    const START: u64 = 1_711_800_000_000;
    let limits = limits_of_every_window();
    let memory = Memory::new();
    memory.set(START);
    for limit in &limits {
        memory.reserve(limit, key(limit, 1), 60, LEASE);
    }
    assert_eq!(memory.store.changes().count(), 0, "nobody asked");
    memory.store.track_changes();
    let mut records: Vec<_> = memory.store.snapshot().collect();
    assert_eq!(records.len(), limits.len());
    memory.advance(Duration::from_secs(3));
    for limit in &limits {
        for _ in 0..3 {
            memory.reserve(limit, key(limit, 1), 5, LEASE);
        }
        memory.reserve(limit, key(limit, 2), 7, LEASE);
    }
    let changes: Vec<_> = memory.store.changes().collect();
    assert_eq!(changes.len(), 2 * limits.len(), "each counter once");
    assert_eq!(memory.store.changes().count(), 0);
    records.extend(changes);

    for later in [3_000, 10_000, 32_000, 100_000] {
        memory.set(START + later);
        let restarted = restarted(START + later, records.iter().cloned());
        for limit in &limits {
            for number in [1, 2, 3] {
                let key = key(limit, number);
                assert_eq!(
                    used(&restarted, limit, key),
                    used(&memory, limit, key),
                    "{limit:?}, counter {number}, {later} ms after the start"
                );
            }
        }
    }
}

#[test]
fn settlements_and_corrections_are_changes_and_refusals_are_not() {
    for limit in &limits_of_every_window() {
        let memory = Memory::in_spring();
        let key = key(limit, 1);
        memory.store.track_changes();
        let changed = || memory.store.changes().count();
        let Decision::Granted(grant) = memory.reserve(limit, key, 60, LEASE) else {
            panic!("sixty of a hundred fit");
        };
        assert_eq!(changed(), 1);
        memory.reserve(limit, key, 60, LEASE);
        used(&memory, limit, key);
        assert_eq!(changed(), 0, "a refusal");
        memory
            .block_on(memory.store.settle(&grant.reservation, &[Cost::ONE]))
            .unwrap();
        assert_eq!(changed(), 1, "a settlement");
        for correction in [
            Correction::Add(Cost::ONE),
            Correction::Remove(Cost::ONE),
            Correction::Reset,
        ] {
            memory
                .block_on(memory.store.correct(Meter { limit, key }, correction))
                .unwrap();
            assert_eq!(changed(), 1, "{correction:?}");
        }
    }
}

#[test]
fn a_counter_that_became_empty_is_told_before_it_is_collected() {
    let memory = Memory::in_spring();
    // A bucket is as good as new as soon as it is full again.
    let limit = Limit {
        window: Window::token_bucket(Duration::from_hours(24), Cost::new(100)).unwrap(),
        ..limit(100)
    };
    let key = key(&limit, 0);
    memory.store.track_changes();
    let Decision::Granted(grant) = memory.reserve(&limit, key, 60, LEASE) else {
        panic!("sixty of a hundred fit");
    };
    let mut records: Vec<_> = memory.store.changes().collect();
    memory
        .block_on(memory.store.settle(&grant.reservation, &[Cost::ZERO]))
        .unwrap();
    for other in 1..1_000 {
        memory.reserve(&limit, self::key(&limit, other), 1, LEASE);
    }
    records.extend(memory.store.changes());
    let restarted = restarted(memory.now().as_millis(), records);
    assert_eq!(used(&restarted, &limit, key), 0);
    for other in 1_000..5_000 {
        memory.reserve(&limit, self::key(&limit, other), 1, LEASE);
    }
    assert_eq!(memory.store.population().counters, 4_999, "told: collected");
}

#[test]
fn a_store_whose_clock_was_set_back_does_not_wait_for_the_old_date() {
    const FUTURE: u64 = 1_911_800_000_000;
    let limits = limits_of_every_window();
    let memory = Memory::new();
    memory.set(FUTURE);
    for limit in &limits {
        memory.reserve(limit, key(limit, 1), 100, LEASE);
    }
    let restarted = restarted(FUTURE - 1_000_000_000, memory.store.snapshot());
    for limit in &limits {
        assert_eq!(used(&restarted, limit, key(limit, 1)), 100);
    }
    restarted.advance(Duration::from_hours(24));
    for limit in &limits {
        assert_eq!(used(&restarted, limit, key(limit, 1)), 0);
    }
}

#[test]
fn a_changed_limit_takes_over_the_counter() {
    let memory = Memory::in_spring();
    let slow = Limit {
        window: Window::token_bucket(Duration::from_hours(24), Cost::new(100)).unwrap(),
        ..limit(1)
    };
    let fast = Limit {
        limit: Cost::new(86_400_000),
        window: Window::token_bucket(Duration::from_hours(24), Cost::new(200)).unwrap(),
        ..slow.clone()
    };
    let key = key(&slow, 1);
    assert_eq!(key, self::key(&fast, 1));
    memory.reserve(&slow, key, 100, LEASE);
    let Decision::Denied(denial) = memory.reserve(&fast, key, 150, LEASE) else {
        panic!("a hundred of two hundred are left");
    };
    assert_eq!(denial.retry_after, Duration::from_millis(50));
}
