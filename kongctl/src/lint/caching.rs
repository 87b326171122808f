//! A rule for `proxy-cache`, which keeps what consumers were answered apart, and nobody else's.

use serde_json::Value;

use crate::state::Entity;

use super::topology::{Topology, config, is_unset};
use super::{AUTHENTICATION, Rule, Warning, called, place};

const CACHE: &str = "proxy-cache";
/// What `llm-jwt` sends of a credential.
const CREDENTIAL: &str = "x-credential-identifier";

pub(super) fn lint(topology: &Topology<'_>, warnings: &mut Vec<Warning>) {
    let caches = topology.named(CACHE);
    for cache in caches.filter(|cache| cache.reference("consumer").is_none()) {
        for route in topology.scopes_of(cache) {
            warnings.extend(shared(topology, cache, route));
        }
    }
}

/// Callers whom only a token names are one caller to the cache, which looks after `llm-jwt` has removed the token.
fn shared(topology: &Topology<'_>, cache: &Entity, route: Option<&Entity>) -> Option<Warning> {
    let mut others = AUTHENTICATION.iter();
    if others.any(|name| topology.acting(name, route).is_some()) {
        return None;
    }
    let jwt = topology.acting("llm-jwt", route)?;
    if tells_apart(jwt, cache) {
        return None;
    }
    let consumers = match consumers(jwt) {
        Consumers::Always => return None,
        Consumers::Never => "looks for none",
        Consumers::Sometimes => "lets tokens without one pass",
    };
    Some(Warning {
        place: place(cache.source.as_ref(), &["config", "vary_headers"])?,
        rule: Rule::SharedCache,
        message: format!(
            "the cache keeps consumers apart, and llm-jwt on {} {consumers}: one caller reads what another was answered",
            called(route)
        ),
        help: format!(
            "name a header that llm-jwt sets in vary_headers: one of its upstream_headers, or {CREDENTIAL}"
        ),
    })
}

/// Whether the tokens that pass have a consumer in Kong.
enum Consumers {
    Always,
    Sometimes,
    Never,
}

fn consumers(jwt: &Entity) -> Consumers {
    let claims = config(jwt, "/consumer_claims").and_then(Value::as_array);
    if claims.is_none_or(Vec::is_empty) && !is_unset(jwt, &["config", "consumer_claims"]) {
        Consumers::Never
    } else if config(jwt, "/consumer_optional") == Some(&Value::Bool(false))
        || is_unset(jwt, &["config", "consumer_optional"])
    {
        Consumers::Always
    } else {
        Consumers::Sometimes
    }
}

/// Whether a header that says who is calling is a part of the cache's key.
fn tells_apart(jwt: &Entity, cache: &Entity) -> bool {
    if is_unset(cache, &["config", "vary_headers"])
        || is_unset(jwt, &["config", "upstream_headers"])
    {
        return true;
    }
    let list = |plugin, pointer| config(plugin, pointer).and_then(Value::as_array);
    let set = list(jwt, "/upstream_headers").into_iter().flatten();
    let mut telling: Vec<&str> = set
        .filter_map(|header| header.get("header")?.as_str())
        .collect();
    telling.push(CREDENTIAL);
    if config(jwt, "/hide_credentials") == Some(&Value::Bool(false)) {
        match list(jwt, "/header_names") {
            Some(names) => telling.extend(names.iter().filter_map(Value::as_str)),
            None => telling.push("authorization"),
        }
    }
    let varies = list(cache, "/vary_headers").into_iter().flatten();
    varies
        .map(Value::as_str)
        // A name that is not at hand may be one of them.
        .any(|name| {
            name.is_none_or(|name| telling.iter().any(|one| one.eq_ignore_ascii_case(name)))
        })
}
