//! Files of the repository, read as data.

use anyhow::{Context, Result};
use serde_json::Value;
use stories::repository;

/// The text of a file, by its path from the repository's root.
pub(crate) fn text(path: &str) -> Result<String> {
    std::fs::read_to_string(repository().join(path)).with_context(|| format!("reading {path}"))
}

/// A YAML file as JSON.
pub(crate) fn yaml(path: &str) -> Result<Value> {
    serde_saphyr::from_str(&text(path)?).with_context(|| format!("parsing {path}"))
}

/// Every document of a YAML file as JSON.
pub(crate) fn yaml_stream(path: &str) -> Result<Vec<Value>> {
    parse_stream(&text(path)?).with_context(|| format!("parsing {path}"))
}

/// Every document of a YAML text as JSON, but for empty ones.
pub(crate) fn parse_stream(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// The value at a JSON pointer, or an error that names it.
pub(crate) fn at<'a>(document: &'a Value, pointer: &str) -> Result<&'a Value> {
    document
        .pointer(pointer)
        .with_context(|| format!("nothing at {pointer}"))
}

/// The string at a JSON pointer.
pub(crate) fn text_at<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    at(document, pointer)?
        .as_str()
        .with_context(|| format!("{pointer} is no string"))
}
