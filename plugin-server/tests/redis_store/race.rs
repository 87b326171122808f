//! Many callers, one limit.

use std::sync::Arc;

use token_limiter::{Charge, Cost, Decision, Store as _};

use crate::server::{Server, require_redis};
use crate::{LEASE, key, limit};

const CALLERS: u64 = 200;
const LIMIT: u64 = 100;
const REPETITIONS: u64 = 50;

async fn race(clients: u64) {
    let server = Server::start();
    let stores: Vec<_> = (0..clients).map(|_| server.store()).collect();
    let limit = Arc::new(limit("requests", LIMIT));
    for repetition in 0..REPETITIONS {
        let key = key(&limit, &format!("race {repetition}"));
        let callers: Vec<_> = stores
            .iter()
            .cycle()
            .take(usize::try_from(CALLERS).unwrap())
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
        assert_eq!(admitted, LIMIT, "in repetition {repetition}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_one_client_admits_exactly_the_limit() {
    require_redis!();
    race(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_two_clients_admits_exactly_the_limit() {
    require_redis!();
    race(2).await;
}
