//! What a description says of security, as plugins of Kong OSS.
//!
//! # Model
//!
//! | scheme | plugin |
//! |---|---|
//! | `apiKey` in a header or a query | `key-auth` by that name |
//! | `http` with `basic` | `basic-auth` |
//! | `openIdConnect` | `llm-jwt`, keys by discovery |
//! | `http` with `bearer`, `oauth2` | `llm-jwt`; its extension has to say who issues |
//!
//! A scheme's `x-kong-security-PLUGIN: {config: …}` says the rest, and wins. `security` of an operation takes the place of the
//! document's; all schemes of a requirement are needed, as are all plugins of a route; `alternatives` makes those of which one is enough. The plugins stand on routes: one operation may be
//! open, or ask for other scopes, where the next one does not. An operation that `x-kong-plugin-NAME` gives a plugin that authenticates is
//! left as it is.
//!
//! # Failure
//!
//! `mutualTLS`, cookies, and alternatives of several schemes at once have no plugin. No operation that the description protects stays open in silence: it is a
//! mistake, or told in [`Converted::unprotected`](super::Converted).

use std::sync::Arc;

use llm_plugin_server::check::{Path as FieldPath, Subject};
use serde_json::{Map, Value, json};

use super::plugins::{Plugin, Plugins};
use super::{Converter, Mistake, Unprotected};
use crate::state::node::Node;
use crate::state::references::is_kept;

/// Plugins of Kong OSS, and ours, that ask who is calling.
const AUTHENTICATING: [&str; 7] = [
    "basic-auth",
    "hmac-auth",
    "jwt",
    "key-auth",
    "ldap-auth",
    "llm-jwt",
    "oauth2",
];
const OURS: &str = "llm-jwt";
/// decK's extension, of a plugin that Kong OSS lacks.
const DECKS: &str = "x-kong-security-openid-connect";
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where an issuer's keys may come from.
const KEY_SOURCES: [&str; 5] = [
    "discovery_endpoint",
    "jwks_endpoint",
    "jwks",
    "public_keys",
    "secrets",
];

