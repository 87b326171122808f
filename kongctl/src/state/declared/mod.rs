//! Documents become declared entities: checked against the entity table, defaults merged, nesting flattened.
//!
//! # Layout
//!
//! `meta` reads the keys that are no entities, `entity` the entries of lists, `shorthand` spells out what stands for several
//! fields; `check` compares values with their types, `booleans` tells words from booleans by them, `normal` spells values as Kong
//! does, `ours` asks the plugin server's own code about the plugins of this repository. `upgrade` reads older formats, `render` writes a configuration down again.

mod booleans;
mod check;
mod entity;
mod meta;
mod normal;
mod ours;
mod render;
mod shorthand;
mod upgrade;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::entities::Kind;

use super::diagnostics::{Diagnostics, Place};
use super::node::Node;

pub(crate) use booleans::{field_with_booleans, refuse_open_booleans, with_booleans};
pub(crate) use check::check_plugins;
pub(crate) use ours::{check_our_plugins, our_schemas};
pub(crate) use render::render;
pub(crate) use upgrade::{marked_path, upgraded};

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
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    /// Parents before what is nested in them.
    pub(crate) entities: Vec<Declared>,
    /// `_info.select_tags`: whose entities these are.
    pub(crate) select_tags: Vec<String>,
    /// `_info.default_lookup_tags`: entities outside the file that may be referred to.
    pub(crate) lookup_tags: HashMap<Kind, Vec<String>>,
    /// `_transform: false`: passwords are hashes already.
    pub(crate) hashed_passwords: bool,
    /// Kinds that plugins bring along, where the files list them first. Of the others, they say nothing: not that there are none.
    pub(crate) custom_kinds: BTreeMap<Kind, Place>,
}

impl Configuration {
    /// The kinds of the entities, each once.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.entities.iter().map(|entity| entity.kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

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
    let configuration = reader.configuration;
    if !ours::are_configured(&configuration) {
        return configuration;
    }
    // What a word means to our own plugins is known without a node.
    with_booleans(configuration, &our_schemas())
}

/// What reading needs at hand: what the documents said so far of all entities.
struct Reader<'a> {
    configuration: Configuration,
    defaults: HashMap<Kind, Arc<Node>>,
    plugin_configs: HashMap<String, Arc<Node>>,
    diagnostics: &'a mut Diagnostics,
}

#[cfg(test)]
mod tests {
    use super::super::references::References;
    use super::super::yaml;
    use super::*;

    pub(super) fn read_text(text: &str) -> Result<Configuration, String> {
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
        let configuration =
            read_text("upstreams: [{name: pool, targets: [{target: a.example}, {target: 'b:1'}]}]")
                .unwrap();
        let targets: Vec<_> = configuration.entities[1..]
            .iter()
            .map(|entity| entity.fields["target"].clone())
            .collect();
        assert_eq!(targets, ["a.example:8000", "b:1"]);
    }
}
