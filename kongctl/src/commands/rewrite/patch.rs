//! `patch-files`: fields set and removed, items appended, by the command line or by decK's patch files.
//!
//! ```yaml
//! _format_version: "1.0"
//! patches:
//! - selectors: ["$.services[*]"]   # what is absent means the file itself
//!   values: {read_timeout: 10000}  # or a list, appended to the lists that are found
//!   remove: [retries]
//! ```

use serde_json::{Map, Value};

use crate::cli::PatchFiles;
use crate::output::failure::UsageError;
use crate::output::{self, Printer};
use crate::state::diagnostics::Diagnostics;
use crate::state::files;
use crate::syntax::{self, Patch, Where};

use super::super::Exit;
use super::patch_file;

/// Where a patch file keeps its patches.
const PATCHES: &str = "patches";
/// The fields of a patch.
const FIELDS: [&str; 3] = ["selectors", "values", "remove"];

/// A patch, and what it is for.
struct Aimed {
    /// Who said so, for messages.
    source: String,
    patch: Patch,
    to: Where,
}

pub(super) fn run(arguments: &PatchFiles, printer: Printer) -> anyhow::Result<Exit> {
    let patches = read(arguments)?;
    let mut found = vec![0; patches.len()];
    let done = super::rewrite(&arguments.rewritten, printer, |file, diagnostics| {
        for (aimed, found) in patches.iter().zip(&mut found) {
            *found += file.patch(&aimed.patch, &aimed.to, diagnostics);
        }
    })?;
    for (aimed, _) in patches.iter().zip(found).filter(|(_, found)| *found == 0) {
        output::note(&format!("{}: nothing is selected.", aimed.source));
    }
    Ok(done.exit)
}

/// All patches: those of the command line go first, as decK's do.
fn read(arguments: &PatchFiles) -> anyhow::Result<Vec<Aimed>> {
    let usage = |message: String| UsageError { message };
    let mut patches = Vec::new();
    if !arguments.values.is_empty() {
        let (patch, to) = (said(&arguments.values), arguments.to.chosen());
        patches.push(aim("--value".to_owned(), patch.map_err(usage)?, to).map_err(usage)?);
    }
    let mut diagnostics = Diagnostics::default();
    for text in files::texts(&arguments.sources, &mut diagnostics)? {
        for value in syntax::values(&text.name, &text.text, &mut diagnostics).unwrap_or_default() {
            let Some(list) = value.get(PATCHES) else {
                return Err(usage(format!("{}: no `{PATCHES}`", text.name)).into());
            };
            let read = patch_file::each(PATCHES, list, &FIELDS, |patch, source| {
                let source = format!("{}: {source}", text.name);
                aim(source, of_file(patch)?, patch_file::selected(patch)?)
                    .map_err(|message| format!(": {message}"))
            });
            patches.extend(read.map_err(|message| usage(format!("{}: {message}", text.name)))?);
        }
    }
    diagnostics.into_result()?;
    Ok(patches)
}

/// Items are for lists, and only a selector finds those.
fn aim(source: String, patch: Patch, to: Where) -> Result<Aimed, String> {
    if matches!((&patch, &to), (Patch::Items(_), Where::Entities(_))) {
        return Err("a list is appended to lists: say which, with a selector".to_owned());
    }
    Ok(Aimed { source, patch, to })
}

/// What `--value` says: `key:JSON` sets, `key:` removes, a JSON list is appended.
fn said(values: &[String]) -> Result<Patch, String> {
    let mut set = Map::new();
    let mut remove = Vec::new();
    let mut items: Option<Vec<Value>> = None;
    for text in values {
        if let Ok(Value::Array(list)) = serde_json::from_str(text) {
            items.get_or_insert_default().extend(list);
            continue;
        }
        let (key, value) = text
            .split_once(':')
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                format!("--value {text}: write KEY:JSON, KEY: to remove it, or a JSON list")
            })?;
        if set.contains_key(key) || remove.iter().any(|removed| removed == key) {
            return Err(format!("--value {text}: `{key}` is given twice"));
        }
        if value.is_empty() {
            remove.push(key.to_owned());
            continue;
        }
        let value = serde_json::from_str(value).map_err(|_| {
            format!("--value {text}: `{value}` is no JSON; a text goes in quotes: '{key}:\"…\"'")
        })?;
        set.insert(key.to_owned(), value);
    }
    match items {
        None => Ok(Patch::Fields { set, remove }),
        Some(items) if set.is_empty() && remove.is_empty() => Ok(Patch::Items(items)),
        Some(_) => Err("--value: either fields or lists".to_owned()),
    }
}

fn of_file(patch: &Map<String, Value>) -> Result<Patch, String> {
    let mut remove = Vec::new();
    for name in patch_file::list(patch, "remove")? {
        match name {
            Value::String(name) => remove.push(name.clone()),
            _ => return Err(".remove: names of fields are wanted".to_owned()),
        }
    }
    let set = match patch.get("values") {
        None => Map::new(),
        Some(Value::Object(set)) => set.clone(),
        Some(Value::Array(items)) if remove.is_empty() => return Ok(Patch::Items(items.clone())),
        Some(Value::Array(_)) => {
            return Err(": `remove` is for maps, these values are for lists".to_owned());
        }
        Some(_) => return Err(".values: a map or a list is wanted".to_owned()),
    };
    if let Some(both) = remove.iter().find(|name| set.contains_key(*name)) {
        return Err(format!(": `{both}` is both set and removed"));
    }
    if set.is_empty() && remove.is_empty() {
        return Err(": it neither sets nor removes anything".to_owned());
    }
    Ok(Patch::Fields { set, remove })
}
