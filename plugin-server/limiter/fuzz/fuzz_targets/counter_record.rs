//! Whatever stands in a state file: it is read or refused, what is read is written so that it is read again, and a store that
//! takes it over goes on deciding, before and after its next restart.
#![no_main]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use token_limiter::{
    Balance, Calendar, Charge, Clock, Correction, Cost, CounterRecord, Decision, Key, Limit,
    MemoryStore, Meter, Reservation, Store, TimeZone, Timestamp, Window,
};

/// What an encoded record has at most, as its format says.
const MOST_BYTES: usize = 360;
const LEASE: Duration = Duration::from_secs(100);
/// Records know no later moment.
const END_OF_TIME: u64 = Cost::MAX.units();

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    now: u64,
    steps: Vec<Step>,
    /// The payload of a record; its length and checksum are put before it, which no fuzzer would guess.
    payload: &'a [u8],
}

/// Of four limits, each with a window of its own kind, the `limit`th.
#[derive(Arbitrary, Debug)]
enum Step {
    Wait { milliseconds: u64 },
    Reserve { limit: u8, cost: u64 },
    Settle { cost: u64 },
    Add { limit: u8, cost: u64 },
    Remove { limit: u8, cost: u64 },
    Reset { limit: u8 },
    Restart,
}

fuzz_target!(|input: Input<'_>| {
    let mut raw = input.payload;
    while let Ok(Some(_)) = CounterRecord::decode(&mut raw) {}

    let sealed = sealed(input.payload);
    let Ok(Some(record)) = CounterRecord::decode(&mut &sealed[..]) else {
        return;
    };
    let mut written = Vec::new();
    record.encode(&mut written);
    assert!(written.len() <= MOST_BYTES);
    let read = CounterRecord::decode(&mut &written[..]);
    assert_eq!(read, Ok(Some(record.clone())));

    let mut world = World::new(record.key(), input.now);
    world.store.restore([record]);
    for step in &input.steps {
        world.step(step);
    }
    world.restart();
});

fn sealed(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut record = length.to_le_bytes().to_vec();
    record.extend(&Sha256::digest(payload)[..4]);
    record.extend(payload);
    record
}

#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A store with one counter, which four limits believe to be theirs.
struct World {
    clock: Hand,
    store: MemoryStore<Hand>,
    limits: [Limit; 4],
    key: Key,
    open: Vec<Reservation>,
}

impl World {
    fn new(key: Key, now: u64) -> Self {
        let minute = Duration::from_secs(60);
        let windows = [
            Window::sliding(minute),
            Window::fixed(minute),
            Window::token_bucket(minute, Cost::new(70)),
            Ok(Window::calendar(Calendar::Day, TimeZone::UTC)),
        ];
        let clock = Hand(Arc::new(AtomicU64::new(now.min(END_OF_TIME))));
        Self {
            store: MemoryStore::with_clock(clock.clone()),
            clock,
            limits: windows.map(|window| Limit {
                name: "tokens".to_owned(),
                limit: Cost::new(100),
                window: window.expect("a minute is a window"),
            }),
            key,
            open: Vec::new(),
        }
    }

    fn meter(&self, limit: u8) -> Meter<'_> {
        Meter {
            limit: &self.limits[usize::from(limit) % self.limits.len()],
            key: self.key,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Wait { milliseconds } => {
                let now = self.clock.now().as_millis().saturating_add(milliseconds);
                self.clock.0.store(now.min(END_OF_TIME), Ordering::Relaxed);
            }
            Step::Reserve { limit, cost } => self.reserve(limit, cost),
            Step::Settle { cost } => {
                if let Some(reservation) = self.open.pop() {
                    ready(self.store.settle(&reservation, &[Cost::new(cost)]));
                }
            }
            Step::Add { limit, cost } => {
                self.correct(limit, Correction::Add(Cost::new(cost)));
            }
            Step::Remove { limit, cost } => {
                self.correct(limit, Correction::Remove(Cost::new(cost)));
            }
            Step::Reset { limit } => {
                let balance = self.correct(limit, Correction::Reset);
                assert_eq!(balance.used, Cost::ZERO);
            }
            Step::Restart => self.restart(),
        }
    }

    fn reserve(&mut self, limit: u8, cost: u64) {
        let Meter { limit, key } = self.meter(limit);
        let capacity = limit.capacity();
        let charge = [Charge::new(limit, key, Cost::new(cost))];
        match ready(self.store.reserve(&charge, LEASE)) {
            Decision::Granted(grant) => {
                assert!(grant.balances[0].used <= capacity);
                self.open.push(grant.reservation);
            }
            Decision::Denied(denial) => {
                assert!(denial.retry_after >= Duration::from_millis(1));
                assert!(denial.balances[0].used.units() + cost > capacity.units());
            }
            Decision::NeverPasses { .. } => assert!(cost > capacity.units()),
        }
    }

    fn correct(&self, limit: u8, correction: Correction) -> Balance {
        ready(self.store.correct(self.meter(limit), correction))
    }

    /// From its snapshot, a store goes on as if it had never stopped.
    fn restart(&mut self) {
        let store = MemoryStore::with_clock(self.clock.clone());
        store.restore(self.store.snapshot());
        for limit in 0..4 {
            let used =
                |store: &MemoryStore<Hand>| ready(store.inspect(&[self.meter(limit)]))[0].used;
            assert_eq!(used(&store), used(&self.store));
        }
        self.store = store;
    }
}

/// The answer of a store that never waits.
fn ready<T, E>(call: impl Future<Output = Result<T, E>>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => answer,
        Poll::Ready(Err(_)) | Poll::Pending => unreachable!("memory is at hand"),
    }
}
