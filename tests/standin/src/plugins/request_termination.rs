//! `request-termination`: answers instead of the upstream.

use serde::Deserialize;
use serde_json::json;

use super::pdk::{ExitBody, Throw};
use crate::proxy::Exchange;

/// The part of the plugin's configuration that the stand-in has: all but `echo`.
#[derive(Debug, Deserialize)]
pub(super) struct RequestTermination {
    #[serde(default = "unavailable")]
    status_code: i64,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    trigger: Option<String>,
}

fn unavailable() -> i64 {
    503
}

pub(super) fn access(exchange: &Exchange, config: &RequestTermination) -> Result<(), Throw> {
    if let Some(trigger) = &config.trigger {
        let in_query = exchange.query_argument(trigger.as_bytes()).is_some();
        if !in_query && exchange.header(trigger.as_bytes()).is_none() {
            return Ok(());
        }
    }
    if config.echo {
        return Err(Throw::new(
            "the stand-in does not have `echo` of request-termination; a real Kong has it",
        ));
    }
    if let Some(body) = &config.body {
        let content_type = config
            .content_type
            .iter()
            .map(|value| value.clone().into_bytes())
            .collect::<Vec<_>>();
        let headers = if content_type.is_empty() {
            vec![]
        } else {
            vec![(b"Content-Type".to_vec(), content_type)]
        };
        return exchange.exit(
            config.status_code,
            ExitBody::Raw(body.clone().into()),
            &headers,
        );
    }
    let usual = match config.status_code {
        401 => Some("Unauthorized"),
        404 => Some("Not found"),
        405 => Some("Method not allowed"),
        500 => Some("An unexpected error occurred"),
        502 => Some("Bad Gateway"),
        503 => Some("Service unavailable"),
        _ => None,
    };
    let message = config.message.as_deref().or(usual);
    let body = message.map_or(ExitBody::None, |message| {
        ExitBody::Json(json!({"message": message}))
    });
    exchange.exit(config.status_code, body, &[])
}
