//! Rules for `llm-rate-limiting`: who is counted, by what, and whether anybody sees what was spent.

use serde_json::Value;

use crate::state::Entity;
use crate::state::node::{Node, NodeValue};

use super::topology::{Topology, config, is_unset};
use super::{AUTHENTICATION, Rule, Warning, called, place};

const LIMITER: &str = "llm-rate-limiting";
/// What the usage tap is known by in a chunk of Lua.
const TAP: &str = "llm_tap";

pub(super) fn lint(topology: &Topology<'_>, warnings: &mut Vec<Warning>) {
    for limiter in topology.named(LIMITER) {
        let scopes = topology.scopes_of(limiter);
        for route in scopes.iter().copied().flatten() {
            buffering(route, warnings);
        }
        fails_open(limiter, warnings);
        for scope in scopes {
            authentication(topology, limiter, scope, warnings);
            claims(topology, limiter, scope, warnings);
            tap(topology, limiter, scope, warnings);
        }
    }
}

/// Streams reach clients event by event only when nothing holds them back.
fn buffering(route: &Entity, warnings: &mut Vec<Warning>) {
    let node = route.source.as_ref();
    let unset = node
        .and_then(|node| node.get("response_buffering"))
        .is_some_and(|value| matches!(value.value, NodeValue::Unset));
    if unset || route.body.get("response_buffering") == Some(&Value::Bool(false)) {
        return;
    }
    let Some(place) = place(node, &["response_buffering"]) else {
        return;
    };
    warnings.push(Warning {
        place,
        rule: Rule::ResponseBuffering,
        message: format!(
            "route {} carries LLM traffic and buffers answers: clients see streams in bursts",
            route.label
        ),
        help: "write `response_buffering: false`".to_owned(),
    });
}

fn fails_open(limiter: &Entity, warnings: &mut Vec<Warning>) {
    let mut warn = |path: &[&str], who: &str| {
        warnings.extend(place(limiter.source.as_ref(), path).map(|place| Warning {
            place,
            rule: Rule::FailsOpen,
            message: format!("while Redis is away, {who} limits nobody"),
            help: "`on_store_failure: local_share` keeps each node to its share".to_owned(),
        }));
    };
    if config(limiter, "/policy").is_none_or(|policy| policy != "redis") {
        return;
    }
    if config(limiter, "/on_store_failure").is_some_and(|value| value == "open") {
        warn(&["config", "on_store_failure"], LIMITER);
    }
    for (at, limit) in limits(limiter).iter().enumerate() {
        if limit
            .get("on_store_failure")
            .is_some_and(|value| value == "open")
        {
            let at = at.to_string();
            let name = limit
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("this limit");
            warn(
                &["config", "limits", &at, "on_store_failure"],
                &format!("limit {name}"),
            );
        }
    }
}

