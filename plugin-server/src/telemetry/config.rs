//! `[tracing]`: where spans go, under which name, and how many.

use clap::Args;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::ProcessConfigError;

/// The service that spans belong to, unless configured.
const SERVICE_NAME: &str = "llm-plugin-server";

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracingConfig {
    /// The collector's OTLP/gRPC address, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// The resource attribute `service.name`.
    pub service_name: String,
    /// The share of traces that start here and are kept, 0 to 1. A request that comes with a trace keeps that trace's choice.
    pub sample_ratio: f64,
}

/// The same as flags; the variables are OpenTelemetry's own where it has one.
#[derive(Debug, Default, Args)]
pub struct TracingArgs {
    /// Send spans to this OTLP/gRPC collector, such as http://127.0.0.1:4317; without one there are none.
    #[arg(
        long = "tracing-endpoint",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL"
    )]
    pub endpoint: Option<String>,
    /// The service that spans belong to: llm-plugin-server, unless given.
    #[arg(
        long = "tracing-service-name",
        env = "OTEL_SERVICE_NAME",
        value_name = "NAME"
    )]
    pub service_name: Option<String>,
    /// The share of traces that start here and are kept, 0 to 1; all, unless given.
    #[arg(
        long = "tracing-sample-ratio",
        env = "LLM_PLUGIN_SERVER_TRACING_SAMPLE_RATIO",
        value_name = "RATIO"
    )]
    pub sample_ratio: Option<f64>,
}

/// The same as the file's section.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TracingSection {
    endpoint: Option<String>,
    service_name: Option<String>,
    sample_ratio: Option<f64>,
}

impl TracingSection {
    /// What both say; `None` if neither names a collector.
    pub(crate) fn resolve(self, args: TracingArgs) -> Option<TracingConfig> {
        // OpenTelemetry's variables count as absent when they are empty.
        let given = |value: &String| !value.is_empty();
        Some(TracingConfig {
            endpoint: args.endpoint.filter(given).or(self.endpoint)?,
            service_name: args
                .service_name
                .filter(given)
                .or(self.service_name)
                .unwrap_or_else(|| SERVICE_NAME.to_owned()),
            sample_ratio: args.sample_ratio.or(self.sample_ratio).unwrap_or(1.0),
        })
    }
}

impl TracingConfig {
    /// Whether spans could go there at all.
    ///
    /// # Errors
    ///
    /// When a value cannot work; the text never repeats the address, which may hold a password.
    pub(crate) fn check(&self) -> Result<(), ProcessConfigError> {
        let problem = |field, problem: &str| Err(ProcessConfigError::value(field, problem));
        let Ok(url) = Url::parse(&self.endpoint) else {
            return problem(
                "tracing.endpoint",
                "a URL is needed, such as http://127.0.0.1:4317",
            );
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return problem(
                "tracing.endpoint",
                "http:// or https:// and the collector's host",
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return problem(
                "tracing.endpoint",
                "no user and no password: give credentials in OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
        if self.service_name.is_empty() {
            return problem("tracing.service_name", "a name is needed");
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return problem("tracing.sample_ratio", "0 to 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(section: &str, args: TracingArgs) -> Option<TracingConfig> {
        toml::from_str::<TracingSection>(section)
            .unwrap()
            .resolve(args)
    }

    #[test]
    fn nothing_is_traced_unless_a_collector_is_named() {
        assert_eq!(resolve("sample_ratio = 0.5", TracingArgs::default()), None);
        let empty = TracingArgs {
            endpoint: Some(String::new()),
            ..TracingArgs::default()
        };
        assert_eq!(resolve("", empty), None, "an empty variable is no address");
    }

    #[test]
    fn a_flag_or_variable_wins_over_the_file_which_wins_over_defaults() {
        let args = TracingArgs {
            endpoint: Some("http://b:4317".to_owned()),
            ..TracingArgs::default()
        };
        let config = resolve("endpoint = \"http://a:4317\"\nsample_ratio = 1", args).unwrap();
        assert_eq!(
            (config.endpoint.as_str(), config.service_name.as_str()),
            ("http://b:4317", SERVICE_NAME)
        );
        assert!(config.check().is_ok());
    }

    #[test]
    fn what_cannot_work_is_named_and_no_password_repeated() {
        for (section, field) in [
            ("endpoint = \"collector\"", "tracing.endpoint"),
            ("endpoint = \"unix:/run/otel.sock\"", "tracing.endpoint"),
            ("endpoint = \"http://u:hunter2@a:4317\"", "tracing.endpoint"),
            (
                "endpoint = \"http://a\"\nservice_name = \"\"",
                "tracing.service_name",
            ),
            (
                "endpoint = \"http://a\"\nsample_ratio = 1.5",
                "tracing.sample_ratio",
            ),
            (
                "endpoint = \"http://a\"\nsample_ratio = nan",
                "tracing.sample_ratio",
            ),
        ] {
            let config = resolve(section, TracingArgs::default()).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{section}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
