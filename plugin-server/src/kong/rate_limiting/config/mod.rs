//! The configuration of `llm-rate-limiting` as Kong's schema has it, and its way to the policy's settings.

mod limit;
mod matching;
mod price;

use kong_pdk::PluginConfig;
use serde::Deserialize;

use self::limit::LimitConfig;
use self::matching::PriorityConfig;
use self::price::PriceConfig;
use crate::kong::redis::RedisSection;
use crate::rate_limiting::Policy;
use crate::rate_limiting::config::{self as policy, ConfigError, Settings};
use crate::rate_limiting::matching::ModelPattern;
use crate::rate_limiting::price::PriceTable;
use crate::stores::StoreConfig;
use crate::stores::failover::OnStoreFailure as Failure;

/// The configuration of llm-rate-limiting.
#[derive(Clone, Debug, Deserialize, PluginConfig)]
#[kong(entity_check(conditional_at_least_one_of = serde_json::json!({
    "if_field": "policy", "if_match": {"eq": "redis"},
    "then_at_least_one_of": ["redis.host", "redis.cluster_nodes", "redis.sentinel_nodes"],
    "then_err": "policy redis needs at least one of these, to know where it is: %s",
})))]
pub struct Config {
    /// The limits. Each applies to the requests that it matches, and a request passes only if all that apply have room.
    #[kong(len_min = 1)]
    limits: Vec<LimitConfig>,
    /// Classes of requests that may fill each limit only in part, so that the rest is there for others; the first that matches decides.
    priorities: Option<Vec<PriorityConfig>>,
    /// What tokens cost, for limits on cost: the first entry whose model fits decides.
    prices: Option<Vec<PriceConfig>>,
    /// The models that may be asked, as patterns such as gpt-4o*; without any, all. A request whose model cannot be read is refused.
    allowed_models: Option<Vec<String>>,
    /// What happens to the caps that clients put on the length of answers.
    max_tokens: Option<MaxTokensConfig>,
    /// How a request is priced before its answer: by its body, by the body's size, or not at all.
    #[kong(default = "body")]
    estimate: Estimate,
    /// Where counters live: in the plugin server's memory, exact for one node; or in a Redis (or Valkey) that all nodes share.
    #[kong(default = "memory")]
    policy: StorePolicy,
    /// Where that Redis is: a host, a cluster, or sentinels.
    redis: Option<RedisSection>,
    /// What becomes of limits while Redis is away: each node enforces its share and writes back what it spent, or requests pass uncounted, or they are refused with 503.
    #[kong(default = "local_share")]
    on_store_failure: OnStoreFailure,
    /// Whether streams are asked to report their usage, and whether clients then see the event that does.
    #[kong(default = "hide")]
    stream_usage: StreamUsage,
    /// The form of a refusal's body; auto takes that of the provider whose API the request's path belongs to.
    #[kong(default = "auto")]
    error_format: ErrorFormat,
    /// Whether clients get no header that tells their limits.
    #[kong(default = false)]
    hide_client_headers: bool,
    /// Whether clients also get Kong Enterprise's X-AI-RateLimit headers, of the limit with the least left.
    #[kong(default = false)]
    kong_headers: bool,
    /// The status of a refusal that waiting cures.
    #[kong(default = 429, between = [400, 599])]
    error_code: u16,
    /// The message of a refusal that waiting cures; by default one that names the limit.
    error_message: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
struct MaxTokensConfig {
    /// A client's larger cap is lowered to this many tokens.
    #[kong(gt = 0)]
    clamp: Option<u64>,
    /// A request without a cap gets one of this many tokens.
    #[kong(gt = 0)]
    inject: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum Estimate {
    None,
    ContentLength,
    Body,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum StorePolicy {
    Memory,
    Redis,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum OnStoreFailure {
    LocalShare,
    Open,
    Closed,
}

impl From<OnStoreFailure> for Failure {
    fn from(config: OnStoreFailure) -> Self {
        match config {
            OnStoreFailure::LocalShare => Self::LocalShare,
            OnStoreFailure::Open => Self::Open,
            OnStoreFailure::Closed => Self::Closed,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum StreamUsage {
    Hide,
    Inject,
    Off,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum ErrorFormat {
    Auto,
    Openai,
    Anthropic,
    Problem,
    Kong,
}

impl Config {
    /// The policy of this configuration.
    ///
    /// # Errors
    ///
    /// The first reason for which it cannot work.
    pub fn policy(self) -> Result<Policy, ConfigError> {
        Settings::try_from(self).and_then(Policy::new)
    }
}

impl TryFrom<Config> for Settings {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        // Kong makes up a record of defaults where there was none.
        let redis = config.redis.filter(RedisSection::is_located);
        let store = match (config.policy, redis) {
            (StorePolicy::Memory, None) => StoreConfig::Memory,
            (StorePolicy::Memory, Some(_)) => return Err(ConfigError::UnusedRedis),
            (StorePolicy::Redis, Some(redis)) => StoreConfig::Redis(Box::new(redis.read())),
            (StorePolicy::Redis, None) => return Err(ConfigError::NoRedis),
        };
        let on_store_failure = config.on_store_failure.into();
        let allowed_models = config.allowed_models.unwrap_or_default();
        let max_tokens = config.max_tokens;
        Ok(Self {
            limits: each(config.limits, |at, limit| {
                limit.settings(at, on_store_failure)
            })?,
            store,
            priorities: each(config.priorities.unwrap_or_default(), PriorityConfig::read)?,
            prices: PriceTable {
                entries: each(config.prices.unwrap_or_default(), |at, price| {
                    PriceConfig::read(at, &price)
                })?,
            },
            allowed_models: each(allowed_models, |at, pattern| {
                ModelPattern::new(&pattern)
                    .map_err(|problem| ConfigError::AllowedModel { at, problem })
            })?,
            max_tokens: policy::MaxTokens {
                clamp: max_tokens.and_then(|caps| caps.clamp),
                inject: max_tokens.and_then(|caps| caps.inject),
            },
            estimate: match config.estimate {
                Estimate::None => policy::EstimateMode::None,
                Estimate::ContentLength => policy::EstimateMode::ContentLength,
                Estimate::Body => policy::EstimateMode::Body,
            },
            stream_usage: match config.stream_usage {
                StreamUsage::Hide => policy::StreamUsage::Hide,
                StreamUsage::Inject => policy::StreamUsage::Inject,
                StreamUsage::Off => policy::StreamUsage::Off,
            },
            error_format: match config.error_format {
                ErrorFormat::Auto => policy::ErrorFormat::Auto,
                ErrorFormat::Openai => policy::ErrorFormat::Openai,
                ErrorFormat::Anthropic => policy::ErrorFormat::Anthropic,
                ErrorFormat::Problem => policy::ErrorFormat::Problem,
                ErrorFormat::Kong => policy::ErrorFormat::Kong,
            },
            hide_client_headers: config.hide_client_headers,
            kong_headers: config.kong_headers,
            error_code: config.error_code,
            error_message: config.error_message,
        })
    }
}

/// Reads every entry, or gives the first that cannot be read.
fn each<T, U, E>(entries: Vec<T>, read: impl Fn(usize, T) -> Result<U, E>) -> Result<Vec<U>, E> {
    let entries = entries.into_iter().enumerate();
    entries.map(|(at, entry)| read(at, entry)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::rate_limiting::identity::LimitBy;

    fn settings(config: Value) -> Result<Settings, String> {
        let config = Config::from_json(config).map_err(|error| error.to_string())?;
        let settings = Settings::try_from(config).map_err(|error| error.to_string())?;
        Policy::new(settings.clone()).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn the_least_configuration_has_the_documented_defaults() {
        let settings =
            settings(json!({"limits": [{"name": "minute", "limit": 1000, "window_size": 60}]}))
                .unwrap();
        let minute = &settings.limits[0];
        assert_eq!(minute.unit, policy::Unit::TotalTokens);
        assert_eq!(minute.limit.window.length(), Duration::from_mins(1));
        assert_eq!(minute.limit_by, [LimitBy::Consumer]);
        assert_eq!(settings.stream_usage, policy::StreamUsage::Hide);
        assert_eq!(
            (
                settings.error_code,
                settings.hide_client_headers,
                settings.error_message
            ),
            (429, false, None)
        );
    }

    #[test]
    fn a_full_configuration_is_read_as_kong_sends_it() {
        // Kong sends whole numbers without a fraction, empty tables as maps, and keys of its own.
        let settings = settings(json!({
            "__plugin_id": "1", "route_id": "2",
            "limits": [
                {"name": "a", "unit": "requests", "limit": 5, "window_size": 3600, "window_type": "sliding",
                 "limit_by": ["claim:org.id", "header:X-Team", "ip"]},
            ],
            "policy": "memory", "stream_usage": "off", "error_format": "openai", "hide_client_headers": true,
            "error_code": 420, "error_message": "calm down",
        }))
        .unwrap();
        assert_eq!(settings.limits[0].limit_by.len(), 3);
        assert_eq!(settings.stream_usage, policy::StreamUsage::Off);
        assert_eq!(
            (settings.error_code, settings.error_message.as_deref()),
            (420, Some("calm down"))
        );
    }

    #[test]
    fn a_configuration_that_cannot_work_names_the_field() {
        let error = |limits| settings(json!({"limits": limits})).unwrap_err();
        assert_eq!(error(json!({})), "limits: at least one limit is needed");
        let by = json!([{"name": "a", "limit": 1, "window_size": 60, "limit_by": ["cookie:a"]}]);
        assert!(error(by).starts_with("limits: a: limit_by: \"cookie:a\" is none of"));
        let window = json!([{"name": "a", "limit": 1, "window_size": 1_000_000_000}]);
        assert!(error(window).starts_with("limits: a: window_size: a window lasts"));
    }

    #[test]
    fn redis_is_read_with_its_defaults_and_each_limit_fails_in_its_own_way() {
        let limits = json!([
            {"name": "a", "limit": 1, "window_size": 60},
            {"name": "b", "limit": 1, "window_size": 60, "on_store_failure": "closed"},
        ]);
        let settings = settings(json!({
            "limits": limits, "policy": "redis", "on_store_failure": "open",
            "redis": {"host": "valkey.internal", "password": "secret", "ssl": true},
        }))
        .unwrap();
        let StoreConfig::Redis(redis) = &settings.store else {
            panic!("not redis")
        };
        assert_eq!(redis.to_string(), "redis://valkey.internal:6379/0");
        assert_eq!(redis.timeout, Duration::from_millis(50));
        assert!(redis.ssl && redis.ssl_verify);
        let failures: Vec<_> = settings
            .limits
            .iter()
            .map(|limit| limit.on_store_failure)
            .collect();
        assert_eq!(failures, [Failure::Open, Failure::Closed]);
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn a_store_that_cannot_work_is_refused() {
        let error = |rest: Value| {
            let mut config = json!({"limits": [{"name": "a", "limit": 1, "window_size": 60}]});
            let rest = rest.as_object().unwrap().clone();
            config.as_object_mut().unwrap().extend(rest);
            settings(config).unwrap_err()
        };
        let nowhere = "redis: policy redis needs a host";
        assert!(error(json!({"policy": "redis"})).starts_with(nowhere));
        assert!(error(json!({"policy": "redis", "redis": {"port": 1}})).starts_with(nowhere));
        settings(json!({
            "limits": [{"name": "a", "limit": 1, "window_size": 60}], "redis": {"port": 6379, "ssl": false},
        }))
        .expect("Kong makes up such a record");
        let unused = error(json!({"redis": {"host": "a"}}));
        assert!(unused.contains("policy is memory"), "{unused}");
        let nameless =
            error(json!({"policy": "redis", "redis": {"sentinel_nodes": [{"host": "a"}]}}));
        assert!(
            nameless.starts_with("redis.sentinel_master: is needed"),
            "{nameless}"
        );
    }

    #[test]
    fn the_schema_offers_only_what_works() {
        let schema = Value::Object(
            <Config as kong_pdk::schema::ConfigType>::schema()
                .as_json()
                .clone(),
        )
        .to_string();
        for choice in [
            r#"["requests","prompt_tokens","completion_tokens","total_tokens","cost","concurrent_requests"]"#,
            r#"["sliding","fixed","token_bucket","calendar"]"#,
            r#"["memory","redis"]"#,
            r#"["local_share","open","closed"]"#,
            r#"["auto","openai","anthropic","problem","kong"]"#,
        ] {
            assert!(
                schema.contains(&format!("\"one_of\":{choice}")),
                "{choice}: {schema}"
            );
        }
    }
}
