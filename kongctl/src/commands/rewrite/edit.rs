//! `add-tags` and `add-plugins`: what files lack.

use serde_json::Value;

use crate::admin::entities::Kind;
use crate::cli::{AddPlugins, AddTags};
use crate::output::Printer;
use crate::output::failure::UsageError;
use crate::state::diagnostics::Diagnostics;

use super::super::Exit;
use super::additions;
use super::write::{self, Changed};

pub(super) fn add_tags(arguments: &AddTags, printer: Printer) -> anyhow::Result<Exit> {
    let to = arguments.to();
    if !to.is_open() && to.is_the_file() {
        return Err(UsageError {
            message: "`$` is the file itself, which has no tags: leave it out to tag all entities"
                .to_owned(),
        }
        .into());
    }
    let mut diagnostics = Diagnostics::default();
    let mut changed = Vec::new();
    for (text, mut file) in super::read(&arguments.rewritten.files.files)? {
        file.add_tags(&arguments.tags, &to, &mut diagnostics);
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
    let mut diagnostics = Diagnostics::default();
    let mut changed = Vec::new();
    for (text, mut file) in super::read(&arguments.rewritten.files.files)? {
        for addition in &additions {
            file.add_plugins(
                &addition.plugins,
                &addition.to,
                addition.overwrite,
                &mut diagnostics,
            );
        }
        let new = write::new_text(&text, &file)?;
        changed.push(Changed { text, new });
    }
    diagnostics.into_result()?;
    write::finish(&changed, &arguments.rewritten, printer)
}
