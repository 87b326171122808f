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
use serde_json::{Map, Value};

use crate::cli::AddPlugins;
use crate::output::failure::UsageError;
use crate::state::diagnostics::{Diagnostics, suggestion};
use crate::syntax::{self, Selector, Where};

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
    let (to, overwrite) = (arguments.to(), arguments.overwrite);
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
    let list = patches
        .as_array()
        .ok_or_else(|| format!("`{PATCHES}` is a list of patches"))?;
    let numbered = list.iter().enumerate();
    numbered
        .map(|(index, patch)| {
            let source = format!("{PATCHES}[{index}]");
            patch_of(patch, &source, overwrite).map_err(|message| format!("{source}{message}"))
        })
        .collect()
}

fn patch_of(patch: &Value, source: &str, overwrite: bool) -> Result<Addition, String> {
    let patch: &Map<String, Value> = patch.as_object().ok_or(": a patch is a map")?;
    if let Some(unknown) = patch.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let help = suggestion(unknown, FIELDS);
        let help = help.unwrap_or_else(|| format!("known are {}", FIELDS.join(", ")));
        return Err(format!(": unknown field `{unknown}`: {help}"));
    }
    let list = |field: &str| match patch.get(field) {
        None => Ok([].as_slice()),
        Some(Value::Array(list)) => Ok(list.as_slice()),
        Some(_) => Err(format!(".{field}: a list is wanted")),
    };
    let selectors = list("selectors")?
        .iter()
        .map(|selector| match selector {
            Value::String(text) => text.parse(),
            other => Err(format!("`{other}` is no JSONPath: write it in quotes")),
        })
        .collect::<Result<Vec<Selector>, String>>()
        .map_err(|message| format!(".selectors: {message}"))?;
    let own = match patch.get("overwrite") {
        None => false,
        Some(Value::Bool(own)) => *own,
        Some(_) => return Err(".overwrite: true or false is wanted".to_owned()),
    };
    Ok(Addition {
        source: source.to_owned(),
        plugins: list("plugins")?.to_vec(),
        to: if selectors.is_empty() {
            Where::Entities(Vec::new())
        } else {
            Where::Selected(selectors)
        },
        overwrite: own || overwrite,
    })
}
