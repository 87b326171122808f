//! Documents become declared entities: checked against the entity table, defaults merged, nesting flattened.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::admin::entities::{ENTERPRISE_KINDS, Kind};
use crate::admin::schema::{Field, Record, Schemas, Type};

use super::diagnostics::{Diagnostics, Place, suggestion};
use super::node::{Entry, Node, NodeValue};

/// Fields that only Kong Enterprise has, by kind.
const ENTERPRISE_PLUGIN_FIELDS: &[&str] = &["consumer_group", "ordering", "partials", "condition"];
/// Top-level keys that are no kind.
const META_KEYS: &[&str] = &[
    "_format_version",
    "_transform",
    "_comment",
    "_ignore",
    "_info",
    "_plugin_configs",
    "_workspace",
];

/// One entity as a file declares it: references still as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) kind: Kind,
    pub(crate) fields: Map<String, Value>,
    pub(crate) node: Arc<Node>,
    /// Set by nesting: (field that refers to the parent, the parent's index).
    pub(crate) parent: Option<(&'static str, usize)>,
}

/// Everything that the files say.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// Parents before what is nested in them.
    pub(crate) entities: Vec<Declared>,
    /// `_info.select_tags`: whose entities these are.
    pub(crate) select_tags: Vec<String>,
    /// `_info.default_lookup_tags`: entities outside the file that may be referred to.
    pub(crate) lookup_tags: HashMap<Kind, Vec<String>>,
    /// `_transform: false`: passwords are hashes already.
    pub(crate) hashed_passwords: bool,
}

impl Configuration {
    /// The plugins that are configured, each once.
    pub(crate) fn plugin_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .entities
            .iter()
            .filter(|entity| entity.kind == Kind::Plugin)
            .filter_map(|entity| entity.fields.get("name")?.as_str().map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Reads documents; everything that is wrong goes to `diagnostics`.
pub(crate) fn read(documents: &[Arc<Node>], diagnostics: &mut Diagnostics) -> Configuration {
    let mut reader = Reader {
        configuration: Configuration::default(),
        defaults: HashMap::new(),
        plugin_configs: HashMap::new(),
        diagnostics,
    };
    for document in documents {
        reader.meta(document);
    }
    for document in documents {
        for entry in document.entries() {
            if let Some(kind) = Kind::from_name(&entry.key).filter(|kind| kind.spec().top_level) {
                reader.list(kind, &entry.node, None);
            }
        }
    }
    reader.configuration
}

/// Checks the configurations of plugins against what a node said of them.
pub(crate) fn check_plugins(
    configuration: &Configuration,
    schemas: &Schemas,
    diagnostics: &mut Diagnostics,
) {
    for entity in configuration
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::Plugin)
    {
        let name = entity
            .fields
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if let (Some(record), Some(config)) =
            (schemas.plugin_config(name), entity.node.get("config"))
        {
            check_record(
                record,
                config,
                &format!("the configuration of plugin `{name}`"),
                diagnostics,
            );
        }
    }
}

struct Reader<'a> {
    configuration: Configuration,
    defaults: HashMap<Kind, Arc<Node>>,
    plugin_configs: HashMap<String, Arc<Node>>,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn meta(&mut self, document: &Node) {
        if document.is_null() {
            return;
        }
        if !matches!(document.value, NodeValue::Map(_)) {
            self.diagnostics.add_with_help(
                &document.place,
                format!("a configuration is a map, this is {}", document.type_name()),
                Some("start with `_format_version: \"3.0\"`"),
            );
        }
        for entry in document.entries() {
            let node = &entry.node;
            match entry.key.as_str() {
                "_format_version" => self.format_version(node),
                "_transform" => match node.value {
                    NodeValue::Bool(transform) => self.configuration.hashed_passwords |= !transform,
                    _ => self
                        .diagnostics
                        .add(&node.place, "`_transform` is true or false"),
                },
                "_info" => self.info(node),
                "_plugin_configs" => {
                    for entry in node.entries() {
                        self.plugin_configs
                            .insert(entry.key.clone(), entry.node.clone());
                    }
                }
                "_workspace" if node.as_str() != Some("default") => {
                    self.diagnostics.add(
                        &entry.key_place,
                        "workspaces are a feature of Kong Enterprise",
                    );
                }
                "_comment" | "_ignore" | "_workspace" => {}
                name if Kind::from_name(name).is_some_and(|kind| kind.spec().top_level) => {}
                name => self.unknown_key(name, &entry.key_place),
            }
        }
    }

