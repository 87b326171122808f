//! One entry of a list: its fields, what it lacks, and the lists that are nested in it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::entities::{ENTERPRISE_KINDS, Kind};
use crate::admin::schema::{Field, Type};

use super::super::diagnostics::suggestion;
use super::super::node::{Entry, Node, NodeValue};
use super::super::references::is_kept;
use super::booleans::field_with_booleans;
use super::check::check_field;
use super::normal::normalize;
use super::shorthand::sni;
use super::{Declared, Reader};

/// The value of a field. Of two entities whose names are not at hand, each is still one of its own.
fn at_hand(kind: Kind, name: &str, field: &Field, node: &Node) -> Value {
    let mut keys = kind.spec().natural_keys.iter().copied().flatten();
    let tells_apart =
        matches!(field.ty, Type::String) && (field.required || keys.any(|key| *key == name));
    match &node.value {
        NodeValue::Unset if tells_apart => Value::String(format!("not at hand at {}", node.place)),
        _ => node.to_json(),
    }
}

/// Fields of plugins that only Kong Enterprise has.
const ENTERPRISE_PLUGIN_FIELDS: &[&str] = &["consumer_group", "ordering", "partials", "condition"];
/// Fields that decK knows of other Kongs, newer than 3.9 or older than 3.0.
const FOREIGN_FIELDS: &[(Kind, &str)] = &[
    (Kind::Service, "tls_sans"),
    (Kind::Target, "failover"),
    (Kind::Upstream, "sticky_sessions_cookie"),
    (Kind::Upstream, "sticky_sessions_cookie_path"),
    (Kind::Plugin, "run_on"),
];

impl Reader<'_> {
    pub(super) fn list(
        &mut self,
        kind: Kind,
        node: &Arc<Node>,
        parent: Option<(&'static str, usize)>,
    ) {
        if kind.is_custom() {
            let kinds = &mut self.configuration.custom_kinds;
            kinds.entry(kind).or_insert_with(|| node.place.clone());
        }
        match &node.value {
            NodeValue::Null | NodeValue::Unset => {}
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
            NodeValue::String(_) if kind == Kind::Sni => sni(item),
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
            if let Some((child, field)) = kind.nested(&entry.key) {
                nested.push((child, entry.node.clone(), field));
                continue;
            }
            match entry.key.as_str() {
                "_comment" | "_ignore" | "created_at" | "updated_at" => {}
                name => match record.fields.get(name) {
                    Some(field) => {
                        let told = field_with_booleans(field, &entry.node);
                        let node = told.as_ref().unwrap_or(&entry.node);
                        check_field(field, node, name, self.diagnostics);
                        if field.ty == Type::String && node.as_str() == Some("") {
                            let help = Some("give it a value, or remove the line");
                            let message = format!("`{name}` is empty");
                            self.diagnostics.add_with_help(&node.place, message, help);
                        }
                        let value = at_hand(kind, name, field, node);
                        fields.insert(name.to_owned(), value);
                    }
                    None => self.unknown_field(kind, entry),
                },
            }
        }
        if let Some((field, parent)) = parent
            && let Some(given) = node.get(field).filter(|given| !given.is_null())
            && !self.names(given, parent)
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

    /// Is this reference one to the entity that the entry is nested in? Kong's own loader asks for that in some kinds.
    fn names(&self, given: &Node, parent: usize) -> bool {
        let parent = &self.configuration.entities[parent];
        let keys = parent.kind.spec().natural_keys.iter().map(|key| key[0]);
        let mut words = keys
            .chain(std::iter::once("id"))
            .filter_map(|key| parent.fields.get(key)?.as_str());
        let inner = given.entries().first().map(|entry| &entry.node);
        let given = inner.map_or(given, |inner| inner);
        given
            .as_str()
            .is_some_and(|given| words.any(|word| word == given))
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
        if FOREIGN_FIELDS.contains(&(kind, name)) {
            let message = format!("Kong 3.9 has no `{name}` in {}", kind.with_article());
            self.diagnostics
                .add_with_help(&entry.key_place, message, Some("remove it"));
            return;
        }
        if Kind::from_name(name).is_some() {
            let message = format!("`{name}` cannot be nested in {}", kind.with_article());
            let help = "list it at the top level, or in what it refers to";
            self.diagnostics
                .add_with_help(&entry.key_place, message, Some(help));
            return;
        }
        let known = kind.record().fields.keys().map(String::as_str);
        let known = known
            .chain(
                Kind::all()
                    .map(Kind::name)
                    .filter(|name| kind.nested(name).is_some()),
            )
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
                && !field.auto
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
        if kind == Kind::Route {
            self.check_paths(node);
        }
        if kind == Kind::FilterChain {
            self.check_filter_chain(node, parent);
        }
        if kind == Kind::Consumer
            && !fields.contains_key("username")
            && !fields.contains_key("custom_id")
        {
            self.diagnostics
                .add(&node.place, "a consumer needs `username` or `custom_id`");
        }
    }

    /// Kong takes nothing else, and would tell so for one route after the other.
    fn check_paths(&mut self, route: &Node) {
        let paths = route.get("paths").map_or(&[][..], |paths| paths.items());
        for path in paths {
            let Some(text) = path.as_str() else { continue };
            if !text.starts_with(['/', '~']) && !is_kept(text) {
                let help = "write /prefix, or ~/regular/expression$";
                self.diagnostics.add_with_help(
                    &path.place,
                    format!("path `{text}` starts with neither `/` nor `~`"),
                    Some(help),
                );
            }
        }
    }

    fn check_filter_chain(&mut self, node: &Node, parent: Option<(&'static str, usize)>) {
        let given = |field: &str| node.get(field).is_some_and(|value| !value.is_null());
        let owners = ["route", "service"]
            .map(|field| given(field) || parent.is_some_and(|(by, _)| by == field));
        match owners {
            [false, false] => self.diagnostics.add_with_help(
                &node.place,
                "a filter chain belongs to a route or to a service",
                Some("name one of them, or nest the chain in it"),
            ),
            [true, true] => self.diagnostics.add_with_help(
                &node.place,
                "a filter chain belongs to a route or to a service, not to both",
                Some("remove one of them"),
            ),
            _ => {}
        }
        let Some(filters) = node.get("filters") else {
            return;
        };
        if matches!(&filters.value, NodeValue::List(items) if items.is_empty()) {
            self.diagnostics
                .add(&filters.place, "a filter chain needs a filter");
        }
        for filter in filters.items() {
            if !filter.entries().is_empty() && filter.get("name").is_none() {
                self.diagnostics.add(&filter.place, "a filter needs `name`");
            }
        }
    }
}
