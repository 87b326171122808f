//! Instances: what Kong's ids stand for.
//!
//! # Model
//!
//! Kong starts an instance for each plugin entity in each of its workers, and again whenever its configuration is pushed, so
//! most instances are equal. Two things are kept apart:
//!
//! - what the plugin made of a configuration, shared by all instances with equal configurations (compared by a SHA-256 of
//!   the JSON with its keys sorted and Kong's own keys taken out), and dropped with the last of them;
//! - the [`Scope`], which tells to what one instance is attached, made from Kong's own keys.
//!
//! # Invariants
//!
//! 1. An id is never 0 and starts at a random place: ids of an earlier server process are, but for a chance of about one in a
//!    million, unknown here.
//! 2. A configuration that the plugin refuses still gets an id: Kong has no way to be told why, and would answer each request
//!    with an error of its own. See [`Made::Unusable`].

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::hosted::{AnyInstance, Hosted};
use crate::byte_string::ByteString;
use crate::kong::Scope;
use crate::plugin::ConfigError;

/// Keys that Kong adds to a configuration.
const KONGS_KEYS: &[&str] = &[
    "route_id",
    "service_id",
    "consumer_id",
    "consumer_group_id",
    "plugin_instance_name",
    "$refs",
];

/// What a plugin made of a configuration.
pub(crate) enum Made {
    Usable(Arc<AnyInstance>),
    /// The plugin refused the configuration: every request is answered with an error that names the plugin.
    Unusable,
}

/// A started instance.
#[derive(Clone)]
pub(crate) struct Instance {
    /// The place of the plugin in the server's list.
    pub(crate) plugin: usize,
    pub(crate) made: Arc<Made>,
    pub(crate) scope: Arc<Scope>,
    /// Seconds since 1970.
    pub(crate) started_at: i64,
}

type Fingerprint = [u8; 32];

#[derive(Default)]
struct Table {
    by_id: HashMap<i32, (Instance, Instant)>,
    by_config: HashMap<(usize, Fingerprint), Weak<Made>>,
    last_id: i32,
}

pub(crate) struct Instances {
    table: Mutex<Table>,
    idle: Duration,
    max: usize,
}

impl Instances {
    pub(crate) fn new(idle: Duration, max: usize) -> Self {
        let random = RandomState::new().hash_one(());
        let table = Table {
            last_id: i32::try_from(random & 0x7fff_ffff).expect("31 bits are a positive i32"),
            ..Table::default()
        };
        Self {
            table: Mutex::new(table),
            idle,
            max,
        }
    }

    /// Starts an instance of the plugin at this place in the server's list. Returns its id.
    pub(crate) fn start(
        &self,
        place: usize,
        plugin: &dyn Hosted,
        config: &[u8],
        started_at: i64,
    ) -> i32 {
        let (scope, fingerprint, settings) = match take_apart(config) {
            Ok(parts) => parts,
            Err(error) => (Scope::default(), Sha256::digest(config).into(), Err(error)),
        };
        let known = self
            .table
            .lock()
            .by_config
            .get(&(place, fingerprint))
            .and_then(Weak::upgrade);
        // Made outside the lock: it is the plugin's code. Two workers may make the same; the first to be stored stays.
        let made = known.unwrap_or_else(|| Arc::new(make(plugin, settings, &scope)));
        let mut table = self.table.lock();
        let first = table
            .by_config
            .get(&(place, fingerprint))
            .and_then(Weak::upgrade);
        let made = first.unwrap_or_else(|| {
            table
                .by_config
                .insert((place, fingerprint), Arc::downgrade(&made));
            made
        });
        table.make_room(self.max);
        let id = table.fresh_id();
        let instance = Instance {
            plugin: place,
            made,
            scope: Arc::new(scope),
            started_at,
        };
        table.by_id.insert(id, (instance, Instant::now()));
        id
    }

    /// The instance of this id, for an event.
    pub(crate) fn get(&self, id: i32) -> Option<Instance> {
        let mut table = self.table.lock();
        let (instance, last_used) = table.by_id.get_mut(&id)?;
        *last_used = Instant::now();
        Some(instance.clone())
    }