fn limits(limiter: &Entity) -> &[Value] {
    config(limiter, "/limits")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A limit by consumer where nobody is a consumer is one by address.
fn authentication(
    topology: &Topology<'_>,
    limiter: &Entity,
    route: Option<&Entity>,
    warnings: &mut Vec<Warning>,
) {
    if AUTHENTICATION
        .iter()
        .any(|name| topology.acting(name, route).is_some())
        || limiter.reference("consumer").is_some()
    {
        return;
    }
    let jwt = topology.acting("llm-jwt", route);
    let finds_consumer = jwt.is_some_and(|jwt| {
        config(jwt, "/consumer_claims")
            .and_then(Value::as_array)
            .is_some_and(|claims| !claims.is_empty())
            || is_unset(jwt, &["config", "consumer_claims"])
    });
    for (at, limit) in limits(limiter).iter().enumerate() {
        let at = at.to_string();
        let path = ["config", "limits", &at, "limit_by"];
        if is_unset(limiter, &path) {
            continue;
        }
        let by = |word: &str| match limit.get("limit_by").and_then(Value::as_array) {
            Some(list) => list.iter().any(|by| by == word),
            None => word == "consumer",
        };
        let tagged = limit
            .pointer("/match/consumer_tags")
            .is_some_and(|tags| !tags.is_null());
        let needs_consumer = by("consumer") || tagged;
        let name = limit
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let what = if needs_consumer {
            "consumer"
        } else {
            "credential"
        };
        let (rule, message, help) = match jwt {
            None if needs_consumer || by("credential") => (
                Rule::NoAuthentication,
                format!(
                    "limit {name} counts by {what}, but nothing authenticates on {}: all callers of one address share it",
                    called(route)
                ),
                "add key-auth, llm-jwt or another authentication, or count by ip".to_owned(),
            ),
            Some(_) if needs_consumer && !finds_consumer => (
                Rule::NoConsumer,
                format!(
                    "limit {name} counts by consumer, but llm-jwt on {} looks for none",
                    called(route)
                ),
                "set consumer_claims in llm-jwt, or count by a claim or by credential".to_owned(),
            ),
            _ => continue,
        };
        if let Some(place) = place(limiter.source.as_ref(), &path) {
            warnings.push(Warning {
                place,
                rule,
                message,
                help,
            });
        }
    }
}

/// A claim comes only from `llm-jwt`, and only under a name that it hands on.
fn claims(
    topology: &Topology<'_>,
    limiter: &Entity,
    route: Option<&Entity>,
    warnings: &mut Vec<Warning>,
) {
    let jwt = topology.acting("llm-jwt", route);
    let handed = jwt.and_then(|jwt| config(jwt, "/limiter_claims")?.as_object());
    if jwt.is_some_and(|jwt| is_unset(jwt, &["config", "limiter_claims"])) {
        return;
    }
    for (at, limit) in limits(limiter).iter().enumerate() {
        let at = at.to_string();
        let by = limit.get("limit_by").and_then(Value::as_array);
        let by = by.into_iter().flatten().filter_map(Value::as_str);
        let by = by.filter_map(|by| by.strip_prefix("claim:")?.split('.').next());
        let matched = limit.pointer("/match/claims").and_then(Value::as_array);
        let matched = matched
            .into_iter()
            .flatten()
            .filter_map(|claim| claim.pointer("/path/0")?.as_str());
        let used = by
            .map(|claim| (claim, vec!["config", "limits", &at, "limit_by"]))
            .chain(matched.map(|claim| (claim, vec!["config", "limits", &at, "match", "claims"])));
        for (claim, path) in used {
            if handed.is_some_and(|handed| handed.contains_key(claim)) {
                continue;
            }
            let name = limit
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let (rule, message, help) = match jwt {
                None => (
                    Rule::NoClaims,
                    format!(
                        "limit {name} uses the claim `{claim}`, but llm-jwt verifies none on {}",
                        called(route)
                    ),
                    "add llm-jwt: what a client sends is never read as a claim".to_owned(),
                ),
                Some(_) => (
                    Rule::ClaimsNotHandedOn,
                    format!(
                        "limit {name} uses the claim `{claim}`, which llm-jwt on {} does not hand on",
                        called(route)
                    ),
                    format!("add it to limiter_claims in llm-jwt: `{claim}: [{claim}]`"),
                ),
            };
            if let Some(place) = place(limiter.source.as_ref(), &path) {
                warnings.push(Warning {
                    place,
                    rule,
                    message,
                    help,
                });
            }
        }
    }
}

/// Without the usage tap, what was estimated stands as charged.
fn tap(
    topology: &Topology<'_>,
    limiter: &Entity,
    route: Option<&Entity>,
    warnings: &mut Vec<Warning>,
) {
    let counts_usage = |limit: &Value| {
        let unit = limit.get("unit").and_then(Value::as_str);
        !matches!(unit, Some("requests" | "concurrent_requests"))
    };
    if !limits(limiter).iter().any(counts_usage) {
        return;
    }
    let (rule, message, place) = match topology.acting("post-function", route) {
        None => (
            Rule::NoUsageTap,
            format!(
                "no usage tap on {}: estimates stand as charged, whatever the provider bills",
                called(route)
            ),
            place(limiter.source.as_ref(), &[]),
        ),
        Some(function) if !taps(function) => (
            Rule::OtherPostFunction,
            format!(
                "this post-function acts on {} and has no usage tap: Kong runs only one of that name",
                called(route)
            ),
            place(function.source.as_ref(), &["config", "body_filter"]),
        ),
        Some(_) => return,
    };
    warnings.extend(place.map(|place| Warning {
        place,
        rule,
        message,
        help: "put kong/usage-tap.lua into `body_filter` of post-function: `- !file usage-tap.lua`".to_owned(),
    }));
}

/// Whether a post-function has the tap among its chunks, as far as they are at hand.
fn taps(function: &Entity) -> bool {
    let chunks = function
        .source
        .as_ref()
        .and_then(|node| node.get("config")?.get("body_filter").cloned());
    chunks.is_some_and(|chunks| {
        let is_tap = |chunk: &Node| {
            matches!(chunk.value, NodeValue::Unset)
                || chunk.as_str().is_some_and(|text| text.contains(TAP))
        };
        is_tap(&chunks) || chunks.items().iter().any(|chunk| is_tap(chunk))
    })
}
