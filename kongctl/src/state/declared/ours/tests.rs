//! Each configuration that cannot work, with the place that is told: `§` marks it in the text.
//!
//! `LIMIT` and `ISSUER` in a text stand for an entry without mistakes. What the file does not have is told at `config`: then
//! the text begins with `^`.

mod issuers;
mod limits;
mod redis;
mod tokens;
mod unset;

use super::super::super::references::{Policy, References};
use super::super::super::yaml;
use super::*;
use crate::state::declared;

const LIMIT: &str = "{name: ok, limit: 5, window_size: 60}";
const ISSUER: &str = "{issuer: 'https://ok.example', jwks_endpoint: 'https://ok.example/jwks', audience_required: [a]}";

/// What is told of a file, one `line:column: message` a mistake, helps left out.
fn told(text: &str) -> Vec<String> {
    let env = |name: &str| (name == "SET").then(|| "7".to_owned());
    let references = References {
        env: &env,
        directory: std::path::PathBuf::new(),
        policy: Policy::NullWhereUnset,
    };
    let mut diagnostics = Diagnostics::default();
    let documents = yaml::read("f", text, &references, &mut diagnostics);
    let configuration = declared::read(&documents, &mut diagnostics);
    check_our_plugins(&configuration, &mut diagnostics);
    let Err(invalid) = diagnostics.into_result() else {
        return Vec::new();
    };
    let mistakes = invalid.0.iter();
    mistakes
        .map(|mistake| {
            format!(
                "{}:{}: {}",
                mistake.place.line, mistake.place.column, mistake.message
            )
        })
        .collect()
}

/// Takes the marks out of a text and gives their places.
fn unmark(marked: &str) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut places = Vec::new();
    let (mut line, mut column) = (1, 1);
    for character in marked.chars() {
        match character {
            '§' => {
                places.push(format!("{line}:{column}: "));
                continue;
            }
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        text.push(character);
    }
    (text, places)
}

/// Configurations, each with the messages of its mistakes.
type Rows<'a> = &'a [(&'a str, &'a [&'a str])];

#[track_caller]
fn each_is_told_of_limits(rows: Rows<'_>) {
    for (config, messages) in rows {
        is_told("llm-rate-limiting", config, messages);
    }
}

/// More stands for something here: `{ID` begins an issuer, `URL` is where its keys are, `RSA`, `PRIVATE` and `CERTIFICATE` are PEM
/// texts, `[S]` has a secret, `CLIENT` is who asks what opaque tokens mean.
#[track_caller]
fn each_is_told_of_issuers(rows: Rows<'_>) {
    const ID: &str = "issuer: 'https://a.example', audience_required: [a]";
    const URL: &str = "jwks_endpoint: 'https://a.example/jwks'";
    const CLIENT: &str = "introspection_issuer: 'https://i.example'\nintrospection_client_id: c\nintrospection_client_secret: s";
    let rsa = include_str!("../../../../tests/fixtures/oracle/a.pub");
    let private = include_str!("../../../../tests/fixtures/oracle/a.key");
    let certificate = include_str!("../../../../tests/fixtures/oracle/a.pem");
    let quoted = |pem: &str| format!("\"{}\"", pem.replace('\n', "\\n"));
    for (config, messages) in rows {
        let config = config
            .replace("PRIVATE", &quoted(private))
            .replace("CERTIFICATE", &quoted(certificate))
            .replace("RSA,", &format!("{},", quoted(rsa)))
            .replace("RSA]", &format!("{}]", quoted(rsa)))
            .replace("[S]", &format!("[{}]", "s".repeat(64)))
            .replace("{ID", &format!("{{{ID}"))
            .replace("URL", URL)
            .replace("CLIENT", CLIENT);
        is_told("llm-jwt", &config, messages);
    }
}

#[track_caller]
fn is_told(plugin: &str, config: &str, messages: &[&str]) {
    let config = config.replace("LIMIT", LIMIT).replace("ISSUER", ISSUER);
    let config = config.replace('\n', "\n    ");
    let (mark, config) = match config.strip_prefix('^') {
        Some(config) => ("§", config),
        None => ("", config.as_str()),
    };
    let (text, places) = unmark(&format!(
        "plugins:\n- name: {plugin}\n  {mark}config:\n    {config}\n"
    ));
    let expected: Vec<String> = places
        .iter()
        .zip(messages)
        .map(|(place, message)| format!("{place}{plugin}: {message}"))
        .collect();
    assert_eq!(places.len(), messages.len(), "{text}");
    let told = told(&text);
    let right = told.len() == expected.len()
        && told
            .iter()
            .zip(&expected)
            .all(|(told, expected)| told.starts_with(expected.as_str()));
    assert!(right, "{text}\ntold     {told:#?}\nexpected {expected:#?}");
}

#[test]
fn plugins_are_found_wherever_they_stand() {
    let text = "\
_plugin_configs:
  shared:
    limits: [{name: a, limit: 0, window_size: 60}]
services:
- name: s
  host: h
  plugins: [{name: llm-rate-limiting, _config: shared}]
  routes:
  - name: r
    paths: [/]
    plugins:
    - name: llm-jwt
consumers:
- username: c
  plugins: [{name: llm-rate-limiting, config: {limits: []}}]
plugins:
- {name: llm-rate-limiting, route: r, enabled: false, _config: shared, config: {policy: redis}}
";
    assert_eq!(
        told(text),
        [
            "3:31: llm-rate-limiting: limits[0].limit: must be greater than 0",
            "12:7: llm-jwt: issuers: at least one issuer is needed, or introspection_endpoint",
            "15:48: llm-rate-limiting: limits: must not be empty",
            "17:89: llm-rate-limiting: redis: policy redis needs a host, cluster_nodes or sentinel_nodes in redis, to know where it is",
        ]
    );
}