impl Converter<'_> {
    /// The plugins of an operation's routes with those that its security asks for. `what` it is goes into warnings.
    pub(super) fn secured(
        &mut self,
        operation: &Arc<Node>,
        what: &str,
        name: &str,
        service: usize,
        mut plugins: Plugins,
    ) -> Plugins {
        let root = self.source.root;
        let said = operation.get("security").or_else(|| root.get("security"));
        let requirements = said.map_or(&[][..], |security| security.items());
        // One alternative that asks for nothing: whoever calls without credentials is welcome.
        let is_open = requirements.iter().all(|one| one.entries().is_empty())
            || requirements.iter().any(|one| one.entries().is_empty());
        if is_open || plugins.has_any(&AUTHENTICATING) || self.service_has_any(service) {
            return plugins;
        }
        let made = if self.options.generate_security {
            self.required(requirements)
        } else {
            let schemes = requirements.iter().flat_map(|one| one.entries());
            let names: Vec<_> = schemes.map(|entry| entry.key.as_str()).collect();
            Err(Mistake::at(
                operation,
                format!("asks for {}", names.join(", ")),
            ))
        };
        match made {
            Ok(made) => {
                for plugin in made {
                    plugins.insert(plugin);
                }
                let id = |plugin: &str| self.id(&format!("{name}.plugin.{plugin}"));
                plugins.mark(id, &self.tags);
            }
            Err(mistake)
                if self.options.generate_security && !self.options.ignore_security_errors =>
            {
                // One scheme may be wrong for many operations.
                let told = |other: &Mistake| {
                    (&other.place, &other.message) == (&mistake.place, &mistake.message)
                };
                if !self.mistakes.iter().any(told) {
                    self.mistakes.push(mistake.with_more_help(
                        "--ignore-security-errors leaves such operations open, and names them",
                    ));
                }
            }
            Err(mistake) => self.unprotected.push(Unprotected {
                place: operation.place.clone(),
                operation: what.to_owned(),
                why: mistake.message,
            }),
        }
        plugins
    }

    fn service_has_any(&self, service: usize) -> bool {
        let plugins = self.services[service].get("plugins");
        let mut names = plugins
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|plugin| plugin.get("name")?.as_str());
        names.any(|name| AUTHENTICATING.contains(&name))
    }

    /// The plugins that let pass what meets the requirements.
    fn required(&self, requirements: &[Arc<Node>]) -> Result<Vec<Plugin>, Mistake> {
        let [requirement] = requirements else {
            return self.any_of(requirements);
        };
        let mut plugins = Vec::new();
        for entry in requirement.entries() {
            let plugin = self.plugin_of(&entry.key, &entry.node)?;
            add(&mut plugins, plugin, &entry.node)?;
        }
        Ok(plugins)
    }

    /// The plugin of one scheme that is asked for with these scopes.
    pub(super) fn plugin_of(&self, name: &str, scopes: &Arc<Node>) -> Result<Plugin, Mistake> {
        let schemes = self.source.root.get("components");
        let schemes = schemes.and_then(|components| components.get("securitySchemes"));
        let Some(scheme) = schemes.and_then(|schemes| schemes.get(name)) else {
            return Err(
                Mistake::at(scopes, format!("there is no security scheme `{name}`"))
                    .with_help("schemes are listed below `components.securitySchemes`"),
            );
        };
        let scheme = self.source.resolve(scheme)?;
        let text = |field: &str| scheme.get(field).and_then(|node| node.as_str());
        let none = |what: &str| {
            Err(Mistake::at(
                &scheme,
                format!("Kong OSS has no plugin for {what}"),
            ))
        };
        let (plugin, derived) = match (text("type"), text("scheme"), text("in")) {
            (Some("apiKey"), _, Some(place @ ("header" | "query"))) => {
                let derived = json!({
                    "key_names": [text("name").unwrap_or_default()],
                    "key_in_header": place == "header",
                    "key_in_query": place == "query",
                    "key_in_body": false,
                });
                ("key-auth", derived)
            }
            (Some("apiKey"), _, _) => {
                return none("keys in cookies").map_err(|mistake| {
                    mistake.with_help(format!(
                        "ask for it in a header or the query; for a JWT, describe it as http, bearer, and name the cookie in cookie_names of x-kong-security-{OURS}"
                    ))
                });
            }
            (Some("http"), Some(scheme), _) if scheme.eq_ignore_ascii_case("basic") => {
                ("basic-auth", json!({}))
            }
            (Some("http"), Some(scheme), _) if scheme.eq_ignore_ascii_case("bearer") => {
                (OURS, json!({}))
            }
            (Some("http"), scheme, _) => {
                return none(&format!("the scheme {}", scheme.unwrap_or_default()));
            }
            (Some("oauth2"), ..) => (OURS, json!({})),
            (Some("openIdConnect"), ..) => (OURS, issuer_of(&scheme)?),
            (other, ..) => return none(other.unwrap_or("a scheme without `type`")),
        };
        let mut config = self.extended(&scheme, plugin, derived)?;
        let scopes: Vec<&str> = scopes
            .items()
            .iter()
            .filter_map(|scope| scope.as_str())
            .collect();
        if plugin == OURS {
            demand(&mut config, &scopes);
            judge(&scheme, &config)?;
        } else if !scopes.is_empty() {
            let message = format!(
                "{plugin} knows no scopes, and {} are asked for",
                scopes.join(", ")
            );
            return Err(Mistake::at(&scheme, message));
        }
        let mut made = Map::new();
        made.insert("name".to_owned(), json!(plugin));
        made.insert("config".to_owned(), Value::Object(config));
        Ok(made)
    }

    /// What the description itself tells, under what the scheme's extensions say.
    fn extended(
        &self,
        scheme: &Arc<Node>,
        plugin: &str,
        derived: Value,
    ) -> Result<Map<String, Value>, Mistake> {
        let Value::Object(mut config) = derived else {
            unreachable!("a configuration is a map")
        };
        if let Some(extension) = scheme.get(DECKS).filter(|_| plugin == OURS) {
            let said = self.source.extension(extension, DECKS)?;
            overlay(&mut config, read_decks(extension, &said)?);
        }
        let name = format!("x-kong-security-{plugin}");
        if let Some(extension) = scheme.get(&name) {
            let said = self.source.extension(extension, &name)?;
            if let Some(Value::Object(said)) = said.get("config") {
                overlay(&mut config, said.clone());
            }
        }
        Ok(config)
    }
}

/// Adds a plugin to those of a route; `at` asks for it.
pub(super) fn add(plugins: &mut Vec<Plugin>, plugin: Plugin, at: &Node) -> Result<(), Mistake> {
    if plugins.iter().any(|other| other["name"] == plugin["name"]) {
        let message = format!(
            "two of these schemes need the plugin {}, of which a route has one",
            plugin["name"].as_str().unwrap_or_default()
        );
        return Err(Mistake::at(at, message));
    }
    plugins.push(plugin);
    Ok(())
}