    pub(crate) fn close(&self, id: i32) {
        let mut table = self.table.lock();
        table.by_id.remove(&id);
        table.forget_unused();
    }

    /// Drops the instances that no event has named for long. Returns how many.
    pub(crate) fn collect_idle(&self) -> usize {
        let mut table = self.table.lock();
        let before = table.by_id.len();
        let now = Instant::now();
        table
            .by_id
            .retain(|_, (_, last_used)| now.duration_since(*last_used) < self.idle);
        let collected = before - table.by_id.len();
        table.forget_unused();
        collected
    }

    #[cfg(test)]
    fn sizes(&self) -> (usize, usize) {
        let table = self.table.lock();
        (table.by_id.len(), table.by_config.len())
    }
}

impl Table {
    fn fresh_id(&mut self) -> i32 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn make_room(&mut self, max: usize) {
        while self.by_id.len() >= max.max(1) {
            let oldest = self
                .by_id
                .iter()
                .min_by_key(|(_, (_, last_used))| *last_used);
            let Some(id) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.by_id.remove(&id);
        }
    }

    /// Forgets the configurations that no instance has any more.
    fn forget_unused(&mut self) {
        self.by_config.retain(|_, made| made.strong_count() > 0);
    }
}

fn make(
    plugin: &dyn Hosted,
    settings: Result<Map<String, Value>, ConfigError>,
    scope: &Scope,
) -> Made {
    // A panic here would close the connection during a start, and every request would meet Kong's own error.
    let configure = |settings| {
        panic::catch_unwind(AssertUnwindSafe(|| {
            plugin.configure(Value::Object(settings))
        }))
        .unwrap_or_else(|_| {
            Err(ConfigError::new(
                "the plugin panicked while it was configured",
            ))
        })
    };
    match settings.and_then(configure) {
        Ok(instance) => Made::Usable(instance),
        Err(error) => {
            let plugin = plugin.description().name;
            tracing::error!(
                plugin,
                plugin_id = ?scope.plugin_id,
                %error,
                "this configuration cannot be used: requests get a 500"
            );
            Made::Unusable
        }
    }
}

type Parts = (Scope, Fingerprint, Result<Map<String, Value>, ConfigError>);

/// Takes a configuration apart into what it is attached to and the plugin's own settings.
fn take_apart(config: &[u8]) -> Result<Parts, ConfigError> {
    let mut settings = match serde_json::from_slice(config) {
        Ok(Value::Object(settings)) => settings,
        // Lua's empty table.
        Ok(Value::Array(values)) if values.is_empty() => Map::new(),
        _ => return Err(ConfigError::new("the configuration is not a JSON object")),
    };
    let mut text = |key: &str| match settings.shift_remove(key) {
        Some(Value::String(text)) => Some(ByteString::from(text)),
        _ => None,
    };
    let scope = Scope {
        plugin_id: text("__plugin_id"),
        instance_name: text("plugin_instance_name"),
        route_id: text("route_id"),
        service_id: text("service_id"),
        consumer_id: text("consumer_id"),
        workspace_id: text("__ws_id"),
    };
    settings.retain(|key, _| !key.starts_with("__") && !KONGS_KEYS.contains(&key.as_str()));
    settings.sort_keys();
    settings.values_mut().for_each(Value::sort_all_objects);
    let sorted = serde_json::to_vec(&settings).expect("a JSON value is JSON");
    Ok((scope, Sha256::digest(sorted).into(), Ok(settings)))
}

/// Keeps unknown instances from becoming a storm.
///
/// Closing the connection makes Kong repeat the event at once, without limit. After a restart of this server each event under
/// way is repeated once or twice, which is as it should be; when something keeps going wrong, closing must take time. So in each
/// second only [`StormGuard::FREE`] connections are closed at once, and the others when [`StormGuard::DELAY`] has passed: each
/// request of a client then makes at most one attempt in that time.
#[derive(Debug, Default)]
pub(crate) struct StormGuard {
    window: Mutex<Option<(Instant, u32)>>,
}

