//! Options of both plugins that open a door, said out loud.

use serde_json::Value;

use crate::state::Entity;

use super::topology::{Topology, config};
use super::{Rule, Warning, place};

pub(super) fn lint(topology: &Topology<'_>, warnings: &mut Vec<Warning>) {
    for jwt in topology.named("llm-jwt") {
        tokens(jwt, warnings);
    }
    for limiter in topology.named("llm-rate-limiting") {
        let is =
            |pointer: &str, wanted: bool| config(limiter, pointer) == Some(&Value::Bool(wanted));
        if is("/redis/ssl", true) && is("/redis/ssl_verify", false) {
            warn(
                limiter,
                &["config", "redis", "ssl_verify"],
                "any certificate is taken for that of Redis",
                "name its authority in ssl_ca",
                warnings,
            );
        }
    }
}

fn tokens(jwt: &Entity, warnings: &mut Vec<Warning>) {
    let issuers = config(jwt, "/issuers").and_then(Value::as_array);
    for (at, issuer) in issuers.into_iter().flatten().enumerate() {
        if issuer.get("insecure_skip_audience") == Some(&Value::Bool(true)) {
            let at = at.to_string();
            warn(
                jwt,
                &["config", "issuers", &at, "insecure_skip_audience"],
                "tokens that were made for other services of this issuer pass",
                "name this gateway's audience in audience_required",
                warnings,
            );
        }
    }
    let flags = [
        (
            "allow_http_jwks",
            "keys come over plain http: whoever is on the way can replace them",
            "use https, where the provider has it",
        ),
        (
            "allow_private_jwks",
            "keys may be fetched from inside: whoever changes an issuer's metadata can make the gateway ask there",
            "keep it only where the provider is inside",
        ),
        (
            "allow_http_introspection",
            "opaque tokens and the gateway's secret go over plain http: whoever is on the way can take them",
            "use https, where the endpoint has it",
        ),
        (
            "introspection_insecure_skip_audience",
            "opaque tokens that were made for other services pass",
            "name this gateway's audience in introspection_audience_required",
        ),
    ];
    for (name, message, help) in flags {
        if config(jwt, &format!("/{name}")) == Some(&Value::Bool(true)) {
            warn(jwt, &["config", name], message, help, warnings);
        }
    }
    let query = config(jwt, "/uri_param_names").and_then(Value::as_array);
    if query.is_some_and(|names| !names.is_empty()) {
        warn(
            jwt,
            &["config", "uri_param_names"],
            "tokens in a query end up in the logs of others",
            "let clients send the header authorization",
            warnings,
        );
    }
    let required = config(jwt, "/required_claims").and_then(Value::as_array);
    if required.is_some_and(|claims| !claims.iter().any(|claim| claim == "exp"))
        && config(jwt, "/maximum_expiration").is_some_and(|most| most == 0)
    {
        warn(
            jwt,
            &["config", "required_claims"],
            "tokens without an end pass, for ever",
            "require exp",
            warnings,
        );
    }
    if config(jwt, "/hide_credentials") == Some(&Value::Bool(false)) {
        warn(
            jwt,
            &["config", "hide_credentials"],
            "the upstream sees the callers' tokens, and can use them",
            "leave hide_credentials out, unless the upstream needs them",
            warnings,
        );
    }
}

fn warn(entity: &Entity, path: &[&str], message: &str, help: &str, warnings: &mut Vec<Warning>) {
    warnings.extend(place(entity.source.as_ref(), path).map(|place| Warning {
        place,
        rule: Rule::Insecure,
        message: message.to_owned(),
        help: help.to_owned(),
    }));
}
