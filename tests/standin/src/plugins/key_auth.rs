//! `key-auth`: who calls is told by a key in a header or in the query.

use serde::Deserialize;

use super::pdk::{Single, Throw};
use crate::proxy::{Consumer, Credential, Exchange};

/// The part of the plugin's configuration that the stand-in has.
#[derive(Debug, Deserialize)]
pub(super) struct KeyAuth {
    #[serde(default = "default_key_names")]
    key_names: Vec<String>,
    #[serde(default)]
    hide_credentials: bool,
    #[serde(default)]
    anonymous: Option<String>,
    #[serde(default = "yes")]
    key_in_header: bool,
    #[serde(default = "yes")]
    key_in_query: bool,
    #[serde(default)]
    key_in_body: bool,
    #[serde(default = "yes")]
    run_on_preflight: bool,
    #[serde(default)]
    realm: Option<String>,
}

fn default_key_names() -> Vec<String> {
    vec!["apikey".to_owned()]
}

fn yes() -> bool {
    true
}

pub(super) fn access(exchange: &Exchange, config: &KeyAuth) -> Result<(), Throw> {
    if config.key_in_body {
        return Err(Throw::new(
            "the stand-in does not have key_in_body; a real Kong has it",
        ));
    }
    if !config.run_on_preflight && exchange.method() == "OPTIONS" {
        return Ok(());
    }
    if config.anonymous.is_some() && exchange.state().credential.is_some() {
        return Ok(());
    }
    match (authenticate(exchange, config)?, &config.anonymous) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(anonymous)) => {
            let consumer = exchange.load_consumer(anonymous, true)?;
            let consumer =
                consumer.ok_or_else(|| Throw(format!("no anonymous consumer {anonymous:?}")))?;
            let id = consumer
                .get("id")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned();
            identify(
                exchange,
                Consumer {
                    id,
                    entity: consumer,
                },
                None,
            )
        }
        (Err(refusal), None) => {
            let challenge = config.realm.as_ref().map_or_else(
                || "Key".to_owned(),
                |realm| format!("Key realm=\"{realm}\""),
            );
            exchange.error(401, Some(refusal), &[("WWW-Authenticate", &challenge)])
        }
    }
}

/// The inner error is what the client is told.
fn authenticate(exchange: &Exchange, config: &KeyAuth) -> Result<Result<(), &'static str>, Throw> {
    let headers = exchange.headers(100)?;
    let query = exchange.query(100)?;
    let mut key = None;
    for name in &config.key_names {
        let lower = name.to_lowercase();
        let in_header = config
            .key_in_header
            .then(|| headers.iter().find(|(of, _)| of == lower.as_bytes()))
            .flatten();
        let in_query = || {
            config
                .key_in_query
                .then(|| query.iter().find(|(of, _)| of == name.as_bytes()))
                .flatten()
        };
        match in_header
            .or_else(in_query)
            .map(|(_, values)| values.as_slice())
        {
            Some([Single::Text(value)]) => {
                if config.hide_credentials {
                    exchange.clear_query_argument(name.as_bytes());
                    exchange.clear_request_header(name.as_bytes());
                }
                key = Some(String::from_utf8_lossy(value).into_owned());
                break;
            }
            Some([_, _, ..]) => return Ok(Err("Duplicate API key found")),
            _ => {}
        }
    }
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Ok(Err("No API key found in request"));
    };
    let Some(credential) = exchange.compiled.api_key(&key) else {
        return Ok(Err("Unauthorized"));
    };
    let text = |value: Option<&serde_json::Value>| {
        value
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let consumer_id = text(
        credential
            .get("consumer")
            .and_then(|consumer| consumer.get("id")),
    );
    let Some(entity) = exchange.compiled.consumer(&consumer_id) else {
        return Ok(Err("Unauthorized"));
    };
    let credential = Credential {
        id: text(credential.get("id")),
        ..Credential::default()
    };
    identify(
        exchange,
        Consumer {
            id: consumer_id,
            entity,
        },
        Some(credential),
    )
    .map(Ok)
}

/// Sets who calls, and the headers that tell the upstream; headers that a client made up are cleared.
fn identify(
    exchange: &Exchange,
    consumer: Consumer,
    credential: Option<Credential>,
) -> Result<(), Throw> {
    let text = |field: &str| {
        consumer
            .entity
            .get(field)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let headers = [
        ("X-Consumer-ID", Some(consumer.id.clone())),
        ("X-Consumer-Custom-ID", text("custom_id")),
        ("X-Consumer-Username", text("username")),
        (
            "X-Credential-Identifier",
            credential.as_ref().map(|credential| credential.id.clone()),
        ),
        (
            "X-Anonymous-Consumer",
            credential.is_none().then(|| "true".to_owned()),
        ),
    ];
    for (name, value) in headers {
        match value {
            Some(value) => exchange.set_request_header(name.as_bytes(), &[value.into_bytes()])?,
            None => exchange.clear_request_header(name.as_bytes()),
        }
    }
    exchange.authenticate(Some(consumer), credential)
}
