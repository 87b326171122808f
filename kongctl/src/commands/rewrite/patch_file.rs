//! What decK's files of plugins and of patches have in common: a list of patches, each with its selectors.

use serde_json::{Map, Value};

use crate::state::diagnostics::suggestion;
use crate::syntax::{Selector, Where};

/// Reads each patch of the list `name`; a mistake is told with its place in it.
pub(super) fn each<T>(
    name: &str,
    patches: &Value,
    fields: &[&str],
    read: impl Fn(&Map<String, Value>, &str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let list = patches
        .as_array()
        .ok_or_else(|| format!("`{name}` is a list of patches"))?;
    let numbered = list.iter().enumerate();
    numbered
        .map(|(index, patch)| {
            let source = format!("{name}[{index}]");
            known(patch, fields)
                .and_then(|patch| read(patch, &source))
                .map_err(|message| format!("{source}{message}"))
        })
        .collect()
}

fn known<'a>(patch: &'a Value, fields: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let patch = patch.as_object().ok_or(": a patch is a map")?;
    if let Some(unknown) = patch.keys().find(|key| !fields.contains(&key.as_str())) {
        let help = suggestion(unknown, fields.iter().copied());
        let help = help.unwrap_or_else(|| format!("known are {}", fields.join(", ")));
        return Err(format!(": unknown field `{unknown}`: {help}"));
    }
    Ok(patch)
}

/// A field that is a list, or absent.
pub(super) fn list<'a>(patch: &'a Map<String, Value>, field: &str) -> Result<&'a [Value], String> {
    match patch.get(field) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!(".{field}: a list is wanted")),
    }
}

/// What a patch's `selectors` choose; the file itself where there are none.
pub(super) fn selected(patch: &Map<String, Value>) -> Result<Where, String> {
    let selectors = list(patch, "selectors")?
        .iter()
        .map(|selector| match selector {
            Value::String(text) => text.parse(),
            other => Err(format!("`{other}` is no JSONPath: write it in quotes")),
        })
        .collect::<Result<Vec<Selector>, String>>()
        .map_err(|message| format!(".selectors: {message}"))?;
    Ok(if selectors.is_empty() {
        Where::Entities(Vec::new())
    } else {
        Where::Selected(selectors)
    })
}
