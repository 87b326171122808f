//! The contract on the memory store, and what only the memory store promises.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use token_limiter::contract::Subject;
use token_limiter::{
    Charge, Clock, Cost, Decision, Identity, Key, Limit, MemoryStore, Population, Settlement,
    Store, Timestamp, Window,
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
