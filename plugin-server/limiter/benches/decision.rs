//! What a decision costs: reserve and settle in one thread, against the target of two million a second.
//!
//! Besides criterion's means it prints what criterion does not measure: the latency's tail, and the memory of a
//! million counters.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use token_limiter::{Charge, Cost, Decision, Identity, Key, Limit, MemoryStore, Store, Window};

const LEASE: Duration = Duration::from_mins(10);

fn limit(name: &str, most: u64) -> Limit {
    Limit {
        name: name.to_owned(),
        limit: Cost::new(most),
        window: Window::sliding(Duration::from_mins(1)).expect("a minute is a window"),
    }
}

fn ready<F: Future>(call: F) -> F::Output {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the memory store never waits"),
    }
}

fn keys(limit: &Limit, count: u64) -> Vec<Key> {
    (0..count)
        .map(|number| Key::new(limit, "tokens", &Identity::new([&number.to_le_bytes()[..]])))
        .collect()
}

fn decide(store: &MemoryStore, charges: &[Charge<'_>], actual: &[Cost]) {
    let Ok(Decision::Granted(grant)) = ready(store.reserve(charges, LEASE)) else {
        unreachable!("the limit is out of reach");
    };
    black_box(ready(store.settle(&grant.reservation, actual))).ok();
}

fn decisions(criterion: &mut Criterion) {
    let (tokens, requests) = (limit("tokens", u64::MAX), limit("requests", u64::MAX));
    let (token_keys, request_keys) = (keys(&tokens, 10_000), keys(&requests, 10_000));
    let store = MemoryStore::new();
    let mut group = criterion.benchmark_group("decision");
    group.throughput(Throughput::Elements(1));

    let mut turn = 0;
    group.bench_function("reserve and settle, one limit, 10,000 keys", |bencher| {
        bencher.iter(|| {
            turn = (turn + 7_919) % token_keys.len();
            let charge = Charge::new(&tokens, token_keys[turn], Cost::new(900));
            decide(&store, &[charge], &[Cost::new(700)]);
        });
    });
    group.bench_function("reserve and settle, two limits, 10,000 keys", |bencher| {
        bencher.iter(|| {
            turn = (turn + 7_919) % token_keys.len();
            let charges = [
                Charge::new(&tokens, token_keys[turn], Cost::new(900)),
                Charge::new(&requests, request_keys[turn], Cost::ONE),
            ];
            decide(&store, &charges, &[Cost::new(700), Cost::ONE]);
        });
    });

    let spent = limit("spent", 1);
    let charge = [Charge::new(
        &spent,
        Key::new(&spent, "tokens", &Identity::new([])),
        Cost::ONE,
    )];
    group.bench_function("refusal", |bencher| {
        bencher.iter(|| black_box(ready(store.reserve(black_box(&charge), LEASE))));
    });
    group.bench_function("key of two values", |bencher| {
        bencher.iter(|| {
            let identity = Identity::new([
                black_box(&b"consumer-17"[..]),
                black_box(&b"gpt-4o-mini"[..]),
            ]);
            Key::new(&tokens, "tokens", &identity)
        });
    });
    group.finish();
    tail(&store, &tokens, &token_keys);
}

/// Prints percentiles over a million timed decisions, the two readings of the clock included.
fn tail(store: &MemoryStore, limit: &Limit, keys: &[Key]) {
    let mut nanoseconds: Vec<u128> = (0..1_000_000)
        .map(|turn: usize| {
            let charge = Charge::new(limit, keys[turn * 7_919 % keys.len()], Cost::new(900));
            let start = Instant::now();
            decide(store, &[charge], &[Cost::new(700)]);
            start.elapsed().as_nanos()
        })
        .collect();
    nanoseconds.sort_unstable();
    let at = |per_mille: usize| nanoseconds[nanoseconds.len() * per_mille / 1_000];
    println!(
        "latency: p50 {} ns, p99 {} ns, p99.9 {} ns",
        at(500),
        at(990),
        at(999)
    );
}

/// Prints how much the process grows by a million live counters.
fn memory(_: &mut Criterion) {
    let Some(before) = resident_bytes() else {
        println!("memory: this system does not tell a process's size");
        return;
    };
    let limit = limit("tokens", u64::MAX);
    let store = MemoryStore::new();
    for number in 0..1_000_000_u64 {
        let charge = Charge::new(
            &limit,
            Key::new(
                &limit,
                "tokens",
                &Identity::new([&number.to_le_bytes()[..]]),
            ),
            Cost::ONE,
        );
        decide(&store, &[charge], &[Cost::ONE]);
    }
    let after = resident_bytes().unwrap_or(before);
    let counters = store.population().counters;
    println!(
        "memory: {counters} counters in {} MB",
        (after - before) / 1_000_000
    );
}

fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * 4096)
}

criterion_group!(benches, memory, decisions);
criterion_main!(benches);
