//! What a command line says of an entity, as a document of one entry.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::admin::entities::Kind;
use crate::cli::{Fields, Parents};
use crate::output::failure::UsageError;
use crate::state::diagnostics::{Diagnostics, Place};
use crate::state::node::{Entry, Node, NodeValue};
use crate::state::references::{Policy, References};
use crate::state::yaml;

use super::parent_kind;

/// The entry: `--set` wins over `--json`, that over `--file`; the name and the parents win over all.
pub(super) fn entry(
    kind: Kind,
    name: Option<&str>,
    parents: &Parents,
    fields: &Fields,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Arc<Node>> {
    let mut entry = Vec::new();
    if let Some(path) = &fields.file {
        let mut text = String::new();
        if path.as_os_str() == "-" {
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
        } else {
            text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        let directory = path.parent().map(PathBuf::from).unwrap_or_default();
        let file = path.display().to_string();
        merge(&mut entry, map(&file, &text, directory, diagnostics)?);
    }
    if let Some(text) = &fields.json {
        merge(
            &mut entry,
            map("--json", text, PathBuf::new(), diagnostics)?,
        );
    }
    for set in &fields.set {
        let Some((path, value)) = set.split_once('=') else {
            return Err(UsageError {
                message: format!("--set {set:?} is not of the form FIELD=VALUE"),
            }
            .into());
        };
        let node = value_of(path, value, diagnostics)?;
        put(&mut entry, path, node)?;
    }
    if let Some(name) = name {
        let Some(field) = name_field(kind) else {
            return Err(UsageError {
                message: format!(
                    "{} has no name: it is known by its content",
                    kind.with_article()
                ),
            }
            .into());
        };
        put(&mut entry, field, said(NodeValue::String(name.to_owned())))?;
    }
    for (field, parent) in parents.given() {
        parent_kind(kind, field)?;
        put(
            &mut entry,
            field,
            said(NodeValue::String(parent.to_owned())),
        )?;
    }
    Ok(said(NodeValue::Map(entry)))
}

/// A document that has only this entry.
pub(super) fn document(kind: Kind, entry: Arc<Node>) -> Arc<Node> {
    let list = said(NodeValue::List(vec![entry]));
    said(NodeValue::Map(vec![named(kind.name(), list)]))
}

/// The field that a name on the command line fills.
fn name_field(kind: Kind) -> Option<&'static str> {
    match kind {
        // Their keys are their content.
        Kind::Certificate | Kind::CaCertificate => None,
        Kind::Target => Some("target"),
        Kind::Acl => Some("group"),
        _ => kind.spec().natural_keys.first().map(|key| key[0]),
    }
}

/// What is said on a command line has no place of its own.
pub(super) fn place() -> Place {
    Place {
        file: "command line".into(),
        line: 1,
        column: 1,
    }
}

fn said(value: NodeValue) -> Arc<Node> {
    Arc::new(Node {
        place: place(),
        value,
        from_env: false,
    })
}

fn named(key: &str, node: Arc<Node>) -> Entry {
    Entry {
        key: key.to_owned(),
        key_place: place(),
        node,
    }
}

/// The one map of a text.
fn map(
    file: &str,
    text: &str,
    directory: PathBuf,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Vec<Entry>> {
    let documents = parse(file, text, directory, diagnostics);
    match documents.as_slice() {
        [one] if matches!(one.value, NodeValue::Map(_)) => Ok(one.entries().to_vec()),
        _ if !diagnostics.is_empty() => Ok(Vec::new()),
        _ => Err(UsageError {
            message: format!("{file}: the fields of one entity are needed, as a map"),
        }
        .into()),
    }
}

fn parse(
    file: &str,
    text: &str,
    directory: PathBuf,
    diagnostics: &mut Diagnostics,
) -> Vec<Arc<Node>> {
    let env = |name: &str| std::env::var(name).ok();
    let references = References {
        env: &env,
        directory,
        policy: Policy::Evaluate,
    };
    yaml::read(file, text, &references, diagnostics)
}

fn value_of(path: &str, text: &str, diagnostics: &mut Diagnostics) -> anyhow::Result<Arc<Node>> {
    if let Some(file) = text.strip_prefix('@') {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        return Ok(said(NodeValue::String(text)));
    }
    let documents = parse(&format!("--set {path}"), text, PathBuf::new(), diagnostics);
    Ok(match documents.as_slice() {
        [] => said(NodeValue::String(String::new())),
        [one] => one.clone(),
        // `a: b` and the like are text.
        _ => said(NodeValue::String(text.to_owned())),
    })
}

/// Puts fields over those that are there, maps inside them treated alike.
fn merge(entries: &mut Vec<Entry>, over: Vec<Entry>) {
    for new in over {
        match entries.iter_mut().find(|entry| entry.key == new.key) {
            None => entries.push(new),
            Some(old) => match (&old.node.value, &new.node.value) {
                (NodeValue::Map(below), NodeValue::Map(above)) => {
                    let mut merged = below.clone();
                    merge(&mut merged, above.clone());
                    old.node = said(NodeValue::Map(merged));
                }
                _ => *old = new,
            },
        }
    }
}

/// Puts a value at a path of names with dots between them.
fn put(entries: &mut Vec<Entry>, path: &str, node: Arc<Node>) -> Result<(), UsageError> {
    let mut names = path.split('.').rev();
    if path.split('.').any(str::is_empty) {
        return Err(UsageError {
            message: format!("--set: `{path}` names no field"),
        });
    }
    let Some(last) = names.next() else {
        return Ok(());
    };
    let entry = names.fold(named(last, node), |entry, name| {
        let inner = vec![entry];
        named(name, said(NodeValue::Map(inner)))
    });
    merge(entries, vec![entry]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: &Fields, name: Option<&str>) -> serde_json::Value {
        let mut diagnostics = Diagnostics::default();
        let parents = Parents::default();
        let entry = entry(Kind::Service, name, &parents, fields, &mut diagnostics).unwrap();
        diagnostics.into_result().unwrap();
        entry.to_json()
    }

    #[test]
    fn what_is_said_last_wins_and_maps_are_merged() {
        let fields = Fields {
            json: Some(r#"{"host": "a", "x": {"y": 1, "z": 2}}"#.to_owned()),
            set: [
                "host=b",
                "port=81",
                "x.y=[1, two]",
                "tags=[a, 'b']",
                "path=",
            ]
            .map(str::to_owned)
            .to_vec(),
            file: None,
        };
        assert_eq!(
            read(&fields, Some("llm")),
            json!({"host": "b", "x": {"y": [1, "two"], "z": 2}, "port": 81, "tags": ["a", "b"], "path": "", "name": "llm"})
        );
    }

    #[test]
    fn a_value_may_be_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cert.pem");
        std::fs::write(&path, "a: b\nc\n").unwrap();
        let fields = Fields {
            set: vec![format!("cert=@{}", path.display())],
            ..Fields::default()
        };
        assert_eq!(read(&fields, None), json!({"cert": "a: b\nc\n"}));
    }

    #[test]
    fn a_field_without_a_value_is_wrong_usage() {
        for set in ["port", "=1", "a..b=1"] {
            let fields = Fields {
                set: vec![set.to_owned()],
                ..Fields::default()
            };
            let mut diagnostics = Diagnostics::default();
            let result = entry(
                Kind::Service,
                None,
                &Parents::default(),
                &fields,
                &mut diagnostics,
            );
            assert!(result.unwrap_err().is::<UsageError>(), "{set}");
        }
    }
}
