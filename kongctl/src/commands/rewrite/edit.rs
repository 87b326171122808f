//! `add-tags` and `add-plugins`: what files lack.

use anyhow::Context as _;
use serde_json::Value;

use crate::admin::entities::Kind;
use crate::cli::{AddPlugins, AddTags};
use crate::output::Printer;
use crate::output::failure::UsageError;
use crate::state::diagnostics::Diagnostics;
use crate::syntax;

use super::super::Exit;
use super::write::{self, Changed};

pub(super) fn add_tags(arguments: &AddTags, printer: Printer) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let mut changed = Vec::new();
    for (text, mut file) in super::read(&arguments.rewritten.files.files)? {
        file.add_tags(&arguments.tags, &arguments.targets, &mut diagnostics);
        let new = write::new_text(&text, &file)?;
        changed.push(Changed { text, new });
    }
    diagnostics.into_result()?;
    write::finish(&changed, &arguments.rewritten, printer)
}

pub(super) fn add_plugins(arguments: &AddPlugins, printer: Printer) -> anyhow::Result<Exit> {
    for target in &arguments.targets {
        if target.kind.nested("plugins").is_none() {
            return Err(UsageError {
                message: format!("{} has no plugins of its own", target.kind.with_article()),
            }
            .into());
        }
    }
    let plugins = plugins(arguments)?;
    let mut diagnostics = Diagnostics::default();
    let mut changed = Vec::new();
    for (text, mut file) in super::read(&arguments.rewritten.files.files)? {
        file.add_plugins(
            &plugins,
            &arguments.targets,
            arguments.overwrite,
            &mut diagnostics,
        );
        let new = write::new_text(&text, &file)?;
        changed.push(Changed { text, new });
    }
    diagnostics.into_result()?;
    write::finish(&changed, &arguments.rewritten, printer)
}

fn plugins(arguments: &AddPlugins) -> anyhow::Result<Vec<Value>> {
    let mut plugins = Vec::new();
    for text in &arguments.plugins {
        let plugin =
            serde_json::from_str(text).with_context(|| format!("--plugin {text}: no JSON"))?;
        plugins.push(plugin);
    }
    let mut diagnostics = Diagnostics::default();
    for text in crate::state::files::texts(&arguments.plugin_files, &mut diagnostics)? {
        for value in syntax::values(&text.name, &text.text, &mut diagnostics).unwrap_or_default() {
            match value {
                Value::Array(list) => plugins.extend(list),
                Value::Object(mut map) if map.contains_key("plugins") => {
                    if let Some(Value::Array(list)) = map.shift_remove("plugins") {
                        plugins.extend(list);
                    }
                }
                other => plugins.push(other),
            }
        }
    }
    diagnostics.into_result()?;
    for plugin in &plugins {
        if plugin.get("name").and_then(Value::as_str).is_none() {
            return Err(UsageError {
                message: format!("a plugin is a map with a `name`, this is {plugin}"),
            }
            .into());
        }
        let scope = Kind::Plugin
            .references()
            .find(|(field, ..)| plugin.get(field).is_some());
        if let Some((field, ..)) = scope
            && !arguments.targets.is_empty()
        {
            return Err(UsageError {
                message: format!(
                    "the plugin says its `{field}` itself: leave out --to, which nests it in what it is for"
                ),
            }
            .into());
        }
    }
    Ok(plugins)
}
