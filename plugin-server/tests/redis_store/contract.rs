//! The contract on Redis: the Lua is the algorithm of `token-limiter`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llm_plugin_server::stores::redis::RedisStore;
use llm_plugin_server::stores::redis::config::RedisConfig;
use token_limiter::contract::{CASES, Subject};
use token_limiter::{Clock, Timestamp};
use tokio::runtime::{Builder, Runtime};

use crate::server::{self, PATIENCE, Server};

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
    host: Arc<Host>,
}

struct Host {
    server: Server,
    runtime: Runtime,
}

impl Redis {
    fn new() -> Self {
        let host = Host {
            server: Server::start(),
            // Whoever asks also drives the connection: no call waits for another thread to wake up.
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        };
        let config = RedisConfig {
            // A law of many calls at once, on a machine that is busy with something else.
            timeout: PATIENCE,
            ..host.server.config()
        };
        Self::of(&RedisStore::new(Arc::new(config)), Arc::new(host))
    }

    fn of(store: &RedisStore, host: Arc<Host>) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(1_767_225_600_000)));
        Self {
            store: store.on_clock(clock.clone()),
            clock,
            host,
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

    fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).expect("a test waits less than for ever");
        self.clock.0.fetch_add(by_ms, Ordering::SeqCst);
    }

    fn apart(&self) -> Self {
        Self::of(&self.store, self.host.clone())
    }

    /// All in CI. A round trip takes long: elsewhere fewer will do, drawn anew each time.
    fn cases(&self) -> u32 {
        if std::env::var("CI").as_deref() == Ok("true") {
            CASES
        } else {
            CASES / 4
        }
    }

    fn block_on<F: Future>(&self, call: F) -> F::Output {
        self.host.runtime.block_on(call)
    }
}

token_limiter::contract_suite!(if server::is_here() {
    Redis::new()
} else {
    return;
});
