//! The field `denylist`, and its Redis.

use kong_pdk::PluginConfig;
use serde::Deserialize;

use crate::jwt::config::InvalidSetting;
use crate::jwt::denylist::{DenylistSettings, OnError};
use crate::kong::redis::RedisSection;
use crate::stores::StoreConfig;

/// The field `denylist`.
#[derive(Debug, Deserialize, PluginConfig)]
pub(super) struct DenylistConfig {
    /// Where revocations are kept: nowhere, so that none is looked for; in the plugin server's memory, until it stops; or in a Redis
    /// (or Valkey) that all nodes share.
    #[kong(default = "off")]
    policy: PolicyName,
    /// What becomes of requests while Redis is away: refused with 503, or passed unchecked.
    #[kong(default = "closed")]
    on_error: OnErrorName,
}

/// The values of `denylist.policy`.
#[derive(Debug, Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "lowercase")]
enum PolicyName {
    Off,
    Memory,
    Redis,
}

/// The values of `denylist.on_error`.
#[derive(Debug, Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "lowercase")]
enum OnErrorName {
    Closed,
    Open,
}

impl DenylistConfig {
    /// The denylist in the policy's terms, if there is one.
    pub(super) fn read(
        self,
        redis: Option<RedisSection>,
    ) -> Result<Option<DenylistSettings>, InvalidSetting> {
        // Kong makes up a record of defaults where there was none.
        let redis = redis.filter(RedisSection::is_located);
        let store = match (self.policy, redis) {
            (PolicyName::Redis, Some(redis)) => StoreConfig::Redis(Box::new(redis.read())),
            (PolicyName::Redis, None) => {
                return Err(InvalidSetting::new(
                    "redis",
                    "denylist.policy redis needs a host, cluster_nodes or sentinel_nodes, to know where it is",
                ));
            }
            (_, Some(_)) => {
                return Err(InvalidSetting::new(
                    "redis",
                    "nothing uses it: set denylist.policy to redis, or remove it",
                ));
            }
            (PolicyName::Memory, None) => StoreConfig::Memory,
            (PolicyName::Off, None) => return Ok(None),
        };
        Ok(Some(DenylistSettings {
            store,
            on_error: match self.on_error {
                OnErrorName::Closed => OnError::Closed,
                OnErrorName::Open => OnError::Open,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(denylist: Value, redis: Option<Value>) -> Result<Option<DenylistSettings>, String> {
        let denylist = DenylistConfig::from_json(denylist).unwrap();
        let redis = redis.map(|redis| RedisSection::from_json(redis).unwrap());
        denylist.read(redis).map_err(|problem| problem.field)
    }

    #[test]
    fn a_list_is_kept_where_the_policy_says_and_fails_closed() {
        assert_eq!(read(json!({}), None), Ok(None));
        let memory = read(json!({"policy": "memory"}), None).unwrap().unwrap();
        assert_eq!(
            (memory.store, memory.on_error),
            (StoreConfig::Memory, OnError::Closed)
        );
        let shared = json!({"policy": "redis", "on_error": "open"});
        let shared = read(shared, Some(json!({"host": "valkey.internal"}))).unwrap();
        let shared = shared.unwrap();
        assert_eq!(
            (shared.store.policy(), shared.on_error),
            ("redis", OnError::Open)
        );
    }

    #[test]
    fn a_redis_is_there_where_it_is_used_and_only_there() {
        let redis = || json!({"policy": "redis"});
        assert_eq!(read(redis(), None), Err("redis".into()));
        assert_eq!(read(redis(), Some(json!({}))), Err("redis".into()));
        for policy in ["off", "memory"] {
            let unused = read(json!({"policy": policy}), Some(json!({"host": "a"})));
            assert_eq!(unused, Err("redis".into()));
            assert!(read(json!({"policy": policy}), Some(json!({}))).is_ok());
        }
    }
}
