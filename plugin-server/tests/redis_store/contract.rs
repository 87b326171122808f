//! The contract on Redis: the Lua is the algorithm of `token-limiter`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llm_plugin_server::stores::redis::RedisStore;
use token_limiter::contract::Subject;
use token_limiter::{Clock, Timestamp};
use tokio::runtime::Runtime;

use crate::server::{self, Server};

/// Cases of the law for each kind of window: a minute for all four on two cores.
const LAW_CASES: u32 = 2_000;

/// A clock that stands still until it is told; it starts in 2026, as a server's would.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct Redis {
    clock: Arc<TestClock>,
    store: RedisStore,
    runtime: Runtime,
    _server: Server,
}

impl Redis {
    fn new() -> Self {
        let server = Server::start();
        let clock = Arc::new(TestClock(AtomicU64::new(1_767_225_600_000)));
        Self {
            store: RedisStore::on_clock(Arc::new(server.config()), clock.clone()),
            clock,
            runtime: Runtime::new().unwrap(),
            _server: server,
        }
    }
}

impl Subject for Redis {
    type Store = RedisStore;

    fn store(&self) -> &RedisStore {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn cases(&self) -> u32 {
        LAW_CASES
    }

    fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).expect("a test waits less than for ever");
        self.clock.0.fetch_add(by_ms, Ordering::SeqCst);
    }

    fn block_on<F: Future>(&self, call: F) -> F::Output {
        self.runtime.block_on(call)
    }
}

token_limiter::contract_suite!(if server::is_here() {
    Redis::new()
} else {
    return;
});
