//! `add-tags`, `remove-tags`, `list-tags` and `add-plugins`: what files lack, or have too much of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::admin::entities::Kind;
use crate::cli::{AddPlugins, AddTags, ListTags, RemoveTags};
use crate::output::failure::UsageError;
use crate::output::{self, Printer};
use crate::state::diagnostics::Diagnostics;
use crate::syntax::Where;

use super::super::Exit;
use super::{Done, additions};

pub(super) fn add_tags(arguments: &AddTags, printer: Printer) -> anyhow::Result<Exit> {
    let to = entities(arguments.to.chosen())?;
    let done = super::rewrite(&arguments.rewritten, printer, |file, diagnostics| {
        file.add_tags(&arguments.tags, &to, diagnostics);
    })?;
    Ok(note_nothing(&done, "added", "there"))
}

pub(super) fn remove_tags(arguments: &RemoveTags, printer: Printer) -> anyhow::Result<Exit> {
    let from = entities(arguments.from.chosen())?;
    let done = super::rewrite(&arguments.rewritten, printer, |file, diagnostics| {
        file.remove_tags(&arguments.tags, arguments.keep_only, &from, diagnostics);
    })?;
    Ok(note_nothing(&done, "removed", "gone"))
}

pub(super) fn list_tags(arguments: &ListTags, printer: Printer) -> anyhow::Result<Exit> {
    let of = entities(arguments.of.chosen())?;
    let mut diagnostics = Diagnostics::default();
    let mut tags = BTreeSet::new();
    for (_, mut file) in super::read(&arguments.files.files)? {
        tags.extend(file.tags(&of, &mut diagnostics));
    }
    diagnostics.into_result()?;
    if printer.is_structured() {
        printer.value(&json!({ "tags": tags }))?;
    } else {
        let mut lines: Vec<String> = tags.into_iter().collect();
        lines.push(String::new());
        printer.result(&lines.join("\n"))?;
    }
    Ok(Exit::Done)
}

/// What has tags: not the file itself.
fn entities(chosen: Where) -> Result<Where, UsageError> {
    if !chosen.is_open() && chosen.is_the_file() {
        return Err(UsageError {
            message: "`$` is the file itself, which has no tags: leave it out to mean all entities"
                .to_owned(),
        });
    }
    Ok(chosen)
}

pub(super) fn add_plugins(arguments: &AddPlugins, printer: Printer) -> anyhow::Result<Exit> {
    for target in arguments.to.targets() {
        if target.kind.nested("plugins").is_none() {
            return Err(UsageError {
                message: format!("{} has no plugins of its own", target.kind.with_article()),
            }
            .into());
        }
    }
    let additions = additions::read(arguments)?;
    for plugin in additions.iter().flat_map(|addition| &addition.plugins) {
        if plugin.get("name").and_then(Value::as_str).is_none() {
            return Err(UsageError {
                message: format!("a plugin is a map with a `name`, this is {plugin}"),
            }
            .into());
        }
    }
    for addition in additions
        .iter()
        .filter(|addition| !addition.to.is_the_file())
    {
        let scope = |plugin: &Value| {
            let mut fields = Kind::Plugin.references().map(|(field, ..)| field);
            fields.find(|field| plugin.get(field).is_some())
        };
        if let Some(field) = addition.plugins.iter().find_map(scope) {
            return Err(UsageError {
                message: format!(
                    "{}: the plugin says its `{field}` itself: leave out what nests it (--to, --selector, `selectors`)",
                    addition.source
                ),
            }
            .into());
        }
    }
    let done = super::rewrite(&arguments.rewritten, printer, |file, diagnostics| {
        for addition in &additions {
            file.add_plugins(
                &addition.plugins,
                &addition.to,
                addition.overwrite,
                diagnostics,
            );
        }
    })?;
    Ok(note_nothing(&done, "added", "there"))
}

/// Says so where nothing changed: a name with a slip in it would pass for work that is done.
fn note_nothing(done: &Done, changed: &str, so: &str) -> Exit {
    if !done.changed {
        output::note(&format!(
            "Nothing was {changed}: nothing is found where it should be, or it is {so} already."
        ));
    }
    done.exit
}
