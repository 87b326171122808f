//! What `add-plugins` adds, and where: from the command line, from lists of plugins, from decK's plugin files.
//!
//! A decK plugin file says itself where its plugins go:
//!
//! ```yaml
//! _format_version: "1.0"
//! add-plugins:
//! - selectors: ["$.services[*]"]   # what is absent means the file itself
//!   overwrite: false
//!   plugins: [{name: prometheus}]
//! ```

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::AddPlugins;
use crate::output::failure::UsageError;
use crate::state::diagnostics::Diagnostics;
use crate::syntax::{self, Where};

use super::patch_file;

/// Plugins, and what they are added to.
pub(super) struct Addition {
    /// Who said so, for messages.
    pub(super) source: String,
    pub(super) plugins: Vec<Value>,
    pub(super) to: Where,
    pub(super) overwrite: bool,
}

/// Where a decK plugin file keeps its patches.
const PATCHES: &str = "add-plugins";
/// The fields of a patch.
const FIELDS: [&str; 3] = ["selectors", "plugins", "overwrite"];

/// Everything to add, in the order in which it is.
pub(super) fn read(arguments: &AddPlugins) -> anyhow::Result<Vec<Addition>> {
    let (to, overwrite) = (arguments.to.chosen(), arguments.overwrite);
    let mut additions = Vec::new();
    for text in &arguments.plugins {
        let plugin =
            serde_json::from_str(text).with_context(|| format!("--plugin {text}: no JSON"))?;
        additions.push(Addition {
            source: "--plugin".to_owned(),
            plugins: vec![plugin],
            to: to.clone(),
            overwrite,
        });
    }
    let mut diagnostics = Diagnostics::default();
    for text in crate::state::files::texts(&arguments.plugin_files, &mut diagnostics)? {
        for value in syntax::values(&text.name, &text.text, &mut diagnostics).unwrap_or_default() {
            if let Some(patches) = value.get(PATCHES) {
                if !to.is_open() {
                    return Err(UsageError {
                        message: format!(
                            "{} says itself where its plugins go: leave out --to and --selector",
                            text.name
                        ),
                    }
                    .into());
                }
                let read = patches_of(patches, overwrite);
                let read = read.map_err(|message| UsageError {
                    message: format!("{}: {message}", text.name),
                })?;
                additions.extend(read.into_iter().map(|addition| Addition {
                    source: format!("{}: {}", text.name, addition.source),
                    ..addition
                }));
                continue;
            }
            let plugins = match value {
                Value::Array(list) => list,
                Value::Object(mut map) if map.contains_key("plugins") => {
                    match map.shift_remove("plugins") {
                        Some(Value::Array(list)) => list,
                        _ => Vec::new(),
                    }
                }
                other => vec![other],
            };
            additions.push(Addition {
                source: text.name.clone(),
                plugins,
                to: to.clone(),
                overwrite,
            });
        }
    }
    diagnostics.into_result()?;
    Ok(additions)
}

fn patches_of(patches: &Value, overwrite: bool) -> Result<Vec<Addition>, String> {
    patch_file::each(PATCHES, patches, &FIELDS, |patch, source| {
        let own = match patch.get("overwrite") {
            None => false,
            Some(Value::Bool(own)) => *own,
            Some(_) => return Err(".overwrite: true or false is wanted".to_owned()),
        };
        Ok(Addition {
            source: source.to_owned(),
            plugins: patch_file::list(patch, "plugins")?.to_vec(),
            to: patch_file::selected(patch)?,
            overwrite: own || overwrite,
        })
    })
}
