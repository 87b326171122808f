//! Routes from operations: one for each, with its path as a regular expression; more where headers with a list of values route.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::plugins::{self, Plugins};
use super::{Converter, Level, Mistake, Path, names};
use crate::state::node::Node;

/// Paths without parameters come before those with.
const PRIORITY_WITH_PARAMETERS: i64 = 100;
const PRIORITY_PLAIN: i64 = 200;
/// The longest name that PCRE gives a group.
const LONGEST_CAPTURE: usize = 31;
/// What a path may have and a regular expression means otherwise.
const SPECIAL: [char; 8] = ['(', ')', '.', '+', '?', '*', '[', '$'];

impl Converter<'_> {
    pub(super) fn routes(
        &self,
        path: &Path<'_>,
        method: &str,
        operation: &Arc<Node>,
        name: &str,
        level: &Level,
        plugins: &Plugins,
    ) -> Result<Vec<Value>, Mistake> {
        let parameters = self.parameters(path, operation)?;
        let mut route = level
            .route
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        route.shift_remove("service");
        let (expression, has_parameters) = self.expression(path, &parameters)?;
        route.insert("paths".to_owned(), json!([expression]));
        if let Some(id) = self.id(&format!("{name}.route")) {
            route.insert("id".to_owned(), json!(id));
        }
        route.insert("name".to_owned(), json!(name));
        route.insert("methods".to_owned(), json!([method.to_ascii_uppercase()]));
        route.insert("tags".to_owned(), json!(self.tags));
        let priority = match route.get("regex_priority") {
            None if has_parameters => PRIORITY_WITH_PARAMETERS,
            None => PRIORITY_PLAIN,
            Some(given) => {
                let given = given.as_i64().ok_or_else(|| {
                    Mistake::at(
                        operation,
                        "`regex_priority` in `x-kong-route-defaults` is an integer",
                    )
                })?;
                given - i64::from(has_parameters)
            }
        };
        route.insert("regex_priority".to_owned(), json!(priority));
        route.entry("strip_path").or_insert(json!(false));

        let mut routes = Vec::new();
        if !self.options.no_header_routes {
            let headers = self.headers(&parameters)?;
            if !headers.is_empty() {
                for (number, combination) in combinations(&headers).into_iter().enumerate() {
                    routes.push(self.by_headers(&route, name, number, &combination, plugins));
                }
            }
        }
        // Without such headers the only one; with them, that of all other values.
        route.insert("plugins".to_owned(), plugins.to_json());
        routes.push(plugins::in_order(&route));
        Ok(routes)
    }

    /// An operation's parameters before those of its path, references followed.
    fn parameters(&self, path: &Path<'_>, operation: &Node) -> Result<Vec<Arc<Node>>, Mistake> {
        let of = |node: &Node| -> Vec<Arc<Node>> {
            node.get("parameters")
                .map(|parameters| parameters.items().to_vec())
                .unwrap_or_default()
        };
        of(operation)
            .iter()
            .chain(&of(path.item))
            .map(|parameter| self.source.resolve(parameter))
            .collect()
    }

    /// The path as a regular expression; true if it has parameters.
    fn expression(
        &self,
        path: &Path<'_>,
        parameters: &[Arc<Node>],
    ) -> Result<(String, bool), Mistake> {
        let mut escaped = String::new();
        for character in path.template.chars() {
            if SPECIAL.contains(&character) {
                escaped.push('\\');
            }
            escaped.push(character);
        }
        let mut out = String::from("~");
        let mut rest = escaped.as_str();
        let mut found = false;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}').filter(|(name, _)| !name.is_empty())
            else {
                break;
            };
            let capture = names::capture(name, self.options.inso);
            if capture.len() > LONGEST_CAPTURE {
                return Err(Mistake::at(
                    path.item,
                    format!(
                        "the parameter `{name}` has a longer name than the {LONGEST_CAPTURE} characters of a regular expression's group"
                    ),
                ));
            }
            // Up to the end of the segment; empty only where the schema says so.
            let repeat = if self.may_be_empty(parameters, name)? {
                '*'
            } else {
                '+'
            };
            out.push_str(before);
            let _ = write!(out, "(?<{capture}>[^#?/]{repeat})");
            rest = after;
            found = true;
        }
        out.push_str(rest);
        out.push('$');
        Ok((out, found))
    }

    fn may_be_empty(&self, parameters: &[Arc<Node>], name: &str) -> Result<bool, Mistake> {
        let parameter = parameters
            .iter()
            .find(|parameter| parameter.get("name").and_then(|n| n.as_str()) == Some(name));
        let Some(schema) = parameter.and_then(|parameter| parameter.get("schema")) else {
            return Ok(false);
        };
        let schema = self.source.resolve(schema)?;
        Ok(schema
            .get("minLength")
            .is_some_and(|least| least.to_json() == json!(0)))
    }

    /// Headers that tell requests apart: required, with a list of values.
    fn headers(&self, parameters: &[Arc<Node>]) -> Result<Vec<(String, Vec<String>)>, Mistake> {
        let mut headers: Vec<(String, Vec<String>)> = Vec::new();
        for parameter in parameters {
            let text = |field: &str| parameter.get(field).and_then(|node| node.as_str());
            let required = parameter
                .get("required")
                .is_some_and(|required| required.to_json() == json!(true));
            let (Some("header"), Some(name), Some(schema)) =
                (text("in"), text("name"), parameter.get("schema"))
            else {
                continue;
            };
            if !required && !self.options.optional_headers
                || headers.iter().any(|(known, _)| known == name)
            {
                continue;
            }
            let schema = self.source.resolve(schema)?;
            let values: Vec<String> = schema
                .get("enum")
                .map_or(&[][..], |values| values.items())
                .iter()
                .map(|value| match value.to_json() {
                    Value::String(text) => text,
                    other => other.to_string(),
                })
                .collect();
            if !values.is_empty() {
                headers.push((name.to_owned(), values));
            }
        }
        Ok(headers)
    }

    fn by_headers(
        &self,
        route: &Map<String, Value>,
        name: &str,
        number: usize,
        combination: &[(&str, &str)],
        plugins: &Plugins,
    ) -> Value {
        let mut route = route.clone();
        let mut sorted = combination.to_vec();
        sorted.sort_unstable();
        let headers: Map<String, Value> = sorted
            .iter()
            .map(|(header, value)| ((*header).to_owned(), json!([value])))
            .collect();
        let numbered = format!("{name}_{number}");
        if let Some(id) = self.id(&numbered) {
            route.insert("id".to_owned(), json!(id));
        }
        route.insert("name".to_owned(), json!(numbered));
        // As Go writes JSON, for the ids.
        let words = Value::Object(headers.clone()).to_string();
        let words = words
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026");
        let mut plugins = plugins.clone();
        plugins.mark(
            |plugin| self.id(&format!("{name}{words}.plugin.{plugin}")),
            &self.tags,
        );
        route.insert("headers".to_owned(), Value::Object(headers));
        route.insert("plugins".to_owned(), plugins.to_json());
        plugins::in_order(&route)
    }
}

/// Each value of each header with each of the others; the last changes first.
fn combinations(headers: &[(String, Vec<String>)]) -> Vec<Vec<(&str, &str)>> {
    let mut out = vec![Vec::new()];
    for (name, values) in headers {
        out = out
            .into_iter()
            .flat_map(|prefix: Vec<(&str, &str)>| {
                values.iter().map(move |value| {
                    let mut longer = prefix.clone();
                    longer.push((name.as_str(), value.as_str()));
                    longer
                })
            })
            .collect();
    }
    out
}
