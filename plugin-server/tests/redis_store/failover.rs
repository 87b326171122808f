//! What requests see while Redis is away, and what Redis is told afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llm_plugin_server::clock::SystemClock;
use llm_plugin_server::stores::failover::{
    BreakerState, FailoverStore, OnStoreFailure, Unavailable,
};
use llm_plugin_server::stores::redis::RedisStore;
use llm_plugin_server::stores::redis::config::RedisConfig;
use token_limiter::{Charge, Cost, Decision, Meter, Settlement, Store as _};

use crate::server::{PATIENCE, Server, require_redis};
use crate::{LEASE, granted, key, limit};

const TIMEOUT: Duration = Duration::from_millis(100);

/// Scheduling on two busy cores, on top of a timeout.
const SLACK: Duration = Duration::from_millis(400);

fn failover(server: &Server) -> Arc<FailoverStore> {
    let config = RedisConfig {
        timeout: TIMEOUT,
        ..server.config()
    };
    let remote = RedisStore::new(Arc::new(config));
    let name = remote.config().to_string();
    FailoverStore::new(name, remote, Arc::new(SystemClock::new()))
}

async fn until_closed(store: &FailoverStore) {
    let started = Instant::now();
    while store.snapshot().breaker != BreakerState::Closed {
        assert!(started.elapsed() < PATIENCE, "the breaker stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_under_load_costs_no_request_and_little_time() {
    require_redis!();
    let mut server = Server::start();
    let store = failover(&server);
    let limit = Arc::new(limit("tokens", 1_000_000));
    let key = key(&limit, "tenant");
    let load = |from: u64, to: u64| {
        let (store, limit) = (store.clone(), limit.clone());
        async move {
            let mut slowest = Duration::ZERO;
            for request in from..to {
                let asked = Instant::now();
                let modes = [if request % 2 == 0 {
                    OnStoreFailure::LocalShare
                } else {
                    OnStoreFailure::Open
                }];
                let charge = [Charge::new(&limit, key, Cost::new(10))];
                let decision = store.reserve(&charge, &modes, LEASE).await;
                let grant = granted(decision.expect("a store that is away is no error"));
                store.settle(&grant.reservation, &[Cost::new(7)]).await;
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        }
    };
    let before: Vec<_> = (0..2).map(|_| tokio::spawn(load(0, 200))).collect();
    for one in before {
        one.await.unwrap();
    }
    let balance = |store: Arc<FailoverStore>| {
        let limit = limit.clone();
        async move {
            let meter = Meter { limit: &limit, key };
            store.remote().inspect(&[meter]).await.unwrap()[0]
                .used
                .units()
        }
    };
    assert_eq!(balance(store.clone()).await, 2 * 200 * 7);

    let during: Vec<_> = (0..3).map(|_| tokio::spawn(load(0, 400))).collect();
    server.kill();
    let mut slowest = Duration::ZERO;
    for one in during {
        slowest = slowest.max(one.await.unwrap());
    }
    assert!(
        slowest < 2 * TIMEOUT + SLACK,
        "a reserve and a settle took {slowest:?}"
    );
    let away = store.snapshot();
    assert_eq!(away.breaker, BreakerState::Open);
    assert!(away.local_share > 0 && away.open > 0, "{away:?}");

    server.restart();
    until_closed(&store).await;
    // The new server knows nothing but what it was told: what local shares spent. What was open is not counted.
    let told = balance(store.clone()).await;
    let back = store.snapshot();
    assert_eq!(told, back.written_back, "{back:?}");
    assert_eq!(told, back.local_share * 7, "{back:?}");

    let charge = [Charge::new(&limit, key, Cost::new(10))];
    granted(store.reserve(&charge, &[], LEASE).await.unwrap());
    assert_eq!(balance(store.clone()).await, told + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_hangs_is_waited_for_no_longer_than_the_timeout() {
    require_redis!();
    let server = Server::start();
    let store = failover(&server);
    let limit = limit("tokens", 100);
    let charge = [Charge::new(&limit, key(&limit, "tenant"), Cost::new(30))];
    let grant = granted(store.reserve(&charge, &[], LEASE).await.unwrap());

    server.signal("STOP");
    for _ in 0..3 {
        let asked = Instant::now();
        let decision = store.reserve(&charge, &[OnStoreFailure::Closed], LEASE);
        assert_eq!(decision.await, Err(Unavailable));
        assert!(asked.elapsed() < TIMEOUT + SLACK, "{:?}", asked.elapsed());
    }
    assert_ne!(store.snapshot().breaker, BreakerState::Closed);
    let asked = Instant::now();
    let settled = store.settle(&grant.reservation, &[Cost::new(50)]).await;
    assert_eq!(settled, Settlement::Settled);
    assert!(
        asked.elapsed() < TIMEOUT,
        "nobody waits for an open breaker"
    );

    server.signal("CONT");
    until_closed(&store).await;
    // The settlement has been told. Requests that were undecided may have reached the server; they are released in the end.
    let meter = Meter {
        limit: &limit,
        key: charge[0].key,
    };
    let started = Instant::now();
    loop {
        let used = store.remote().inspect(&[meter]).await.unwrap()[0].used;
        if used == Cost::new(50) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{used} units stay charged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_asked_for_once_until_something_is_given_back() {
    require_redis!();
    let server = Server::start();
    let store = failover(&server);
    let limit = limit("tokens", 100);
    let charge = [Charge::new(&limit, key(&limit, "tenant"), Cost::new(60))];
    let grant = granted(store.reserve(&charge, &[], LEASE).await.unwrap());
    let mut told = Duration::MAX;
    for _ in 0..10 {
        match store.reserve(&charge, &[], LEASE).await.unwrap() {
            Decision::Denied(denial) => {
                assert!(denial.retry_after <= told);
                told = denial.retry_after;
            }
            other => panic!("the limit has room for one: {other:?}"),
        }
    }
    assert!(store.snapshot().cached_denials >= 8);
    store.settle(&grant.reservation, &[Cost::new(10)]).await;
    granted(store.reserve(&charge, &[], LEASE).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_redis_divide_its_limits_while_it_is_away() {
    require_redis!();
    let mut server = Server::start();
    let stores = [failover(&server), failover(&server)];
    let limit = limit("requests", 10);
    let charge = [Charge::new(&limit, key(&limit, "tenant"), Cost::ONE)];
    let zero = [Charge {
        cost: Cost::ZERO,
        ..charge[0]
    }];
    // The first heartbeat of each goes with its first request; the first store hears of the second with its next.
    let started = Instant::now();
    while stores.iter().any(|store| store.snapshot().nodes < 2) {
        assert!(
            started.elapsed() < PATIENCE,
            "they never heard of each other"
        );
        for store in &stores {
            granted(store.reserve(&zero, &[], LEASE).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.kill();
    let mut admitted = 0;
    for store in &stores {
        for _ in 0..10 {
            let decision = store.reserve(&charge, &[], LEASE).await.unwrap();
            admitted += u32::from(matches!(decision, Decision::Granted(_)));
        }
    }
    assert_eq!(admitted, 10);
}
