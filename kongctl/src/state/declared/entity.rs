//! One entry of a list: its fields, what it lacks, and the lists that are nested in it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::entities::{ENTERPRISE_KINDS, Kind};
use crate::admin::schema::Type;

use super::super::diagnostics::suggestion;
use super::super::node::{Entry, Node, NodeValue};
use super::check::check_field;
use super::normal::normalize;
use super::shorthand::sni;
use super::{Declared, Reader};

/// Fields of plugins that only Kong Enterprise has.
const ENTERPRISE_PLUGIN_FIELDS: &[&str] = &["consumer_group", "ordering", "partials", "condition"];

impl Reader<'_> {
    pub(super) fn list(
        &mut self,
        kind: Kind,
        node: &Arc<Node>,
        parent: Option<(&'static str, usize)>,
    ) {
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
}
