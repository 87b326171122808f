//! Many callers, one limit.

use std::sync::Arc;
use std::time::Duration;

use token_limiter::{Charge, Cost, Decision, Limit, Store as _, Window};

use crate::server::{Server, require_redis};
use crate::{LEASE, key};

const CALLERS: usize = 200;
const LIMIT: u64 = 100;
const REPETITIONS: u64 = 50;

/// Limits of which nothing comes back while a race lasts, on the server's own time: nothing slides out within an hour, a period ends
/// once in four years, and one unit flows into the bucket in four years.
fn limits() -> [Limit; 3] {
    let (hour, most) = (Duration::from_hours(1), Cost::new(LIMIT));
    [
        ("sliding", most, Window::sliding(hour)),
        ("fixed", most, Window::fixed(Window::LONGEST)),
        (
            "bucket",
            Cost::ONE,
            Window::token_bucket(Window::LONGEST, most),
        ),
    ]
    .map(|(name, limit, window)| Limit {
        name: name.to_owned(),
        limit,
        window: window.unwrap(),
    })
}

/// As many stores as there are plugin servers: each has its own connection.
async fn race(plugin_servers: usize) {
    let server = Server::start();
    let stores: Vec<_> = (0..plugin_servers).map(|_| server.store()).collect();
    for limit in limits().map(Arc::new) {
        for repetition in 0..REPETITIONS {
            let key = key(&limit, &format!("race {repetition}"));
            let callers: Vec<_> = stores
                .iter()
                .cycle()
                .take(CALLERS)
                .map(|store| {
                    let (store, limit) = (store.clone(), limit.clone());
                    tokio::spawn(async move {
                        let charge = [Charge::new(&limit, key, Cost::ONE)];
                        let decision = store.reserve(&charge, LEASE).await.unwrap();
                        matches!(decision, Decision::Granted(_))
                    })
                })
                .collect();
            let mut admitted = 0;
            for caller in callers {
                admitted += u64::from(caller.await.unwrap());
            }
            assert_eq!(admitted, LIMIT, "{}, repetition {repetition}", limit.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_at_one_plugin_server_admits_exactly_the_limit() {
    require_redis!();
    race(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_at_two_plugin_servers_admits_exactly_the_limit() {
    require_redis!();
    race(2).await;
}
