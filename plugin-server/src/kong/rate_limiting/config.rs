//! The configuration of `llm-rate-limiting` as Kong's schema has it, and its way to the policy's settings.

use std::time::Duration;

use kong_pdk::PluginConfig;
use serde::Deserialize;
use token_limiter::{Cost, Limit, Window};

use crate::rate_limiting::config::{self as policy, ConfigError, LimitSettings, Settings};

/// The configuration of llm-rate-limiting.
#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub struct Config {
    /// The limits. Each applies to every request, and a request passes only if all have room.
    #[kong(len_min = 1)]
    limits: Vec<LimitConfig>,
    /// Where counters live: in the plugin server's memory, exact for one node.
    #[kong(default = "memory")]
    policy: StorePolicy,
    /// Whether streams are asked to report their usage, and whether clients then see the event that does.
    #[kong(default = "hide")]
    stream_usage: StreamUsage,
    /// The form of a refusal's body.
    #[kong(default = "openai")]
    error_format: ErrorFormat,
    /// Whether clients get no header that tells their limits.
    #[kong(default = false)]
    hide_client_headers: bool,
    /// The status of a refusal that waiting cures.
    #[kong(default = 429, between = [400, 599])]
    error_code: u16,
    /// The message of a refusal that waiting cures; by default one that names the limit.
    error_message: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PluginConfig)]
struct LimitConfig {
    /// The limit's name in headers and messages: letters, digits, '_', '.' and '-'.
    #[kong(len_min = 1, len_max = 64, match = "^[%w_.-]+$")]
    name: String,
    /// What the limit counts.
    #[kong(default = "total_tokens")]
    unit: Unit,
    /// The most that any window may spend.
    #[kong(gt = 0)]
    limit: u64,
    /// The length of the window in seconds.
    #[kong(gt = 0)]
    window_size: u64,
    /// How the window moves.
    #[kong(default = "sliding")]
    window_type: WindowType,
    /// Whose counters are kept apart: consumer, credential, ip, service, route, model, header:NAME or claim:PATH as verified by llm-jwt. An absent value falls back to the ip.
    #[kong(default = ["consumer"], len_min = 1)]
    limit_by: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Requests,
    TotalTokens,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum WindowType {
    Sliding,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum StorePolicy {
    Memory,
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
    Openai,
}

impl TryFrom<Config> for Settings {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        // Of these there is one value each yet: the schema refuses any other.
        let (StorePolicy::Memory, ErrorFormat::Openai) = (config.policy, config.error_format);
        Ok(Self {
            limits: config
                .limits
                .into_iter()
                .map(LimitSettings::try_from)
                .collect::<Result<_, _>>()?,
            stream_usage: match config.stream_usage {
                StreamUsage::Hide => policy::StreamUsage::Hide,
                StreamUsage::Inject => policy::StreamUsage::Inject,
                StreamUsage::Off => policy::StreamUsage::Off,
            },
            hide_client_headers: config.hide_client_headers,
            error_code: config.error_code,
            error_message: config.error_message,
        })
    }
}

impl TryFrom<LimitConfig> for LimitSettings {
    type Error = ConfigError;

    fn try_from(config: LimitConfig) -> Result<Self, ConfigError> {
        let name = config.name;
        let WindowType::Sliding = config.window_type;
        let window =
            Window::sliding(Duration::from_secs(config.window_size)).map_err(|source| {
                ConfigError::Window {
                    name: name.clone(),
                    source,
                }
            })?;
        let limit_by = config
            .limit_by
            .iter()
            .map(|by| by.parse())
            .collect::<Result<_, _>>()
            .map_err(|source| ConfigError::LimitBy {
                name: name.clone(),
                source,
            })?;
        Ok(Self {
            limit: Limit {
                name,
                limit: Cost::new(config.limit),
                window,
            },
            unit: match config.unit {
                Unit::Requests => policy::Unit::Requests,
                Unit::TotalTokens => policy::Unit::TotalTokens,
            },
            limit_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rate_limiting::Policy;
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
    fn the_schema_offers_only_what_works() {
        let schema = Value::Object(
            <Config as kong_pdk::schema::ConfigType>::schema()
                .as_json()
                .clone(),
        )
        .to_string();
        for choice in [
            r#"["requests","total_tokens"]"#,
            r#"["sliding"]"#,
            r#"["memory"]"#,
            r#"["openai"]"#,
        ] {
            assert!(
                schema.contains(&format!("\"one_of\":{choice}")),
                "{choice}: {schema}"
            );
        }
    }
}