/// The one issuer of an OpenID provider, by its metadata.
fn issuer_of(scheme: &Arc<Node>) -> Result<Value, Mistake> {
    let Some(url) = scheme.get("openIdConnectUrl").and_then(|url| url.as_str()) else {
        return Err(Mistake::at(
            scheme,
            "`openIdConnect` needs `openIdConnectUrl`",
        ));
    };
    let issuer = url.strip_suffix(DISCOVERY).unwrap_or(url);
    let metadata = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
    Ok(json!({"issuers": [{"issuer": issuer, "discovery_endpoint": metadata}]}))
}

/// decK's extension in the words of our plugin; what it has no word for is a mistake.
fn read_decks(extension: &Arc<Node>, said: &Value) -> Result<Map<String, Value>, Mistake> {
    let mut config = Map::new();
    let mut issuer = Map::new();
    let said = said.get("config").and_then(Value::as_object);
    for (name, value) in said.into_iter().flatten() {
        match name.as_str() {
            "issuer" => {
                let url = value.as_str().unwrap_or_default();
                let name = url.strip_suffix(DISCOVERY).unwrap_or(url);
                issuer.insert("issuer".to_owned(), json!(name));
                let metadata = format!("{}{DISCOVERY}", name.trim_end_matches('/'));
                issuer.insert("discovery_endpoint".to_owned(), json!(metadata));
            }
            "audience_required" | "audience_claim" => {
                issuer.insert(name.clone(), value.clone());
            }
            "scopes_required" | "scopes_claim" | "run_on_preflight" | "leeway" => {
                config.insert(name.clone(), value.clone());
            }
            other => {
                return Err(Mistake::at(
                    extension,
                    format!("`{other}` of openid-connect, which is Kong Enterprise's, has no word in {OURS}"),
                )
                .with_help(format!("say what is meant with x-kong-security-{OURS}")));
            }
        }
    }
    if !issuer.is_empty() {
        config.insert("issuers".to_owned(), json!([issuer]));
    }
    Ok(config)
}

/// Puts fields over others. Of issuers, the first one completes the one that is there; it takes its keys from one place.
fn overlay(config: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        let below = config
            .get(&name)
            .and_then(|below| below.get(0)?.as_object());
        let merged = match (name.as_str(), below.cloned(), value) {
            ("issuers", Some(mut first), Value::Array(mut issuers)) => {
                if let Some(Value::Object(said)) = issuers.first_mut() {
                    if KEY_SOURCES.iter().any(|source| said.contains_key(*source)) {
                        first.retain(|field, _| !KEY_SOURCES.contains(&field.as_str()));
                    }
                    first.extend(std::mem::take(said));
                    *said = first;
                }
                Value::Array(issuers)
            }
            (_, _, value) => value,
        };
        config.insert(name, merged);
    }
}

/// Asks for scopes on top of those that are asked for: each of the alternatives needs them, too.
fn demand(config: &mut Map<String, Value>, scopes: &[&str]) {
    if scopes.is_empty() {
        return;
    }
    let scopes = scopes.join(" ");
    let alternatives = config.get("scopes_required").and_then(Value::as_array);
    let mut all: Vec<String> = alternatives
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|alternative| format!("{alternative} {scopes}"))
        .collect();
    if all.is_empty() {
        all.push(scopes);
    }
    config.insert("scopes_required".to_owned(), json!(all));
}

/// What the plugin server would say of the configuration. References are taken as right.
fn judge(scheme: &Arc<Node>, config: &Map<String, Value>) -> Result<(), Mistake> {
    let subject = Subject::named(OURS).expect("the plugin server knows its own plugins");
    let config = Value::Object(config.clone());
    let mut kept = Vec::new();
    collect_kept(&config, &FieldPath::default(), &mut kept);
    match subject.problems(&config, &kept).into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Mistake::at(
            scheme,
            format!("this scheme does not make a {OURS}: {}", problem.message),
        )
        .with_help(format!(
            "say it here: x-kong-security-{OURS}: {{config: {{issuers: [{{issuer: URL, audience_required: [NAME]}}]}}}}"
        ))),
    }
}

fn collect_kept(value: &Value, path: &FieldPath, found: &mut Vec<FieldPath>) {
    match value {
        Value::String(text) if is_kept(text) => found.push(path.clone()),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect_kept(item, &path.index(at), found);
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                collect_kept(value, &path.field(name), found);
            }
        }
        _ => {}
    }
}