impl StormGuard {
    /// Closes in a second that happen at once.
    pub(crate) const FREE: u32 = 256;
    /// How long each further one waits.
    pub(crate) const DELAY: Duration = Duration::from_secs(1);

    /// How long to wait before this close.
    pub(crate) fn delay(&self) -> Duration {
        let now = Instant::now();
        let mut window = self.window.lock();
        let (started, closes) = match *window {
            Some((started, closes)) if now.duration_since(started) < Duration::from_secs(1) => {
                (started, closes + 1)
            }
            _ => (now, 1),
        };
        *window = Some((started, closes));
        if closes > Self::FREE {
            Self::DELAY
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::{Access, Plugin};
    use crate::server::hosted::HostedPlugin;
    use crate::{Flow, HandlerError, Kong, PluginConfig, phase};

    #[derive(serde::Deserialize, PluginConfig)]
    struct Config {
        number: Option<u32>,
    }

    struct Numbered;

    impl Plugin for Numbered {
        const NAME: &'static str = "numbered";
        const VERSION: &'static str = "1.0.0";
        const PRIORITY: i32 = 1;
        type Config = Config;
        type Instance = Option<u32>;

        fn configure(&self, config: Config) -> Result<Option<u32>, ConfigError> {
            Ok(config.number)
        }
    }

    impl Access for Numbered {
        async fn access(
            &self,
            _: &Option<u32>,
            _: &mut Kong<phase::Access>,
        ) -> Result<Flow, HandlerError> {
            Ok(Flow::Continue)
        }
    }

    fn start(instances: &Instances, config: &Value) -> i32 {
        let plugin = HostedPlugin::new(crate::registration!(Numbered));
        instances.start(0, &plugin, config.to_string().as_bytes(), 0)
    }

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_hundred_pushes_leave_nothing_behind() {
        let instances = Instances::new(LONG, 1000);
        let mut last = start(&instances, &json!({ "number": 0 }));
        for number in 1..100 {
            let next = start(&instances, &json!({ "number": number, "__seq__": number }));
            instances.close(last);
            last = next;
        }
        assert_eq!(instances.sizes(), (1, 1));
    }

    #[tokio::test]
    async fn the_order_of_keys_and_kongs_own_keys_do_not_matter() {
        let instances = Instances::new(LONG, 1000);
        for config in [
            json!({ "number": 1, "__seq__": 1, "route_id": "a" }),
            json!({ "service_id": "b", "__plugin_id": "p", "number": 1 }),
        ] {
            start(&instances, &config);
        }
        assert_eq!(instances.sizes(), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_instances_are_collected_and_used_ones_kept() {
        let instances = Instances::new(LONG, 1000);
        let used = start(&instances, &json!({ "number": 1 }));
        let idle = start(&instances, &json!({ "number": 2 }));
        tokio::time::advance(LONG / 2).await;
        assert!(instances.get(used).is_some());
        tokio::time::advance(LONG / 2).await;
        assert_eq!(instances.collect_idle(), 1);
        assert!(instances.get(idle).is_none());
        assert!(instances.get(used).is_some());
        assert_eq!(instances.sizes(), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_instance_makes_room() {
        let instances = Instances::new(LONG, 2);
        let first = start(&instances, &json!({}));
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = start(&instances, &json!({}));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(instances.get(first).is_some());
        start(&instances, &json!([]));
        assert!(instances.get(second).is_none());
        assert_eq!(instances.sizes(), (2, 1));
    }

    #[test]
    fn ids_wrap_to_one() {
        let mut table = Table {
            last_id: i32::MAX - 1,
            ..Table::default()
        };
        assert_eq!(table.fresh_id(), i32::MAX);
        assert_eq!(table.fresh_id(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_unknown_instances_is_slowed_down() {
        let guard = StormGuard::default();
        for _ in 0..StormGuard::FREE {
            assert_eq!(guard.delay(), Duration::ZERO);
        }
        assert_eq!(guard.delay(), StormGuard::DELAY);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(guard.delay(), Duration::ZERO);
    }
}