    fn unknown_key(&mut self, name: &str, place: &Place) {
        if ENTERPRISE_KINDS.contains(&name) {
            self.diagnostics.add_with_help(
                place,
                format!("`{name}` belongs to Kong Enterprise or Konnect"),
                Some("kongctl configures Kong Gateway OSS: remove it"),
            );
        } else if name == "filter_chains" {
            self.diagnostics.add(
                place,
                "`filter_chains` (WebAssembly filters) are not supported by kongctl",
            );
        } else {
            let known = Kind::all().map(Kind::name).chain(META_KEYS.iter().copied());
            self.diagnostics.add_with_help(
                place,
                format!("unknown kind `{name}`"),
                suggestion(name, known),
            );
        }
    }

    fn format_version(&mut self, node: &Node) {
        let version = match &node.value {
            NodeValue::String(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if version != "3.0" {
            self.diagnostics.add_with_help(
                &node.place,
                format!("`_format_version` {version:?} is not supported"),
                Some("kongctl reads format \"3.0\", that of Kong 3"),
            );
        }
    }

    fn info(&mut self, node: &Node) {
        for entry in node.entries() {
            match entry.key.as_str() {
                "select_tags" => {
                    let tags = self.tags(&entry.node);
                    for tag in tags {
                        if !self.configuration.select_tags.contains(&tag) {
                            self.configuration.select_tags.push(tag);
                        }
                    }
                }
                "default_lookup_tags" => {
                    for entry in entry.node.entries() {
                        let tags = self.tags(&entry.node);
                        match Kind::from_name(&entry.key) {
                            Some(kind) => {
                                self.configuration.lookup_tags.insert(kind, tags);
                            }
                            None => self.unknown_key(&entry.key, &entry.key_place),
                        }
                    }
                }
                "defaults" => {
                    for entry in entry.node.entries() {
                        match Kind::from_word(&entry.key) {
                            Some(kind) => {
                                self.defaults.insert(kind, entry.node.clone());
                            }
                            None => self.unknown_key(&entry.key, &entry.key_place),
                        }
                    }
                }
                "_comment" => {}
                name => {
                    let known = ["select_tags", "default_lookup_tags", "defaults"];
                    self.diagnostics.add_with_help(
                        &entry.key_place,
                        format!("unknown field `{name}` in `_info`"),
                        suggestion(name, known),
                    );
                }
            }
        }
    }

    fn tags(&mut self, node: &Node) -> Vec<String> {
        if !matches!(node.value, NodeValue::List(_)) {
            self.diagnostics.add(
                &node.place,
                format!("tags are a list of strings, this is {}", node.type_name()),
            );
        }
        node.items()
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    fn list(&mut self, kind: Kind, node: &Arc<Node>, parent: Option<(&'static str, usize)>) {
        match &node.value {
            NodeValue::Null => {}
            NodeValue::List(items) => items
                .iter()
                .for_each(|item| self.entity(kind, item, parent)),
            _ => {
                let message = format!("`{}` is a list, this is {}", kind.name(), node.type_name());
                self.diagnostics.add_with_help(
                    &node.place,
                    message,
                    Some("start each entry with `- `"),
                );
            }
        }
    }

    fn entity(&mut self, kind: Kind, item: &Arc<Node>, parent: Option<(&'static str, usize)>) {
        let mut node = match &item.value {
            NodeValue::Map(_) => item.clone(),
            // Kong's own short form in a certificate.
            NodeValue::String(_) if kind == Kind::Sni => {
                with_entries(item, vec![entry_at("name", item, item.clone())])
            }
            _ => {
                let message = format!(
                    "an entry of `{}` is a map, this is {}",
                    kind.name(),
                    item.type_name()
                );
                self.diagnostics.add(&item.place, message);
                return;
            }
        };
        if kind == Kind::Service {
            node = self.expand_url(&node);
        }
        if kind == Kind::Plugin {
            node = self.merge_plugin_config(&node);
        }
        if let Some(defaults) = self.defaults.get(&kind) {
            node = node.with_defaults(defaults);
        }
        let index = self.configuration.entities.len();
        let mut fields = Map::new();
        let mut nested = Vec::new();
        let record = kind.record();
        for entry in node.entries() {
            if let Some((_, child, field)) = kind.children().find(|(name, ..)| *name == entry.key) {
                nested.push((child, entry.node.clone(), field));
                continue;
            }
            match entry.key.as_str() {
                "_comment" | "_ignore" | "created_at" | "updated_at" => {}
                name => match record.fields.get(name) {
                    Some(field) => {
                        check_field(field, &entry.node, name, self.diagnostics);
                        fields.insert(name.to_owned(), entry.node.to_json());
                    }
                    None => self.unknown_field(kind, entry),
                },
            }
        }
        if let Some((field, _)) = parent
            && let Some(given) = node.get(field).filter(|given| !given.is_null())
        {
            let message = format!("`{field}` is already said by nesting");
            self.diagnostics.add_with_help(
                &given.place,
                message,
                Some("remove it, or move the entry to the top level"),
            );
        }
        normalize(kind, &mut fields);
        self.check_complete(kind, &node, &fields, parent);
        self.configuration.entities.push(Declared {
            kind,
            fields,
            node,
            parent,
        });
        for (child, list, field) in nested {
            self.list(child, &list, Some((field, index)));
        }
    }

    fn unknown_field(&mut self, kind: Kind, entry: &Entry) {
        let name = entry.key.as_str();
        if kind == Kind::Plugin && ENTERPRISE_PLUGIN_FIELDS.contains(&name)
            || ENTERPRISE_KINDS.contains(&name)
        {
            let message = format!("`{name}` belongs to Kong Enterprise or Konnect");
            self.diagnostics.add(&entry.key_place, message);
            return;
        }
        let known = kind.record().fields.keys().map(String::as_str);
        let known = known
            .chain(kind.children().map(|(name, ..)| name))
            .chain((kind == Kind::Service).then_some("url"));
        self.diagnostics.add_with_help(
            &entry.key_place,
            format!("unknown field `{name}` in {}", kind.with_article()),
            suggestion(name, known),
        );
    }

    fn check_complete(
        &mut self,
        kind: Kind,
        node: &Node,
        fields: &Map<String, Value>,
        parent: Option<(&'static str, usize)>,
    ) {
        for (name, field) in &kind.record().fields {
            let given = fields.contains_key(name)
                || parent.is_some_and(|(by_nesting, _)| by_nesting == name);
            if field.required
                && field.default.is_none()
                && !given
                && !matches!(field.ty, Type::Record(_))
            {
                let help = (kind == Kind::KeyAuth && name == "key").then_some(
                    "Kong would make a new key at each sync: choose one, or take it from the environment with ${{ env \"NAME\" }}",
                );
                let message = format!("{} needs `{name}`", kind.with_article());
                self.diagnostics.add_with_help(&node.place, message, help);
            }
        }
        if let Some(id) = node.get("id")
            && id
                .as_str()
                .is_none_or(|text| uuid::Uuid::parse_str(text).is_err())
        {
            self.diagnostics.add(&id.place, "`id` is a UUID");
        }
        if kind == Kind::Consumer
            && !fields.contains_key("username")
            && !fields.contains_key("custom_id")
        {
            self.diagnostics
                .add(&node.place, "a consumer needs `username` or `custom_id`");
        }
    }

    /// `url: https://host:port/path` says four fields at once.
    fn expand_url(&mut self, node: &Arc<Node>) -> Arc<Node> {
        let Some(url_node) = node.get("url") else {
            return node.clone();
        };
        let Some(url) = url_node
            .as_str()
            .and_then(|text| url::Url::parse(text).ok())
            .filter(url::Url::has_host)
        else {
            self.diagnostics.add_with_help(
                &url_node.place,
                "`url` is no URL",
                Some("write it as http://host:port/path"),
            );
            return with_entries(
                node,
                node.entries()
                    .iter()
                    .filter(|entry| entry.key != "url")
                    .cloned()
                    .collect(),
            );
        };
        let mut entries: Vec<Entry> = node
            .entries()
            .iter()
            .filter(|entry| entry.key != "url")
            .cloned()
            .collect();
        let mut set = |key: &str, value: NodeValue| {
            let value = Arc::new(Node {
                place: url_node.place.clone(),
                value,
            });
            entries.retain(|entry| entry.key != key);
            entries.push(entry_at(key, url_node, value));
        };
        let text = |text: &str| NodeValue::String(text.to_owned());
        let default_port = if matches!(url.scheme(), "https" | "grpcs" | "tls") {
            443
        } else {
            80
        };
        set("protocol", text(url.scheme()));
        set("host", text(url.host_str().unwrap_or_default()));
        set(
            "port",
            NodeValue::Number(Number::from(url.port().unwrap_or(default_port))),
        );
        // A parsed URL always has a path; Kong tells `http://host` and `http://host/` apart.
        let given = url_node.as_str().unwrap_or_default();
        let has_path = given
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'));
        if has_path {
            set("path", text(url.path()));
        }
        with_entries(node, entries)
    }

    fn merge_plugin_config(&mut self, node: &Arc<Node>) -> Arc<Node> {
        let Some(name_node) = node.get("_config") else {
            return node.clone();
        };
        let name = name_node.as_str().unwrap_or_default();
        let Some(shared) = self.plugin_configs.get(name).cloned() else {
            let help = suggestion(name, self.plugin_configs.keys().map(String::as_str));
            let message = format!("`_plugin_configs` has no `{name}`");
            self.diagnostics
                .add_with_help(&name_node.place, message, help);
            return with_entries(
                node,
                node.entries()
                    .iter()
                    .filter(|entry| entry.key != "_config")
                    .cloned()
                    .collect(),
            );
        };
        let config = node
            .get("config")
            .map_or_else(|| shared.clone(), |own| own.with_defaults(&shared));
        let mut entries: Vec<Entry> = node
            .entries()
            .iter()
            .filter(|entry| entry.key != "_config" && entry.key != "config")
            .cloned()
            .collect();
        entries.push(entry_at("config", name_node, config));
        with_entries(node, entries)
    }
}

fn entry_at(key: &str, at: &Node, node: Arc<Node>) -> Entry {
    Entry {
        key: key.to_owned(),
        key_place: at.place.clone(),
        node,
    }
}

fn with_entries(node: &Node, entries: Vec<Entry>) -> Arc<Node> {
    Arc::new(Node {
        place: node.place.clone(),
        value: NodeValue::Map(entries),
    })
}

/// Spells values as Kong stores them.
pub(crate) fn normalize(kind: Kind, fields: &mut Map<String, Value>) {
    if kind == Kind::Target
        && let Some(Value::String(target)) = fields.get_mut("target")
    {
        *target = normal_target(target);
    }
    // Saying what to hash by is saying that there is hashing.
    let hashes = fields
        .get("hash_on")
        .and_then(Value::as_str)
        .is_some_and(|hash_on| hash_on != "none");
    if kind == Kind::Upstream && hashes && !fields.contains_key("algorithm") {
        fields.insert(
            "algorithm".to_owned(),
            Value::String("consistent-hashing".to_owned()),
        );
    }
    if kind == Kind::CaCertificate
        && let Some(digest) = fields
            .get("cert")
            .and_then(Value::as_str)
            .and_then(super::ids::certificate_digest)
    {
        fields.insert("cert_digest".to_owned(), Value::String(digest));
    }
}

/// `host:port`, the port 8000 where none is given, an IPv6 address in brackets with all of its digits.
fn normal_target(target: &str) -> String {
    let bare = target
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    let (host, port) = match bare {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None if target.matches(':').count() > 1 => (target, None),
        None => target
            .split_once(':')
            .map_or((target, None), |(host, port)| (host, Some(port))),
    };
    let port = port.unwrap_or("8000");
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => {
            let groups: Vec<String> = address
                .segments()
                .iter()
                .map(|group| format!("{group:04x}"))
                .collect();
            format!("[{}]:{port}", groups.join(":"))
        }
        Err(_) => format!("{host}:{port}"),
    }
}

fn check_record(record: &Record, node: &Node, what: &str, diagnostics: &mut Diagnostics) {
    match &node.value {
        NodeValue::Null => {}
        NodeValue::Map(entries) => {
            for entry in entries {
                match record.fields.get(&entry.key) {
                    Some(field) => check_field(field, &entry.node, &entry.key, diagnostics),
                    None if record.shorthands.contains_key(&entry.key) => {}
                    None => diagnostics.add_with_help(
                        &entry.key_place,
                        format!("unknown field `{}` in {what}", entry.key),
                        suggestion(&entry.key, record.fields.keys().map(String::as_str)),
                    ),
                }
            }
        }
        _ => diagnostics.add(
            &node.place,
            format!("{what} is a map, this is {}", node.type_name()),
        ),
    }
}

fn check_field(field: &Field, node: &Node, name: &str, diagnostics: &mut Diagnostics) {
    let mut wrong = |expected: &str| {
        let help = match (expected, &node.value) {
            ("a string", NodeValue::Number(_) | NodeValue::Bool(_)) => Some("put it in quotes"),
            ("a boolean", NodeValue::String(_)) => Some("write true or false, without quotes"),
            ("an integer" | "a number", NodeValue::String(_)) => Some("write it without quotes"),
            ("a list", _) => Some("write it as [a, b], or each item in its own line after `- `"),
            _ => None,
        };
        let message = format!("`{name}` is {expected}, this is {}", node.type_name());
        diagnostics.add_with_help(&node.place, message, help);
    };
    match (&field.ty, &node.value) {
        (_, NodeValue::Null)
        | (Type::Any, _)
        | (Type::Number, NodeValue::Number(_))
        | (Type::Boolean, NodeValue::Bool(_))
        | (Type::Foreign(_), NodeValue::String(_)) => {}
        (Type::String, NodeValue::String(text)) => {
            if !field.one_of.is_empty()
                && !field.one_of.contains(text)
                && !text.starts_with("{vault://")
            {
                let help = suggestion(text, field.one_of.iter().map(String::as_str))
                    .unwrap_or_else(|| format!("one of {}", field.one_of.join(", ")));
                diagnostics.add_with_help(
                    &node.place,
                    format!("`{name}` does not know `{text}`"),
                    Some(help),
                );
            }
        }
        (Type::String, _) => wrong("a string"),
        (Type::Integer, NodeValue::Number(number)) => {
            if number.as_f64().is_some_and(|value| value.fract() != 0.0) {
                wrong("an integer");
            }
        }
        (Type::Integer, _) => wrong("an integer"),
        (Type::Number, _) => wrong("a number"),
        (Type::Boolean, _) => wrong("a boolean"),
        (Type::Set(element) | Type::Array(element), NodeValue::List(items)) => {
            for item in items {
                check_field(element, item, name, diagnostics);
            }
        }
        // Lua has one kind of table: Kong takes an empty map for an empty list.
        (Type::Set(_) | Type::Array(_), other) => {
            if !matches!(other, NodeValue::Map(entries) if entries.is_empty()) {
                wrong("a list");
            }
        }
        (Type::Map(element), NodeValue::Map(entries)) => {
            for entry in entries {
                check_field(element, &entry.node, &entry.key, diagnostics);
            }
        }
        (Type::Map(_), _) => wrong("a map"),
        (Type::Record(record), _) => check_record(record, node, &format!("`{name}`"), diagnostics),
        (Type::Foreign(kind), NodeValue::Map(entries)) => {
            let names: Vec<&str> = kind.spec().natural_keys.iter().map(|key| key[0]).collect();
            let named = entries.iter().any(|entry| {
                (entry.key == "id" || names.contains(&entry.key.as_str()))
                    && entry.node.as_str().is_some()
            });
            if !named {
                diagnostics.add_with_help(
                    &node.place,
                    format!("`{name}` names no {}", kind.singular()),
                    Some(format!("write its {} or its id", names.join(", "))),
                );
            }
        }
        (Type::Foreign(kind), _) => wrong(&format!("the name or id of {}", kind.with_article())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::references::References;
    use super::super::yaml;
    use super::*;

    fn read_text(text: &str) -> Result<Configuration, String> {
        let mut diagnostics = Diagnostics::default();
        let documents = yaml::read("kong.yml", text, &References::none(), &mut diagnostics);
        let configuration = read(&documents, &mut diagnostics);
        diagnostics
            .into_result()
            .map(|()| configuration)
            .map_err(|error| error.to_string())
    }

    fn kinds(configuration: &Configuration) -> Vec<Kind> {
        configuration
            .entities
            .iter()
            .map(|entity| entity.kind)
            .collect()
    }

    #[test]
    fn nesting_is_flattened_parents_first() {
        let text = "
services:
- name: llm
  url: https://example.com/v1
  routes:
  - {name: chat, paths: [/chat], plugins: [{name: key-auth}]}
consumers:
- username: alice
  keyauth_credentials: [{key: k}]
  acls: [{group: gold}]
";
        let configuration = read_text(text).unwrap();
        assert_eq!(
            kinds(&configuration),
            [
                Kind::Service,
                Kind::Route,
                Kind::Plugin,
                Kind::Consumer,
                Kind::KeyAuth,
                Kind::Acl
            ]
        );
        assert_eq!(configuration.entities[2].parent, Some(("route", 1)));
        let service = &configuration.entities[0].fields;
        assert_eq!(
            (service["protocol"].as_str(), service["port"].as_u64()),
            (Some("https"), Some(443))
        );
        assert_eq!(service["path"], "/v1");
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "
_format_version: '3.0'
services:
- name: llm
  hots: x
  port: '80'
routes:
- {name: r, protocol: [http]}
servces: []
consumer_groups: []
";
        let error = read_text(text).unwrap_err();
        let expected = "\
kong.yml:4:3: a service needs `host`
kong.yml:5:3: unknown field `hots` in a service
    did you mean `host`?
kong.yml:6:9: `port` is an integer, this is a string
    write it without quotes
kong.yml:8:13: unknown field `protocol` in a route
    did you mean `protocols`?
kong.yml:9:1: unknown kind `servces`
    did you mean `services`?
kong.yml:10:1: `consumer_groups` belongs to Kong Enterprise or Konnect
    kongctl configures Kong Gateway OSS: remove it";
        assert_eq!(error, expected);
    }

    #[test]
    fn defaults_and_shared_plugin_configurations_fill_what_an_entry_lacks() {
        let text = "
_info: {defaults: {service: {retries: 2, port: 81}}, select_tags: [team-a]}
_plugin_configs: {limits: {minute: 5, policy: local}}
services:
- {name: llm, host: h, port: 82}
plugins:
- {name: rate-limiting, _config: limits, config: {minute: 9}}
";
        let configuration = read_text(text).unwrap();
        assert_eq!(configuration.entities[0].fields["retries"], 2);
        assert_eq!(configuration.entities[0].fields["port"], 82);
        assert_eq!(
            configuration.entities[1].fields["config"],
            serde_json::json!({"minute": 9, "policy": "local"})
        );
        assert_eq!(configuration.select_tags, ["team-a"]);
    }

    #[test]
    fn targets_are_spelled_as_kong_stores_them() {
        assert_eq!(
            normal_target("[::1]:9956"),
            "[0000:0000:0000:0000:0000:0000:0000:0001]:9956"
        );
        assert_eq!(
            normal_target("::1"),
            "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"
        );
        let configuration =
            read_text("upstreams: [{name: pool, targets: [{target: a.example}, {target: 'b:1'}]}]")
                .unwrap();
        let targets: Vec<_> = configuration.entities[1..]
            .iter()
            .map(|entity| entity.fields["target"].clone())
            .collect();
        assert_eq!(targets, ["a.example:8000", "b:1"]);
    }

    #[test]
    fn a_plugins_configuration_is_checked_against_the_nodes_schema() {
        let mut diagnostics = Diagnostics::default();
        let configuration = read_text(
            "plugins:\n- name: request-termination\n  config: {status_cod: 503, message: 5}\n",
        )
        .unwrap();
        let mut schemas = Schemas::default();
        let recorded = include_str!("../../tests/fixtures/schema-request-termination.json");
        schemas.add_plugin(
            "request-termination",
            &serde_json::from_str(recorded).unwrap(),
        );
        check_plugins(&configuration, &schemas, &mut diagnostics);
        let expected = "\
kong.yml:3:12: unknown field `status_cod` in the configuration of plugin `request-termination`
    did you mean `status_code`?
kong.yml:3:38: `message` is a string, this is a number
    put it in quotes";
        assert_eq!(diagnostics.into_result().unwrap_err().to_string(), expected);
    }
}
